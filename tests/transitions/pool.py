"""Several changes at a time, each process with a probe of its own; most of a run is waiting."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envoyassert.cli.configs import plan_of_file
from envoyassert.cli.transition import try_transition
from envoyassert.errors import EnvoyAssertError
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.predict.effects import Way
from envoyassert.scenario.plan import RunPlan
from envoyassert.transition.outcome import Report
from tests.probe_pool import own_probe, probe_pool
from tests.transitions.changes import CASES


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
    wanted = [(n, way, version) for n in cases for way in CASES[n].ways for version in versions]
    with probe_pool(processes) as pool:
        for tried in [pool.submit(_try, *one) for one in wanted]:
            yield tried.result()


def _try(number: int, way: Way, version: str) -> Tried:
    case = CASES[number]
    try:
        with tempfile.TemporaryDirectory(prefix="envoyassert-transitions-") as directory:
            old, new = (
                _plan(Path(directory) / f"{name}.yaml", envoy, version)
                for name, envoy in (("old", case.old), ("new", case.new))
            )
        return Tried(number, way, version, try_transition(old, new, way, own_probe()))
    except EnvoyAssertError as error:
        return Tried(number, way, version, None, str(error))


def _plan(file: Path, envoy: object, version: str) -> RunPlan:
    expect = [{"process": {"stays_up": True}}]
    scenario = {"name": file.stem, "requires": {"launcher": "process"}, "envoy": envoy}
    file.write_text(json.dumps({**scenario, "expect": expect}))
    return plan_of_file(file, [EnvoySource(version=version)])
