"""Whether a process has nothing left to do, by the scheduler.

A thread that hands work to another one wakes it in the same breath. So at an instant at which all
threads of Envoy sleep, no work is on its way between them, and what they did so far is done but for
timers. That they all slept at the same instant follows when none of them was switched in between
two readings (voluntary_ctxt_switches and nonvoluntary_ctxt_switches of proc(5)).
"""

from __future__ import annotations

from pathlib import Path


def all_asleep(pid: int) -> bool:
    """Return whether at some instant during the call every thread of a process slept.

    Args:
        pid: the process.

    Returns:
        False as well if the process has ended.
    """
    try:
        before = _threads(pid)
        return all(state == "S" for state, _ in before.values()) and _threads(pid) == before
    except OSError:
        return False


def _threads(pid: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return state and switches of each thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text("utf-8", "replace").splitlines()
        state = next(line.split()[1] for line in lines if line.startswith("State:"))
        switches = tuple(line.split()[1] for line in lines if "ctxt_switches" in line)
        found[task.name] = state, switches
    return found
