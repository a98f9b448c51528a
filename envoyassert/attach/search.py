"""Which of the Envoys that run already are meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from envoyassert.attach.place import where_is
from envoyassert.attach.session import running_already
from envoyassert.errors import NoProcessError, SeveralProcessesError
from envoyassert.live.selection import Selection
from envoyassert.witness.running import closed
from envoyassert.witness.tasks import ask_tasks, names_of

_WORKER = "wrk:worker_"


def chosen(selection: Selection, *, everyone: bool) -> list[int]:
    """Return the Envoys that are meant, by their processes as seen from here.

    Args:
        selection: what they must be.
        everyone: whether there may be several.

    Raises:
        MachineError: there is none, but Envoys that this process may not look at.
        NoProcessError: there is none.
        SeveralProcessesError: there are several, and only one may be.
    """
    running = running_already(selection)
    found = [pid for pid in running if _has_workers(pid)]
    if not found and running:
        listed = ", ".join(map(str, running))
        raise NoProcessError(
            f"what runs that is {selection.in_words()} has no worker threads: process {listed}",
            "wait until Envoy has started its workers, or name another process",
        )
    if not found:
        for pid in _closed():
            raise closed(pid)
        raise NoProcessError(
            f"no running Envoy has the executable {selection.in_words()}",
            "see `pgrep -a envoy`; an Envoy under another name: --exe NAME",
        )
    if len(found) > 1 and not everyone:
        listed = "\n".join(f"  --pid {one}  {_words_of(one)}" for one in found)
        raise SeveralProcessesError(
            f"{len(found)} Envoys run that are {selection.in_words()}\n{listed}",
            "name one by --pid, or take --all",
        )
    return found


def _closed() -> Iterator[int]:
    """Yield the Envoys of which this process may not learn what they execute."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                (entry / "exe").readlink()
            except PermissionError:
                if _has_workers(int(entry.name)):
                    yield int(entry.name)
            except OSError:
                pass  # ended, or a thread of the kernel's


def _has_workers(pid: int) -> bool:
    return any(name.startswith(_WORKER) for name in names_of([pid]).values())


def _words_of(pid: int) -> str:
    found, place = ask_tasks([pid]), where_is(pid)
    if not found or place is None:
        return "(it has ended)"
    return f"{' '.join(found[0].argv)}  ({place.in_words()})"
