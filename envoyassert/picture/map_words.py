"""A map of sockets in words: the answer in one line, and every socket in a line of its own."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.values import SINGLE
from envoyassert.picture.map_parts import (
    ADMIN,
    HOT_RESTART,
    UNLISTED,
    MapDescriptor,
    MapListener,
    MapSocket,
    MapThread,
    Mark,
    SocketMap,
)
from envoyassert.report.table import count

#: What each way is, for someone who reads it for the first time.
WAYS = {
    "reuse_port": "the kernel deals clients out to the sockets (SO_REUSEPORT)",
    "dup": "the workers share one socket by copies of its descriptor (dup)",
    "shared_fd": "several threads wait on one descriptor",
    SINGLE: "one thread waits on one socket",
    "": "",
}
#: Of a socket that could share its port, and does not.
ALONE = "one thread waits on one socket (SO_REUSEPORT is set)"
#: The same in a word or two.
WAY_NAMES = {
    "reuse_port": "reuse_port",
    "dup": "dup",
    "shared_fd": "shared descriptor",
    SINGLE: "one thread",
    "": "",
}
#: Marks in words, for what has them.
MARK_WORDS = {
    Mark.REUSE_PORT: "SO_REUSEPORT",
    Mark.DUP: "copied",
    Mark.INHERITED: "inherited",
    Mark.SHARED: "shared",
    Mark.FOREIGN: "foreign",
    Mark.LOST: "no one serves it",
    Mark.CLOSED: "closed",
    Mark.DOUBT: "not known for sure",
    Mark.FAILED: "bind failed",
}
_SHOWN = 6


def listener_name(listener: MapListener) -> str:
    """Return what a listener is called: by the config, or what its sockets are."""
    if listener.kind == HOT_RESTART:
        return "Envoy's own, for hot restart"
    if listener.kind == UNLISTED and Mark.FOREIGN in listener.marks:
        return "no listener of the config"
    return listener.name or "listening socket"


def for_clients(picture: SocketMap) -> tuple[MapListener, ...]:
    """Return the listeners that clients reach, the admin endpoint last.

    Envoy's own sockets for hot restart are among them only where there is nothing else.

    Args:
        picture: the map.
    """
    found = [one for one in picture.listeners if one.kind != HOT_RESTART]
    return tuple(sorted(found or picture.listeners, key=lambda one: one.kind == ADMIN))


def thread_name(thread: MapThread) -> str:
    """Return a thread with its process, if there are several."""
    return f"{thread.label} of {thread.process}" if thread.process else thread.label


def sockets_words(listener: MapListener) -> str:
    """Return how many kernel sockets clients could reach: `2 kernel sockets`."""
    return count(len(listener.serving), "kernel socket")


def holders_words(listener: MapListener, picture: SocketMap) -> str:
    """Return who serves a listener: `held by worker_0 and worker_1`."""
    threads = dict.fromkeys(one for socket in listener.serving for one in socket.threads)
    names = [thread_name(picture.threads[one]) for one in threads]
    if not listener.serving:
        if listener.failed:
            return "its bind failed"
        return "closed before the end" if Mark.CLOSED in listener.marks else "nothing serves it"
    if not names:
        return "no thread waits for clients"
    if len(names) > _SHOWN:
        names = [*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more threads"]
    return "held by " + (" and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names))


def way_words(listener: MapListener) -> str:
    """Return what the way is by which threads reach the sockets of a listener, "" for none."""
    alone = listener.way == "reuse_port" and len(listener.serving) == 1
    return ALONE if alone else WAYS[listener.way]


def wake_words(listener: MapListener, picture: SocketMap) -> str:
    """Return how many threads a client wakes: `a connection may wake up to 2 workers`.

    "" where that is not known, and where one thread alone waits.
    """
    held = [d for socket in listener.serving for d in socket.descriptors if d.threads]
    # A log without epolls has the threads that called listen(): who waits is not known. What is
    # expected or predicted has no numbers.
    known = all(one.epolls or one.fd is None for one in held)
    unsure = Mark.DOUBT in listener.marks or any(
        Mark.DOUBT in marks for marks in (s.marks for s in listener.serving)
    )
    threads = {one for d in held for one in d.threads}
    if unsure or not known or len(threads) < 2:
        return ""
    what = "datagram" if listener.protocol == "UDP" else "connection"
    roles = {picture.threads[one].role for one in threads}
    who = "worker" if all(role.startswith("worker") for role in roles) else "thread"
    most = max(len(socket.threads) for socket in listener.serving)
    if most == 1:
        return f"a {what} wakes one {who}"
    if all(one.exclusive for one in held):
        return f"a {what} wakes one or more of {most} {who}s (EPOLLEXCLUSIVE)"
    return f"a {what} may wake up to {most} {who}s"


def listener_sentence(listener: MapListener, picture: SocketMap) -> str:
    """Return who holds the sockets of a listener, how, and whom a client wakes."""
    threads = [socket.threads for socket in listener.serving]
    names = holders_words(listener, picture)
    apart = len(threads) > 1 and all(len(one) == 1 for one in threads)
    if apart and len(set(threads)) == len(threads):
        names = names.replace("held by", "one held by each of", 1)
    parts = [words for words in (way_words(listener), wake_words(listener, picture)) if words]
    text = names + (f": {'; '.join(parts)}" if parts else "")
    return text[:1].upper() + text[1:]


def answer(listener: MapListener, picture: SocketMap) -> str:
    """Return in one line how many kernel sockets serve a listener, how, and who holds them."""
    way = way_words(listener)
    parts = [sockets_words(listener), holders_words(listener, picture), *([way] if way else [])]
    foreign = sum(Mark.FOREIGN in socket.marks for socket in listener.sockets)
    if foreign and listener.kind != UNLISTED:
        parts.append(f"{count(foreign, 'foreign socket')} at the same port")
    return "; ".join(parts)


def socket_title(socket: MapSocket) -> str:
    """Return what a socket is called: `kernel socket #14`."""
    if Mark.FOREIGN in socket.marks and socket.number is None:
        return "foreign socket"
    return "kernel socket" if socket.number is None else f"kernel socket #{socket.number}"


def state_words(socket: MapSocket) -> str:
    """Return in which state a socket is."""
    if socket.state == "CLOSED":
        return "closed"
    if socket.state == "BOUND":
        return "bound" if socket.protocol.startswith(("UDP", "UNIX ")) else "bound, does not listen"
    return "listens"


def backlog_words(socket: MapSocket) -> str:
    """Return what listen() asked for, and what the kernel made of it, "" if it did not listen."""
    if socket.backlog is None or socket.state != "LISTEN":
        return ""
    if socket.somaxconn is not None and not 0 <= socket.backlog <= socket.somaxconn:
        return f"backlog {socket.backlog}, so {socket.somaxconn}"
    return f"backlog {socket.backlog}"


def option_words(socket: MapSocket) -> list[str]:
    """Return each option that was set, with when."""
    return [f"{one.name}={one.value}, {one.phase.replace('_', ' ')}" for one in socket.options]


def descriptor_words(descriptor: MapDescriptor) -> str:
    """Return where a descriptor comes from, "" for the one that socket() made."""
    if descriptor.origin in ("dup", "fcntl"):
        source = descriptor.copy_of_fd
        return descriptor.origin + ("" if source is None else f" of {source}")
    return {"scm_rights": "received", "fork": "by fork", "unknown": "origin unknown"}.get(
        descriptor.origin, ""
    )


def socket_lines(listener: MapListener, picture: SocketMap) -> Iterator[tuple[str, str]]:
    """Yield each socket of a listener, and all that is known of it, in words."""
    for socket in listener.sockets:
        parts = [words for words in (state_words(socket), backlog_words(socket)) if words]
        if socket.owner:
            parts.append(f"of {socket.owner}")
        if socket.queue:
            waits = "connection waits" if socket.queue == 1 else "connections wait"
            parts.append(f"{socket.queue} {waits}")
        closed = 0
        for one in socket.descriptors:
            if not one.open and socket.state != "CLOSED":
                closed += 1
                continue
            threads = [thread_name(picture.threads[name]) for name in one.threads]
            whose = f" of {one.process}" if one.process else ""
            origin = f" ({words})" if (words := descriptor_words(one)) else ""
            users = ", ".join(threads) or ("closed" if not one.open else "no thread")
            number = "" if one.fd is None else f" {one.fd}"
            parts.append(f"fd{number}{whose}{origin} → {users}")
        if closed:
            parts.append(f"{count(closed, 'descriptor')} closed")
        if socket.bound_by:
            parts.append(f"bound by {', '.join(socket.bound_by)}")
        if socket.listened_by:
            parts.append(f"listen() by {', '.join(socket.listened_by)}")
        parts += option_words(socket)
        if socket.connections:
            parts.append(count(socket.connections, "connection"))
        parts += [MARK_WORDS[mark] for mark in (Mark.LOST, Mark.DOUBT) if mark in socket.marks]
        yield socket_title(socket), "; ".join(parts)
