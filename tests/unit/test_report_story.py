import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.values import fault
from envoyassert.judge.verdict import Certificate, Check
from envoyassert.report import story
from envoyassert.report.socket_table import netid
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.testing import TraceBuilder
from envoyassert.trace import (
    STARTUP,
    ConnectionAttempt,
    End,
    EnvoyIdentity,
    Header,
    ListenerRecord,
    Outcome,
    Trace,
    UpdateResult,
)
from envoyassert.words.startup import Figure

LOG = Path(__file__).parents[1] / "traces" / "istio-1.11-envoy-1.19.1.bpftrace.txt"
CERTIFICATE = Certificate(
    (
        Check("marked", True, fault("marked at exec")),
        Check("witness", False, fault("could not be taken")),
    )
)

MS = 1_000_000
MAIN, WORKER = 10, 11
STREAM = {"family": "AF_INET", "type": "SOCK_STREAM", "flags": ["SOCK_NONBLOCK"], "protocol": 0}
ANY = Address.inet("0.0.0.0", 80)


STORY = """\
Envoy 1.40.0, build id abababababab, launcher process, concurrency 1, kernel 6.1
scenario one (concurrency=1)
13 events, the last one 12.0 ms after exec; Envoy became LIVE after 50 ms
start-up: first listen 9 ms, bind to listen 3 ms, listen to served 1 ms, served to live not known

Process and threads
  process 10  /bin/envoy -c
  1 workers   worker_0 (11)
  0 others    -

Sockets made, options set, bound
  +4.000ms  main  #1  socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0) = 5
  +5.000ms  main  #1  setsockopt(5, SOL_SOCKET, SO_REUSEPORT, 1) = 0
  +6.000ms  main  #1  bind(5, 0.0.0.0:80) = 0

Copied and listening
  +9.000ms  main  #1  listen(5, 4096) = 0

Put into an epoll, to be served
  +10.000ms  worker_0  #1  epoll_ctl(4, EPOLL_CTL_ADD, 5, EPOLLIN) = 0

Listening sockets, and who serves them
  Netid  State   Backlog  Local address  Socket  Listener
  tcp    LISTEN  4096     0.0.0.0:80     #1      ingress
      fd 5 worker_0
      bound by main; listen() by main; SO_REUSEPORT=1 before bind; 1 connection
  1 capability probe set aside
  1 connection accepted (1 by worker_0)

Certificate
  ok       marked   marked at exec
  MISSING  witness  could not be taken
"""


@pytest.fixture(scope="module")
def origin() -> list[str]:
    trace = parse_bpftrace_log(LOG.read_text().splitlines(), LOG.name, concurrency=2)
    return story_lines(story_of(trace, fold(trace), CERTIFICATE))


def a_run(*extra: Event) -> Trace:
    """One worker that serves one listener through the descriptor that main made."""
    script: list[tuple[int, str, int | None, dict[str, Any]]] = [
        (MAIN, "exec", None, {"filename": "/bin/envoy", "argv": ["envoy", "-c"], "name": "envoy"}),
        (MAIN, "epoll_create1", 4, {"flags": 0}),
        (MAIN, "socket", 5, {**STREAM, "flags": []}),
        (MAIN, "close", 0, {"fd": 5}),
        (MAIN, "socket", 5, STREAM),
        (
            MAIN,
            "setsockopt",
            0,
            {"fd": 5, "level": "SOL_SOCKET", "name": "SO_REUSEPORT", "length": 4, "value": 1},
        ),
        (MAIN, "bind", 0, {"fd": 5, "address": ANY}),
        (MAIN, "fork", None, {"child_pid": MAIN, "child_tid": WORKER, "thread": True}),
        (MAIN, "rename", None, {"tid": WORKER, "name": "wrk:worker_0"}),
        (MAIN, "listen", 0, {"fd": 5, "backlog": 4096}),
        (
            WORKER,
            "epoll_ctl",
            0,
            {"epfd": 4, "op": "EPOLL_CTL_ADD", "fd": 5, "events": ["EPOLLIN"]},
        ),
        (WORKER, "epoll_wait", None, {"epfd": 4}),
        (WORKER, "accept4", 9, {"fd": 5, "address": Address.inet("127.0.0.1", 5), "flags": []}),
    ]
    events = [
        Event(number * MS, MAIN, tid, call, ret, args)
        for number, (tid, call, ret, args) in enumerate(script, 1)
    ]
    header = Header(
        scenario="one",
        envoy=EnvoyIdentity("1.40.0", "ab" * 20, "version 1.40.0"),
        launcher="process",
        concurrency=1,
        kernel="6.1",
        listeners=(ListenerRecord("ingress", "TCP", (ANY,)),),
        matrix={"concurrency": "1"},
    )
    end = End(marked=True, outcome=Outcome(live=True, live_after_s=0.05))
    return Trace(header, [*events, *extra], end)


