"""What scenario and trace both name: listeners, phases, Envoys.

Apart from `envoyassert.trace`, so that who reads a scenario need not load what a trace is made of.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoyassert.addresses import Address
from envoyassert.frozen import frozen
from envoyassert.ranges import ListenerKind, ListenerProtocol

#: Name and kind of the phase before the first step.
STARTUP = "startup"

#: The launcher in the header of a trace whose Envoy something else started and drove.
ATTACHED = "attach"
#: Kinds of the phases of such a trace, which are cut by what is seen. Each phase is called by its
#: kind and its number in the trace: `added_1`, `removed_2`.
SEEN_KINDS = ("added", "removed", "changed", "epoch")
#: Of these phases: each, start-up included, and the last.
EACH, LAST = "each", "last"

#: The name of the Envoy that a run starts with.
FIRST = "first"


@frozen
class ListenerRecord:
    """One listener as the config or the admin endpoint names it; never used to judge flags.

    Args:
        name: the listener's name; `admin` for the admin endpoint (kind distinguishes them).
        protocol: of the first address: `TCP` or `UDP`; `UNIX` for pipes.
        addresses: configured addresses in order, port 0 where the kernel was to choose.
        kind: `static`, `lds` or `admin`.
    """

    name: str
    protocol: ListenerProtocol
    addresses: tuple[Address, ...]
    kind: ListenerKind = "static"

    def protocol_at(self, address: Address) -> str:
        """Return the protocol at one of the addresses: Envoy takes pipes and TCP together."""
        if not address.is_ip:
            return "UNIX"
        return "TCP" if self.protocol == "UNIX" else self.protocol


def namespaces_of(listeners: Iterable[ListenerRecord]) -> tuple[str, ...]:
    """Return the network namespaces that listeners name, by their files, in order."""
    named = (address.netns for record in listeners for address in record.addresses)
    return tuple(dict.fromkeys(netns for netns in named if netns))
