from textwrap import dedent

import pytest

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.values import fault
from envoyassert.judge.verdict import Certificate, Check, Finding, Status, Verdict
from envoyassert.report.certificate import certificate_line
from envoyassert.report.failure import (
    RunContext,
    failure_lines,
)
from envoyassert.report.headline import headline
from envoyassert.report.places import Place
from envoyassert.trace import End, EnvoyIdentity, Header, Outcome, Trace
from tests.unit.said import ELSEWHERE, a_finding

PID, WORKER = 100, 101
MS = 1_000_000
ANY = Address.inet("0.0.0.0", 15006)

WHOLE = Certificate(
    (Check("marked", True, fault("marked at exec")), Check("losses", True, fault("none lost")))
)
TORN = Certificate((Check("losses", False, fault("3 records lost on CPU 1")),))


def a_trace(**outcome) -> Trace:
    events = [
        Event(10 * MS, PID, PID, "exec", None, {"filename": "/envoy", "argv": [], "name": "envoy"}),
        Event(
            11 * MS, PID, PID, "fork", None, {"child_pid": PID, "child_tid": 101, "thread": True}
        ),
        Event(11 * MS, PID, PID, "rename", None, {"tid": WORKER, "name": "wrk:worker_0"}),
        Event(12 * MS + 500_000, PID, PID, "bind", 0, {"fd": 31, "address": ANY}),
        Event(14 * MS, PID, WORKER, "bind", -98, {"fd": 33, "address": ANY}),
    ]
    header = Header(
        scenario="sidecar",
        envoy=EnvoyIdentity("1.40.0", "0123456789abcdef", "version 1.40.0"),
        launcher="process",
        concurrency=2,
    )
    return Trace(header, events, End(outcome=Outcome(**outcome)))


def a_verdict(*findings: Finding, certificate: Certificate = WHOLE) -> Verdict:
    statuses = [finding.status for finding in findings]
    worst = Status.FAIL if Status.FAIL in statuses else Status.INCONCLUSIVE
    return Verdict(worst, findings, certificate)


def text_of(verdict: Verdict, trace: Trace | None = None, context: RunContext | None = None) -> str:
    trace = trace or a_trace()
    return "\n".join(failure_lines(verdict, trace, fold(trace), context))


def test_failure_in_full_reads_from_verdict_to_replay_command():
    trace = a_trace()
    finding = a_finding(
        evidence=tuple(trace.events[3:]),
        hint="this is what reuse_port does: 2 sockets",
        why="iptables redirects to it",
    )
    excerpt = (
        "   13 | expect:",
        " > 14 |   - listener: {port: 15006}",
        "      |     bound: {times: 1}",
    )
    context = RunContext(
        title="sidecar[n=2]",
        place=lambda path: Place("sidecar.yaml", 14, 13, excerpt) if path[2:3] else None,
        scenario_path="sidecar.yaml",
        trace_path=".envoyassert/sidecar/trace.ndjson",
        log_path=".envoyassert/sidecar/envoy.log",
    )
    assert text_of(a_verdict(finding), trace, context) + "\n" == dedent(
        """\
        FAIL sidecar[n=2]: port 15006: expected 1 bind() call, saw 2

        sidecar.yaml:14:13
           13 | expect:
         > 14 |   - listener: {port: 15006}
              |     bound: {times: 1}
          expected  port 15006 bound.times: 1 bind() call
          seen      2 bind() calls
          why       iptables redirects to it
          hint      this is what reuse_port does: 2 sockets
          time      thread    fd  call
          +2.500ms  main      31  bind(31, 0.0.0.0:15006) = 0
          +4.000ms  worker_0  33  bind(33, 0.0.0.0:15006) = -1 EADDRINUSE

        run: Envoy 1.40.0, build id 0123456789ab, launcher process, concurrency 2, 5 events
        certificate: whole (2 checks hold)
        trace: .envoyassert/sidecar/trace.ndjson
        log: .envoyassert/sidecar/envoy.log
        replay: envoyassert replay .envoyassert/sidecar/trace.ndjson --scenario sidecar.yaml
        """
    )