def story_by(trace: Trace):
    return story_of(trace, fold(trace), CERTIFICATE)


def test_story_of_a_run_reads_from_exec_to_certificate():
    assert "\n".join(story_lines(story_by(a_run()))) + "\n" == STORY


def test_story_reports_a_socket_that_joins_no_listener():
    trace = a_run()
    trace.header = Header(launcher="process", listeners=(), concurrency=1)
    assert "0.0.0.0:80 #1 (none of the config) fd 5 worker_0" in in_one_line(
        story_lines(story_by(trace))
    )


def test_story_reports_failed_binds_and_other_sockets():
    extra = [
        Event(20 * MS, MAIN, MAIN, "socket", 7, STREAM),
        Event(21 * MS, MAIN, MAIN, "bind", -98, {"fd": 7, "address": ANY}),
    ]
    text = "\n".join(story_lines(story_by(a_run(*extra))))
    assert "failed: main bind(7, 0.0.0.0:80) = -1 EADDRINUSE on socket #3" in text
    assert "Other sockets\n  #3  TCP SOCK_STREAM  main  socket(" in text


def test_story_as_json_survives_json_and_names_descriptors():
    story = json.loads(json.dumps(story_by(a_run())))
    (listening,) = story["listening"]
    (descriptor,) = listening["descriptors"]
    assert (descriptor["fd"], descriptor["waited_on_by"]) == (5, ["worker_0"])
    assert (listening["listener"], listening["served_by"]) == ("ingress", ["worker_0"])
    assert story["phases"]["listening"][0]["at_ms"] == 9.0
    assert story["probes"] == 1


def test_story_of_the_origin_explains_what_ss_showed(origin):
    text = in_one_line(origin)
    assert "15001 #3 - fd 31 no one, fd 37 (dup of 31) worker_1, fd 38 (dup of 31) worker_0" in text
    assert "15006 #4 - fd 32 no one, fd 39 (dup of 32) worker_0, fd 40 (dup of 32) worker_1" in text
    assert "15000 #0 - fd 18 main bound by main; listen() by main; SO_REUSEADDR=1" in text
    assert "SO_REUSEPORT" not in text
    assert "not observed: completeness, results, threads, epoll, close" in text


def test_story_lines_fit_a_page(origin):
    assert max(map(len, origin)) <= 100
    assert max(map(len, story_lines(story_by(a_run())))) <= 100


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("run", ["hot restart", "log"])
def test_story_uses_the_width_that_there_is(run, width):
    trace = parse_bpftrace_log(LOG.read_text().splitlines(), LOG.name, concurrency=2)
    story = story_by(restarted() if run == "hot restart" else trace)
    lines = story_lines(story, width)
    assert max(map(len, lines)) <= width
    endless = story_lines(story, 500)
    assert "".join("".join(lines).split()) == "".join("".join(endless).split())


def test_a_wide_terminal_has_fewer_lines():
    story = story_by(restarted())
    assert len(story_lines(story, 200)) < len(story_lines(story, 60))


def in_one_line(lines) -> str:
    return " ".join(" ".join(lines).split())


def part(lines: list[str], title: str) -> list[str]:
    """Return the lines below a title."""
    begin = lines.index(title) + 1
    return [*takewhile(bool, lines[begin:])]


