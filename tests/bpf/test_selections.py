"""Processes that something else starts: which of them are watched, and from when on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Arm, Probe, Selected, new_run_id
from envoyassert.probe.program import SLOTS
from tests.bpf.conftest import CHILD_S, DRAIN_S, LISTENS, TARGET, command, environment, start

pytestmark = pytest.mark.bpf


def events_of(arm: Arm):
    arm.drain(DRAIN_S)
    snapshot = arm.snapshot()
    assert snapshot.drained
    assert snapshot.marked
    return snapshot.events


def numbers(selected: Selected) -> list[list[int]]:
    """Return what the target of each run listened with; disarms the runs."""
    found = []
    for arm in selected.poll():
        with arm:
            found.append([e.args["backlog"] for e in events_of(arm) if e.call == "listen"])
    return found


def test_process_of_that_name_is_watched_from_its_exec_and_no_other(probe, program):
    with probe.select(ProcessSelection(TARGET)) as selected:
        start(program(TARGET + "s"), 1)
        start(program(f"other/{TARGET}"), 2)
        start(program(TARGET[:-1]), 3)
        assert selected.missed == 0
        (arm,) = selected.poll()

        events = events_of(arm)
        assert events[0].call == "exec"
        assert events[0].args["filename"] == program(f"other/{TARGET}")
        assert [e.args["backlog"] for e in events if e.call == "listen"] == [2]
        assert events[-1].call == "exit"
        assert len({event.pid for event in events}) == 1
        assert arm.run_id == ""
        arm.disarm()
        assert selected.poll() == []


@pytest.mark.parametrize(
    "name", ["e", "fourteen-bytes", "fifteen-bytes-x", "sixteen-bytes-xy", "n" * 200]
)
def test_name_of_any_length_is_compared_to_its_end(probe, program, name):
    with probe.select(ProcessSelection(name)) as selected:
        for number, other in enumerate([name[:-1] + "?", f"{name}?", f"?{name}", name]):
            start(program(other), number)
        assert numbers(selected) == [[3]]


def test_name_without_a_directory_is_the_end_of_a_path_too(probe, program):
    path = Path(program("sixteen-bytes-xy"))
    with probe.select(ProcessSelection(path.name)) as selected:
        code = f"import os; os.execve({path.name!r}, {command(path.name, 5)!r}, os.environ)"
        subprocess.run([sys.executable, "-c", code], cwd=path.parent, timeout=CHILD_S, check=True)
        assert numbers(selected) == [[5]]


def test_path_is_compared_as_it_was_given_to_execve(probe, program):
    path = program(f"bin/{TARGET}")
    roundabout = path.replace("/bin/", "/bin/../bin/")
    with probe.select(ProcessSelection(path)) as selected:
        start(program(TARGET), 1)
        start(roundabout, 2)
        start(path, 3)
        assert numbers(selected) == [[3]]


@pytest.mark.parametrize("length", [1, 252])
def test_variables_are_compared_whole_and_all_of_them(probe, program, length):
    wanted = "V=" + "x" * (length - 1) + "y"
    others = {f"W{number}": "" for number in range(300)}
    with probe.select(ProcessSelection(TARGET, env=(wanted, "POD=a"))) as selected:
        plain = environment(None)
        for number, variables in enumerate(
            [
                {"V": wanted[2:]},
                {"V": wanted[2:], "POD": "ab"},
                {"V": wanted[2:] + "y", "POD": "a"},
                {"V": wanted[2:-1], "POD": "a"},
                {"POD": "a", **others, "V": wanted[2:]},
            ]
        ):
            start(program(TARGET), number, env={**plain, **variables})
        assert numbers(selected) == [[4]]
        assert selected.missed == 0


def test_environment_too_long_to_be_compared_is_counted_as_missed(probe, program):
    many = {f"V{number}": "" for number in range(600)}
    with probe.select(ProcessSelection(TARGET, env=("POD=a",))) as selected:
        start(program(TARGET), 1, env={**many, "POD": "a"})
        start(program("other"), 1, env={**many, "POD": "a"})
        assert selected.poll() == []
        assert selected.missed == 1


def test_path_behind_an_environment_too_long_to_be_passed_is_counted_as_missed(probe, program):
    many = {f"V{number}": "" for number in range(600)}
    path = program(TARGET)
    by_path = probe.select(ProcessSelection(path))
    with by_path, probe.select(ProcessSelection(TARGET)) as by_name:
        start(program(f"other/{TARGET}"), 1)
        start(path, 2, env={**environment(None), **many})
        assert by_path.poll() == []
        assert by_path.missed == 1
        assert numbers(by_name) == [[1], [2]]


def test_exec_at_which_the_kernel_skipped_the_comparison_counts_as_missed(probe, monkeypatch):
    with probe.select(ProcessSelection(TARGET)) as selected:
        assert selected.missed == 0
        before = probe._program.misses("ea_process_select")
        monkeypatch.setattr(probe._program, "misses", lambda _name="": before + 2)
        assert selected.missed == 2


def test_closed_probe_ends_its_selections_and_keeps_what_they_missed(program):
    with Probe.load(ring_pages=1) as probe:
        selected = probe.select(ProcessSelection(TARGET), limit=1)
        start(program(TARGET), 1)
        start(program(TARGET), 2)
        assert selected.missed == 1
    assert (selected.poll(), selected.missed) == ([], 1)
    selected.disarm()
    assert selected.missed == 1


def test_selections_with_variables_in_common_are_kept_apart(probe, program):
    plain = environment(None)
    first = probe.select(ProcessSelection(TARGET, env=("A=1", "B=1")))
    with first, probe.select(ProcessSelection(TARGET, env=("A=1", "B=2"))) as second:
        start(program(TARGET), 1, env={**plain, "A": "1", "B": "1"})
        start(program(TARGET), 2, env={**plain, "A": "1", "B": "2"})
        assert numbers(first) == [[1]]
        first.disarm()
        start(program(TARGET), 3, env={**plain, "A": "1", "B": "1"})
        start(program(TARGET), 4, env={**plain, "A": "1", "B": "2"})
        assert numbers(second) == [[2], [4]]
        assert first.poll() == []


@pytest.mark.parametrize("uid, runs", [(65534, 1), (65533, 0)])
def test_user_is_compared(probe, uid, runs):
    with probe.select(ProcessSelection("true", uid=uid)) as selected:
        subprocess.run(["/bin/true"], user=65534, check=True, timeout=CHILD_S)
        assert len(numbers(selected)) == runs


def test_process_that_belongs_to_a_run_keeps_it(probe, program):
    shell = f"{program('envoy')} -I -S -c '{LISTENS}' 7"
    with probe.arm(new_run_id()) as arm, probe.select(ProcessSelection(TARGET)) as selected:
        start(program(TARGET), 6, env=environment(arm.run_id))
        subprocess.run(["/bin/sh", "-c", f"{shell}; :"], env=environment(arm.run_id), check=True)
        assert selected.poll() == []
        assert [e.args["backlog"] for e in events_of(arm) if e.call == "listen"] == [6, 7]


def test_children_and_what_they_execute_belong_to_the_run(probe, program):
    code = f"""