def test_inconclusive_names_the_reason_and_what_is_missing():
    finding = a_finding(Status.INCONCLUSIVE, seen="bound 1 time", reason="3 records are lost")
    text = text_of(a_verdict(finding, certificate=TORN), context=RunContext("sidecar"))
    assert text.splitlines()[0] == (
        "INCONCLUSIVE sidecar: port 15006 bound.times: 3 records are lost"
    )
    assert "  reason    3 records are lost" in text
    assert "certificate: NOT whole\n  MISSING  losses  3 records lost on CPU 1" in text


def ended(status=Status.FAIL, atom="stays_up"):
    return a_finding(status, ("process", atom), expected="stays up", seen="exited with 1")


def test_process_finding_comes_after_what_envoy_said():
    trace = a_trace(exit_code=1, log_tail=("starting", "cannot bind '0.0.0.0:80'"))
    lines = text_of(a_verdict(ended()), trace).splitlines()
    assert lines[:2] == [
        "FAIL: process.stays_up: expected stays up, saw exited with 1",
        "  cause: Envoy ended with status 1: cannot bind '0.0.0.0:80'",
    ]
    assert lines[lines.index("Envoy said") + 2] == "  cannot bind '0.0.0.0:80'"


def test_process_finding_comes_first_for_it_explains_the_others():
    text = text_of(a_verdict(a_finding(), ended()), a_trace(exit_code=1))
    assert "expected  process.stays_up: stays up" in text.split("expected  port")[0]
    assert "seen      2 bind() calls (Envoy ended with status 1 before that)" in text
    assert "Envoy printed nothing" in text
    assert "5 events, ended with\n  status 1" in text


def test_end_that_the_scenario_asked_for_is_no_cause():
    asked = ended(Status.PASS, "exits")
    text = text_of(a_verdict(asked, a_finding()), a_trace(exit_code=1))
    assert text.startswith("FAIL: port 15006: expected 1 bind() call, saw 2\n\n")
    assert "before that" not in text


def test_envoy_that_was_not_live_is_said_before_what_it_had_not_done():
    late = a_trace(live=False, deadline_s=5)
    text = text_of(a_verdict(a_finding()), late)
    first = "FAIL: port 15006: expected 1 bind() call, saw 2\n"
    assert text.startswith(f"{first}  cause: Envoy was not live after 5 s\n")
    asked = ended(Status.PASS, "live")
    assert text_of(a_verdict(asked, a_finding()), late).startswith(f"{first}\n")


def test_headline_of_an_end_with_a_long_reason_leaves_out_its_middle():
    reason = f"cannot start {'because of ' * 30}no such field"
    outcome = Outcome(exit_code=1, log_tail=(reason,))
    line = headline(a_verdict(a_finding()), "x", outcome)
    assert line.startswith("FAIL x: Envoy ended with status 1: cannot start because of")
    assert " … " in line
    assert line.endswith("no such field; not met: port 15006 bound.times")
    assert len(line) < 250


def test_headline_of_an_end_has_the_place_in_the_config():
    outcome = Outcome(exit_code=1, log_tail=("cannot bind '0.0.0.0:80'",))
    line = headline(a_verdict(a_finding()), "x", outcome, blame=lambda it: f"{len(it.text)}:1")
    assert "status 1: cannot bind '0.0.0.0:80' (24:1); not met" in line


WAITS = ("cluster slow", "secret key of listener in")


def test_headline_of_an_envoy_that_was_not_live_says_what_it_waited_for():
    late = Outcome(live=False, deadline_s=5, waits_for=WAITS)
    assert (
        "Envoy was not live after 5 s, waiting for cluster slow and secret key of listener in"
        in (headline(a_verdict(a_finding()), "x", late))
    )


@pytest.mark.parametrize(
    "log, words",
    [
        ((), "0 before it was live, waiting for cluster slow and secret key of listener in; not"),
        (("caught SIGINT", "exiting"), "listener in: caught SIGINT; not met"),
        (("[x] all dependencies initialized. starting workers",), "ended with status 0: "),
    ],
)
def test_headline_of_an_end_with_0_says_what_envoy_waited_for_unless_it_had_started(log, words):
    outcome = Outcome(live=False, exit_code=0, deadline_s=5, waits_for=WAITS, log_tail=log)
    assert words in headline(a_verdict(a_finding()), "x", outcome)


