"""When an Envoy has come up."""

from __future__ import annotations

from envoyassert.accounts import EnvoyListener
from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.live.traces import is_served, listener_record, serving_shape
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord


def test_a_listening_socket_that_no_thread_waits_on_is_not_served():
    trace = TraceBuilder(workers=1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15006")
    trace.listen(trace.main, fd)
    assert not is_served(fold(trace.build()))
    trace.epoll_add(trace.worker(0), fd)
    assert is_served(fold(trace.build()))


def test_shape_changes_with_who_serves_and_not_with_connections():
    trace = TraceBuilder(workers=1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15006")
    trace.listen(trace.main, fd)
    listening = serving_shape(fold(trace.build()))
    trace.epoll_add(trace.worker(0), fd)
    served = serving_shape(fold(trace.build()))
    assert served != listening
    trace.call(trace.worker(0), "accept4", 40, fd=fd, addr=None, flags=[])
    assert serving_shape(fold(trace.build())) == served
    trace.close(trace.main, fd)
    assert serving_shape(fold(trace.build())) != served


def test_listener_that_only_envoy_names_has_the_protocol_of_its_socket():
    trace = TraceBuilder(workers=1)
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, fd, "127.0.0.1:53")
    graph = fold(trace.build())
    udp, tcp = Address.inet("127.0.0.1", 53), Address.inet("127.0.0.1", 54)
    pipe = Address.unix("/run/x")
    assert listener_record(EnvoyListener("dns", (udp,)), graph) == ListenerRecord(
        "dns", "UDP", (udp,), "lds"
    )
    assert listener_record(EnvoyListener("other", (tcp,)), graph).protocol == "TCP"
    assert listener_record(EnvoyListener("pipe", (pipe,)), graph).protocol == "UNIX"
    assert listener_record(EnvoyListener("internal"), graph).addresses == ()
