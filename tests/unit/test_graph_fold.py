"""The fold: identity of sockets and descriptors through all that can happen to them."""

import re
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import CpuCounters


def only_listener(graph: SocketGraph) -> KernelSocket:
    (socket,) = graph.listening()
    return socket


def test_dup_family_is_one_socket_with_one_registration_per_worker() -> None:
    trace = TraceBuilder(3)
    fds = trace.shared_listener("127.0.0.1:80")
    graph = fold(trace.build())
    socket = only_listener(graph)
    assert [d.fd for d in socket.descriptors] == fds
    assert [d.origin for d in socket.descriptors] == ["socket", "dup", "dup"]
    assert [t.role for t in graph.servers_of(socket)] == ["worker_0", "worker_1", "worker_2"]
    assert graph.inconsistencies == []


def test_reused_number_is_another_socket() -> None:
    trace = TraceBuilder(1)
    first = trace.socket(trace.main)
    trace.bind(trace.main, first, "127.0.0.1:80")
    trace.close(trace.main, first)
    trace._fd -= 1
    assert trace.socket(trace.main) == first
    trace.bind(trace.main, first, "127.0.0.1:81")
    one, two = fold(trace.build()).sockets
    assert (str(one.address), one.is_live) == ("127.0.0.1:80", False)
    assert (str(two.address), two.is_live) == ("127.0.0.1:81", True)
    assert [d.generation for s in (one, two) for d in s.descriptors] == [1, 2]


def test_number_given_out_twice_without_a_close_is_a_contradiction() -> None:
    trace = TraceBuilder(1)
    trace.socket(trace.main)
    trace._fd -= 1
    trace.socket(trace.main)
    found = text(fold(trace.build()).inconsistencies[0])
    main = trace.main
    assert re.fullmatch(
        rf"socket of thread {main} returned \d+, which was open already, by socket of thread "
        rf"{main} .*s before",
        found,
    )


def test_epoll_belongs_to_its_waiter_not_to_who_adds() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:80")
    trace.listen(trace.main, fd)
    epfd = trace.epoll(trace.worker(0))
    trace.call(trace.main, "epoll_ctl", 0, epfd=epfd, op="EPOLL_CTL_ADD", fd=fd, events=["EPOLLIN"])
    graph = fold(trace.build())
    assert [t.role for t in graph.servers_of(only_listener(graph))] == ["worker_0"]


def test_registration_ends_with_the_last_descriptor_not_with_its_own() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    copy = trace.dup(trace.main, fd)
    trace.close(trace.main, fd)
    graph = fold(trace.build())
    assert [r.is_live for r in graph.registrations] == [True]
    # The kernel still reports it, but no one can accept on a closed descriptor.
    assert graph.servers_of(only_listener(graph)) == []
    trace.close(trace.main, copy)
    graph = fold(trace.build())
    assert [r.is_live for r in graph.registrations] == [False]


def test_thread_role_is_the_last_name_given_to_it_not_the_inherited_one() -> None:
    trace = TraceBuilder(1)
    tid = trace.main + 50
    child = {"child_pid": trace.main, "child_tid": tid, "thread": True}
    trace.call(trace.worker(0), "fork", None, **child)
    assert fold(trace.build()).threads[tid].role == "other"
    trace.call(trace.worker(0), "rename", None, tid=tid, name="wrk:worker_1")
    trace.call(trace.worker(0), "rename", None, tid=tid, name="GrpcGoogClient")
    graph = fold(trace.build())
    assert graph.threads[tid].role == "other"
    assert [t.role for t in graph.workers()] == ["worker_0"]


def test_fork_copies_descriptors_and_exit_closes_them() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    child = trace.main + 100
    trace.call(trace.main, "fork", None, child_pid=child, child_tid=child, thread=False)
    trace.close(trace.main, fd)
    graph = fold(trace.build())
    socket = only_listener(graph)
    assert [(d.pid, d.is_open) for d in socket.descriptors] == [(trace.main, False), (child, True)]
    gone = trace.call(child, "exit", None, status=0, last=True)
    gone.pid = child
    assert not only_listener(fold(trace.build())).is_live


