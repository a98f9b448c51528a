"""Foreign sockets: sockets in Envoy's network that are not Envoy's."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.driver.base import DrivenEnvoy, Driver
from envoyassert.errors import LaunchError
from envoyassert.launch.limits import Limits, ordinary_user
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.occupy import Occupy, OccupyStep
from envoyassert.steps.registry import limits_at_launch
from envoyassert.trace import ForeignSocket


class OccupyDriver(Driver[OccupyStep]):
    """Puts foreign sockets beside Envoy, and knows all of them."""

    step = OccupyStep

    def __init__(self, envoy: DrivenEnvoy, steps: Sequence[OccupyStep] = ()) -> None:
        super().__init__(envoy, steps)
        self._foreign: list[ForeignSocket] = []

    def before_start(self) -> None:
        """Put foreign sockets where Envoy is going to be started.

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
        """Put a foreign socket beside a running Envoy.

        Raises:
            StepProblem: the kernel refuses it; with EADDRINUSE, another process has the port alone.
        """
        try:
            self._put(step.occupy, Path(f"/proc/{self.envoy.pid}").stat().st_uid)
        except OSError as error:
            raise StepProblem(_refusal(step.occupy, error)) from error
        return StepResult()

    def account(self) -> Mapping[str, Any]:
        """Return the foreign sockets there are."""
        return {"strangers": tuple(self._foreign)}

    def _put(self, wanted: Occupy, user: int | None) -> None:
        made, foreign = self.envoy.in_netns(lambda: open_foreign_socket(wanted, user))
        self.envoy.hold(made)
        self._foreign.append(foreign)


def open_foreign_socket(
    wanted: Occupy, user: int | None = None
) -> tuple[socket.socket, ForeignSocket]:
    """Make a foreign socket, in the network namespace of the calling thread.

    Args:
        wanted: which socket.
        user: Envoy's, None for this process's: the kernel lets sockets of one user share a port.

    Raises:
        OSError: the kernel refuses it.
    """
    address = Address.inet(wanted.address, wanted.port)
    family = socket.AF_INET6 if address.family == "AF_INET6" else socket.AF_INET
    kind = socket.SOCK_STREAM if wanted.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    try:
        if user is not None:
            os.fchown(made.fileno(), user, -1)
        if wanted.reuse_address:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted.reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((wanted.address, wanted.port))
        if wanted.listens:
            made.listen()
        inode = os.fstat(made.fileno()).st_ino
    except OSError:
        made.close()
        raise
    protocol = wanted.protocol.upper()
    since_ns = monotonic_ns()
    return made, ForeignSocket(
        protocol, address, wanted.listens, wanted.reuse_port, inode, since_ns
    )


def _refusal(wanted: Occupy, error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, str(error))
    return f"another process cannot have {wanted}: {name}"
