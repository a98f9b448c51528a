"""Ask the kernel and Envoy itself what there is, independently of the probe.

Three accounts, one after the other: of the process (`process`), of its network namespace
(`network`), and Envoy's own (`envoy`). Each says when it was taken, so that the judge compares only
what did not change in the meantime.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from envoyassert.accounts import Witness
from envoyassert.clock import monotonic_ns
from envoyassert.launch.processes import and_descendants
from envoyassert.option_read_back import Option
from envoyassert.witness.envoy import ask_envoy
from envoyassert.witness.network import ask_networks, names_by_cookie
from envoyassert.witness.process import ask_process, is_filtered


class InNetns(Protocol):
    """Runs a call inside a network namespace."""

    def __call__(self, call: Callable[[], object], netns: str = "", /) -> object:
        """Run it in Envoy's own, or in one by the file that Envoy enters it by."""


#: Asks the admin endpoint for a path; returns status and body.
AdminGet = Callable[[str], tuple[int, str]]


def take_witness(
    pid: int,
    in_netns: InNetns | None = None,
    admin_get: AdminGet | None = None,
    others: Collection[str] = (),
    options: Collection[Option] = (),
) -> Witness:
    """Return what the kernel and Envoy say about a process, and those below it, right now.

    Args:
        pid: the process, as seen from here.
        in_netns: enters its network namespaces; None to leave them out.
        admin_get: asks its admin endpoint; None if it has none.
        others: further network namespaces, by the files that it enters them by.
        options: the options whose values are asked for, by the names of level and option.

    Returns:
        The accounts. What kept one from being whole is in its `error`; it is never raised.
    """
    begun_ns = monotonic_ns()
    names = {} if in_netns is None or not others else names_by_cookie(in_netns, others)
    sockets, registrations, error = ask_process(pid, names, options)
    pids = [pid]
    for one in list(and_descendants(pid))[1:]:
        more = ask_process(one, names, options)
        if not more[2]:
            pids.append(one)
            sockets, registrations = sockets + more[0], registrations + more[1]
    network = None if error or in_netns is None else ask_networks(in_netns, others)
    ts_ns = monotonic_ns()
    # Last: the questions are traced as well, and would fall into the time of the others.
    envoy = None if error or admin_get is None else ask_envoy(admin_get)
    limits = limits_now()
    return Witness(
        ts_ns,
        sockets,
        registrations,
        error,
        begun_ns,
        pid,
        network,
        envoy,
        tuple(pids),
        limits,
        is_filtered(pid),
    )


def limits_now() -> dict[str, int]:
    """Return what bounds the values of options, in every network namespace the same."""
    found = {}
    for name in ("rmem_max", "wmem_max"):
        with contextlib.suppress(OSError, ValueError):
            found[f"net.core.{name}"] = int(Path(f"/proc/sys/net/core/{name}").read_text("ascii"))
    return found


__all__ = ["take_witness"]
