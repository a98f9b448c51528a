"""Which of the processes that run are meant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from envoyassert.errors import NoProcessError, SeveralProcessesError
from envoyassert.launch.marked import environment_of
from envoyassert.live.selection import Selection
from envoyassert.witness.tasks import ask_tasks, names_of

_WORKER = "wrk:worker_"


def chosen(pid: int | None, selection: Selection | None, *, everyone: bool) -> list[int]:
    """Return the Envoys that are meant.

    Args:
        pid: the process, None if it is not named.
        selection: what it must be; None for any Envoy.
        everyone: whether there may be several.

    Raises:
        NoProcessError: there is none.
        SeveralProcessesError: there are several, and only one may be.
    """
    if pid is not None:
        return [pid]
    wanted = selection or Selection()
    found = list(matching(wanted))
    if not found:
        raise NoProcessError(
            f"no Envoy runs that is {wanted.in_words()}",
            "see `pgrep -a envoy`; an Envoy under another name: --exe NAME",
        )
    if len(found) > 1 and not everyone:
        listed = "\n".join(f"  --pid {one}  {_words_of(one)}" for one in found)
        raise SeveralProcessesError(
            f"{len(found)} Envoys run that are {wanted.in_words()}\n{listed}",
            "name one by --pid, or take --all",
        )
    return found


def matching(selection: Selection) -> Iterator[int]:
    """Yield the processes with worker threads that are meant, in order of their numbers."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):  # noqa: PTH208
        if pid != os.getpid() and _is_meant(pid, selection):
            yield pid


def _is_meant(pid: int, selection: Selection) -> bool:
    with contextlib.suppress(OSError):
        if not any(name.startswith(_WORKER) for name in names_of([pid]).values()):
            return False
        found = ask_tasks([pid])
        programs = [name for one in found for name in (one.filename, *one.argv[:1])]
        if not any(map(selection.accepts_executable, programs)):
            return False
        if selection.uid is not None and os.stat(f"/proc/{pid}").st_uid != selection.uid:  # noqa: PTH116
            return False
        if not selection.env:
            return True
        return selection.accepts_environment([os.fsdecode(one) for one in environment_of(pid)])
    return False


def _words_of(pid: int) -> str:
    found = ask_tasks([pid])
    return " ".join(found[0].argv) if found else "(it has ended)"
