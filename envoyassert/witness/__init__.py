"""Ask the kernel and Envoy itself what there is, independently of the probe.

Three accounts, one after the other: of the process (`process`), of its network namespace
(`network`), and Envoy's own (`envoy`). Each says when it was taken, so that the judge compares only
what did not change in the meantime.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from envoyassert.accounts import Witness
from envoyassert.witness.envoy import ask_envoy
from envoyassert.witness.network import ask_network
from envoyassert.witness.process import ask_process

#: Runs a call inside Envoy's network namespace.
InNetns = Callable[[Callable[[], Any]], Any]
#: Asks the admin endpoint for a path; returns status and body.
AdminGet = Callable[[str], tuple[int, str]]


def take_witness(
    pid: int, in_netns: InNetns | None = None, admin_get: AdminGet | None = None
) -> Witness:
    """Return what the kernel and Envoy say about a process right now.

    Args:
        pid: the process, as seen from here.
        in_netns: enters its network namespace; None to leave the namespace out.
        admin_get: asks its admin endpoint; None if it has none.

    Returns:
        The accounts. What kept one from being whole is in its `error`; it is never raised.
    """
    begun_ns = time.monotonic_ns()
    sockets, registrations, error = ask_process(pid)
    network = None if error or in_netns is None else ask_network(in_netns)
    ts_ns = time.monotonic_ns()
    # Last: the questions are traced as well, and would fall into the time of the others.
    envoy = None if error or admin_get is None else ask_envoy(admin_get)
    return Witness(ts_ns, sockets, registrations, error, begun_ns, pid, network, envoy)


__all__ = ["take_witness"]
