"""An executable that is asked for its version, or for what it says of a config.

It is started as the ordinary user that Envoy is in a run, with no capabilities, wherever this
process may start something as another user; else as the user of this process.
"""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from envoyassert.errors import LaunchError, MachineError
from envoyassert.interrupts import interrupts_held
from envoyassert.launch.base import STOP_DEADLINE_S, Exit
from envoyassert.launch.kept_log import kept_log
from envoyassert.launch.limits import Limits, hand_over, ordinary_user, starting_command
from envoyassert.launch.processes import MARK, end_marked
from envoyassert.launch.release import Lifeline

_HEAD = 20
_FOR_EVERYBODY = 0o005


class Command(NamedTuple):
    """A command that can be started.

    Args:
        words: the program and its arguments.
        env: its environment.
        descriptors: those that it needs from this process.
    """

    words: list[str]
    env: dict[str, str]
    descriptors: tuple[int, ...]


class Answer(NamedTuple):
    """What an executable answered.

    Args:
        end: how it ended.
        printed: what it printed, as `kept_log` returns it.
    """

    end: Exit
    printed: str


def ask(
    binary: Path,
    arguments: Sequence[str],
    deadline_s: float,
    directory: Path | None = None,
    *,
    errors: bool = False,
) -> Answer:
    """Run an executable to its end, as an ordinary user where that is possible.

    Nothing of it is left then, whatever it started, nor after an interrupt; if this process is
    killed, the kernel kills its process group.

    Args:
        binary: the executable; it need not lie where the user gets at it.
        arguments: its arguments.
        deadline_s: how long it may take.
        directory: its working directory, which is given to the user, with all in it; None for the
            root directory.
        errors: whether what it prints to standard error is part of the answer.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
        MachineError: the user cannot get at the directory, or a tool is not installed.
        LaunchError: the executable is none, or the user may not execute it.
        OSError: it cannot be read or executed.
    """
    mark = secrets.token_hex(8)
    with ExitStack() as undo:
        output = os.memfd_create("envoyassert-answer")
        undo.callback(os.close, output)
        command = undo.enter_context(_as_ordinary_user(binary, arguments, {MARK: mark}, directory))
        lifeline = undo.enter_context(closing(Lifeline()))
        with interrupts_held():
            process = undo.enter_context(
                subprocess.Popen(
                    command.words,
                    cwd=directory or "/",
                    env=command.env,
                    pass_fds=command.descriptors,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            undo.callback(end_marked, [f"{MARK}={mark}"], STOP_DEADLINE_S)
            # Just after the fork it has no mark. Closing the lifeline ends the rest of its group.
            undo.callback(process.kill)
            lifeline.hold(process.pid)
        status = process.wait(deadline_s)
        size = os.fstat(output).st_size
        printed = kept_log(size, lambda count, offset: os.pread(output, count, offset))
    # subprocess: a negative status is the signal that ended it.
    return Answer(Exit(status, None) if status >= 0 else Exit(None, -status), printed)


@contextmanager
def _as_ordinary_user(
    binary: Path, arguments: Sequence[str], env: Mapping[str, str], directory: Path | None
) -> Iterator[Command]:
    user = _ordinary_user()
    check_format(binary)
    if user is None:
        yield Command([str(binary), *arguments], dict(env), ())
        return
    if directory is not None:
        hand_over(directory, user)
    descriptor = os.open(binary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_mode & _FOR_EVERYBODY != _FOR_EVERYBODY:
            raise not_executable(binary, os.strerror(errno.EACCES))
        # By a link of /proc, whose way is not that of the path.
        program = [f"/proc/self/fd/{descriptor}", *arguments]
        limits = Limits().in_full((), user)
        yield Command(starting_command(limits, env, program), {}, (descriptor,))
    finally:
        os.close(descriptor)


def _ordinary_user() -> int | None:
    if os.geteuid():
        return None
    try:
        return ordinary_user()
    except MachineError:
        return None


def check_format(binary: Path) -> None:
    """Check that the kernel executes a file: a program of this machine's kind, or a script.

    The tools that start it would take anything else for a shell script (execvp(3)).

    Raises:
        LaunchError: it is neither.
    """
    with binary.open("rb") as file, Path("/proc/self/exe").open("rb") as own:
        head, known = file.read(_HEAD), own.read(_HEAD)
    # elf(5): the magic number with class and byte order, and the machine.
    if not head.startswith(b"#!") and (head[:6], head[18:]) != (known[:6], known[18:]):
        raise not_executable(binary, os.strerror(errno.ENOEXEC))


def not_executable(binary: Path, reason: str) -> LaunchError:
    """Return the error that an executable cannot be executed.

    Args:
        binary: the executable.
        reason: the system's words.
    """
    remedy = "check that it is an Envoy for this machine's architecture and C library"
    if reason == os.strerror(errno.EACCES):
        remedy = (
            "let every user read and execute it, or have Envoy be root: the step "
            "`limit: {uid: 0}` with `before: startup`"
        )
    return LaunchError(f"{binary} cannot be executed: {reason}", remedy)
