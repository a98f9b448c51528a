"""The sockets of one address of a listener, and what is done to them, as data."""

from __future__ import annotations

from envoyassert.addresses import Address
from envoyassert.frozen import frozen
from envoyassert.option_values import OptionValue

#: When options are set, in this order.
PHASES = ("before_bind", "bound", "listening")


@frozen
class SocketOption:
    """One setsockopt on each socket.

    Args:
        level: its name, or its number if it has none.
        name: likewise.
        value: a number, text, or a value's parts; None if it is not to be compared.
        phase: `before_bind`, `bound` or `listening`.
    """

    level: str | int
    name: str | int
    value: OptionValue
    phase: str


#: What an IPv6 socket is given first that takes no IPv4.
ONLY_V6 = SocketOption("IPPROTO_IPV6", "IPV6_V6ONLY", 1, "before_bind")


@frozen
class SocketSet:
    """The sockets of one address.

    Args:
        name: name of the listener; `admin` for the admin endpoint.
        address: the configured address, port 0 where the kernel chooses.
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`.
        sockets: successful bind() calls, each on a kernel socket of its own.
        bound_by: which threads make them: a role, or "" if that is not expected.
        descriptors: descriptors of these sockets that stay open; None if that is not known.
        role: who serves them: `main`, `workers`, `none`, or "" if that is not expected.
        via: `reuse_port`, `dup`, `shared_fd`, or "".
        mask: with which bits they stand in the epolls; () if that is not expected.
        options: in the order of the calls, on each socket.
        exact: whether no other options are set on any of them.
        listens: successful listen() calls; None where the protocol has none.
        listen_by: which threads make them, as `bound_by`.
        backlog: what listen() is called with; None where nothing listens.
        file: of a path: whether it is removed before bind, and its mode as a scenario writes it.
    """

    name: str
    address: Address
    protocol: str
    sockets: int
    bound_by: str
    descriptors: int | None
    role: str
    via: str
    mask: tuple[str, ...]
    options: tuple[SocketOption, ...]
    exact: bool
    listens: int | None
    listen_by: str
    backlog: int | None
    file: tuple[bool, str] | None = None
