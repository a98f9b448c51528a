"""That nothing is lost unnoticed: counters, numbers and snapshots agree exactly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from envoyassert.probe import Probe, kernel, new_run_id, program
from envoyassert.probe.maps import possible_cpus
from tests.bpf.conftest import DRAIN_S, environment, run_python

pytestmark = pytest.mark.bpf

# 10,007 is a prime: no buffer size divides it.
PRIME = 10_007

BURST = f"""
begin()
for number in range({PRIME}): libc.listen(-1, number)
end()
"""

BURST_OF_THREADS = f"""
begin()
def work(base):
    for number in range({PRIME}): libc.listen(-1, base + number)
threads = [threading.Thread(target=work, args=(base << 20,)) for base in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
end()
"""


def numbers_by_cpu(events):
    numbers: dict[int, list[int]] = {}
    for event in events:
        numbers.setdefault(event.cpu, []).append(event.seq)
    return {cpu: sorted(found) for cpu, found in numbers.items()}


def test_prime_number_of_calls_gives_as_many_events_in_order(trace):
    child = trace(BURST)

    assert [event.args["backlog"] for event in child.marked] == list(range(PRIME))
    times = [event.ts_ns for event in child.snapshot.events]
    assert times == sorted(times)
    assert child.snapshot.misses == 0


def test_numbers_of_each_cpu_have_no_gap_when_nothing_was_lost(trace):
    child = trace(BURST_OF_THREADS)

    listens = [event.args["backlog"] for event in child.marked if event.call == "listen"]
    assert sorted(listens) == [base << 20 | n for base in range(5) for n in range(PRIME)]
    found = numbers_by_cpu(child.snapshot.events)
    assert {cpu.cpu for cpu in child.snapshot.cpus} == found.keys()
    for cpu in child.snapshot.cpus:
        assert cpu.dropped == 0
        assert found[cpu.cpu] == list(range(1, cpu.emitted + 1))


@pytest.fixture(scope="module")
def tiny(require_bpf):
    """A probe whose ring holds about fifty records."""
    with Probe.load(ring_pages=1) as loaded:
        yield loaded


def test_full_ring_loses_exactly_what_is_counted_as_dropped(tiny):
    with tiny.arm(new_run_id()) as arm:
        run_python(BURST, arm.run_id)
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()

    emitted = sum(cpu.emitted for cpu in snapshot.cpus)
    dropped = sum(cpu.dropped for cpu in snapshot.cpus)
    assert emitted > PRIME
    assert dropped > 0
    assert emitted == dropped + len(snapshot.events)
    assert snapshot.drained
    assert snapshot.marked


@pytest.fixture
def small(require_bpf):
    """A probe whose ring holds some hundred records: a short run, and no burst."""
    with Probe.load(ring_pages=8) as loaded:
        yield loaded


def fill(probe):
    """Let a run write more than the ring holds, and end it without reading."""
    with probe.arm(new_run_id()) as arm:
        run_python(BURST, arm.run_id)
        assert arm.counters().dropped > 0


def listened(arm):
    """Return the numbers that a run listened with, of which nothing may be lost."""
    arm.drain(DRAIN_S)
    snapshot = arm.snapshot()
    assert snapshot.drained
    assert snapshot.marked
    assert [cpu.dropped for cpu in snapshot.cpus if cpu.dropped] == []
    return [event.args["backlog"] for event in snapshot.events if event.call == "listen"]


def test_run_after_one_that_filled_the_ring_is_whole(small):
    for number in range(3):
        fill(small)
        with small.arm(new_run_id()) as arm:
            run_python(f"libc.listen(-1, {number})", arm.run_id)
            assert listened(arm) == [number]


def test_run_beside_one_that_filled_the_ring_keeps_what_it_wrote(small):
    with small.arm(new_run_id()) as beside:
        run_python("libc.listen(-1, 1)", beside.run_id)
        fill(small)
        with small.arm(new_run_id()) as arm:
            run_python("libc.listen(-1, 2)", arm.run_id)
            run_python("libc.listen(-1, 3)", beside.run_id)
            assert listened(arm) == [2]
            assert listened(beside) == [1, 3]


def test_loss_is_a_gap_in_the_numbers_of_its_cpu(tiny):
    with tiny.arm(new_run_id()) as arm:
        # Read in between: records before and after the loss survive.
        process = start_chatter(arm.run_id)
        try:
            deadline = time.monotonic() + DRAIN_S
            while arm.counters().dropped == 0 and time.monotonic() < deadline:
                time.sleep(0.001)
            lost = arm.counters()
            arm.drain(DRAIN_S)
            while arm.counters().emitted < lost.emitted + 1000 and time.monotonic() < deadline:
                arm.drain(0)
        finally:
            process.kill()
            process.wait()
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()

    assert snapshot.drained
    found = numbers_by_cpu(snapshot.events)
    gaps = {
        cpu: sum(after - before - 1 for before, after in pairwise([0, *numbers]))
        for cpu, numbers in found.items()
    }
    assert sum(gaps.values()) > 0
    for cpu in snapshot.cpus:
        numbers = found.get(cpu.cpu, [])
        at_the_end = cpu.emitted - (numbers[-1] if numbers else 0)
        assert gaps.get(cpu.cpu, 0) + at_the_end == cpu.dropped


def start_chatter(run_id, pause_us=0):
    code = f"""
import ctypes
libc = ctypes.CDLL(None)
while True:
    libc.listen(-1, 1)
    if {pause_us}: libc.usleep({pause_us})
"""
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], env=environment(run_id))


def test_snapshot_of_a_running_process_ends_at_one_number_per_cpu(arm):
    with start_chatter(arm.run_id, pause_us=20) as process:
        try:
            snapshots = []
            for more in range(1000, 6000, 1000):
                # The process may not have run since the last one.
                deadline = time.monotonic() + DRAIN_S
                while arm.counters().emitted < more and time.monotonic() < deadline:
                    time.sleep(0.001)
                arm.drain(DRAIN_S)
                snapshots.append(arm.snapshot())
        finally:
            process.kill()

    for snapshot in snapshots:
        assert snapshot.drained
        found = numbers_by_cpu(snapshot.events)
        for cpu in snapshot.cpus:
            assert cpu.dropped == 0
            assert found[cpu.cpu] == list(range(1, cpu.emitted + 1))
    sizes = [len(snapshot.events) for snapshot in snapshots]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_no_record_is_lost_or_written_twice_when_batches_are_written_amid_calls(probe):
    with probe.arm(new_run_id()) as arm, start_chatter(arm.run_id) as process:
        try:
            deadline = time.monotonic() + DRAIN_S
            while arm.counters().emitted < 40_000 and time.monotonic() < deadline:
                probe.flush()
        finally:
            process.kill()
        process.wait()
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()

    assert snapshot.drained
    found = numbers_by_cpu(snapshot.events)
    for cpu in snapshot.cpus:
        assert cpu.dropped == 0
        assert found[cpu.cpu] == list(range(1, cpu.emitted + 1))


#: Has its own records written, again and again, on one CPU.
FLUSHES_ITSELF = """
import os, socket, sys, time
from envoyassert.probe import kernel
cpu, flush, seconds = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
print(flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(10):
        socket.socket().close()
    kernel.run_on(flush, cpu)
"""


def test_no_record_is_written_twice_when_two_have_the_same_batch_written(probe):
    """One does so on that CPU, and is interrupted by the other's request from elsewhere."""
    own = os.sched_getaffinity(0)
    cpu, *others = sorted(own)
    flush = probe._program._loaded.functions["ea_flush"]
    with probe.arm(new_run_id()) as arm:
        with subprocess.Popen(
            [sys.executable, "-c", FLUSHES_ITSELF, str(cpu), str(flush), "3"],
            env=environment(arm.run_id),
            pass_fds=[flush],
            stdout=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                os.sched_setaffinity(0, others or own)
                while process.poll() is None:
                    for _ in range(2000):
                        kernel.run_on(flush, cpu)
                    arm.drain(0)
            finally:
                os.sched_setaffinity(0, own)
                process.kill()
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()

    assert process.returncode == 0
    assert snapshot.drained
    found = numbers_by_cpu(snapshot.events)
    for one in snapshot.cpus:
        assert found[one.cpu] == list(range(1, one.emitted + 1))


def test_ring_that_holds_very_much_is_read_in_parts(arm, monkeypatch):
    monkeypatch.setattr(program, "_PIECES_AT_ONCE", 10)
    run_python(BURST, arm.run_id)

    arm.drain(0)
    assert not arm.snapshot().drained

    arm.drain(DRAIN_S)
    snapshot = arm.snapshot()
    assert snapshot.drained
    backlogs = [event.args["backlog"] for event in snapshot.events if event.call == "listen"]
    assert backlogs == list(range(PRIME))


def test_drain_of_a_run_without_processes_ends_at_once(arm):
    start = time.monotonic()
    arm.drain(DRAIN_S)

    assert time.monotonic() - start < DRAIN_S / 2
    snapshot = arm.snapshot()
    assert (snapshot.events, snapshot.cpus, snapshot.marked) == ([], (), False)


STACKS = """
libc.socket(2, 1, 0)
begin()
for _ in range(3): libc.socket(2, 1, 0)
libc.listen(-1, 0)
end()
"""


def test_stack_is_recorded_for_every_socket_though_its_frames_travel_once(trace):
    child = trace(STACKS)

    first, second, third, listen = child.marked
    assert first.stack
    assert first.stack == second.stack == third.stack
    assert listen.stack != first.stack
    # The innermost frame is in the C library: its build id and an offset.
    build_id, _, offset = first.stack[0].partition("+0x")
    assert len(build_id) == 40
    assert int(build_id, 16) > 0
    assert int(offset, 16) > 0
    assert listen.stack[0].startswith(build_id)


@pytest.mark.parametrize("burst", [BURST, BURST_OF_THREADS], ids=["one thread", "five threads"])
def test_run_ends_in_the_kernel_at_its_limit_of_records(probe, burst):
    with probe.arm(new_run_id(), records=1000) as arm, probe.arm(new_run_id()) as other:
        run_python(burst, arm.run_id)
        run_python("", other.run_id)
        arm.drain(DRAIN_S)
        snapshot, counters = arm.snapshot(), arm.counters()
        other.drain(DRAIN_S)
        assert other.snapshot().events[-1].call == "exit"
        assert other.counters().capped == 0

    assert snapshot.drained
    # Each CPU may take the last place at the same time as the others, and find none once more.
    cpus = len(possible_cpus())
    assert 1000 <= len(snapshot.events) < 1000 + cpus
    assert 1 <= counters.capped <= cpus
    assert counters.dropped == counters.capped == sum(cpu.capped for cpu in snapshot.cpus)
    assert counters.emitted == len(snapshot.events) + counters.capped


@pytest.mark.parametrize("records", [0, -1])
def test_limit_without_a_record_is_refused(probe, records):
    with pytest.raises(ValueError, match="1 record at least"):
        probe.arm(new_run_id(), records=records)
