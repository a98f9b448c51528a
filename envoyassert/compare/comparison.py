"""Hold two runs against each other.

The answer is `different` if something differs for sure, `same` if nothing does and both traces are
whole, and `unknown` otherwise: a hole in a trace can hide a difference, or make one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from envoyassert.compare import profile as p
from envoyassert.compare.aspect_text import aspect_words, side_text
from envoyassert.compare.groups import SocketGroup
from envoyassert.compare.measure import Measure, Workers, same, surely_differ
from envoyassert.compare.profile import Facts, Listener, Profile
from envoyassert.report.table import count

SAME, DIFFERENT, UNKNOWN = "same", "different", "unknown"
#: Times that are closer together than this are the machine's and not Envoy's.
TOLERANCE_MS = 25.0

_RUN = "the run"
#: Aspects that follow from others: shown only where none of those differs.
FOLLOWS = {
    p.ORDER: (p.KIND, p.BIND, p.LISTEN, p.OPTION),
    p.REGISTERED: (p.SERVED,),
    p.OPEN_SOCKETS: (p.SOCKETS,),
}
#: What is compared only where neither run had ended.
_OF_THE_LIVING = (p.OPEN_SOCKETS, p.DESCRIPTORS, p.SHAPE, p.SERVED, p.REGISTERED)
_NEEDS = {
    "epoll": (p.SERVED, p.REGISTERED),
    "close": (p.OPEN_SOCKETS, p.DESCRIPTORS, p.KIND, p.ORDER),
    "results": (p.BIND_FAILED, p.LISTEN_FAILED, p.FILES),
}
_NOT_SHOWN = {
    "epoll": "who serves (no epoll)",
    "close": "what is open at the end, and how sockets were made",
    "results": "what failed",
    "address_families": "addresses other than IPv4",
}


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Args:
        subject: what it is about: `0.0.0.0:15006 (ingress)` or `the run`.
        aspect: one of the aspects of a profile; `listener` and `address` beside them.
        before: what the old run had, in short.
        after: what the new run had, in short.
        words: the difference in words.
        sure: whether it stands whatever the traces lack.
    """

    subject: str
    aspect: str
    before: str
    after: str
    words: str
    sure: bool


@dataclass(frozen=True)
class TimeDifference:
    """A milestone that came earlier or later; times in milliseconds since exec.

    Those that follow it shifted by as much, within the tolerance, or have their own.
    """

    milestone: str
    before_ms: float
    after_ms: float

    @property
    def words(self) -> str:
        """`first listen 40 ms later`."""
        change = self.after_ms - self.before_ms
        word = "later" if change > 0 else "earlier"
        return f"{self.milestone} {abs(change):.0f} ms {word}"


@dataclass(frozen=True)
class Pair:
    """A listener in both runs; None where a run does not have it."""

    title: str
    before: Listener | None
    after: Listener | None


@dataclass(frozen=True)
class Comparison:
    """Two runs against each other.

    Args:
        before: the old run.
        after: the new run.
        pairs: the listeners of both.
        differences: what differs.
        times: milestones that differ by more than the tolerance.
        growing: aspects whose numbers differ only as those of the workers do.
        not_compared: what one of the traces did not observe, in words.
        dropped: the aspects that were left out for that, or since Envoy had ended.
    """

    before: Profile
    after: Profile
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    times: tuple[TimeDifference, ...]
    growing: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()

    @property
    def result(self) -> str:
        """SAME, DIFFERENT or UNKNOWN; times do not count."""
        if any(difference.sure for difference in self.differences):
            return DIFFERENT
        whole = self.before.whole and self.after.whole
        return UNKNOWN if self.differences or not whole else SAME


def compare_profiles(
    before: Profile, after: Profile, tolerance_ms: float = TOLERANCE_MS
) -> Comparison:
    """Hold two runs against each other.

    Args:
        before: the old run.
        after: the new run.
        tolerance_ms: milestones that differ by no more than this are not shown, in milliseconds.
    """
    pairs = tuple(_pairs(before, after))
    return _Comparer(before, after).compare(pairs, tolerance_ms)


