"""The closed world: no socket but those that the scenario names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Many, Model, choice, one_of
from envoyassert.words.remedy import Failed
from envoyassert.words.word import Example, Part, Word

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.context import Context
    from envoyassert.judge.values import BoundSocket
    from envoyassert.judge.verdict import Finding


class OthersAllowed(Model):
    """Which sockets that the scenario does not name are no surprise."""

    allow: Many[Literal["hot_restart", "admin"]] = Field(
        ("hot_restart",),
        description="hot_restart: Envoy's own Unix datagram sockets; admin: the admin endpoint.",
    )


class NoOthersExpectation(Conditional):
    """No socket that listens or is bound but those that the scenario names; no raw or packet one.

    Left out are clients: what is bound and connects, and netlink.
    """

    no_others: Annotated[
        Annotated[Literal[True], Tag("|flag")] | Annotated[OthersAllowed, Tag("|OthersAllowed")],
        choice(one_of(OthersAllowed=()), "true or {allow: [hot_restart, admin]}"),
    ] = Field(description="true, or which sockets are no surprise.")

    @property
    def says_none(self) -> bool:
        """It does."""
        return True


_FAMILIES = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_PACKET", "AF_VSOCK")


def judge_no_others(
    context: Context, index: int, expectation: NoOthersExpectation
) -> Iterator[Finding]:
    """Judge that every socket that listens or is bound is named, and that none sees packets.

    Left out are sockets of clients, which their peer alone reaches, and netlink's.
    Its context has the sockets that all other expectations name.
    """
    from envoyassert.errors import guarded
    from envoyassert.judge.context import Subject
    from envoyassert.judge.matching import admin_sockets
    from envoyassert.judge.values import Topic, fault
    from envoyassert.state import is_state

    value = expectation.no_others
    allowed = value.allow if isinstance(value, OthersAllowed) else OthersAllowed().allow
    known = context.named | (admin_sockets(context) if "admin" in allowed else frozenset())
    others = [
        socket
        for socket in _open_to_others(context)
        if id(socket) not in known and not ("hot_restart" in allowed and socket.is_hot_restart)
    ]
    # A socket from outside the trace may listen already, and nothing here would show.
    foreign = [s for s in context.graph.candidates if s.origin == "scm_rights" and not s.places]
    perhaps = context.perhaps_named.issuperset(map(id, others))
    if is_state(context.trace.header.unobserved):
        # The kernel itself may have bound a socket of datagrams.
        status = Status.FAIL if any(one.listens for one in others) else Status.INCONCLUSIVE
    elif context.doubt:
        sure = any(_is_surely_other(context, socket) for socket in others)
        status = Status.FAIL if sure else Status.INCONCLUSIVE
    elif (foreign and not others) or (others and perhaps):
        status = Status.INCONCLUSIVE
    else:
        status = Status.FAIL if others else Status.PASS
    yield context.finding(
        Subject(Topic("others"), ("expect", index, "no_others"), expectation.why or ""),
        status,
        Fact("no_other_socket"),
        Fact("other_sockets", sockets=_named(others), left_out=_left_out(context)),
        reason=_reason(context, others if perhaps else []),
        evidence=[call.event for socket in others for call in socket.binds],
        cause=guarded(lambda: _cause(others, allowed, admin_sockets(context)), fault),
    )


def _reason(context: Context, perhaps_named: list[KernelSocket]) -> Fact | None:
    from envoyassert.state import is_state

    if context.doubt:
        return None
    if perhaps_named:
        return Fact("perhaps_named", sockets=_named(perhaps_named))
    state = is_state(context.trace.header.unobserved)
    return Fact("history_unobserved" if state else "socket_from_outside")


def _open_to_others(context: Context) -> Iterator[KernelSocket]:
    """Yield the sockets through which something could come in, or that hold an address."""
    from envoyassert.graph.kinds import only_holds_its_address, sees_packets

    listening = {id(socket) for socket in context.graph.listening()}
    for socket in context.graph.candidates:
        if socket.family in _FAMILIES and (
            id(socket) in listening
            or sees_packets(socket)
            or (only_holds_its_address(socket) and _went_on(context, socket.binds[-1].event))
        ):
            yield socket


def _went_on(context: Context, event: Event) -> bool:
    """Whether the thread did something after a bind, so that no connect is about to follow."""
    later = next(e for e in reversed(context.trace.events) if e.tid == event.tid)
    return later is not event


def _cause(
    others: list[KernelSocket], allowed: tuple[str, ...], admin: frozenset[int]
) -> Fact | None:
    """Return what the sockets are that are not named, by their class."""
    from envoyassert.graph.kinds import sees_packets

    classes = {
        "hot_restart": [socket for socket in others if socket.is_hot_restart],
        "admin": [socket for socket in others if id(socket) in admin],
    }
    lacking = tuple(name for name, sockets in classes.items() if sockets)
    rest = [s for s in others if not any(s in sockets for sockets in classes.values())]
    raw = any(sees_packets(socket) for socket in rest)
    rest = [socket for socket in rest if not sees_packets(socket)]
    chosen = {str(s.address) for s in rest if s.requested is not None and s.requested.port == 0}
    fixed = {str(socket.address) for socket in rest} - chosen
    if not (lacking or raw or fixed or chosen):
        return None
    return Fact(
        "not_named",
        allow=(*allowed, *lacking) if lacking else (),
        lacking=lacking,
        raw=raw,
        fixed=tuple(sorted(fixed)),
        chosen=tuple(sorted(chosen)),
    )


def _named(sockets: Iterable[KernelSocket]) -> tuple[BoundSocket, ...]:
    from envoyassert.judge.values import BoundSocket

    found = {(s.protocol_name, "" if s.address is None else str(s.address)) for s in sockets}
    return tuple(BoundSocket(protocol, address) for protocol, address in sorted(found))


def _left_out(context: Context) -> Fact | None:
    """Return which bound sockets are no surprise since they are those of clients."""
    clients = [socket for socket in context.graph.candidates if socket.is_client]
    clients = [socket for socket in clients if id(socket) not in context.named]
    if not clients:
        return None
    return Fact("sockets_of_clients", number=len(clients), sockets=_named(clients))


def _is_surely_other(context: Context, socket: KernelSocket) -> bool:
    """Whether no lost bind or getsockname could make this socket one that is named."""
    from envoyassert.graph.kinds import sees_packets

    address = socket.address
    if sees_packets(socket):
        return True  # what it is was said at its birth
    if not socket.listens and socket.type != "SOCK_DGRAM":
        return False  # a listen or a connect may have been lost
    if socket.protocol_name == "unknown":
        return False
    if socket.type == "SOCK_DGRAM":
        return False  # a connect that was lost would make it one of a client
    return address is not None and not any(
        asked.port == 0 and asked.host == address.host
        for record in context.trace.header.listeners
        for asked in record.addresses
    )


def _allowances(_: Failed) -> Iterator[dict[str, list[str]]]:
    yield from ({"allow": ["admin"]}, {"allow": ["hot_restart", "admin"]})


WORD = Word(
    name="no_others",
    model=NoOthersExpectation,
    judge=judge_no_others,
    about="state",
    sockets="every",
    closes_world=True,
    examples={
        "no_others": Example("no_others: true", "shared", "with_another_port"),
    },
    inside="[{listener: {port: 15006}, bound: {times: 1}}, {%}]",
    parts=(
        Part(
            OthersAllowed,
            "`no_others`",
            "[{listener: {port: 15006}, bound: {times: 1}}, {no_others: {%}}]",
            {
                "allow": Example("allow: [hot_restart, admin]", "with_admin", "with_another_port"),
            },
        ),
    ),
    tries={"no_others": _allowances},
    of_state=lambda _, __: (Status.FAIL,),
)
