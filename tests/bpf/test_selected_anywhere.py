"""Watched processes in other namespaces and cgroups, behind wrappers, at once, beside others."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import new_run_id
from tests.bpf.conftest import (
    CHILD_S,
    DRAIN_S,
    PREAMBLE,
    TARGET,
    environment,
    start,
)

pytestmark = pytest.mark.bpf

NAMESPACES = ("unshare", "--fork", "--pid", "--net", "--mount", "--uts", "--ipc", "--cgroup")


def events_of(arm):
    with arm:
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()
        assert snapshot.drained
        return snapshot.events


def listened(events):
    return [event.args["backlog"] for event in events if event.call == "listen"]


@pytest.mark.parametrize(
    "wrapper, runs",
    [
        (("sh", "-c", 'exec "$@"', "sh"), 1),
        (("sh", "-c", '"$@" & wait', "sh"), 1),
        (("sh", "-c", 'for _ in 1 2 3; do "$@"; done', "sh"), 3),
        (("env", "-i"), 1),
        (("setsid", "--fork", "--wait"), 1),
        (NAMESPACES, 1),
        ((*NAMESPACES, "--mount-proc", "sh", "-c", '"$@"; :', "sh"), 1),
        ((*NAMESPACES, "--user", "--map-root-user"), 1),
    ],
    ids=["exec", "child", "supervisor", "env", "session", "namespaces", "init", "user namespace"],
)
def test_target_is_watched_whatever_starts_it(probe, program, wrapper, runs):
    path = program(TARGET)
    with probe.select(ProcessSelection(TARGET)) as selected:
        start(path, 1, *wrapper)
        arms = selected.poll()
        assert len(arms) == runs
        for arm in arms:
            events = events_of(arm)
            assert (events[0].call, events[0].args["filename"]) == ("exec", path)
            assert listened(events) == [1]
            assert (events[-1].call, events[-1].args["last"]) == ("exit", True)
        assert selected.missed == 0


def test_user_is_the_one_outside_of_a_user_namespace(probe):
    inside = ["unshare", "--user", "--map-root-user", "true"]
    outer = probe.select(ProcessSelection("true", uid=65534))
    with outer, probe.select(ProcessSelection("true", uid=0, env=("INSIDE=1",))) as inner:
        variables = {**environment(None), "INSIDE": "1"}
        subprocess.run(inside, user=65534, env=variables, check=True, timeout=CHILD_S)
        (arm,) = outer.poll()
        assert [e.call for e in events_of(arm)][:1] == ["exec"]
        assert inner.poll() == []


def test_script_is_the_executable_that_it_is_called_by(probe, program, tmp_path):
    script = tmp_path / TARGET
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    with probe.select(ProcessSelection(TARGET)) as selected:
        start(str(script), 4)
        (arm,) = selected.poll()
        events = events_of(arm)
        assert [e.args["filename"] for e in events if e.call == "exec"] == [
            str(script),
            sys.executable,
        ]
        assert listened(events) == [4]


@contextmanager
def hierarchy(directory: Path):
    """Yield where cgroups of version 2 are; mount them if they are nowhere."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.partition(" - ")[2].startswith("cgroup2 "):
            yield Path(line.split()[4])
            return
    subprocess.run(["mount", "-t", "cgroup2", "none", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def test_cgroup_holds_those_below_it_and_no_other(probe, program, tmp_path):
    with hierarchy(tmp_path) as root:
        names = [f"{TARGET}.slice", f"{TARGET}.slice/inner", f"{TARGET}.other"]
        for name in names:
            (root / name).mkdir()
        try:
            with probe.select(ProcessSelection(TARGET, cgroup=f"/{names[0]}")) as selected:
                start(program(TARGET), 9)
                for number, name in enumerate(names):
                    join = f'echo $$ >"{root / name}/cgroup.procs"; exec "$@"'
                    start(program(TARGET), number, "sh", "-c", join, "sh")
                found = [listened(events_of(arm)) for arm in selected.poll()]
                assert found == [[0], [1]]
                assert selected.missed == 0
        finally:
            for name in reversed(names):
                (root / name).rmdir()


BUSY = """
begin()
if os.fork() == 0:
    libc.listen(-1, 3); os._exit(4)
os.wait()
for number in range(100): libc.listen(-1, number)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 0)); s.close()
end()
"""

OTHERS = """
import os, select
count = 0
while not select.select([0], [], [], 0)[0]:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    count += 1
print(count)
"""


def test_many_at_once_beside_short_processes_are_whole_and_none_of_the_others_is_recorded(
    probe, program
):
    kinds = [TARGET, f"{TARGET}-proxy-of-a-kind"]
    others = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", OTHERS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with others:
        first = probe.select(ProcessSelection(kinds[0]))
        with first, probe.select(ProcessSelection(kinds[1])) as second:
            started = [
                subprocess.Popen(
                    [program(kind), "-I", "-S", "-c", PREAMBLE + BUSY],
                    env=environment(None),
                    stdout=subprocess.DEVNULL,
                )
                for kind in kinds * 5
            ]
            for process in started:
                assert process.wait(CHILD_S) == 0
            assert (first.missed, second.missed) == (0, 0)
            arms = [first.poll(), second.poll()]
        printed, _ = others.communicate(timeout=CHILD_S)
        assert int(printed) > 0
    found = [[events_of(arm) for arm in some] for some in arms]
    assert [{events[0].pid for events in some} for some in found] == [
        {process.pid for process in started[0::2]},
        {process.pid for process in started[1::2]},
    ]
    for events in [*found[0], *found[1]]:
        root = events[0].pid
        children = {event.args["child_pid"] for event in events if event.call == "fork"}
        assert {event.pid for event in events} == {root, *children}
        assert len(children) == 1
        assert sorted(listened(events)) == sorted([3, *range(100)])
        assert events[0].call == "exec"
        assert events[-1].args["last"]


def story(events):
    """Return what happened, without times and numbers that differ from one start to the next."""
    names: dict[int, int] = {}
    steps = []
    for event in events:
        args = {
            key: names.setdefault(value, len(names)) if key in ("child_pid", "child_tid") else value
            for key, value in event.args.items()
        }
        who = (names.setdefault(event.pid, len(names)), names.setdefault(event.tid, len(names)))
        steps.append((*who, event.call, event.ret, args, len(event.stack)))
    return steps


def test_trace_of_a_selected_process_is_that_of_one_with_a_run_id(probe, program):
    words = [program(TARGET), "-I", "-S", "-c", PREAMBLE + BUSY]
    with probe.arm(new_run_id()) as armed:
        subprocess.run(words, env=environment(armed.run_id), check=True, timeout=CHILD_S)
        expected = events_of(armed)
    with probe.select(ProcessSelection(TARGET)) as selected:
        subprocess.run(words, env=environment(None), check=True, timeout=CHILD_S)
        (arm,) = selected.poll()
        seen = events_of(arm)
    assert story(seen) == story(expected)
