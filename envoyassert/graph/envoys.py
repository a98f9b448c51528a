"""Which of the processes of a run are Envoys: `main` and the workers are threads of these alone.

Everything that Envoy starts or that starts Envoy belongs to the run: agents, wrappers, helpers.
Envoy is the process that has the workers, whoever started it.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from envoyassert.graph.model import SocketGraph
from envoyassert.trace import Trace


def declared_envoys(trace: Trace) -> frozenset[int]:
    """Return the processes that the launcher took for Envoys when the accounts were taken."""
    found = [trace.witness.pid] if trace.witness is not None else []
    for phase in trace.phases:
        found += [member.pid for member in phase.envoys]
        if phase.witness is not None:
            found.append(phase.witness.pid)
    return frozenset(found) - {0}


def find_envoys(graph: SocketGraph) -> frozenset[int]:
    """Return the processes of a folded trace that are Envoys.

    A copy of a process (fork without exec) is none, whatever its threads are called. Where none
    has workers, as before an early end, the name of the program decides. After a loss whatever is
    not known to be none may be one.
    """
    processes = graph.processes
    own = {process.pid for process in processes.values() if process.executed}
    if graph.gaps:
        return graph.declared or frozenset(processes)
    working = {thread.pid for thread in graph.threads.values() if thread.is_named_worker} & own
    declared = working & graph.declared
    if declared:
        # An agent may have started Envoy again, and another Envoy may have ended without workers.
        programs = {processes[pid].filename for pid in declared}
        found = working | (graph.declared & own)
        return frozenset(pid for pid in found if processes[pid].filename in programs)
    named = {pid for pid in own if "envoy" in PurePosixPath(processes[pid].filename).name}
    return frozenset(working or named or graph.declared & own or own)


def family_of(graph: SocketGraph, pid: int, others: frozenset[int]) -> frozenset[int]:
    """Return a process and all that came from it, but for other Envoys and what came from them."""
    found = {pid}
    for process in graph.processes.values():  # a child comes after its parent
        if process.parent in found and process.pid not in others:
            found.add(process.pid)
    return frozenset(found)
