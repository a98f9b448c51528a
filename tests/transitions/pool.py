"""Several changes at a time, each process with a probe of its own; most of a run is waiting."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from envoyassert.cli.configs import plan_of_file
from envoyassert.cli.transition import try_transition
from envoyassert.errors import EnvoyAssertError
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.predict.effects import Way
from envoyassert.probe import Probe
from envoyassert.scenario.plan import RunPlan
from envoyassert.transition.outcome import Report
from tests.transitions.changes import CASES

_probe: Probe | None = None


@dataclass(frozen=True)
class Tried:
    """One change, made in one way on one Envoy.

    Args:
        case: the number of the change.
        way: how it reached Envoy.
        version: of Envoy.
        report: what it came to; None if it could not be tried.
        problem: why not.
    """

    case: int
    way: Way
    version: str
    report: Report | None
    problem: str = ""


def try_all(cases: Sequence[int], versions: Sequence[str], processes: int) -> Iterator[Tried]:
    """Make changes in all their ways on all versions; yield each when it was made, in order.

    Args:
        cases: the numbers of the changes.
        versions: of Envoy.
        processes: how many at a time.
    """
    fresh = multiprocessing.get_context("spawn")
    wanted = [(n, way, version) for n in cases for way in CASES[n].ways for version in versions]
    with ProcessPoolExecutor(processes, fresh, initializer=_begin) as pool:
        for tried in [pool.submit(_try, *one) for one in wanted]:
            yield tried.result()


def _begin() -> None:
    global _probe
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _probe = Probe.load()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # and with this process its Envoys


def _try(number: int, way: Way, version: str) -> Tried:
    case = CASES[number]
    assert _probe is not None
    try:
        with tempfile.TemporaryDirectory(prefix="envoyassert-transitions-") as directory:
            old, new = (
                _plan(Path(directory) / f"{name}.yaml", envoy, version)
                for name, envoy in (("old", case.old), ("new", case.new))
            )
        return Tried(number, way, version, try_transition(old, new, way, _probe))
    except EnvoyAssertError as error:
        return Tried(number, way, version, None, str(error))


def _plan(file: Path, envoy: object, version: str) -> RunPlan:
    expect = [{"process": {"stays_up": True}}]
    scenario = {"name": file.stem, "requires": {"launcher": "process"}, "envoy": envoy}
    file.write_text(json.dumps({**scenario, "expect": expect}))
    return plan_of_file(file, [EnvoySource(version=version)])
