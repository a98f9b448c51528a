"""What processes, threads and sockets were, by all that was done: only a trace's end shows it.

Everything that Envoy starts or that starts Envoy belongs to the run: agents, wrappers, helpers.
Envoy is the process that has the workers, whoever started it: `main` and the workers are threads of
Envoys alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from envoyassert.addresses import Address
from envoyassert.fact import Fact
from envoyassert.graph.model import KernelSocket, SocketGraph, place_key
from envoyassert.trace import Trace

#: What Envoy appends to `--socket-path`, and what that is by default.
_HOT_RESTART = re.compile(r"(?:_udp)?_(?:parent|child)_\d+")
_SOCKET_PATH = "@envoy_domain_socket"
_ANY_PORT_OF_IPV6 = Address.inet("::1", 0)
#: How long a thread may be kept from its next call by a machine that is busy.
_AT_ONCE_NS = 1_000_000_000


def declared_envoys(trace: Trace) -> frozenset[int]:
    """Return the processes that the launcher took for Envoys when the accounts were taken."""
    found = [trace.witness.pid] if trace.witness is not None else []
    for phase in trace.phases:
        found += [member.pid for member in phase.envoys]
        if phase.witness is not None:
            found.append(phase.witness.pid)
    return frozenset(found) - {0}


def find_envoys(graph: SocketGraph) -> frozenset[int]:
    """Return the processes of a folded trace that are Envoys.

    A copy of a process (fork without exec) is none, whatever its threads are called. Where none
    has workers, as before an early end, the name of the program decides. After a loss whatever is
    not known to be none may be one.
    """
    processes = graph.processes
    own = {process.pid for process in processes.values() if process.executed}
    if graph.gaps:
        return graph.declared or frozenset(processes)
    working = {thread.pid for thread in graph.threads.values() if thread.is_named_worker} & own
    declared = working & graph.declared
    if declared:
        # An agent may have started Envoy again, and another Envoy may have ended without workers.
        programs = {processes[pid].filename for pid in declared}
        found = working | (graph.declared & own)
        return frozenset(pid for pid in found if processes[pid].filename in programs)
    named = {pid for pid in own if "envoy" in PurePosixPath(processes[pid].filename).name}
    return frozenset(working or named or graph.declared & own or own)


def family_of(graph: SocketGraph, pid: int, others: frozenset[int]) -> frozenset[int]:
    """Return a process and all that came from it, but for other Envoys and what came from them."""
    found = {pid}
    for process in graph.processes.values():  # a child comes after its parent
        if process.parent in found and process.pid not in others:
            found.add(process.pid)
    return frozenset(found)


def looks_like_probe(socket: KernelSocket) -> bool:
    """Whether a socket only asked what the kernel supports.

    A socket that saw nothing but close is a capability probe. One on which an option was set or a
    bind was tried is never one (that is how a failing option looks), but for UDP_GRO, the loopback
    pair of Envoy's cpu_locality check and gRPC's question whether there is IPv6 (a bind to port 0
    of `::1`, and nothing else), which are known by shape.
    """
    if socket.origin != "socket" or socket.is_live:
        return False
    calls = [call.event for call in socket.calls]
    others = [event for event in calls if event is not socket.born and event.call != "close"]
    if not others:
        return not socket.nonblock or socket.type == "SOCK_DGRAM"
    if socket.type == "SOCK_DGRAM":
        return all(e.call == "setsockopt" and e.args["name"] == "UDP_GRO" for e in others)
    if all(e.call == "bind" and e.args["address"] == _ANY_PORT_OF_IPV6 for e in others):
        return True
    return any(
        e.call == "setsockopt" and e.args["name"] == "SO_ATTACH_REUSEPORT_CBPF" for e in others
    ) and all(e.args["address"] == Address.inet("127.0.0.1", 0) for e in others if e.call == "bind")


def looks_like_client(socket: KernelSocket) -> bool:
    """Whether a bound datagram socket takes the datagrams of one peer alone.

    The kernel gives a connected datagram socket what its peer sends and nothing else (connect(2),
    udp(7), unix(7)). So it must have been connected, never released by a connect to AF_UNSPEC, and
    nothing may have served it before. Envoy's UDP proxy and its CONNECT-UDP upstream wait for
    input on such a socket just before they connect it, in one go: what counts is that the thread
    that waits is the one that connects, at once. Sends are not recorded: a socket that is bound
    and only sends to others looks like a server, and is taken for one.
    """
    if socket.type != "SOCK_DGRAM" or not socket.binds:
        return False
    connects = [call for call in socket.calls if call.event.call == "connect" and call.event.ok]
    peers = [call.event.args["address"] for call in connects]
    if not peers or not all(p is not None and (p.is_ip or p.family == "AF_UNIX") for p in peers):
        return False
    first = connects[0]
    waits = [r for d in socket.descriptors for r in d.registrations if r.asks_for_input]
    return first.certain and all(
        wait.since_ns >= first.event.ts_ns
        or (
            all(thread is first.thread for thread in wait.epoll.waiters)
            and first.event.ts_ns - wait.since_ns <= _AT_ONCE_NS
        )
        for wait in waits
    )


def sees_packets(socket: KernelSocket) -> bool:
    """Whether a socket gets what is sent to others: a raw or packet socket, bound or not.

    Source: raw(7), packet(7).
    """
    inet = socket.family in ("AF_INET", "AF_INET6")
    return socket.family == "AF_PACKET" or (inet and socket.type == "SOCK_RAW")


def only_holds_its_address(socket: KernelSocket) -> bool:
    """Whether a socket of connections is bound, and neither listened nor tried to connect."""
    if socket.type == "SOCK_DGRAM" or socket.listens or not socket.binds:
        return False
    return all(call.event.call != "connect" for call in socket.calls)


def looks_like_hot_restart(socket: KernelSocket, argv: Sequence[str]) -> bool:
    """Whether a socket is one of Envoy's own for hot restart, by the name that it was bound to.

    Source: Envoy, source/server/hot_restarting_base.cc, and `--socket-path`, whose value is the
    argument after it: Envoy refuses `--socket-path=…`.

    Args:
        socket: the socket.
        argv: the arguments of the process that made it.
    """
    address = socket.address
    if socket.family != "AF_UNIX" or socket.type != "SOCK_DGRAM" or address is None:
        return False
    given = [value for option, value in pairwise(argv) if option == "--socket-path"]
    prefix = given[-1] if given else _SOCKET_PATH
    # An abstract name is as long as the kernel allows, filled with NULs.
    name = address.path or f"@{address.abstract or ''}".rstrip("\0")
    return name.startswith(prefix) and bool(_HOT_RESTART.fullmatch(name[len(prefix) :]))


def complete(graph: SocketGraph, closed_by_kernel: Collection[str]) -> None:
    """Complete a graph to which every event was applied.

    Args:
        graph: what is completed.
        closed_by_kernel: the kernel's addresses of the sockets whose listening it ended.
    """
    envoys = find_envoys(graph)
    for thread in graph.threads.values():
        thread.of_envoy = thread.pid in envoys
    for socket in graph.sockets:
        # Of one that was accepted its listener is what there is to know.
        if socket.origin != "accept":
            socket.is_probe = looks_like_probe(socket)
            argv = graph.processes[socket.born.pid].argv
            socket.is_hot_restart = looks_like_hot_restart(socket, argv)
            socket.is_client = looks_like_client(socket)
            if not socket.is_probe:
                graph.candidates.append(socket)
                for key in {place_key(place) for place in socket.places}:
                    graph.by_place.setdefault(key, []).append(socket)
        closed = socket.kernel_address in closed_by_kernel
        if closed and socket.is_live and socket.stopped_ns is None:
            graph.inconsistencies.append(Fact("closed_by_kernel", address=socket.address))
