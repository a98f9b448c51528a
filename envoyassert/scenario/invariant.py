"""Invariants: what holds for every sound Envoy, each with a fault that it would have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator
from pydantic.json_schema import WithJsonSchema

from envoyassert.scenario.vocabulary import did_you_mean, word_fault


@dataclass(frozen=True)
class Invariant:
    """One invariant.

    Args:
        holds: what holds, in words that follow "expected".
        caught: the fault of Envoy or of its users that breaks it.
        source: where that fault is described: issues and pull requests of a project on GitHub.
    """

    holds: str
    caught: str
    source: str


#: Every invariant by its name.
INVARIANTS: Mapping[str, Invariant] = {
    "only_listeners_registered": Invariant(
        "workers wait only for listening sockets of configured listeners",
        "a socket whose listen() had failed was put into an epoll, and accept4 spun on EINVAL",
        "envoyproxy/envoy#14784",
    ),
    "no_unserved_sockets": Invariant(
        "no socket listens for more than a second without a thread that accepts from it",
        "after an update in place and a removal the old descriptor took connections and lost them",
        "envoyproxy/envoy#18616, envoyproxy/envoy#20113",
    ),
    "sockets_match_workers": Invariant(
        "a listener has one socket without SO_REUSEPORT, or one per worker, each with it",
        "a shared socket got SO_REUSEPORT although enable_reuse_port was false",
        "cilium/cilium#30331, envoyproxy/envoy#15794",
    ),
    "options_before_bind": Invariant(
        "options that work only before bind are set before it",
        "changed socket options did not reach a socket that was bound already",
        "envoyproxy/envoy#22634",
    ),
    "main_binds_and_listens": Invariant(
        "only the main thread calls bind and listen (from Envoy 1.20 on)",
        "workers that bound their own sockets failed one by one and left half a listener",
        "envoyproxy/envoy#11340, envoyproxy/envoy#17259",
    ),
    "accepts_succeed": Invariant(
        "accept fails only for lack of a connection (EAGAIN, ECONNABORTED, EINTR)",
        "accept4 failed with EMFILE without an end, or with EINVAL on a socket that never listened",
        "envoyproxy/envoy#13852, envoyproxy/envoy#14784",
    ),
    "served_without_break": Invariant(
        "once served, an address of a listener stays served while Envoy runs",
        "under hot restart the child's sockets came after the parent had stopped listening",
        "envoyproxy/envoy#14295",
    ),
    "live_means_served": Invariant(
        "each static listener is served by every worker within a second of the first LIVE reply",
        "Envoy was LIVE long before its workers accepted, or with a listener that failed to listen",
        "envoyproxy/envoy#8321, envoyproxy/envoy#11340",
    ),
    "descriptors_bounded": Invariant(
        "no listening socket has more than two descriptors per worker",
        "each update in place left descriptors of the same socket behind",
        "envoyproxy/envoy#20702",
    ),
}


def _check_invariant(name: str) -> str:
    """Return the name of an invariant, or raise with the name that was meant."""
    if name in INVARIANTS:
        return name
    raise word_fault(
        f"`{name}` is not an invariant",
        did_you_mean(name, INVARIANTS) or f"these are: {', '.join(INVARIANTS)}",
    )


InvariantName = Annotated[
    str,
    AfterValidator(_check_invariant),
    WithJsonSchema({"type": "string", "enum": list(INVARIANTS)}),
]
"""An invariant by its name."""