def test_scm_rights_carry_the_socket_to_the_receiver() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    received = trace.call(trace.main, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    received.pid = received.tid = trace.main + 100
    graph = fold(trace.build())
    socket = only_listener(graph)
    assert [(d.pid, d.fd, d.origin) for d in socket.descriptors] == [
        (trace.main, fd, "socket"),
        (trace.main + 100, 60, "scm_rights"),
    ]


def test_message_that_arrived_before_its_sender_returned_carries_its_sockets() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    child = trace.main + 100
    for number in (60, 61):
        received = trace.call(trace.main, "recvmsg", 1, fd=8, fds=[number], truncated=False)
        received.pid = received.tid = child
        trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    graph = fold(trace.build())
    socket = only_listener(graph)
    assert [d.fd for d in socket.descriptors if d.pid == child] == [60, 61]
    assert graph.inconsistencies == []


def test_message_whose_sender_did_something_else_in_between_is_not_that_one() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener("127.0.0.1:80")
    received = trace.call(trace.main, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    received.pid = received.tid = trace.main + 100
    trace.socket(trace.main)
    trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    graph = fold(trace.build())
    assert [d.fd for d in only_listener(graph).descriptors] == [fd]
    assert "received before they were sent" in text(graph.inconsistencies[0])


def test_probes_are_distinguished_from_failed_options_and_binds() -> None:
    trace = TraceBuilder(1)
    main = trace.main
    plain = trace.call(main, "socket", 50, family="AF_INET", type="SOCK_STREAM", flags=[])
    plain.args["protocol"] = 0
    trace.close(main, 50)
    gro = trace.socket(main, kind="SOCK_DGRAM")
    trace.setsockopt(main, gro, "UDP_GRO", level="IPPROTO_UDP")
    trace.close(main, gro)
    option = trace.socket(main)
    trace.setsockopt(main, option, "SO_MARK", ret=-1)
    trace.close(main, option)
    bound = trace.socket(main)
    trace.bind(main, bound, "127.0.0.1:80", ret=-98)
    trace.close(main, bound)
    assert [s.is_probe for s in fold(trace.build()).sockets] == [True, True, False, False]


def test_port_zero_takes_the_learned_port() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:0")
    learned = Address.inet("127.0.0.1", 40001)
    trace.call(trace.main, "getsockname", 0, fd=fd, address=learned)
    (socket,) = fold(trace.build()).sockets
    assert (socket.requested, socket.address) == (Address.inet("127.0.0.1", 0), learned)


def test_kernel_address_of_another_socket_is_a_contradiction() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:80")
    for sk in ("ffff1", "ffff2"):
        state = {"sk": sk, "old": "TCP_CLOSE", "new": "TCP_LISTEN", "port": 80}
        trace.call(trace.main, "tcp_state", None, **state)
        trace.listen(trace.main, fd)
    assert "another kernel socket" in text(fold(trace.build()).inconsistencies[0])


def test_kernel_address_that_listen_gives_of_another_socket_is_a_contradiction() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:80")
    for sk in ("0xff1", "0xff1", "0xff2"):
        assert fold(trace.build()).inconsistencies == []
        trace.call(trace.main, "listen", 0, fd=fd, backlog=-1, sk=sk)
    assert "another kernel socket" in text(fold(trace.build()).inconsistencies[0])


def test_kernel_closing_a_socket_the_trace_holds_open_is_a_contradiction() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:80")
    trace.call(
        trace.main, "tcp_state", None, sk="ffff1", old="TCP_CLOSE", new="TCP_LISTEN", port=80
    )
    trace.listen(trace.main, fd)
    trace.call(
        trace.main, "tcp_state", None, sk="ffff1", old="TCP_LISTEN", new="TCP_CLOSE", port=80
    )
    assert "no close of its last descriptor" in text(fold(trace.build()).inconsistencies[0])


def test_bind_on_unborn_descriptor_is_a_contradiction_but_not_on_a_file() -> None:
    trace = TraceBuilder(1)
    trace.bind(trace.main, 77, "127.0.0.1:80")
    assert "whose birth was not seen" in text(fold(trace.build()).inconsistencies[0])
    other = TraceBuilder(1)
    other.bind(other.main, 77, "127.0.0.1:80", ret=-88)
    graph = fold(other.build())
    assert (graph.inconsistencies, graph.ignored["bind"]) == ([], 1)


def test_gap_taints_what_is_open_and_spares_what_is_born_after() -> None:
    trace = TraceBuilder(1, cpus=1)
    old = trace.socket(trace.main)
    trace.bind(trace.main, old, "127.0.0.1:80")
    lost = len(trace.events)
    trace.call(trace.main, "close", 0, fd=3)
    trace.call(trace.main, "close", 0, fd=4)
    trace.call(trace.main, "close", 0, fd=3)
    trace.listen(trace.main, old)
    new = trace.socket(trace.main)
    trace.bind(trace.main, new, "127.0.0.1:81")
    trace.listen(trace.main, new)
    first, second = fold(trace.build((lost,))).sockets
    assert [call.certain for call in (*first.binds, *first.listens)] == [True, False]
    assert [call.certain for call in (*second.binds, *second.listens)] == [True, True]


def test_counter_of_a_damaged_file_takes_no_memory_for_what_it_claims() -> None:
    trace = TraceBuilder(1, cpus=1).build()
    claimed = (1 << 62) + len(trace.events)
    trace = replace(trace, end=replace(trace.end, cpus=(CpuCounters(0, claimed, 0),)))

    (gap,) = fold(trace).gaps

    assert gap.count == 1 << 62


def test_socket_of_a_type_without_a_name_is_described_by_its_number() -> None:
    trace = TraceBuilder(1)
    for family in ("AF_INET", "AF_UNIX"):
        # A type that SOCKET_TYPES has no name for is a number in a trace.
        trace.call(trace.main, "socket", 90, family=family, type=4, flags=[], protocol=0)
        trace.close(trace.main, 90)
    shown = [socket.protocol_name for socket in fold(trace.build()).sockets]
    assert shown == ["4 of protocol 0", "UNIX 4"]
