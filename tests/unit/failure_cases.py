"""One run that went wrong per kind of failure: a scenario, and a trace built in code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.outcomes import NotPassed, raise_unless_passed
from envoyassert.report.changes import remedies
from envoyassert.report.failure import RunContext
from envoyassert.report.places import place_finder
from envoyassert.scenario.load import parse_scenario
from envoyassert.testing import TraceBuilder
from envoyassert.trace import CHANNELS, End, ListenerRecord, Outcome, Trace

WORKERS = 2
FILE = "inbound.envoyassert.yaml"
KEPT = ".envoyassert/inbound/inbound"

HEAD = """\
name: inbound
envoy:
  concurrency: 2
  config: bootstrap.yaml
expect:
"""

INGRESS = ListenerRecord("ingress", "TCP", (Address.inet("0.0.0.0", 15006),))
ELSEWHERE = ListenerRecord("ingress", "TCP", (Address.inet("127.0.0.1", 15007),))
HTTP = ListenerRecord("http", "TCP", (Address.inet("0.0.0.0", 8080),))
ADMIN = ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin")


@dataclass(frozen=True)
class FailureCase:
    """A run that is not PASS.

    Args:
        name: what went wrong.
        expect: the items of `expect`.
        trace: returns what was observed.
    """

    name: str
    expect: str
    trace: Callable[[], Trace]

    def failure(self) -> NotPassed:
        """Return what judging it raises."""
        text = HEAD + indent(self.expect, "  ")
        loaded = parse_scenario(text, Path(FILE))
        trace = self.trace()
        graph = fold(trace)
        verdict = judge(
            trace,
            list(enumerate(loaded.scenario.expect)),
            workers=WORKERS,
            assume=loaded.scenario.assume,
            graph=graph,
        )
        context = RunContext(
            title="inbound",
            place=place_finder(loaded),
            scenario_path=FILE,
            trace_path=f"{KEPT}/trace.ndjson",
            log_path=f"{KEPT}/envoy.log",
            remedies=remedies(
                verdict,
                trace,
                graph,
                list(enumerate(loaded.scenario.expect)),
                workers=WORKERS,
                assume=loaded.scenario.assume,
                place=place_finder(loaded),
            ),
        )
        try:
            raise_unless_passed(verdict, trace, graph, context)
        except NotPassed as failure:
            return failure
        raise AssertionError(f"{self.name} passed")


def builder(*listeners: ListenerRecord, **options: Any) -> TraceBuilder:
    return TraceBuilder(WORKERS, listeners=listeners or (INGRESS,), **options)


def log(level: str, component: str, place: str, text: str) -> str:
    return f"[2026-01-31 12:00:00.000][14][{level}][{component}] [{place}] {text}"


def _reuse_port() -> Trace:
    trace = builder()
    trace.reuse_port_listener("0.0.0.0:15006")
    return trace.build()


def _shared() -> Trace:
    trace = builder()
    trace.shared_listener("0.0.0.0:15006")
    return trace.build()


def _bound_by_workers() -> Trace:
    """As Envoy up to 1.19 did with reuse_port."""
    trace = builder()
    for index in range(WORKERS):
        worker = trace.worker(index)
        fd = trace.socket(worker)
        trace.setsockopt(worker, fd, "SO_REUSEPORT")
        trace.bind(worker, fd, "0.0.0.0:15006")
        trace.listen(worker, fd)
        trace.epoll_add(worker, fd)
    return trace.build()


def _option_after_bind() -> Trace:
    trace = builder()
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
    trace.bind(trace.main, fd, "0.0.0.0:15006")
    trace.setsockopt(trace.main, fd, "IP_FREEBIND", level="SOL_IP")
    trace._serve([fd, trace.dup(trace.main, fd)], -1)
    return trace.build()


def _extra_socket() -> Trace:
    trace = builder(INGRESS, ADMIN)
    trace.shared_listener("0.0.0.0:15006")
    trace.shared_listener("127.0.0.1:9901")
    trace.shared_listener("0.0.0.0:15001")
    return trace.build()


def _elsewhere() -> Trace:
    trace = builder(ELSEWHERE, ADMIN)
    trace.shared_listener("127.0.0.1:9901")
    trace.shared_listener("127.0.0.1:15007")
    return trace.build()


def _rejected() -> Trace:
    """A listener by LDS that Envoy could not bind: it goes on without it."""
    trace = builder(ADMIN)
    trace.shared_listener("127.0.0.1:9901")
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15006", ret=-98)
    trace.close(trace.main, fd)
    reason = "cannot bind '0.0.0.0:15006': Address already in use"
    place = "source/common/listener_manager/lds_api.cc:89"
    trace.outcome = Outcome(
        live=True,
        live_after_s=0.05,
        deadline_s=10,
        log_tail=(
            log("info", "main", "source/server/server.cc:1098", "starting main dispatch loop"),
            log("warning", "upstream", place, f"lds: listener 'ingress' config rejected: {reason}"),
        ),
    )
    return trace.build()


def _bind_failed() -> Trace:
    trace = builder()
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
    trace.bind(trace.main, fd, "0.0.0.0:15006", ret=-98)
    reason = "cannot bind '0.0.0.0:15006': Address already in use"
    _end(trace, reason)
    return trace.build()


def _refused() -> Trace:
    trace = builder()
    _end(
        trace,
        "Protobuf message (type envoy.config.bootstrap.v3.Bootstrap reason INVALID_ARGUMENT: "
        "invalid JSON in envoy.config.bootstrap.v3.Bootstrap @ static_resources.listeners[0]: "
        "message envoy.config.listener.v3.Listener, near 1:313 (offset 312): no such field: "
        "'enable_reuseport') has unknown fields",
    )
    return trace.build()


def _end(trace: TraceBuilder, reason: str) -> None:
    server = "source/server/server.cc"
    names = ", ".join(f"envoy.stat_sinks.{name}" for name in ("dog_statsd", "statsd", "wasm"))
    trace.call(trace.main, "exit", None, status=1, last=True)
    trace.outcome = Outcome(
        live=False,
        exit_code=1,
        deadline_s=10,
        log_tail=(
            log("info", "main", f"{server}:467", f"  envoy.stats_sinks: {names}"),
            log("critical", "main", f"{server}:449", f"error `{reason}` initializing config 'x"),
            "  /run/envoy.yaml'",
            log("info", "main", f"{server}:1159", "exiting"),
            reason,
        ),
    )


def _crashed() -> Trace:
    trace = builder()
    trace.shared_listener("0.0.0.0:15006")
    trace.call(trace.main, "signal", None, number=11)
    place = "./source/server/backtrace.h:129"
    trace.outcome = Outcome(
        live=False,
        signal=11,
        deadline_s=10,
        log_tail=(
            log("info", "main", "source/server/server.cc:1098", "starting main dispatch loop"),
            log(
                "critical",
                "backtrace",
                place,
                "Caught Segmentation fault, suspect faulting address 0x0",
            ),
            log("critical", "backtrace", place, "Backtrace (use tools/stack_decode.py):"),
            log("critical", "backtrace", place, "#0: Envoy::Server::InstanceBase::run() [0x55d0]"),
            log("critical", "backtrace", place, "#1: Envoy::MainCommon::main() [0x55d1]"),
            log("critical", "backtrace", place, "#2: main [0x55d2]"),
        ),
    )
    return trace.build()


def _not_live() -> Trace:
    trace = builder(ADMIN)
    trace.shared_listener("127.0.0.1:9901")
    server = "source/server/server.cc"
    trace.outcome = Outcome(
        live=False,
        deadline_s=5,
        log_tail=(
            log("warning", "main", f"{server}:1059", "There is no configured limit to the number"),
            log("info", "main", f"{server}:1078", "all clusters initialized. initializing init"),
            log("info", "main", f"{server}:1098", "starting main dispatch loop"),
        ),
    )
    return trace.build()


def _added_before_listen() -> Trace:
    trace = builder()
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15006")
    trace.epoll_add(trace.worker(0), fd)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(1), fd)
    return trace.build()


def _lossy() -> Trace:
    trace = builder()
    trace.shared_listener("0.0.0.0:15006")
    last = len(trace.events) - 1
    return trace.build(lost=(last - 1, last))


def _imported() -> Trace:
    built = _shared()
    missing = tuple(channel for channel in CHANNELS if channel not in ("epoll", "threads"))
    built.header.__dict__.update(unobserved=missing, launcher="", listeners=())
    for number, event in enumerate(built.events, 1):
        event.ts_ns = number  # such a log has an order, but no times
    built.end = End()
    return built


def _two_shapes() -> Trace:
    """A listener with a socket for all workers, one with a socket for each, and an extra option."""
    trace = builder(HTTP, INGRESS)
    trace.shared_listener("0.0.0.0:8080")
    trace.reuse_port_listener("0.0.0.0:15006")
    return trace.build()


def _many() -> Trace:
    trace = builder(ADMIN)
    for port in range(15001, 15013):
        trace.reuse_port_listener(f"0.0.0.0:{port}")
    return trace.build()


SHARED = """\
- listener: {port: 15006}
  why: iptables sends all inbound traffic there
  bound: {times: 1, by: main}
  listened: {by: workers, via: dup}
