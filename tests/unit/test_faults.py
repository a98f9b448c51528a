"""Faults of system calls: what strace is asked for, and what it logs becomes part of the trace."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from envoyassert.errors import MachineError
from envoyassert.events import Event
from envoyassert.probe.faults import STRACE_CPU, FaultyArm, with_faults
from envoyassert.probe.live import ProbeSnapshot
from envoyassert.probe.strace_tracer import StraceArm
from envoyassert.steps.base import CallFault
from envoyassert.steps.registry import AnyStep
from envoyassert.strace.log import parse_strace
from envoyassert.trace import CpuCounters

MARK = "ENVOYASSERT_RUN=x"
LOG = f"""\
7 100.000000001 execve("/envoy", ["envoy"], ["{MARK}"]) = 0 <0.000000002>
7 100.000000010 listen(5, 9) = 0 <0.000000002>
7 100.000000020 listen(6, 9) = -1 EADDRINUSE (Address already in use) (INJECTED) <0.000000002>
7 100.000000030 listen(8, 9) = -1 EINVAL (Invalid argument) <0.000000002>
7 100.000000040 listen(9, 9) = 0 (DELAYED) <0.000000002>
"""


class Seen:
    """The probe's record of the same run: what the kernel carried out."""

    tracer = "ebpf"
    unobserved: tuple[str, ...] = ()
    run_id = "x"

    def __init__(self, started: tuple[str, ...] = ()) -> None:
        self._started = started

    def command(self, directory: str) -> tuple[str, ...]:
        return self._started

    def snapshot(self) -> ProbeSnapshot:
        event = Event(100_000_000_025, 7, 7, "close", 0, {"fd": 6}, 0, 1)
        return ProbeSnapshot([event], (CpuCounters(0, 1, 0),), 0, True, True)


def seen(*started: str) -> Any:
    """The stand-in, which has what is used here of the real one."""
    return Seen(started)


class GivenLog(StraceArm):
    """strace, whose log is given."""

    def __init__(self, drained: bool = True) -> None:
        super().__init__("x", "strace")
        self._log = parse_strace(LOG.splitlines(), MARK)
        self._whole = drained


def test_only_calls_that_strace_made_fail_are_injected() -> None:
    log = parse_strace(LOG.splitlines(), MARK)
    assert log.problems == []
    assert [(one.args["fd"], one.ret) for one in log.injected] == [(6, -errno.EADDRINUSE)]


@pytest.mark.parametrize("drained", [True, False])
def test_trace_has_what_the_probe_saw_and_what_never_reached_the_kernel(drained: bool) -> None:
    arm = FaultyArm(seen(), GivenLog(drained), [])
    found = arm.snapshot()
    assert [(one.call, one.args["fd"], one.cpu, one.seq) for one in found.events] == [
        ("listen", 6, STRACE_CPU, 1),
        ("close", 6, 0, 1),
    ]
    assert found.cpus == (CpuCounters(0, 1, 0), CpuCounters(STRACE_CPU, 1, 0))
    assert found.drained is drained
    assert found.marked


def test_strace_is_asked_for_every_fault() -> None:
    texts = [
        {"fault": {"call": "listen", "nth": 2, "error": "EADDRINUSE"}, "before": "startup"},
        {"fault": {"call": "bind", "onwards": True, "delay": "1.5ms"}, "before": "startup"},
        {"signal": "SIGTERM"},
    ]
    steps = [TypeAdapter(AnyStep).validate_python(text) for text in texts]
    faults = [fault for step in steps for fault in step.faults()]
    arm = FaultyArm(seen(), GivenLog(), faults)
    words = arm.command("/run")
    assert "inject=listen:error=EADDRINUSE:when=2" in words
    assert "inject=bind:delay_enter=1500:when=1+" in words
    assert len([word for word in words if word.startswith("inject=")]) == 2


def test_run_without_faults_is_left_alone() -> None:
    arm = seen()
    assert with_faults(arm, []) is arm


def test_run_that_strace_watches_already_is_refused() -> None:
    arm = seen("strace")
    with pytest.raises(MachineError, match="watches this run already"):
        with_faults(arm, [CallFault("bind", "1", "EACCES")])


@pytest.mark.parametrize("effect", [{}, {"error": "EACCES", "delay": "1s"}])
def test_fault_with_no_effect_or_two_is_refused(effect: dict[str, str]) -> None:
    text = {"fault": {"call": "bind", **effect}, "before": "startup"}
    with pytest.raises(ValidationError, match="either error or delay"):
        TypeAdapter(AnyStep).validate_python(text)
