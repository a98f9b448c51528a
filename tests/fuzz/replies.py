"""Changed replies of an admin endpoint: each is used or an answer of another form, in words.

What is taken from one goes into a trace, is judged and printed. So the trace is written, read as
the same, and judged.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter

from envoyassert.accounts import EnvoyAccount, Witness
from envoyassert.addresses import Address
from envoyassert.driver.drivers import driver_of
from envoyassert.errors import FAULT
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.launch.admin import request
from envoyassert.launch.base import Exit
from envoyassert.launch.readiness import wait_ready
from envoyassert.report.failure import RunContext, failure_lines
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.report.verdict_json import verdict_json
from envoyassert.shown import joined
from envoyassert.steps.base import Step, StepProblem
from envoyassert.steps.registry import AnyStep
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Outcome, Trace
from envoyassert.trace_file import parse_trace, trace_lines
from envoyassert.witness.envoy import GAUGES, ask_envoy
from envoyassert.words.registry import Expectation
from tests.fuzz.case import REFUSED, Case
from tests.fuzz.recorded import Items
from tests.fuzz.values import Vocabulary, change, damaged, odd, written
from tests.odd_text import raw_in

_PLACE = {"socket_address": {"address": "127.0.0.1", "port_value": 80}}
_LISTED = {
    "listener_statuses": [
        {"name": "one", "local_address": _PLACE},
        {"name": "two", "local_address": {"pipe": {"path": "/run/two"}},
         "additional_local_addresses": [_PLACE, {"pipe": {"path": "@two"}},
                                        {"socket_address": {"address": "::1", "port_value": 1,
                                         "network_namespace_filepath": "/run/netns/blue"}}]},
    ]
}  # fmt: skip
_GAUGES = {"stats": [{"name": name, "value": 1} for name in GAUGES]}
_UNREADY = {
    "unready_targets_dumps": [
        {"name": "init manager Server", "target_names": ["target RTDS", "target LDS"]},
        {
            "name": "init manager Listener-local-init-manager one 123",
            "target_names": [
                "target Listener-init-target one",
                "shared target RdsX init route",
                "target SdsApi secret",
            ],
        },
    ]
}
_STATS = "\n".join(
    (
        *("cluster.slow.warming_state: 1", "cluster_manager.cds.update_success: 0"),
        *("cluster_manager.cds.init_fetch_timeout: 0", "listener_manager.lds.update_success: 0"),
        *("listener_manager.lds.init_fetch_timeout: 0", "runtime.update_success: 0", ""),
    )
)
#: The body of each path, by its beginning; data are changed as data.
_BODIES: tuple[tuple[str, Any], ...] = (
    ("/listeners", _LISTED),
    ("/stats?format=json", _GAUGES),
    ("/stats?filter=^server", "server.live: 1\n"),
    ("/stats", _STATS),
    ("/init_dump", _UNREADY),
    ("/ready", "INITIALIZING\n"),
    ("/", "OK\n"),
)
_WORDS = Vocabulary([_LISTED, _GAUGES, _UNREADY])
_STATUSES = ("200 OK", "200", "403 Forbidden", "503 No", "500", "100 Continue", "99", "1e3", "-1")
_HEADERS = ("content-length: 5", "content-length: -1", f"content-length: {'9' * 5000}",
            "transfer-encoding: chunked", "a", ": b", "a: \x1b", " a: b", "\0",
            "connection: keep-alive", "x" * 70_000)  # fmt: skip
_NUMBERS = ("\u00b2", "\u0661", "9" * 5000, "-1", "1.5", "1e3", "inf", "2" * 19)
#: Names and reasons are for people.
_LONGEST_LINE = 4_000


class _Envoy:
    """An Envoy whose admin endpoint gives changed replies: the same for a path each time."""

    control_plane = None
    started_pid = pid = 1

    def __init__(self, chance: Random) -> None:
        self.plan = SimpleNamespace(admin=Address.inet("127.0.0.1", 9901))
        self._chance = chance
        self._known: dict[str, bytes] = {}

    def admin_get(self, path: str, *_: object, **__: object) -> tuple[int, str]:
        reply = self._known.setdefault(path, _reply(path, self._chance))
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(reply) * 2)
            theirs.setblocking(False)
            theirs.send(reply)
            theirs.shutdown(socket.SHUT_WR)
            # All of it is there: on a busy machine it is read late, and is the same nevertheless.
            return request(ours, path, deadline_s=60.0)

    def exited(self, _timeout_s: float = 0.0) -> Exit | None:
        return None

    def log(self) -> str:
        return "[2026-01-01 00:00:00.000][1][critical][main] [a.cc:1] error\n"


def _reply(path: str, chance: Random) -> bytes:
    """Return the bytes of a reply: whole, with another body, or damaged itself."""
    base = next(body for start, body in _BODIES if path.startswith(start))
    status, headers = "200 OK", ["content-type: text/plain"]
    if path == "/ready" and chance.random() < 0.8:
        status = "503 Service Unavailable"
    text = _body(base, chance)
    if chance.random() < 0.1:
        status = chance.choice(_STATUSES)
    if chance.random() < 0.1:
        headers.insert(chance.randint(0, 1), chance.choice(_HEADERS))
    body = text.encode("utf-8", "surrogatepass")
    form = chance.random()
    if form < 0.4:
        headers.append(f"content-length: {len(body)}")
    elif form < 0.7:
        headers.append("transfer-encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, ""))
    reply = head.encode("latin-1", "replace") + body
    if chance.random() < 0.05:
        at = chance.randint(0, len(reply))
        reply = reply[:at] + chance.randbytes(chance.choice((0, 1, 8))) + reply[at + 1 :]
    return reply if chance.random() > 0.03 else reply[: chance.randint(0, len(reply))]


def _body(base: Any, chance: Random) -> str:
    if chance.random() < 0.4:
        return base if isinstance(base, str) else json.dumps(base)
    if isinstance(base, str):
        if chance.random() < 0.3:
            name, colon, _ = base.strip().partition(": ")
            return f"{name}{colon}{chance.choice(_NUMBERS)}\n"
        return damaged(base, chance)
    data = json.loads(json.dumps(base))
    for _ in range(chance.choice((1, 1, 2, 3))):
        change(data, chance, _WORDS)
    text = written(data if chance.random() < 0.97 else odd(chance))
    return text if chance.random() > 0.1 else damaged(text, chance)


@cache
def _steps() -> tuple[Step, ...]:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyStep)
    steps: tuple[dict[str, Any], ...] = (
        {"wait_for": {"stat": {"name": "server.live", "equals": 1}}},
        {"wait_for": {"ready": True}},
        {"drain": {}},
        {"quit": True},
    )
    return tuple(adapter.validate_python(step) for step in steps)


@cache
def _judged_trace() -> tuple[Trace, Items]:
    record = ListenerRecord("one", "TCP", (Address.inet("127.0.0.1", 80),))
    builder = TraceBuilder(2, listeners=(record,))
    builder.reuse_port_listener("127.0.0.1:80")
    expected = (
        {"invariants": "all"},
        {"process": {"live": True}},
        {"listener": {"port": 80}, "bound": {"times": 2}, "served_by": "workers"},
    )
    adapter: TypeAdapter[Any] = TypeAdapter(Expectation)
    items = [(index, adapter.validate_python(item)) for index, item in enumerate(expected)]
    return builder.build(), items


def reply(case: Case) -> str:
    """Ask an Envoy all that is asked, and use what it says."""
    envoy: Any = _Envoy(case.chance)
    account = ask_envoy(envoy.admin_get)
    outcome = wait_ready(envoy, True, time.monotonic(), 0.0, None)
    said = ""
    step = case.chance.choice(_steps())
    try:
        said = driver_of(type(step))(envoy).carry_out(step, 0.0).missed
    except StepProblem as why:
        said = str(why)
    # An account of another form has nothing but a reason, and that is shown like any other.
    taken = account is not None and not account.error
    if problem := _problem(account, outcome, said, show=taken or case.chance.random() < 0.2):
        known = {path.partition("?")[0]: body[:300] for path, body in envoy._known.items()}
        case.broken.append(f"{problem}: {known}")
    return "used" if taken else REFUSED


def _problem(account: EnvoyAccount | None, outcome: Outcome, said: str, *, show: bool) -> str:
    """Return what is wrong with a trace that has what Envoy said, "" if nothing is."""
    base, items = _judged_trace()
    when_ns = base.events[-1].ts_ns + 1
    if account is not None:
        account = replace(account, begun_ns=when_ns, ts_ns=when_ns + 1)
    witness = Witness(when_ns + 2, begun_ns=when_ns, pid=1000, envoy=account, pids=(1000,))
    end = replace(base.end, outcome=outcome)
    trace = Trace(base.header, base.events, end, witness)
    lines = list(trace_lines(trace))
    again = parse_trace(lines)
    if list(trace_lines(again)) != lines:
        return "the trace is another when it is read again"
    if max(len(said), len(lines[-2])) > _LONGEST_LINE:
        return "a reason or a name is too long"
    return _shown_problem(trace, items, said) if show else ""


def _shown_problem(trace: Trace, items: Items, said: str) -> str:
    """Return what is wrong with the texts that are made of a trace, "" if nothing is."""
    graph = fold(trace)
    verdict = judge(trace, items, workers=2, graph=graph)
    text = story_lines(story_of(trace, graph, verdict.certificate))
    text += [*failure_lines(verdict, trace, graph, RunContext()), said]
    json.dumps(verdict_json(verdict, trace, graph, RunContext()))
    shown = joined(text)
    if FAULT in shown:
        return f"a fault: {shown[shown.index(FAULT) - 200 :][:400]}"
    longest = max(map(len, shown.split("\n")))
    if longest > _LONGEST_LINE:
        return f"a line of {longest} characters"
    return f"raw text is shown: {raw}" if (raw := raw_in(shown)) else ""