def restarted() -> Trace:
    """An Envoy with sockets of its own and two listeners, of which it closes one."""
    build = TraceBuilder(2)
    main = build.main
    build.bind(main, build.socket(main, "AF_UNIX", "SOCK_DGRAM"), "@envoy_domain_socket_child_0")
    sequence = build.socket(main, "AF_UNIX", "SOCK_SEQPACKET")
    build.bind(main, sequence, "/tmp/seq")
    build.listen(main, sequence, 8)
    for descriptor in build.shared_listener("0.0.0.0:80"):
        build.close(main, descriptor)
    build.reuse_port_listener("0.0.0.0:81")
    return build.build()


def test_a_closed_socket_is_not_among_those_that_listen():
    lines = story_lines(story_by(restarted()))
    listening = part(lines, "Listening sockets, and who serves them")
    closed = part(lines, "Sockets that are closed")
    assert not any("CLOSED" in line for line in listening)
    assert any("LISTEN" in line and "0.0.0.0:81" in line for line in listening)
    assert any("CLOSED" in line and "0.0.0.0:80" in line for line in closed)
    assert not any("0.0.0.0:80" in line for line in listening)


def test_sockets_have_the_names_of_ss():
    text = in_one_line(story_lines(story_by(restarted())))
    assert "u_dgr UNCONN - @envoy_domain_socket_child_0" in text
    assert "u_seq LISTEN 8 /tmp/seq" in text
    assert "u_str" not in text


def test_a_unix_socket_whose_type_was_not_seen_is_no_stream():
    assert [netid("UNIX"), netid("UNIX", "SOCK_STREAM"), netid("UDP", "SOCK_DGRAM")] == [
        "unix",
        "u_str",
        "udp",
    ]


def test_each_call_of_a_story_has_its_own_time():
    trace = restarted()
    lines = story_lines(story_by(trace))
    shown = part(lines, "Sockets made, options set, bound")
    calls = [e for e in trace.events if e.call in ("socket", "setsockopt", "bind")]
    assert len(shown) == len(calls)
    at = [float(line.split()[0].removesuffix("ms")) for line in shown]
    assert at == sorted(at)
    assert len(set(at)) == len(calls)


def test_story_shows_when_each_phase_was_over_and_what_came_of_it() -> None:
    trace = TraceBuilder(1)
    trace.shared_listener("0.0.0.0:80")
    trace.end_phase(STARTUP, STARTUP)
    refused = ConnectionAttempt("TCP", ANY, False, errno="ECONNREFUSED")
    made = ConnectionAttempt("TCP", ANY, True, first_byte=True, end="held")
    trace.end_phase("clients", "connect", attempts=(refused, made))
    trace.end_phase("pushed", "update_listeners", update=UpdateResult("nack", "2", "no such port"))
    trace.end_phase("signal", "signal", outcome=Outcome(exit_code=0))
    trace.end_phase("late", missed="/ready to say LIVE within 1 s")
    trace.end_phase("odd", problem="the config has no admin endpoint to ask")
    story = story_by(trace.build())
    assert json.loads(json.dumps(story)) == story
    lines = story_lines(story)
    begin = lines.index("Phases, and when each was over")
    shown = [" ".join(line.split()[1:]) for line in lines[begin + 1 : begin + 7]]
    assert shown == [
        "startup over",
        "clients connect 2 attempts to connect (1 made, 1 refused, 1 answered, 1 held)",
        "pushed update_listeners nack: no such port",
        "signal Envoy exited with 0",
        "late wait_for it did not come to this: /ready to say LIVE within 1 s",
        "odd wait_for not carried out: the config has no admin endpoint to ask",
    ]


@pytest.mark.parametrize(
    ("low_ms", "high_ms", "shown"),
    [
        (-6061.0, -6060.5, {"live_to_served": "6.061 s"}),
        (-1.0, 2.0, {"served_to_live": "at most 2 ms"}),
        (1.0, 2.0, {"served_to_live": "1 ms to 2 ms"}),
    ],
)
def test_no_part_of_a_start_takes_less_than_nothing(low_ms, high_ms, shown):
    figure = Figure(int(low_ms * MS), int(high_ms * MS))
    found = story._start_up({"served_to_live": figure})
    assert found.keys() == shown.keys()
    (words,) = found.values()
    assert "-" not in words
    assert "\N{MINUS SIGN}" not in words
    assert words.endswith(*shown.values())
