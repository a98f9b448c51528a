"""Processes and threads: who belongs to a run, and what is recorded of their lives."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from envoyassert.probe import RUN_ID_VARIABLE, new_run_id
from envoyassert.probe.program import SLOTS
from tests.bpf.conftest import CHILD_S, DRAIN_S, environment, run_python

pytestmark = pytest.mark.bpf


def calls(events, *names):
    return [event for event in events if event.call in names]


FORKS = """
begin()
thread = threading.Thread(target=lambda: libc.listen(-1, 1)); thread.start(); thread.join()
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        libc.listen(-1, 3); os._exit(5)
    os.waitpid(grandchild, 0)
    libc.listen(-1, 2); os._exit(4)
os.waitpid(child, 0)
end(pid=os.getpid(), child=child)
"""


def test_threads_and_children_belong_to_the_run_of_their_parent(trace):
    child = trace(FORKS)

    pid = child.reported["pid"]
    events = child.marked
    thread, process, grandchild = calls(events, "fork")
    assert thread.args["thread"]
    assert (thread.pid, thread.args["child_pid"]) == (pid, pid)
    assert process.args == {
        "child_pid": child.reported["child"],
        "child_tid": child.reported["child"],
        "thread": False,
    }
    assert (grandchild.pid, grandchild.args["thread"]) == (child.reported["child"], False)
    last = grandchild.args["child_pid"]
    assert [(e.pid, e.tid, e.args["backlog"]) for e in calls(events, "listen")] == [
        (pid, thread.args["child_tid"], 1),
        (last, last, 3),
        (child.reported["child"], child.reported["child"], 2),
    ]
    # A joined thread may still be on its way out: by tid, not by time.
    assert {e.tid: e.args for e in calls(child.snapshot.events, "exit")} == {
        thread.args["child_tid"]: {"status": 0, "last": False},
        last: {"status": 5, "last": True},
        child.reported["child"]: {"status": 4, "last": True},
        pid: {"status": 0, "last": True},
    }


@pytest.mark.parametrize(
    "how",
    [
        "call(57)",
        "call(56, 17, 0, 0, 0, 0)",
        "call(435, struct.pack('=8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64)",
    ],
    ids=["fork", "clone", "clone3"],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="call numbers of x86-64")
def test_process_is_distinguished_from_a_thread_by_every_call_that_makes_one(trace, how):
    child = trace(f"""
begin()
child = {how}
if child == 0: os._exit(0)
os.waitpid(child, 0)
end(child=child)
""")

    (fork,) = calls(child.marked, "fork")
    assert fork.args == {
        "child_pid": child.reported["child"],
        "child_tid": child.reported["child"],
        "thread": False,
    }


def test_exec_behind_a_wrapper_is_traced_from_its_first_instruction(trace):
    child = trace("begin(); end(pid=os.getpid())", "/bin/sh", "-c", 'exec "$@"', "sh")

    shell, python = calls(child.snapshot.events, "exec")
    assert child.snapshot.events[0] is shell
    assert child.snapshot.marked
    assert shell.args["filename"] == "/bin/sh"
    assert shell.args["argv"][:4] == ["/bin/sh", "-c", 'exec "$@"', "sh"]
    assert shell.args["name"] == "sh"
    assert (python.pid, shell.pid) == (child.reported["pid"], child.reported["pid"])
    assert python.args["filename"] == sys.executable
    assert python.args["argv"][:4] == [sys.executable, "-I", "-S", "-c"]


def test_process_that_clears_its_environment_stays_in_the_run(trace):
    child = trace("begin(); end()", "/usr/bin/env", "-i")

    first, second = calls(child.snapshot.events, "exec")
    assert first.args["filename"] == "/usr/bin/env"
    assert second.args["filename"] == sys.executable


def test_run_id_is_found_behind_hundreds_of_variables(arm):
    many = {f"V{number}": "x" * 40 for number in range(500)}

    subprocess.run(
        ["/bin/true"], env={**many, RUN_ID_VARIABLE: arm.run_id}, timeout=CHILD_S, check=True
    )
    arm.drain(DRAIN_S)

    assert arm.snapshot().marked


def test_run_id_beyond_the_scanned_variables_is_reported_as_never_marked(arm):
    many = {f"V{number}": "" for number in range(512)}

    subprocess.run(
        ["/bin/true"], env={**many, RUN_ID_VARIABLE: arm.run_id}, timeout=CHILD_S, check=True
    )
    arm.drain(DRAIN_S)

    snapshot = arm.snapshot()
    assert not snapshot.marked
    assert snapshot.events == []


def test_arguments_longer_than_a_record_are_reported_as_truncated(arm):
    words = ["x" * 300, "y" * 300, "z" * 300]

    subprocess.run(["/bin/true", *words], env=environment(arm.run_id), timeout=CHILD_S, check=True)
    arm.drain(DRAIN_S)

    (event,) = calls(arm.snapshot().events, "exec")
    assert event.args["argv"] == ["/bin/true", *words[:2]]
    assert event.args["truncated"]


def test_failed_exec_is_no_exec(trace):
    child = trace("""
