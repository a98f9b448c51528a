"""A known defect excuses one failure on some versions, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict, worst
from envoyassert.outcomes import ExpectationFailed, raise_unless_passed
from envoyassert.report.headline import headline
from envoyassert.report.verdict_json import judgement
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import Member, Outcome, Trace

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
    parsed = map(parse_expectation, items)
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


def test_known_defect_says_what_it_is_and_names_the_expectation_that_failed():
    trace = run()
    verdict = judged(trace, OTHER, {**WRONG, "known_defect": DEFECT})
    assert headline(verdict, "one") == (
        "KNOWN_DEFECT one: known defect (envoyproxy/envoy#1, owner edge team: it binds once for "
        "each worker): port 80: expected 1 bind() call, saw 2"
    )
    found = judgement(verdict, trace, fold(trace)).findings
    (finding,) = [f for f in found if f.words.known_defect]
    assert (finding.status, finding.path) == ("KNOWN_DEFECT", ("expect", 1, "bound", "times"))


def test_unexpected_pass_says_so_and_points_at_the_known_defect():
    verdict = judged(run(), OTHER, {**RIGHT, "known_defect": DEFECT})
    (finding,) = verdict.with_status(Status.FAIL)
    assert finding.path == ("expect", 1, "known_defect")
    assert headline(verdict) == (
        "FAIL: port 80: expected to fail on Envoy >=1.36, <1.41 (envoyproxy/envoy#1, "
        "owner edge team), saw an unexpected pass: all of it holds on 1.40.0"
    )


def test_assertion_in_python_takes_a_known_defect_for_the_failure_that_it_is():
    trace = run()
    verdict = judged(trace, {**WRONG, "known_defect": DEFECT})
    with pytest.raises(ExpectationFailed, match="envoyproxy/envoy#1"):
        raise_unless_passed(verdict, trace, fold(trace))


LIVE = Outcome(live=True, live_after_s=0.1)
KILLED = Outcome(live=True, live_after_s=0.1, signal=11)
DEATH = {"process": {"stays_up": True}, "at_end_of": "change", "known_defect": DEFECT}
MISSED = "Envoy survives version 2 of its listeners"


def stepped(outcome: Outcome, missed: str = MISSED, **facts: Any) -> Trace:
    """A run of two workers whose step `change` was not over; this is how Envoy ends."""
    builder = TraceBuilder(2)
    builder.reuse_port_listener("0.0.0.0:80")
    builder.end_phase("startup", "startup", outcome=facts.pop("before", LIVE))
    builder.end_phase("change", outcome=outcome, missed=missed, **facts)
    trace = builder.build()
    envoy = replace(trace.header.envoy, version="1.40.0")
    return replace(trace, header=replace(trace.header, envoy=envoy))


def test_step_that_envoy_is_known_not_to_survive_is_a_known_defect() -> None:
    verdict = judged(stepped(KILLED), RIGHT, DEATH)
    assert verdict.status is Status.KNOWN_DEFECT
    step = next(finding for finding in verdict.findings if finding.path[0] == "steps")
    assert step.status is Status.KNOWN_DEFECT
    assert "edge team" in words_of(step).known_defect


OTHER_ENVOY = Member("second", 2000, 2, KILLED, None)


@pytest.mark.parametrize(
    "trace, items",
    [
        # It lives: the step failed for another reason, and the defect is not there.
        (stepped(LIVE), [DEATH]),
        (stepped(LIVE), [{**DEATH, "process": {"stays_up": False}}]),
        # It had ended before the step.
        (stepped(KILLED, before=KILLED), [DEATH]),
        # Nothing says that its death is known: not at all, not of this step, not as a defect.
        (stepped(KILLED), [RIGHT]),
        (stepped(KILLED), [{**WRONG, "known_defect": DEFECT}]),
        (stepped(KILLED), [{**WRONG, "known_defect": DEFECT, "at_end_of": "change"}]),
        (stepped(KILLED), [{**DEATH, "known_defect": None}]),
        (stepped(KILLED), [{**DEATH, "known_defect": {**DEFECT, "versions": ">=1.41"}}]),
        (stepped(KILLED), [{**DEATH, "when": {"envoy": ">=1.41"}}]),
        # What is known is that it stays up though it should end, or that it is not live.
        (stepped(KILLED), [{**DEATH, "process": {"stays_up": False}}]),
        (stepped(KILLED), [{**DEATH, "process": {"live": False}}]),
        # Of several Envoys another one may be meant.
        (stepped(KILLED, envoys=(replace(OTHER_ENVOY, name="first"), OTHER_ENVOY)), [DEATH]),
    ],
)
def test_step_whose_wait_was_not_met_is_not_excused_by_anything_else(
    trace: Trace, items: list[dict[str, Any]]
) -> None:
    verdict = judged(trace, *items)
    step = next(finding for finding in verdict.findings if finding.path[0] == "steps")
    assert (verdict.status, step.status) == (Status.FAIL, Status.FAIL)


def test_known_death_excuses_no_other_expectation() -> None:
    assert judged(stepped(KILLED), DEATH, WRONG).status is Status.FAIL


def test_only_the_step_that_envoy_died_in_is_excused() -> None:
    trace = stepped(KILLED)
    again = replace(trace.phases[1], name="again", begin_ns=trace.phases[1].end_ns + 1)
    trace = replace(trace, phases=(*trace.phases, replace(again, end_ns=again.begin_ns + 1)))
    verdict = judged(trace, DEATH)
    steps = [finding.status for finding in verdict.findings if finding.path[0] == "steps"]
    assert steps == [Status.KNOWN_DEFECT, Status.FAIL]
    assert verdict.status is Status.FAIL


def test_death_that_does_not_come_is_an_unexpected_pass() -> None:
    verdict = judged(stepped(LIVE, missed=""), DEATH)
    assert verdict.status is Status.FAIL
    assert "unexpected pass" in words_of(verdict.findings[-1]).seen
