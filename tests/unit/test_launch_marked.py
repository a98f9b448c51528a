"""Processes by the mark of a run in their environment."""

from __future__ import annotations

import contextlib
import select
import subprocess

from envoyassert.launch import processes
from envoyassert.launch.processes import end_marked, environment_of

#: A shell that executes itself again, as often as its argument says, and then waits.
AGAIN = '[ "$1" -gt 0 ] && exec sh -c "$0" "$0" $(($1-1)); echo; read -r _'


def test_process_has_its_environment_while_it_executes_another_program() -> None:
    """An agent that becomes Envoy, as the session ends, is not overlooked."""
    marked = {"MARKED": "yes"}
    missed = 0
    with subprocess.Popen(
        ["/bin/sh", "-c", AGAIN, AGAIN, "1000"],
        env=marked,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as shell:
        assert shell.stdout is not None
        while not select.select([shell.stdout], [], [], 0)[0]:
            missed += b"MARKED=yes" not in environment_of(shell.pid)
    assert not missed


def test_process_without_an_environment_has_none() -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as process:
        try:
            assert environment_of(process.pid) == [b""]
        finally:
            process.kill()


def test_child_of_a_process_that_ends_as_it_is_looked_at_is_ended_too(monkeypatch) -> None:
    mark = {"MARKED": "by-this-test"}
    parent = subprocess.Popen(["/bin/sleep", "60"], env=mark)
    children = []
    opened = processes._opened

    @contextlib.contextmanager
    def opened_too_late(pid):
        if pid == parent.pid and parent.returncode is None:
            children.append(subprocess.Popen(["/bin/sleep", "60"], env=mark))
            parent.kill()
            parent.wait()
        with opened(pid) as pidfd:
            yield pidfd

    monkeypatch.setattr(processes, "_opened", opened_too_late)
    try:
        end_marked(["MARKED=by-this-test"], 10)
        (child,) = children
        assert child.poll() is not None
    finally:
        for one in (parent, *children):
            one.kill()
            one.wait()
