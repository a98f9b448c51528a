"""What came of holding one account of the kernel against the graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from envoyassert.graph.model import KernelSocket


@dataclass
class Comparison:
    """What came of holding an account of the kernel against the graph.

    Args:
        disagreements: what the two sides say differently, in words.
        compared: how much was compared, by what it is: `socket descriptor`, `option value`, …
        sockets: the sockets that were compared.
        doubtful: sockets of which what the kernel shows may be what a call in flight did, or what
            contradicts the trace, and why that is not known.
        unasked: sockets of which a descriptor could not be looked at, and why.
        untold: names of options of which the kernel does not return what was set, how often each.
        unnoted: what the account does not hold, as that of an earlier version, and how much of it.
    """

    disagreements: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    sockets: set[KernelSocket] = field(default_factory=set)
    doubtful: dict[KernelSocket, str] = field(default_factory=dict)
    unasked: dict[KernelSocket, str] = field(default_factory=dict)
    untold: Counter[str] = field(default_factory=Counter)
    unnoted: Counter[str] = field(default_factory=Counter)
