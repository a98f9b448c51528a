"""A known defect excuses one failure on some versions, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict, worst
from envoyassert.outcomes import ExpectationFailed, raise_unless_passed
from envoyassert.report.headline import headline
from envoyassert.report.verdict_json import judgement
from envoyassert.scenario.expectation import Expectation
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace

DEFECT = {
    "versions": ">=1.36, <1.41",
    "owner": "edge team",
    "upstream": "envoyproxy/envoy#1",
    "what": "it binds once for each worker",
}
# Of a listener with a socket for each of two workers.
WRONG = {"listener": {"port": 80}, "bound": {"times": 1}}
RIGHT = {"listener": {"port": 80}, "bound": {"times": 2}}
OTHER = {"listener": {"port": 80}, "listened": {"by": "workers", "via": "reuse_port"}}
OTHER_WRONG = {"listener": {"port": 80}, "listened": {"by": "main"}}


def run(version: str = "1.40.0", lost: tuple[int, ...] = ()) -> Trace:
    builder = TraceBuilder(2)
    builder.reuse_port_listener("0.0.0.0:80")
    trace = builder.build(lost=lost)
    envoy = replace(trace.header.envoy, version=version)
    return replace(trace, header=replace(trace.header, envoy=envoy))


def judged(trace: Trace, *items: dict[str, Any]) -> Verdict:
    parsed = TypeAdapter(list[Expectation]).validate_python(list(items))
    return judge(trace, list(enumerate(parsed)), workers=2)


@pytest.mark.parametrize(
    "version, items, status",
    [
        ("1.40.0", [OTHER, {**WRONG, "known_defect": DEFECT}], Status.KNOWN_DEFECT),
        ("1.36.0", [OTHER, {**WRONG, "known_defect": DEFECT}], Status.KNOWN_DEFECT),
        # Another version, or one that is not known, is excused nothing.
        ("1.41.0", [OTHER, {**WRONG, "known_defect": DEFECT}], Status.FAIL),
        ("", [OTHER, {**WRONG, "known_defect": DEFECT}], Status.FAIL),
        # Another expectation fails as well.
        ("1.40.0", [OTHER_WRONG, {**WRONG, "known_defect": DEFECT}], Status.FAIL),
        # What must fail holds.
        ("1.40.0", [OTHER, {**RIGHT, "known_defect": DEFECT}], Status.FAIL),
        ("1.41.0", [OTHER, {**RIGHT, "known_defect": DEFECT}], Status.PASS),
        ("", [OTHER, {**RIGHT, "known_defect": DEFECT}], Status.PASS),
        # One of two defects is gone.
        (
            "1.40.0",
            [{**WRONG, "known_defect": DEFECT}, {**RIGHT, "known_defect": DEFECT}],
            Status.FAIL,
        ),
        # It is not about this version at all.
        (
            "1.40.0",
            [OTHER, {**RIGHT, "known_defect": DEFECT, "when": {"envoy": ">=1.41"}}],
            Status.PASS,
        ),
    ],
)
def test_run_with_a_known_defect(version, items, status):
    assert judged(run(version), *items).status is status


def test_inconclusive_is_not_excused():
    trace = run()
    lossy = run(lost=tuple(range(9, len(trace.events))))
    verdict = judged(lossy, {**WRONG, "known_defect": DEFECT})
    assert verdict.status is Status.INCONCLUSIVE
    # Nor is it by a failure beside it that is excused.
    assert worst([Status.KNOWN_DEFECT, Status.INCONCLUSIVE]) is Status.INCONCLUSIVE


def test_known_defect_tells_what_it_is_and_the_expectation_that_failed():
    trace = run()
    verdict = judged(trace, OTHER, {**WRONG, "known_defect": DEFECT})
    assert headline(verdict, "one") == (
        "KNOWN_DEFECT one: known defect (envoyproxy/envoy#1, owner edge team: it binds once for "
        "each worker): port 80 bound.times: expected bound exactly 1 time, seen bound 2 times"
    )
    (finding,) = [f for f in judgement(verdict, trace, fold(trace)).findings if f.known_defect]
    assert (finding.status, finding.path) == ("KNOWN_DEFECT", ("expect", 1, "bound", "times"))


def test_unexpected_pass_says_so_and_points_at_the_known_defect():
    verdict = judged(run(), OTHER, {**RIGHT, "known_defect": DEFECT})
    (finding,) = verdict.with_status(Status.FAIL)
    assert finding.path == ("expect", 1, "known_defect")
    assert headline(verdict) == (
        "FAIL: port 80 known_defect: expected to fail on Envoy >=1.36, <1.41 (envoyproxy/envoy#1, "
        "owner edge team), seen an unexpected pass: all of it holds on 1.40.0"
    )


def test_assertion_in_python_takes_a_known_defect_for_the_failure_that_it_is():
    trace = run()
    verdict = judged(trace, {**WRONG, "known_defect": DEFECT})
    with pytest.raises(ExpectationFailed, match="envoyproxy/envoy#1"):
        raise_unless_passed(verdict, trace, fold(trace))