def dropped_aspects(*profiles: Profile) -> frozenset[str]:
    """Return the aspects that cannot be compared where one of the runs did not show them."""
    dropped = {
        aspect
        for channel, needing in _NEEDS.items()
        for aspect in needing
        if any(profile.lacks(channel) for profile in profiles)
    }
    if any(profile.ended for profile in profiles):
        dropped.update(_OF_THE_LIVING)
    if p.DESCRIPTORS not in dropped:
        dropped.add(p.EVER)
    return frozenset(dropped)


def is_unobserved(profile: Profile, aspect: str) -> bool:
    """Return whether a run could not see an aspect."""
    return any(profile.lacks(channel) and aspect in needing for channel, needing in _NEEDS.items())


def _pairs(before: Profile, after: Profile) -> Iterator[Pair]:
    """Pair listeners by their place; those that are left, by their only name."""
    moved: dict[tuple[str, str, int], Listener] = {}
    lonely = [x for key, x in after.listeners.items() if key not in before.listeners]
    for key, old in before.listeners.items():
        if key in after.listeners:
            yield Pair(_title(old, after.listeners[key]), old, after.listeners[key])
            continue
        named = [new for new in lonely if new.group.names and new.group.names == old.group.names]
        if len(named) == 1:
            moved[named[0].group.key] = old
            yield Pair(old.group.title, old, named[0])
        else:
            yield Pair(old.group.title, old, None)
    for new in lonely:
        if new.group.key not in moved:
            yield Pair(new.group.title, None, new)


def _title(old: Listener, new: Listener) -> str:
    """An imported log knows no names."""
    return new.group.title if not old.group.names else old.group.title


