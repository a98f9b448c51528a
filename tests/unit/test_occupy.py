"""Foreign sockets that hold a port: the sockets themselves, and how the trace keeps them."""

from __future__ import annotations

import contextlib
import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.driver.occupy import OccupyDriver, open_foreign_socket
from envoyassert.errors import LaunchError
from envoyassert.steps.base import Step
from envoyassert.steps.occupy import Occupy, OccupyStep
from envoyassert.steps.registry import after_startup
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP
from envoyassert.trace_file import parse_trace, trace_lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def item(port: int, **words: Any) -> Occupy:
    return Occupy(address="127.0.0.1", port=port, **words)


def driver(step: OccupyStep, stack: contextlib.ExitStack) -> OccupyDriver:
    steps: tuple[Step, ...] = (step,)
    envoy: Any = SimpleNamespace(
        plan=SimpleNamespace(steps=steps),
        in_netns=lambda call: call(),
        hold=stack.enter_context,
    )
    return OccupyDriver(envoy, [step])


def test_exclusive_foreign_socket_keeps_others_out() -> None:
    port = free_port()
    made, _ = open_foreign_socket(item(port, listening=False))
    with made, pytest.raises(OSError) as caught:
        open_foreign_socket(item(port, reuse_port=True))
    assert caught.value.errno == errno.EADDRINUSE


def test_foreign_sockets_with_reuse_port_share_it() -> None:
    port = free_port()
    first, _ = open_foreign_socket(item(port, reuse_port=True))
    second, foreign = open_foreign_socket(item(port, reuse_port=True))
    with first, second:
        assert second.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert foreign.reuse_port


def test_foreign_sockets_with_reuse_address_share_it_until_one_listens() -> None:
    port = free_port()
    first, _ = open_foreign_socket(item(port, reuse_address=True, listening=False))
    with first:
        second, _ = open_foreign_socket(item(port, reuse_address=True))
        with second, pytest.raises(OSError) as caught:
            first.listen()
    assert caught.value.errno == errno.EADDRINUSE


def test_foreign_socket_that_is_refused_before_the_start_names_the_remedy() -> None:
    port = free_port()
    step = OccupyStep(occupy=item(port), before="startup")
    made, _ = open_foreign_socket(item(port))
    with (
        made,
        contextlib.ExitStack() as stack,
        pytest.raises(LaunchError, match="EADDRINUSE"),
    ):
        driver(step, stack).before_start()


def test_step_of_a_running_envoy_is_not_done_before_it() -> None:
    step = OccupyStep(occupy=item(free_port()))
    first = step.model_copy(update={"before": "startup"})
    with contextlib.ExitStack() as stack:
        one = driver(step, stack)
        one.before_start()
        assert one.account() == {"strangers": ()}
        one = driver(first, stack)
        one.before_start()
        assert [foreign.listening for foreign in one.account()["strangers"]] == [True]
    assert after_startup([step]) == (step,)
    assert after_startup([first]) == ()


def test_foreign_sockets_survive_a_trace_file() -> None:
    made, foreign = open_foreign_socket(item(free_port()))
    made.close()
    builder = TraceBuilder(1)
    builder.end_phase(STARTUP, STARTUP, strangers=(foreign,))
    trace = builder.build()
    assert trace.phases[0].strangers == (foreign,)
    assert parse_trace(trace_lines(trace)) == trace
