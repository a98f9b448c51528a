"""Which of the sockets of a port the kernel gives a client to.

Linux looks for the address that the client asked for, and for a wildcard only where no socket has
that address (net/ipv4/inet_hashtables.c, __inet_lookup_listener(); net/ipv4/udp.c,
__udp4_lib_lookup(); for IPv6 the same). Of several, one that is bound to a device counts more, and
one of IPv4 for a client of IPv4 (compute_score()); of equals the first that is met. The first one
of a reuseport group that counts more than those before it ends the search: its group shares the
client. Sockets are met in the reverse order of their listen(), or bind() for UDP, but for those of
IPv6 with SO_REUSEPORT: these come last, in order. All of it is held against real clients in
tests/e2e/test_lookup.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import product

from envoyassert.addresses import Address
from envoyassert.frozen import frozen

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - compared, never bound
_MAPPED = "::ffff:"
#: Where more candidates than this are not known in full, each of all is taken to be possible.
_TRIED = 4


@frozen
class IncomingClient:
    """A process that connects, or sends a datagram.

    Args:
        protocol: `TCP` or `UDP`; MPTCP is TCP here.
        address: what it asks for. A v4-mapped address is asked for over IPv4. A wildcard stands
            for any address of its family that no socket is bound to.
        device: by which it comes in: from outside the device that received it, from inside the one
            that has the address; "" for one that no socket is bound to.
    """

    protocol: str
    address: Address
    device: str = ""


@frozen
class Candidate:
    """A socket for clients: it listens, or is a bound UDP socket without a peer.

    Args:
        holder: what it is known by; whatever the caller likes.
        protocol: `TCP` or `UDP`; MPTCP is TCP here.
        address: what it is bound to.
        v6only: IPV6_V6ONLY; None if it is not known.
        device: SO_BINDTODEVICE, "" for none.
        reuse_port: SO_REUSEPORT; None if it is not known.
        since_ns: when it listened, or was bound (UDP); None if it is not known.
    """

    holder: Hashable
    protocol: str
    address: Address
    v6only: bool | None = False
    device: str = ""
    reuse_port: bool | None = False
    since_ns: int | None = None


def unmapped(host: str) -> str:
    """Return the IPv4 address that a v4-mapped one maps, and any other one as it is."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


def is_any(host: str) -> bool:
    """Whether an address is a wildcard for the kernel: `0.0.0.0`, `::`, or the former mapped."""
    return unmapped(host) in (ANY_IPV4, ANY_IPV6)


def takers(client: IncomingClient, candidates: Sequence[Candidate]) -> set[frozenset[Hashable]]:
    """Return who may get a client: of each possible case the holders that share it.

    An empty set of holders: the client is refused. There are several cases only where
    something that decides is not known of a candidate.

    Args:
        client: the client.
        candidates: all sockets for clients; those of other ports do not matter.
    """
    near = [one for one in candidates if _takes(client, replace(one, v6only=False))]
    if sum(None in (one.v6only, one.reuse_port, one.since_ns) for one in near) > _TRIED:
        return {frozenset({one.holder}) for one in near}
    found: set[frozenset[Hashable]] = set()
    for known in product(*map(_cases, near)):
        taking = [one for one in known if _takes(client, one)]
        exact = [one for one in taking if not is_any(one.address.host)]
        found |= {_taken(client, order) for order in _orders(exact or taking)}
    return found


def _cases(candidate: Candidate) -> list[Candidate]:
    """Return what a candidate may be, with nothing left open but its place in the order."""
    return [
        replace(candidate, v6only=only, reuse_port=reuse)
        for only in ((candidate.v6only,) if candidate.v6only is not None else (False, True))
        for reuse in (
            (candidate.reuse_port,) if candidate.reuse_port is not None else (False, True)
        )
    ]


def _takes(client: IncomingClient, candidate: Candidate) -> bool:
    asked, bound = client.address, candidate.address
    if (candidate.protocol, bound.port, bound.netns) != (client.protocol, asked.port, asked.netns):
        return False
    if candidate.device not in ("", client.device):
        return False
    host = unmapped(asked.host)
    if ":" in host:
        return bound.host in (host, ANY_IPV6)
    if bound.host == ANY_IPV6:
        return not candidate.v6only
    return unmapped(bound.host) in (host, ANY_IPV4)


def _score(client: IncomingClient, candidate: Candidate) -> int:
    own_family = ":" not in unmapped(client.address.host) and candidate.address.family == "AF_INET"
    if client.protocol == "UDP":
        return own_family + (4 if candidate.device else 0)
    return own_family + (1 if candidate.device else 0)


def _group(candidate: Candidate) -> Hashable:
    """Return what the members of a reuseport group have in common; another socket has itself."""
    if not candidate.reuse_port:
        return candidate.holder
    address = candidate.address
    return address.family, address.host, candidate.device, candidate.v6only


def _taken(client: IncomingClient, order: Sequence[Candidate]) -> frozenset[Hashable]:
    best, result = -1, frozenset[Hashable]()
    for met in order:
        if _score(client, met) > best:
            best = _score(client, met)
            result = frozenset(one.holder for one in order if _group(one) == _group(met))
            if met.reuse_port:
                break
    return result


def _orders(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield every order in which the candidates may be met."""
    last = [one for one in candidates if one.reuse_port and one.address.family == "AF_INET6"]
    first = [one for one in candidates if one not in last]
    for before in _arranged(first, newest_first=True):
        for after in _arranged(last, newest_first=False):
            yield [*before, *after]


def _arranged(candidates: Sequence[Candidate], newest_first: bool) -> Iterator[list[Candidate]]:
    """Yield every order that agrees with what is known of their times.

    Members of a group stand for each other, so only the first one that is met counts.
    """
    groups: dict[Hashable, list[Candidate]] = {}
    for one in sorted(candidates, key=lambda one: one.since_ns or 0, reverse=newest_first):
        groups.setdefault(_group(one), []).append(one)
    known = [key for key, group in groups.items() if all(one.since_ns is not None for one in group)]
    orders = [known]
    for key in groups.keys() - set(known):
        orders = [
            [*order[:place], key, *order[place:]]
            for order in orders
            for place in range(len(order) + 1)
        ]
    for order in orders:
        yield [one for key in order for one in groups[key]]
