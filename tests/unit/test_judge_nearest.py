"""What comes closest to a listener or a call that is not there."""

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord

INGRESS = ListenerRecord("ingress", "TCP", (Address.inet("127.0.0.1", 15007),))
ADMIN = ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin")


def findings(trace: TraceBuilder, item: dict) -> tuple[Finding, ...]:
    return judge(trace.build(), [(0, parse_expectation(item))], workers=2).findings


def closest(trace: TraceBuilder, **listener) -> str:
    (finding,) = findings(trace, {"listener": listener, "bound": {}})
    assert finding.status is Status.FAIL
    return words_of(finding).closest


@pytest.mark.parametrize(
    "address, listener, differences",
    [
        ("127.0.0.1:15007", {"port": 15006}, "port 15007, not 15006"),
        (
            "127.0.0.1:15006",
            {"address": "0.0.0.0", "port": 15006},
            "address 127.0.0.1, not 0.0.0.0",
        ),
        ("127.0.0.1:15006", {"port": 15006, "protocol": "UDP"}, "protocol TCP, not UDP"),
        (
            "127.0.0.1:15007",
            {"address": "0.0.0.0", "port": 15006},
            "address 127.0.0.1, not 0.0.0.0, port 15007, not 15006",
        ),
        ("/run/a.sock", {"path": "/run/b.sock"}, "path /run/a.sock, not /run/b.sock"),
        ("@a", {"abstract": "b"}, "abstract a, not b"),
    ],
)
def test_closest_socket_is_described_field_by_field(address, listener, differences):
    trace = TraceBuilder(listeners=(INGRESS,))
    trace.shared_listener(address)
    words = closest(trace, **listener)
    assert f": {differences}; bound by main; served by worker_0, worker_1" in words
    assert ("(listener ingress)" in words) == (address == "127.0.0.1:15007")


def test_closest_socket_has_the_fewest_differences_then_the_nearest_port():
    trace = TraceBuilder(listeners=(ADMIN,))
    for address in ("127.0.0.1:9901", "0.0.0.0:15001", "0.0.0.0:15007", "10.0.0.1:15006"):
        trace.shared_listener(address)
    assert closest(trace, port=15005).startswith("TCP 10.0.0.1:15006: ")
    assert closest(trace, address="10.0.0.1", port=80).startswith("TCP 10.0.0.1:15006: ")
    assert closest(trace, port=9900).startswith("TCP 0.0.0.0:15001: ")


def test_admin_endpoint_is_closest_if_there_is_nothing_else():
    trace = TraceBuilder(listeners=(ADMIN,))
    trace.shared_listener("127.0.0.1:9901")
    assert closest(trace, port=80).startswith("TCP 127.0.0.1:9901 (the admin endpoint): port 9901")


def test_sockets_for_hot_restart_are_closest_to_nothing():
    trace = TraceBuilder()
    fd = trace.socket(trace.main, "AF_UNIX", "SOCK_DGRAM")
    trace.bind(trace.main, fd, "@envoy_domain_socket_child_0")
    nothing = "no socket was bound to any address of this kind"
    assert closest(trace, abstract="envoy") == nothing
    assert closest(trace, port=80) == nothing


@pytest.mark.parametrize("selector", [{"name": "ingress"}, {"port": 15007}])
def test_listener_of_the_config_that_was_never_bound_is_named(selector):
    assert closest(TraceBuilder(listeners=(INGRESS,)), **selector).startswith(
        "the config has listener ingress there, but no bind() to it was seen"
    )


def test_failed_bind_is_what_comes_closest_and_is_shown():
    trace = TraceBuilder()
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:80", ret=-13)
    (finding,) = findings(trace, {"listener": {"port": 80}, "bound": {"times": 1}})
    assert words_of(finding).closest == "bind() to 0.0.0.0:80 by main failed with EACCES"
    assert [event.errno for event in finding.evidence] == ["EACCES"]


@pytest.mark.parametrize(
    "pattern, shown",
    [
        ({"call": "listen", "args": {"backlog": 64}}, "listen(): backlog -1, not 64"),
        ({"call": "bind", "by": "workers"}, "bind(): by main, not workers"),
        ({"call": "bind", "errno": "EACCES"}, "bind(): succeeded, not with EACCES"),
        ({"call": "listen", "succeeds": False}, "listen(): succeeded"),
    ],
)
def test_closest_call_is_described_field_by_field_and_shown(pattern, shown):
    trace = TraceBuilder()
    trace.shared_listener("0.0.0.0:80")
    (finding,) = findings(trace, {"calls": pattern})
    assert words_of(finding).closest == shown
    assert [event.call for event in finding.evidence] == [pattern["call"]]


def test_call_that_differs_in_everything_is_close_to_nothing():
    trace = TraceBuilder()
    trace.shared_listener("0.0.0.0:80")
    pattern = {"call": "listen", "by": "other", "errno": "EPERM", "args": {"backlog": 1}}
    (finding,) = findings(trace, {"calls": pattern})
    assert (words_of(finding).closest, finding.evidence) == ("", ())


def test_missing_step_of_an_order_has_its_closest_call():
    trace = TraceBuilder()
    trace.shared_listener("0.0.0.0:80")
    steps = [{"call": "bind"}, {"call": "listen", "args": {"backlog": 64}}]
    (finding,) = findings(trace, {"in_order": steps})
    assert words_of(finding).closest == "listen(): backlog -1, not 64"


def test_missing_option_has_the_options_that_are_set():
    trace = TraceBuilder()
    trace.shared_listener("0.0.0.0:80")
    (finding,) = findings(trace, {"listener": {"port": 80}, "options": {"SO_KEEPALIVE": 1}})
    assert words_of(finding).closest == "set there: SO_REUSEADDR = 1 before bind"


def test_finding_that_passes_has_nothing_closest():
    trace = TraceBuilder()
    trace.shared_listener("0.0.0.0:80")
    item = {"listener": {"port": 80}, "bound": {"times": 1}, "options": {"SO_REUSEPORT": "absent"}}
    assert [words_of(finding).closest for finding in findings(trace, item)] == ["", ""]
