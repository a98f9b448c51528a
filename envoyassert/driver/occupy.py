"""Strangers: sockets in Envoy's network that are not Envoy's."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.driver.base import DrivenEnvoy, Driver
from envoyassert.errors import LaunchError
from envoyassert.launch.limits import Limits, ordinary_user
from envoyassert.steps.driver import StepProblem, StepResult
from envoyassert.steps.occupy import Occupy, OccupyStep
from envoyassert.steps.registry import limits_at_launch
from envoyassert.trace import Stranger


class OccupyDriver(Driver[OccupyStep]):
    """Puts strangers beside Envoy, and knows all of them."""

    step = OccupyStep

    def __init__(self, envoy: DrivenEnvoy, steps: Sequence[OccupyStep] = ()) -> None:
        super().__init__(envoy, steps)
        self._strangers: list[Stranger] = []

    def before_start(self) -> None:
        """Put strangers where Envoy is going to be started.

        Raises:
            LaunchError: the kernel refuses one.
        """
        for step in self.steps:
            if not step.is_before_startup:
                continue
            limits = Limits(**limits_at_launch(self.envoy.plan.steps))
            user = limits.in_full((), ordinary_user()).uid
            try:
                self._put(step.occupy, user)
            except OSError as error:
                raise LaunchError(
                    _refusal(step.occupy, error),
                    "let `occupy` name a free port of a local address",
                ) from error

    def carry_out(self, step: OccupyStep, deadline_s: float) -> StepResult:
        """Put a stranger beside a running Envoy.

        Raises:
            StepProblem: the kernel refuses it; with EADDRINUSE, somebody has the port to himself.
        """
        try:
            self._put(step.occupy, os.stat(f"/proc/{self.envoy.pid}").st_uid)  # noqa: PTH116
        except OSError as error:
            raise StepProblem(_refusal(step.occupy, error)) from error
        return StepResult()

    def account(self) -> Mapping[str, Any]:
        """Return the strangers there are."""
        return {"strangers": tuple(self._strangers)}

    def _put(self, wish: Occupy, user: int | None) -> None:
        made, stranger = self.envoy.in_netns(lambda: open_stranger(wish, user))
        self.envoy.hold(made)
        self._strangers.append(stranger)


def open_stranger(wish: Occupy, user: int | None = None) -> tuple[socket.socket, Stranger]:
    """Make the socket of a stranger, in the network namespace of the calling thread.

    Args:
        wish: which socket.
        user: Envoy's, None for this process's: the kernel lets sockets of one user share a port.

    Raises:
        OSError: the kernel refuses it.
    """
    address = Address.inet(wish.address, wish.port)
    family = socket.AF_INET6 if address.family == "AF_INET6" else socket.AF_INET
    kind = socket.SOCK_STREAM if wish.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    try:
        if user is not None:
            os.fchown(made.fileno(), user, -1)
        if wish.reuse_address:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wish.reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((wish.address, wish.port))
        if wish.listens:
            made.listen()
        inode = os.fstat(made.fileno()).st_ino
    except OSError:
        made.close()
        raise
    protocol = wish.protocol.upper()
    since_ns = monotonic_ns()
    return made, Stranger(protocol, address, wish.listens, wish.reuse_port, inode, since_ns)


def _refusal(wish: Occupy, error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, str(error))
    return f"a stranger cannot have {wish}: {name}"
