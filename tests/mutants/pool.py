"""Several runs at a time, each process with a probe of its own.

What one mutant floods its ring with is then not lost to the run of another.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from envoyassert.probe import Probe
from tests.mutants.mutant import Mutant, compile_shim
from tests.mutants.play import Played, jobs, play
from tests.mutants.table import Row

_probe: Probe | None = None


def run_all(
    mutants: Sequence[Mutant],
    envoy: str,
    core: tuple[str, ...],
    processes: int,
    keep: Path | None = None,
) -> Iterator[Row]:
    """Run mutants against their scenarios; yield each when its runs are over, in order.

    Args:
        mutants: which.
        envoy: version of Envoy.
        core: the scenarios for all of them.
        processes: how many runs at a time.
        keep: a directory for the traces of runs that do not pass.
    """
    with tempfile.TemporaryDirectory(prefix="envoyassert-mutants-") as directory:
        Path(directory).chmod(0o755)
        shim = compile_shim(Path(directory))
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, fresh, initializer=_begin) as pool:
            started = [
                [
                    pool.submit(_play, one, number, envoy, core, shim, keep)
                    for number, _ in enumerate(jobs(one, core))
                ]
                for one in mutants
            ]
            for mutant, runs in zip(mutants, started, strict=True):
                yield Row(mutant, tuple(run.result() for run in runs))


def _begin() -> None:
    global _probe
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _probe = Probe.load()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # and with this process its Envoy


def _play(
    mutant: Mutant,
    number: int,
    envoy: str,
    core: tuple[str, ...],
    shim: Path,
    keep: Path | None,
) -> Played:
    """Play one of a mutant's runs: what crosses to another process is its number."""
    plan = list(jobs(mutant, core))[number]
    assert _probe is not None
    begun = time.monotonic()
    played = play(mutant, replace(plan, version=envoy), _probe, shim, keep)
    return replace(played, took_s=time.monotonic() - begun)