"""

CASES = (
    FailureCase("wrong_times", SHARED, _reuse_port),
    FailureCase("wrong_by", "- listener: {port: 15006}\n  bound: {by: main}\n", _bound_by_workers),
    FailureCase("wrong_via", "- listener: {port: 15006}\n  via: reuse_port\n", _shared),
    FailureCase(
        "option_missing", "- listener: {port: 15006}\n  options: {IP_TRANSPARENT: 1}\n", _shared
    ),
    FailureCase(
        "option_too_late",
        "- listener: {port: 15006}\n"
        "  options:\n"
        "    IP_FREEBIND: {value: 1, phase: STATE_PREBIND}\n",
        _option_after_bind,
    ),
    FailureCase("extra_socket", SHARED + "- no_others: true\n", _extra_socket),
    FailureCase("listener_absent", SHARED, _elsewhere),
    FailureCase("listener_rejected", SHARED, _rejected),
    FailureCase("bind_failed", SHARED, _bind_failed),
    FailureCase("config_refused", SHARED + "- process: {live: true}\n", _refused),
    FailureCase("crashed", "- process: {stays_up: true}\n" + SHARED, _crashed),
    FailureCase("not_live", "- process: {live: true, within: 5s}\n", _not_live),
    FailureCase(
        "order_violated",
        "- in_order:\n"
        "  - {call: listen, listener: {port: 15006}}\n"
        "  - {call: epoll_ctl, listener: {port: 15006}}\n"
        "  why: no thread may wait for a socket that does not listen\n",
        _added_before_listen,
    ),
    FailureCase("never_violated", "- never: {call: bind, errno: EADDRINUSE}\n", _rejected),
    FailureCase("call_missing", "- calls: {call: listen, args: {backlog: 64}}\n", _shared),
    FailureCase("inconclusive_by_loss", SHARED, _lossy),
    FailureCase("inconclusive_unobserved", SHARED, _imported),
    FailureCase(
        "two_causes",
        "- listener: {name: http}\n  bound: {times: 2}\n  sockets: 2\n"
        "- listener: {port: 15006}\n  options: {IP_TRANSPARENT: 1}\n  sockets: 1\n  via: dup\n",
        _two_shapes,
    ),
    FailureCase(
        "many_findings",
        "".join(
            f"- listener: {{port: {port}}}\n  bound: {{times: 1}}\n" for port in range(15001, 15013)
        ),
        _many,
    ),
)