import os, subprocess, sys
subprocess.run({command(sys.executable, 1)!r}, check=True)
subprocess.run({command(program(TARGET), 2)!r}, check=True)
os.execv({program("last")!r}, {command(program("last"), 3)!r})
"""
    with probe.select(ProcessSelection(TARGET)) as selected:
        subprocess.run([program(TARGET), "-I", "-S", "-c", code], check=True, timeout=CHILD_S)
        assert numbers(selected) == [[1, 2, 3]]


def test_each_process_that_no_spare_run_was_left_for_is_counted(probe, program):
    with probe.select(ProcessSelection(TARGET), limit=2) as selected:
        for number in range(5):
            start(program(TARGET), number)
        assert selected.missed == 3
        assert numbers(selected) == [[0], [1]]
        for number in range(5, 7):
            start(program(TARGET), number)
        assert numbers(selected) == [[5], [6]]
        assert selected.missed == 3
    assert selected.missed == 3


def test_more_selections_than_the_kernel_compares_are_refused(probe):
    kept = [probe.select(ProcessSelection(TARGET), limit=1) for _ in range(8)]
    try:
        with pytest.raises(RuntimeError, match="8 selections"):
            probe.select(ProcessSelection(TARGET))
    finally:
        for one in kept:
            one.disarm()
    variables = tuple(f"V={number}" for number in range(33))
    with pytest.raises(RuntimeError, match="32 variables"):
        probe.select(ProcessSelection(TARGET, env=variables))
    probe.select(ProcessSelection(TARGET, env=variables[1:])).disarm()


@pytest.mark.parametrize(
    "selection, said",
    [
        (ProcessSelection("x" * 255), "executable has at most 254 bytes, not 255"),
        (ProcessSelection("bin/"), "has a name"),
        (ProcessSelection(env=("A=" + "x" * 253,)), "variable has at most 254 bytes, not 255"),
        (ProcessSelection(env=("A",)), "KEY=VALUE, not 'A'"),
    ],
)
def test_text_that_the_kernel_cannot_compare_is_refused(probe, selection, said):
    with pytest.raises(ValueError, match=said):
        probe.select(selection)


def test_disarmed_selections_leave_all_slots(probe):
    both = [probe.select(ProcessSelection(TARGET), limit=SLOTS - 6) for _ in range(2)]
    with pytest.raises(RuntimeError, match=f"{SLOTS} runs"):
        probe.arm(new_run_id())
    for one in both:
        one.disarm()
    arms = [probe.arm(new_run_id()) for _ in range(SLOTS)]
    for arm in arms:
        arm.disarm()


def test_each_run_of_a_selection_has_the_limit_of_records_for_itself(probe, program):
    with probe.select(ProcessSelection(TARGET), records=5) as limited:
        start(program(TARGET), 1)
        start(program(TARGET), 2)
        arms = limited.poll()
        assert len(arms) == 2
        for arm in arms:
            with arm:
                assert len(events_of(arm)) == 5
                assert arm.counters().capped == 1
    with probe.select(ProcessSelection(TARGET), limit=SLOTS) as selected:
        start(program(TARGET), 3)
        (arm,) = selected.poll()
        with arm:
            assert events_of(arm)[-1].call == "exit"
            assert arm.counters().capped == 0


def test_comparison_is_loaded_with_the_first_selection_and_stays_attached(program):
    with Probe.load(ring_pages=16) as probe:
        functions = probe._program._loaded.functions
        assert "ea_process_select" not in functions
        with probe.select(ProcessSelection(TARGET)) as selected:
            assert "ea_process_select" in functions
            start(program(TARGET), 1)
            assert numbers(selected) == [[1]]
        probe.measure_cost(pairs=1)
        with probe.select(ProcessSelection(TARGET)) as selected, probe.arm(new_run_id()) as arm:
            start(program(TARGET), 2)
            start(program(TARGET), 3, env=environment(arm.run_id))
            # A process that has the id of a run belongs to that one.
            assert numbers(selected) == [[2]]
            arm.drain(DRAIN_S)
            events = arm.snapshot().events
            assert [e.args["backlog"] for e in events if e.call == "listen"] == [3]
