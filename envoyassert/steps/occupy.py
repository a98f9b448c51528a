"""Strangers: sockets in Envoy's network that are not Envoy's."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.errors import LaunchError
from envoyassert.launch.limits import ordinary_user
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.occupy import Occupy, OccupyStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult
from envoyassert.steps.limit import limits_first
from envoyassert.trace import Stranger


def occupy(envoy: DrivenEnvoy, step: OccupyStep, _deadline_s: float) -> StepResult:
    """Put a stranger beside a running Envoy.

    Raises:
        StepProblem: the kernel refuses it; with EADDRINUSE, somebody has the port to himself.
    """
    try:
        user = os.stat(f"/proc/{envoy.pid}").st_uid  # noqa: PTH116
        made, stranger = envoy.in_netns(lambda: open_stranger(step.occupy, user))
    except OSError as error:
        raise StepProblem(_refusal(step.occupy, error)) from error
    envoy.hold(made)
    return StepResult(strangers=(stranger,))


def occupy_first(
    steps: Iterable[Step],
    in_netns: Callable[[Callable[[], Any]], Any],
    stack: contextlib.ExitStack,
) -> list[Stranger]:
    """Put strangers where Envoy is going to be started.

    Args:
        steps: all steps; those before the start are carried out.
        in_netns: runs a call in the network namespace that Envoy will have.
        stack: keeps them open.

    Raises:
        LaunchError: the kernel refuses one.
    """
    strangers = []
    steps = [*steps]
    for step in steps:
        if not _is_first(step):
            continue
        wish = step.occupy
        user = limits_first(steps).in_full((), ordinary_user()).uid
        try:
            made, stranger = in_netns(functools.partial(open_stranger, wish, user))
        except OSError as error:
            raise LaunchError(
                _refusal(wish, error), "let `occupy` name a free port of a local address"
            ) from error
        stack.enter_context(made)
        strangers.append(stranger)
    return strangers


def after_startup(steps: Iterable[Step]) -> list[Step]:
    """Return the steps that are carried out on a running Envoy."""
    return [step for step in steps if not _before(step)]


def _before(step: Step) -> bool:
    return getattr(step, "before", None) is not None


def _is_first(step: Step) -> TypeGuard[OccupyStep]:
    return isinstance(step, OccupyStep) and _before(step)


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
