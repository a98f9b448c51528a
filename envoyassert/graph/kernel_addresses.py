"""The kernel's own addresses of TCP sockets that listen, held against identity by birth."""

from __future__ import annotations

from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.model import KernelSocket


class KernelAddresses:
    """What the kernel reported of its sockets.

    Args:
        problems: contradictions are added here.
    """

    def __init__(self, problems: list[Fact]) -> None:
        self._problems = problems
        self._listening: dict[int, str] = {}
        #: Those of the sockets whose listening it ended.
        self.closed: set[str] = set()

    def change(self, event: Event) -> None:
        """Note a tcp_state."""
        if event.args["new"] == "TCP_LISTEN":
            self._listening[event.tid] = event.args["sk"]
        elif event.args["old"] == "TCP_LISTEN":
            self.closed.add(event.args["sk"])

    def settle(self, event: Event, socket: KernelSocket) -> None:
        """Compare the address in a listen() with that of the socket's history."""
        address = event.args.get("sk") or self._listening.pop(event.tid, None)
        if address is None:
            return
        # The kernel gives a closed socket's memory, and so its address, to the next one.
        self.closed.discard(address)
        if socket.kernel_address not in (None, address):
            self._problems.append(Fact("another_kernel_socket", fd=event.args["fd"]))
        socket.kernel_address = address