begin()
try: os.execv("/nonexistent", ["x"])
except OSError: pass
end()
""")

    assert child.marked == []


KILLED = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    "sent, recorded",
    [
        (signal.SIGABRT, signal.SIGABRT),
        # complete_signal() of the kernel turns a fatal signal that dumps no core into SIGKILL.
        (signal.SIGTERM, signal.SIGKILL),
    ],
)
def test_signal_with_the_default_action_is_recorded_and_the_exit_has_no_status(arm, sent, recorded):
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", KILLED],
        env=environment(arm.run_id),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(sent)
        assert process.wait(CHILD_S) == -sent
    arm.drain(DRAIN_S)

    events = arm.snapshot().events
    # SIGUSR1 has a handler: it ends nothing and is not recorded.
    assert [(e.args["number"], e.pid) for e in calls(events, "signal")] == [(recorded, process.pid)]
    assert [(e.pid, e.args) for e in calls(events, "exit")] == [
        (process.pid, {"status": None, "last": True})
    ]


MANY_THREADS = """
begin()
gate = threading.Barrier(17)
threads = [threading.Thread(target=gate.wait) for _ in range(16)]
for thread in threads: thread.start()
gate.wait()
end(pid=os.getpid())
sys.stdout.flush()
os._exit(9)
"""


def test_last_thread_of_a_process_is_recorded_exactly_once(trace):
    child = trace(MANY_THREADS, status=9)
    events, pid = child.snapshot.events, child.reported["pid"]

    exits = [event for event in calls(events, "exit") if event.pid == pid]
    threads = [event for event in calls(events, "fork") if event.args["thread"]]
    assert len(threads) == 16
    assert len(exits) == 17
    assert [event.args["last"] for event in exits].count(True) == 1


def test_two_armed_runs_and_a_foreign_process_are_kept_apart(probe):
    script = "begin(); [libc.listen(-1, {number}) for _ in range(101)]; end(pid=os.getpid())"
    ids = [new_run_id(), new_run_id(), None]
    with probe.arm(ids[0]) as first, probe.arm(ids[1]) as second:
        workers = [
            threading.Thread(target=run_python, args=(script.format(number=number), run_id))
            for number, run_id in enumerate(ids, start=1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        snapshots = []
        for arm in (first, second):
            arm.drain(DRAIN_S)
            snapshots.append(arm.snapshot())

    for number, snapshot in enumerate(snapshots, start=1):
        assert snapshot.drained
        assert len({event.pid for event in snapshot.events}) == 1
        assert [e.args["backlog"] for e in calls(snapshot.events, "listen")] == [number] * 101
    assert {e.pid for e in snapshots[0].events}.isdisjoint(e.pid for e in snapshots[1].events)


WAITER = """
import sys
print("ready", flush=True)
sys.stdin.readline()
libc.listen(-1, 1)
print("done", flush=True)
sys.stdin.readline()
"""


def test_disarmed_run_records_nothing_more_and_its_slot_can_be_used_again(probe):
    old, new = new_run_id(), new_run_id()
    arm = probe.arm(old)
    command = [sys.executable, "-I", "-S", "-c", "import ctypes\nlibc=ctypes.CDLL(None)\n" + WAITER]
    with subprocess.Popen(
        command, env=environment(old), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        arm.drain(DRAIN_S)
        assert arm.snapshot().marked
        arm.disarm()
        # The slots are given out in turn: after as many runs the first one's is used again.
        for _ in range(SLOTS - 1):
            probe.arm(new_run_id()).disarm()
        with probe.arm(new) as again:
            assert again._serial % SLOTS == arm._serial % SLOTS
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            again.drain(DRAIN_S)
            assert again.counters().emitted == 0
            assert again.snapshot().events == []
        process.stdin.write(b"\n")
        process.stdin.flush()
        select.select([process.stdout], [], [], CHILD_S)


def test_counters_count_marks_and_registrations_without_reading_the_ring(arm):
    assert arm.counters().marked == 0

    run_python(
        """
import select
s = socket.socket(); e = select.epoll(); e.register(s); e.modify(s, 1); e.unregister(s)
e.register(s)
begin(); end()
""",
        arm.run_id,
    )

    counters = arm.counters()
    assert counters.marked == 1
    assert counters.registrations == 2
    assert counters.emitted > 0
    assert counters.dropped == 0


def test_thread_named_by_another_one_is_recorded_with_its_own_tid(trace):
    child = trace("""
begin()
gate = threading.Event()
thread = threading.Thread(target=gate.wait); thread.start()
with open(f"/proc/self/task/{thread.native_id}/comm", "w") as file: file.write("wrk:worker_7")
gate.set(); thread.join()
end(tid=thread.native_id, pid=os.getpid())
""")

    (rename,) = calls(child.marked, "rename")
    assert rename.tid == child.reported["pid"]
    assert rename.args == {"tid": child.reported["tid"], "name": "wrk:worker_7"}
