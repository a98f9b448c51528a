"""Processes by the mark of a run in their environment."""

from __future__ import annotations

import select
import subprocess

from envoyassert.launch.marked import environment_of

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