def test_headline_names_what_comes_closest_to_what_is_not_there():
    verdict = a_verdict(a_finding(near=(ELSEWHERE,)))
    assert headline(verdict).endswith("saw 2; closest: TCP 0.0.0.0:15007: port 15007, not 15006")


def test_findings_inconclusive_for_one_reason_say_it_once():
    inconclusive = [
        a_finding(Status.INCONCLUSIVE, atom=("bound", atom), reason="3 events lost")
        for atom in ("times", "by")
    ]
    text = text_of(a_verdict(*inconclusive, certificate=TORN))
    assert text.startswith("INCONCLUSIVE: port 15006 bound.times (and 1 more): 3 events lost\n")
    assert "  port 15006 bound.by: INCONCLUSIVE for the same reason" in text


def test_findings_come_in_the_order_of_the_file():
    lines = {"times": 9, "by": 7}
    first, second = a_finding(), a_finding(atom=("bound", "by"), expected="by main", seen="other")
    context = RunContext(place=lambda path: Place("x.yaml", lines[str(path[3])], 1))
    text = text_of(a_verdict(first, second), context=context)
    assert text.startswith("FAIL: port 15006: expected by main, saw other")
    assert text.index("x.yaml:7:1") < text.index("x.yaml:9:1")


def test_findings_of_a_listener_that_is_not_there_are_reported_once():
    closest = "TCP 0.0.0.0:15007: port 15007, not 15006"
    many = [a_finding(near=(ELSEWHERE,)), a_finding(atom=("backlog",), near=(ELSEWHERE,))]
    text = text_of(a_verdict(*many, a_finding(atom=("options", "X"))))
    assert text.count(closest) == 2
    assert f"  closest: {closest}\n" in text
    assert f"  closest   {closest}" in text
    assert "expected  port 15006 options.X" in text
    assert "also:\n  port 15006: expected" in text


def test_listener_finding_does_not_show_a_log_without_complaints():
    text = text_of(a_verdict(a_finding()), a_trace(log_tail=("one",)))
    assert "log ends" not in text
    assert "said" not in text


def test_every_finding_is_reported_in_full_when_that_is_asked_for():
    trace = a_trace()
    findings = [a_finding(atom=("options", f"SO_{n}")) for n in range(30)]
    lines = failure_lines(a_verdict(*findings), trace, fold(trace), everything=True)
    assert sum(line.startswith("  expected") for line in lines) == 30


def test_headline_of_many_findings_counts_those_of_the_same_status():
    verdict = a_verdict(
        a_finding(Status.PASS),
        a_finding(atom=("bound", "by"), expected="by main", seen="by worker_0"),
        a_finding(Status.INCONCLUSIVE, reason="unknown"),
        a_finding(),
    )
    assert headline(verdict, "x") == (
        "FAIL x: port 15006: expected by main, saw by worker_0 (and 1 more)"
    )
    assert "other findings: 1 PASS, 1 INCONCLUSIVE" in text_of(verdict)


def test_headline_of_an_assumed_pass_says_what_was_assumed():
    verdict = Verdict(Status.PASS, (a_finding(Status.PASS),), WHOLE, ("complete",))
    assert headline(verdict) == "PASS (assumed: complete)"


def test_text_of_a_hundred_findings_stays_on_a_screen():
    trace = a_trace()
    many = [
        a_finding(
            seen="something long " * 20,
            why="a reason " * 20,
            hint="some help " * 20,
            evidence=tuple(trace.events) * 10,
        )
        for _ in range(100)
    ]
    excerpt = tuple(f"{number} | text" for number in range(5))
    context = RunContext("x", lambda _: Place("x.yaml", 1, 1, excerpt), "x.yaml", "t", "l")
    lines = text_of(a_verdict(*many), trace, context).splitlines()
    assert len(lines) <= 75
    assert "  … and 93 more; all in full: envoyassert replay t --scenario x.yaml --all" in lines
    assert "  … and more: envoyassert show t" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("certificate", "line"),
    [
        (WHOLE, "whole (2 checks hold)"),
        (TORN, "NOT whole (losses: 3 records lost on CPU 1)"),
        (
            Certificate((Check("marked", None, fault("imported")),)),
            "no check applies to this trace",
        ),
    ],
)
def test_certificate_line_of_a_trace_says_whether_it_is_whole(certificate, line):
    assert certificate_line(certificate) == line
