"""Many runs at once: which have the same listeners, and which of these behave the same.

A run is read, reduced to what is shown of it, and forgotten: only one of each behaviour is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from envoyassert.compare import profile as p
from envoyassert.compare.aspect_text import side_text
from envoyassert.compare.comparison import Comparison, compare_profiles
from envoyassert.compare.profile import Profile, outcome_text, profile_of
from envoyassert.errors import TraceFileError, guarded
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.scopes import certify_phases
from envoyassert.judge.verdict import Status
from envoyassert.report.certificate import certificate_line
from envoyassert.trace import Header, Trace


@dataclass(frozen=True)
class JudgedRun:
    """What a scenario says of a run.

    Args:
        status: the verdict; None if the scenario has no run that the trace could be of.
        text: the verdict with what it takes for granted: `PASS (assumed: complete)`.
        reason: why it is not PASS, in one line, or "".
    """

    status: Status | None
    text: str = ""
    reason: str = ""

    @property
    def word(self) -> str:
        """`PASS`, `FAIL`, …, or `not judged`."""
        return self.status.value if self.status else "not judged"


Judge = Callable[[Trace, SocketGraph], JudgedRun]


@dataclass(frozen=True)
class SeenListener:
    """One place of listening sockets in a run.

    Args:
        title: `0.0.0.0:15006 (virtualInbound)`.
        sockets: how many kernel sockets were bound there.
        reach: how they reach the workers: `dup`, `reuse_port`, `shared_fd`, or "" if not known.
        served: who serves them: `2 workers`, `no one`.
        own: whether it is one of Envoy's own, for hot restart.
    """

    title: str
    sockets: int
    reach: str
    served: str
    own: bool


@dataclass(frozen=True)
class SeenRun:
    """What is shown of one run.

    Args:
        path: its trace file.
        header: of the trace.
        state: what happened to Envoy: `live`, `exited with 1`.
        workers: how many workers were asked for, 0 if unknown.
        events: how many events were recorded.
        listeners: where it listened, Envoy's own sockets last.
        certificate: in one line.
        whole: whether nothing is missing.
        judged: what the scenario says of it; None without a scenario.
    """

    path: str
    header: Header
    state: str
    workers: int
    events: int
    listeners: tuple[SeenListener, ...]
    certificate: str
    whole: bool
    judged: JudgedRun | None = None

    @property
    def sockets(self) -> int:
        """How many kernel sockets its listeners have."""
        return sum(one.sockets for one in self.listeners if not one.own)


@dataclass
class EqualRuns:
    """Runs between which no difference was seen.

    Args:
        runs: the runs; the others are compared with the first.
        against: the first one compared with the first one of the largest group of the same
            listeners; None in that group itself.
    """

    runs: list[SeenRun]
    against: Comparison | None = None


@dataclass
class ListenerSet:
    """Runs with the same listeners, the largest group first."""

    groups: list[EqualRuns]

    @property
    def listeners(self) -> tuple[SeenListener, ...]:
        """The listeners without Envoy's own sockets, as the first run has them."""
        return tuple(one for one in self.groups[0].runs[0].listeners if not one.own)

    @property
    def runs(self) -> list[SeenRun]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]


@dataclass
class Survey:
    """All runs of a directory.

    Args:
        sets: the runs by their listeners, the largest set first.
        faults: why files could not be read, a line each.
    """

    sets: list[ListenerSet] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[SeenRun]:
        """All runs, set by set."""
        return [run for one in self.sets for run in one.runs]


def survey(
    paths: Iterable[str], read: Callable[[str], Trace], judge: Judge | None = None
) -> Survey:
    """Summarise trace files.

    Whole traces come first, so that one that is not whole is compared with one that is.

    Args:
        paths: the files, in the order in which they are shown.
        read: returns the trace of a file; raises TraceFileError if it is none.
        judge: judges one by a scenario.
    """
    found = Survey()
    sets: dict[frozenset[tuple[str, str, int]], list[_Group]] = {}
    incomplete: list[tuple[str, SeenRun]] = []
    for path in paths:
        seen = _seen(path, read, judge, found.faults)
        if seen is None:
            continue
        run, profile = seen
        if profile.whole:
            _place(sets, run, profile)
        else:
            incomplete.append((path, run))
    for path, run in incomplete:
        again = _seen(path, read, None, found.faults)
        if again is not None:
            _place(sets, run, again[1])
    for groups in sets.values():
        groups.sort(key=lambda group: len(group.runs), reverse=True)
        first = groups[0].profile
        found.sets.append(
            ListenerSet(
                [EqualRuns(groups[0].runs)]
                + [EqualRuns(one.runs, compare_profiles(first, one.profile)) for one in groups[1:]]
            )
        )
    found.sets.sort(key=lambda one: len(one.runs), reverse=True)
    return found


@dataclass
class _Group:
    profile: Profile
    runs: list[SeenRun]


def _place(
    sets: dict[frozenset[tuple[str, str, int]], list[_Group]], run: SeenRun, profile: Profile
) -> None:
    """Put a run to those that it does not differ from, or into a group of its own."""
    places = frozenset(
        key
        for key, listener in profile.listeners.items()
        if not listener.group.own and not listener.group.is_empty
    )
    groups = sets.setdefault(places, [])
    for group in groups:
        if not compare_profiles(group.profile, profile).differences:
            group.runs.append(run)
            return
    groups.append(_Group(profile, [run]))


def _seen(
    path: str, read: Callable[[str], Trace], judge: Judge | None, faults: list[str]
) -> tuple[SeenRun, Profile] | None:
    """Read a trace; one that cannot be read, or not be understood, costs none of the others."""
    try:
        trace = read(path)
    except TraceFileError as error:
        faults.append(str(error))
        return None

    def lost(fault: str) -> None:
        faults.append(f"{path}: error: {fault}")

    return guarded(lambda: _run_of(path, trace, judge), lost)


def _run_of(path: str, trace: Trace, judge: Judge | None) -> tuple[SeenRun, Profile]:
    graph = fold(trace)
    profile = profile_of(trace, graph)
    certificate = certify_phases(trace, graph)
    listeners = [_listener(one) for one in profile.listeners.values() if not one.group.is_empty]
    run = SeenRun(
        path,
        replace(trace.header, listeners=()),
        outcome_text(trace.end.outcome),
        profile.workers,
        len(trace.events),
        tuple(sorted(listeners, key=lambda one: one.own)),
        certificate_line(certificate),
        certificate.whole,
        None if judge is None else judge(trace, graph),
    )
    return run, profile


def _listener(listener: p.Listener) -> SeenListener:
    facts, group = listener.facts, listener.group
    reach = side_text(p.SHAPE, facts[p.SHAPE]) if facts[p.SHAPE] else ""
    return SeenListener(
        group.title, len(group.sockets), reach, side_text(p.SERVED, facts[p.SERVED]), group.own
    )
