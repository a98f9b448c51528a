"""What each process of the pool does: it loads the probe once, then tries configs."""

from __future__ import annotations

import functools
from multiprocessing.connection import Connection
from pathlib import Path

from envoyassert.interrupts import interrupt_on_signals
from envoyassert.probe import Probe
from tests.corpus.pool import serve
from tests.corpus.trial import try_config


def work(orders: Connection, folder: Path, envoy: str, keep: Path | None) -> None:
    """Try the configs that are asked for.

    Args:
        orders: the pipe to the process that asks.
        folder: the corpus.
        envoy: version of Envoy.
        keep: where drafts and traces of those that do not pass are kept; None for nowhere.
    """
    interrupt_on_signals()
    with Probe.load() as probe:
        serve(orders, functools.partial(try_config, folder, envoy=envoy, probe=probe, keep=keep))