class _Comparer:
    """Compares two profiles, and notes on the way what grew with the workers."""

    def __init__(self, before: Profile, after: Profile) -> None:
        self._before, self._after = before, after
        self._workers = Workers(before.workers, after.workers)
        self._growing: dict[str, None] = {}
        self._unobserved = {
            channel
            for channel in _NOT_SHOWN
            if any(profile.lacks(channel) for profile in (before, after))
        }
        self._dropped = dropped_aspects(before, after)

    def compare(self, pairs: tuple[Pair, ...], tolerance_ms: float) -> Comparison:
        found = list(self._of_run())
        for pair in pairs:
            found += self._of_pair(pair)
        return Comparison(
            self._before,
            self._after,
            pairs,
            tuple(found),
            tuple(shifts(self._before.times, self._after.times, tolerance_ms)),
            tuple(self._growing),
            tuple(_NOT_SHOWN[channel] for channel in _NOT_SHOWN if channel in self._unobserved),
            self._dropped,
        )

    def _of_run(self) -> Iterator[Difference]:
        old, new = self._before.facts, self._after.facts
        known = bool(old[p.OUTCOME]) and bool(new[p.OUTCOME])
        for aspect in (p.OUTCOME, p.PROCESSES):
            if aspect == p.PROCESSES or known:
                yield from self._of_aspect(_RUN, aspect, old[aspect], new[aspect])
        if self._workers.differ:
            old_number, new_number = self._workers.before, self._workers.after
            words = f"{count(new_number, 'worker')} instead of {old_number}"
            sides = str(old_number), str(new_number)
            yield Difference(_RUN, p.WORKERS, *sides, words, sure=True)
        else:
            yield from self._of_aspect(_RUN, p.WORKERS, old[p.WORKERS], new[p.WORKERS])

    def _of_pair(self, pair: Pair) -> Iterator[Difference]:
        groups = [side.group for side in (pair.before, pair.after) if side is not None]
        if all(group.is_empty for group in groups):
            return
        if "address_families" in self._unobserved and groups[0].family not in ("AF_INET", ""):
            return
        if pair.before is None or pair.before.group.is_empty:
            assert pair.after is not None
            yield self._one_sided(pair.title, pair.after, appeared=True)
        elif pair.after is None or pair.after.group.is_empty:
            yield self._one_sided(pair.title, pair.before, appeared=False)
        else:
            if pair.before.group.key != pair.after.group.key:
                lossy = self._before.lossy or self._after.lossy
                sure = not lossy and _is_certain(pair.before) and _is_certain(pair.after)
                yield _moved(pair.title, pair.before.group, pair.after.group, sure=sure)
            yield from self._of_facts(pair.title, pair.before.facts, pair.after.facts)

    def _of_facts(self, subject: str, before: Facts, after: Facts) -> Iterator[Difference]:
        aspects = [*dict.fromkeys([*before, *after])]
        found: list[Difference] = []
        for aspect in sorted(aspects, key=lambda aspect: aspect in FOLLOWS):
            follows = FOLLOWS.get(aspect, ())
            if aspect in self._dropped or any(d.aspect.startswith(follows) for d in found):
                continue
            old, new = before.get(aspect, {}), after.get(aspect, {})
            if aspect == p.BACKLOG and not (old and new):
                continue  # one of the traces does not have it, or listens nowhere
            found += self._of_aspect(subject, aspect, old, new)
        yield from found

    def _of_aspect(
        self, subject: str, aspect: str, old: dict[p.Key, Measure], new: dict[p.Key, Measure]
    ) -> Iterator[Difference]:
        pairs = [self._measures(old, new, key) for key in dict.fromkeys([*old, *new])]
        if any(not same(*pair, self._workers) for pair in pairs):
            yield self._difference(subject, aspect, old, new)
        elif any(one.of is None and one.seen != two.seen for one, two in pairs):
            self._growing[aspect] = None

    def _measures(
        self, old: dict[p.Key, Measure], new: dict[p.Key, Measure], key: p.Key
    ) -> tuple[Measure, Measure]:
        """Return both measures of a key; what is not there was seen 0 times."""
        of = next((m.of for m in (*old.values(), *new.values()) if m.of is not None), None)
        absent = [Measure(0, 0, side.whole, of) for side in (self._before, self._after)]
        return old.get(key, absent[0]), new.get(key, absent[1])

    def _difference(
        self, subject: str, aspect: str, old: dict[p.Key, Measure], new: dict[p.Key, Measure]
    ) -> Difference:
        return Difference(
            subject,
            aspect,
            side_text(aspect, old),
            side_text(aspect, new),
            aspect_words(aspect, old, new, self._workers),
            any(
                surely_differ(*self._measures(old, new, key), self._workers)
                for key in dict.fromkeys([*old, *new])
            ),
        )

    def _one_sided(self, title: str, listener: Listener, *, appeared: bool) -> Difference:
        facts, group = listener.facts, listener.group
        text = count(len(group.sockets), "socket")
        if not group.sockets:
            text = f"a bind that failed ({side_text(p.BIND_FAILED, facts[p.BIND_FAILED])})"
        elif facts[p.LISTEN]:
            text += f", listen() {side_text(p.LISTEN, facts[p.LISTEN])}"
        own, other = self._after, self._before
        if not appeared:
            own, other = other, own
        sure = other.whole and not own.lossy and _is_certain(listener)
        words = f"new: {text}" if appeared else f"gone; it was {text}"
        sides = ("none", text) if appeared else (text, "none")
        return Difference(title, "listener", *sides, words, sure)


def shifts(
    before: Mapping[str, float], after: Mapping[str, float], tolerance_ms: float
) -> Iterator[TimeDifference]:
    """Yield milestones that came at other times, but none that an earlier one explains.

    Args:
        before: times of the old run by milestone, in milliseconds.
        after: those of the new run.
        tolerance_ms: changes up to this are not shown, in milliseconds.
    """
    shift_ms = 0.0
    for milestone in p.MILESTONES:
        if milestone not in before or milestone not in after:
            continue
        change_ms = after[milestone] - before[milestone]
        if min(abs(change_ms), abs(change_ms - shift_ms)) > tolerance_ms:
            shift_ms = change_ms
            yield TimeDifference(milestone, before[milestone], after[milestone])


def _is_certain(listener: Listener) -> bool:
    """Whether something was surely bound there, or surely failed to be."""
    facts = listener.facts
    seen = (facts[p.SOCKETS], facts[p.BIND_FAILED])
    return any(measure.certain > 0 for measures in seen for measure in measures.values())


def _moved(title: str, old: SocketGroup, new: SocketGroup, *, sure: bool) -> Difference:
    places = [f"{g.protocol} {g.place}" for g in (old, new)]
    words = f"bound to {places[1]} instead of {places[0]}"
    return Difference(title, "address", places[0], places[1], words, sure=sure)
