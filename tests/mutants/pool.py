"""Several runs at a time, each process with a probe of its own: a mutant may flood its ring."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.mutants.mutant import Mutant, compile_shim
from tests.mutants.play import Played, jobs, play
from tests.mutants.table import Row
from tests.probe_pool import own_probe, probe_pool


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
        with probe_pool(processes) as pool:
            started = [
                [
                    pool.submit(_play, one, number, envoy, core, shim, keep)
                    for number, _ in enumerate(jobs(one, core))
                ]
                for one in mutants
            ]
            for mutant, runs in zip(mutants, started, strict=True):
                yield Row(mutant, tuple(run.result() for run in runs))


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
    begun = time.monotonic()
    played = play(mutant, replace(plan, version=envoy), own_probe(), shim, keep)
    return replace(played, took_s=time.monotonic() - begun)
