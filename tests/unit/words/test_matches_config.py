"""matches_config: what the model predicts of a config is judged, but for what is excepted."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.counterfactual import counterfactual
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.predict.deciding import deciding_config
from envoyassert.report.coverage import coverage
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, ListenerRecord, Phase, Trace

PLACE, ADMIN = "127.0.0.1:15006", "127.0.0.1:9901"
LISTENERS = (
    ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin"),
    ListenerRecord("ingress", "TCP", (Address.inet("127.0.0.1", 15006),)),
)


def at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


SERVES: dict[str, Any] = {"filter_chains": [{}]}
CONFIG: dict[str, Any] = {
    "admin": {"address": at(9901)},
    "static_resources": {"listeners": [{"name": "ingress", "address": at(15006), **SERVES}]},
}


def admin(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
    trace.bind(trace.main, fd, ADMIN)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.main, fd)


def started(
    listen: Callable[[TraceBuilder], object], config: dict[str, Any] | None = CONFIG
) -> Trace:
    """Return a start with an admin endpoint and one listener, in the order in which Envoy does."""
    builder = TraceBuilder(2, listeners=LISTENERS)
    admin(builder)
    listen(builder)
    builder.reply_live()
    trace = builder.build()
    given = None if config is None else deciding_config(config, [])
    return replace(trace, header=replace(trace.header, config=given))


TRACES: dict[str, Callable[[], Trace]] = {
    "as_configured": lambda: started(lambda t: t.reuse_port_listener(PLACE)),
    "unlike_config": lambda: started(lambda t: t.shared_listener(PLACE)),
    "another_backlog": lambda: started(lambda t: t.reuse_port_listener(PLACE, backlog=64)),
}


def judged(trace: Trace, **more: Any) -> Verdict:
    item = parse_expectation({"matches_config": True, **more})
    return judge(trace, [(0, item)], workers=2)


def said(verdict: Verdict, status: Status) -> list[str]:
    found = [words_of(finding) for finding in verdict.with_status(status)]
    return [f"{one.subject}: {one.expected} | {one.seen} | {one.reason}" for one in found]


def test_failure_says_listener_expected_and_seen_of_each_deviating_aspect() -> None:
    verdict = judged(TRACES["another_backlog"]())
    (line,) = said(verdict, Status.FAIL)
    subject, _, rest = line.partition(": ")
    assert subject == "listener ingress, address 127.0.0.1, port 15006, protocol TCP"
    assert rest == "every socket listens with backlog -1 | backlog 64 of 2 sockets | "
    (failed,) = verdict.with_status(Status.FAIL)
    assert failed.code == "matches_config.backlog"
    assert failed.path == ("expect", 0, "matches_config", "ingress", "backlog")


def test_verdict_counts_what_was_asked_and_what_was_not() -> None:
    (summary,) = [
        one for one in said(judged(TRACES["as_configured"]()), Status.PASS) if "config" in one
    ]
    assert summary.startswith("config: what follows from the config | 16 facts asked")
    (summary,) = [
        one
        for one in said(judged(TRACES["another_backlog"](), **{"except": ["backlog"]}), Status.PASS)
        if "excepted" in one
    ]
    assert "14 facts asked; 2 facts excepted" in summary


def test_exception_by_listener_leaves_its_sockets_named() -> None:
    """What is excepted is no other socket than those of the config."""
    verdict = judged(TRACES["unlike_config"](), **{"except": ["ingress"]})
    assert verdict.status is Status.PASS, said(verdict, Status.FAIL)
    assert any(one.startswith("other sockets:") for one in said(verdict, Status.PASS))


@pytest.mark.parametrize(
    ("config", "excepted", "reason"),
    [
        (None, [], "the config that Envoy got is not in the trace"),
        (CONFIG, ["ingres"], "`except` names ingres, which is no listener and no aspect"),
        (CONFIG, ["admin", "ingress", "no_others", "process"], "no fact about a socket is left"),
        (CONFIG, ["admin", "ingress", "no_others"], "no fact about a socket is left"),
        ({"static_resources": {"listeners": [{"address": at(1), "freebind": 1, **SERVES,
                                               "tcp_backlog_size": "x"}]}}, [],
         "nothing is predicted of this config"),
    ],
)  # fmt: skip
def test_what_asks_nothing_does_not_pass(
    config: dict[str, Any] | None, excepted: list[str], reason: str
) -> None:
    trace = started(lambda t: t.reuse_port_listener(PLACE), config)
    verdict = judged(trace, **{"except": excepted})
    assert verdict.status is Status.INCONCLUSIVE
    (line,) = said(verdict, Status.INCONCLUSIVE)
    assert reason in line


@pytest.mark.parametrize("version", ["1.19.1", "1.35.9", "1.41.0", ""])
def test_version_that_the_model_does_not_know_leaves_it_open(version: str) -> None:
    trace = started(lambda t: t.reuse_port_listener(PLACE))
    envoy = replace(trace.header.envoy, version=version)
    verdict = judged(replace(trace, header=replace(trace.header, envoy=envoy)))
    assert verdict.status is Status.INCONCLUSIVE
    (line,) = said(verdict, Status.INCONCLUSIVE)
    assert f"this is {version or 'an unknown version'}" in line


def test_process_alone_is_nothing_about_sockets() -> None:
    lds: dict[str, Any] = {"dynamic_resources": {"lds_config": {"ads": {}}}}
    trace = started(lambda t: t.reuse_port_listener(PLACE), lds)
    unknown = replace(trace, header=replace(trace.header, config=deciding_config(lds, None)))
    assert judged(unknown).status is Status.INCONCLUSIVE


def test_listeners_from_elsewhere_are_not_asked_and_counted() -> None:
    """The world is open then: a socket that no config names is no surprise."""
    lds = {**CONFIG, "dynamic_resources": {"lds_config": {"ads": {}}}}
    trace = started(
        lambda t: (t.reuse_port_listener(PLACE), t.shared_listener("127.0.0.1:15007")), lds
    )
    assert judged(trace).status is Status.FAIL
    unknown = deciding_config(lds, None)
    trace = replace(trace, header=replace(trace.header, config=unknown))
    verdict = judged(trace)
    assert verdict.status is Status.PASS, said(verdict, Status.FAIL)
    assert any("not predicted: listeners" in one for one in said(verdict, Status.PASS))


def test_workers_that_are_not_known_leave_it_open() -> None:
    trace = TRACES["as_configured"]()
    trace = replace(trace, header=replace(trace.header, concurrency=0))
    verdict = judge(trace, [(0, parse_expectation({"matches_config": True}))], workers=0)
    assert verdict.status is Status.INCONCLUSIVE


def test_config_that_this_version_refuses_has_no_start() -> None:
    listener = {"name": "ingress", "address": at(15006), "tcp_keepalive": {}, **SERVES}
    config = {**CONFIG, "static_resources": {"listeners": [listener]}}
    ran = started(lambda t: t.reuse_port_listener(PLACE), config)
    older = replace(ran.header, envoy=replace(ran.header.envoy, version="1.36.4"))
    verdict = judged(replace(ran, header=older))
    assert [line.partition(":")[0] for line in said(verdict, Status.FAIL)] == ["process"]
    ended = replace(ran.end.outcome, live=None, exit_code=1)
    refused = replace(ran, header=older, events=ran.events[:1], end=replace(ran.end, outcome=ended))
    assert not judged(refused).with_status(Status.FAIL)


def test_remedy_is_the_exception_that_was_tried() -> None:
    trace = TRACES["another_backlog"]()
    items = [(0, parse_expectation({"matches_config": True}))]
    graph = fold(trace)
    (failed,) = judge(trace, items, workers=2, graph=graph).with_status(Status.FAIL)
    change = counterfactual(trace, graph, failed, items, workers=2)
    assert change is not None
    assert (change.path, change.after) == (("expect", 0, "except"), ["ingress.backlog"])


def test_everything_that_follows_from_the_config_is_constrained() -> None:
    trace = TRACES["as_configured"]()
    found = coverage(trace, fold(trace), [(0, parse_expectation({"matches_config": True}))])
    assert (found.listeners, found.sockets, found.options) == ((), (), ())


def test_address_that_the_machine_lacks_leaves_the_verdict_open() -> None:
    def refused(builder: TraceBuilder) -> None:
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, PLACE, ret=-errno.EADDRNOTAVAIL)

    trace = started(refused)
    item = parse_expectation({"matches_config": True})
    (finding,) = judge(trace, [(0, item)], workers=2).findings
    assert finding.status is Status.INCONCLUSIVE
    assert "this machine has no 127.0.0.1" in words_of(finding).reason


def test_address_that_a_step_binds_and_the_machine_lacks_leaves_the_start_judged() -> None:
    """A push of such an address is refused; what the start did is judged as before."""

    def listens_otherwise(builder: TraceBuilder) -> None:
        builder.reuse_port_listener(PLACE, backlog=64)
        builder.reply_live()
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, "127.0.0.1:15007", ret=-errno.EADDRNOTAVAIL)

    trace = started(listens_otherwise)
    (late,) = [event for event in trace.events if event.ret == -errno.EADDRNOTAVAIL]
    end, outcome = late.ts_ns - 1, trace.end.outcome
    start = Phase(STARTUP, STARTUP, 0, end, outcome, trace.witness)
    update = Phase("update", "update", end + 1, trace.events[-1].ts_ns, outcome, trace.witness)
    verdict = judged(replace(trace, phases=(start, update)))
    (failed,) = verdict.with_status(Status.FAIL)
    assert failed.path == ("expect", 0, "matches_config", "ingress", "backlog")
