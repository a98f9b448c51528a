"""The log that this project began with: what it proves, what it leaves open, what it denies."""

from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.texts.findings import words_of
from envoyassert.trace import EnvoyIdentity, Trace
from envoyassert.trace_file import parse_trace

TRACES = Path(__file__).parents[1] / "traces"
LOG = TRACES / "istio-1.11-envoy-1.19.1.bpftrace.txt"
SCENARIO = (TRACES / "origin.yaml").read_text()


def verdict_of(scenario: str, log: str | None = None):
    text = LOG.read_text() if log is None else log
    trace = parse_bpftrace_log(text.splitlines(), envoy_version="1.19.1", concurrency=2)
    (plan,) = expand(parse_scenario(scenario, Path("origin.yaml")))
    return judge(trace, plan.expectations, workers=plan.workers, assume=plan.scenario.assume)


def without(line: str) -> str:
    assert SCENARIO.count(line) == 1
    return SCENARIO.replace(line, "")


ASSUME = "assume: [complete, calls_succeeded, comm_is_role]\n"


def test_origin_passes_with_what_it_assumes():
    verdict = verdict_of(SCENARIO)
    assert str(verdict) == "PASS (assumed: complete, calls_succeeded, comm_is_role)"
    assert len(verdict.findings) > 20


def test_origin_is_inconclusive_without_assumptions():
    verdict = verdict_of(without(ASSUME))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.with_status(Status.FAIL) == ()


@pytest.mark.parametrize("word", ["complete", "calls_succeeded", "comm_is_role"])
def test_origin_is_inconclusive_when_one_assumption_is_missing(word):
    words = [w for w in ("complete", "calls_succeeded", "comm_is_role") if w != word]
    scenario = SCENARIO.replace(ASSUME, f"assume: [{', '.join(words)}]\n")
    assert verdict_of(scenario).status is Status.INCONCLUSIVE


# One line of the log changed or left out, and the atoms of port 15006 that must notice.
LIES = {
    "bind by a worker": (
        "comm:envoy           : bind AF_INET: ip:0.0.0.0          port:15006 fd=32",
        "comm:wrk:worker_0    : bind AF_INET: ip:0.0.0.0          port:15006 fd=32",
        {"bound.by"},
    ),
    "dup of another listener": (
        "comm:wrk:worker_1    : duping_fd=32, new_fd=40",
        "comm:wrk:worker_1    : duping_fd=31, new_fd=40",
        {"listened.by", "listen_calls.times", "listen_calls.by"},
    ),
    "listen by the other worker": (
        "comm:wrk:worker_1    : listen() fd=40",
        "comm:wrk:worker_0    : listen() fd=40",
        {"listened.by", "listened.via", "listen_calls.by"},
    ),
    "option that was not set": (
        "comm:envoy           : setsockopt: level=1, fd=32, optname=2,",
        "comm:envoy           : setsockopt: level=1, fd=32, optname=15,",
        {"listened.via", "options.SO_REUSEPORT", "options.SO_REUSEADDR"},
    ),
}


@pytest.mark.parametrize("true, false, atoms", LIES.values(), ids=LIES.keys())
def test_log_that_is_wrong_in_one_line_fails_the_atoms_that_it_concerns(true, false, atoms):
    log = LOG.read_text()
    assert log.count(true) == 1
    failed = verdict_of(SCENARIO, log.replace(true, false)).with_status(Status.FAIL)
    assert {f.atom for f in failed if words_of(f).subject == "port 15006"} == atoms


# The same file on a trace of another version.

NEWER = parse_trace((TRACES / "istio_sidecar-1.40.0.ndjson").read_text().splitlines())


def verdict_on(trace: Trace) -> Verdict:
    (plan,) = expand(parse_scenario(SCENARIO, Path("origin.yaml")))
    return judge(trace, plan.expectations, workers=plan.workers, assume=plan.scenario.assume)


def test_scenario_by_version_is_right_for_both_versions():
    assert verdict_of(SCENARIO).status is Status.PASS
    verdict = verdict_on(NEWER)
    assert str(verdict) == "PASS"
    assert {words_of(f).subject for f in verdict.findings} == {
        words_of(f).subject for f in verdict_of(SCENARIO).findings
    }


def test_scenario_by_version_is_wrong_for_a_trace_that_is_not_of_its_version():
    header = replace(NEWER.header, envoy=EnvoyIdentity("1.19.1"))
    failed = verdict_on(replace(NEWER, header=header)).with_status(Status.FAIL)
    assert {f.atom for f in failed if words_of(f).subject == "port 15006"} == {
        "bound.times",
        "listened.via",
        "listen_calls.by",
        "options.SO_REUSEPORT",
    }


@pytest.mark.parametrize(
    "item",
    [
        "{listener: {port: 15006}, backlog: 32}",
        "never: {call: listen, args: {backlog: 32}}",
        "calls: {call: listen, args: {backlog: 32}, times: 0}",
        "calls: {call: listen, args: {backlog: 32}, times: 2}",
    ],
)
def test_number_that_the_log_does_not_show_is_open(item: str) -> None:
    scenario = f"{SCENARIO.partition('expect:')[0]}expect:\n- {item}\n"
    assert verdict_of(scenario).status is Status.INCONCLUSIVE
