"""The story of a run as facts that are the same whenever it is repeated, and what differs in two.

A story has facts for each phase, by what they are about (a listener, the run) and by aspect, as
text. It is made of a profile (`envoyassert.compare.profile`), so nothing volatile is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envoyassert.baseline.answer import Story, StoryDifference, Value
from envoyassert.compare import profile as p
from envoyassert.compare.aspect_text import side_text
from envoyassert.compare.comparison import FOLLOWS, dropped_aspects
from envoyassert.compare.runs import profiles_of
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.values import SINGLE
from envoyassert.trace import STARTUP, Trace

THE_RUN = "the run"
#: The aspect that holds the names of a listener: an address is what it is recognised by.
NAMES = "listener"
#: The sockets of all Envoys for hot restart, of which little is of interest.
OWN_SOCKETS = "Envoy's own for hot restart"
_OF_OWN = (p.SOCKETS, p.KIND, p.BIND, p.BIND_FAILED, p.SERVED)
#: A fact that is not in a story.
ABSENT = "none"
#: Who serves a listener, if it is one thread.
_ONE_THREAD = ("main", "1 worker", "1 other thread")
#: The aspect of a run whose phases are others than those of the baseline.
PHASES = "phases"


def story_of(trace: Trace, graph: SocketGraph) -> dict[str, dict[str, dict[str, str]]]:
    """Return the story of a run.

    Args:
        trace: the run; what it did not observe is left out.
        graph: its socket graph.
    """
    return {
        phase or STARTUP: _facts(profile) for phase, profile in profiles_of(trace, graph).items()
    }


def _facts(profile: p.Profile) -> dict[str, dict[str, str]]:
    dropped = dropped_aspects(profile)
    found = {THE_RUN: _texts(profile.facts, dropped)}
    own: dict[str, str] = {}
    for listener in profile.listeners.values():
        group = listener.group
        if group.is_empty:
            continue
        facts = _texts(listener.facts, dropped)
        if group.own:
            own[group.place] = ", ".join(
                f"{name} {facts[name]}" for name in _OF_OWN if name in facts
            )
            continue
        names = {NAMES: ", ".join(group.names)} if group.names else {}
        found[group.label] = {**names, **facts}
    return {**found, OWN_SOCKETS: own} if own else found


def _texts(facts: p.Facts, dropped: frozenset[str]) -> dict[str, str]:
    found = {
        aspect: side_text(aspect, measures)
        for aspect, measures in facts.items()
        if aspect not in dropped
    }
    return _with_single({a: text for a, text in found.items() if text not in (ABSENT, "0")})


def _with_single(facts: Mapping[str, str]) -> dict[str, str]:
    """Return facts with `single` for the shape of one thread on one socket, not `dup`."""
    is_single = facts.get(p.SHAPE) == "dup" and facts.get(p.SERVED) in _ONE_THREAD
    return {**facts, p.SHAPE: SINGLE} if is_single else {**facts}


def reworded(story: Story) -> dict[str, dict[str, dict[str, Value]]]:
    """Return a stored story in the words of today: it may be from before there was `single`."""
    return {
        phase: {subject: _reworded(values) for subject, values in facts.items()}
        for phase, facts in story.items()
    }


def _reworded(facts: Mapping[str, Value]) -> dict[str, Value]:
    shapes, served = (_alternatives(facts, aspect) for aspect in (p.SHAPE, p.SERVED))
    sides = [{p.SHAPE: shape, p.SERVED: threads} for shape in shapes for threads in served]
    first, *others = [*dict.fromkeys(_with_single(side)[p.SHAPE] for side in sides)] or [""]
    return {**facts, p.SHAPE: (first, *others) if others else first} if first else {**facts}


def _alternatives(facts: Mapping[str, Value], aspect: str) -> tuple[str, ...]:
    value = facts.get(aspect, ())
    return value if isinstance(value, tuple) else (value,)


def differences(before: Story, after: Story) -> tuple[StoryDifference, ...]:
    """Return what differs, each fact at the first phase that shows it.

    Args:
        before: the baseline.
        after: what was seen.
    """
    found: dict[tuple[str, str, str, str], StoryDifference] = {}
    if [*before] != [*after]:
        phases = ", ".join(before), ", ".join(after)
        found["", "", "", ""] = StoryDifference("", THE_RUN, PHASES, *phases)
    first = next(iter(after), "")
    for phase in after:
        if phase not in before:
            continue
        shown = "" if phase == first else phase
        for one in _of_phase(shown, before[phase], after[phase]):
            found.setdefault((one.subject, one.aspect, one.before, one.after), one)
    return tuple(found.values())


def _of_phase(
    phase: str, before: Mapping[str, Mapping[str, Value]], after: Mapping[str, Mapping[str, Value]]
) -> Iterator[StoryDifference]:
    for subject in dict.fromkeys([*before, *after]):
        old, new = before.get(subject, {}), after.get(subject, {})
        names = _text(new.get(NAMES) or old.get(NAMES, ""))
        title = f"{subject} ({names})" if names and names != subject else subject
        if not (old and new):
            yield StoryDifference(phase, title, NAMES, _brief(old), _brief(new))
            continue
        aspects = [*dict.fromkeys([*old, *new])]
        differ = [one for one in aspects if not _fits(old, new, one)]
        for aspect in differ:
            follows = FOLLOWS.get(aspect, ())
            if not any(other.startswith(follows) for other in differ if follows):
                sides = (_text(side.get(aspect, ABSENT)) for side in (old, new))
                yield StoryDifference(phase, title, aspect, *sides)


def _fits(old: Mapping[str, Value], new: Mapping[str, Value], aspect: str) -> bool:
    before, after = old.get(aspect, ABSENT), new.get(aspect, ABSENT)
    return before == after or after in before if isinstance(before, tuple) else before == after


def _text(value: Value) -> str:
    return " or ".join(value) if isinstance(value, tuple) else value


def _brief(facts: Mapping[str, Value]) -> str:
    """Return a listener that only one of two runs has, in few words."""
    parts = [f"{name} {_text(facts[name])}" for name in (p.SOCKETS, p.BIND_FAILED) if name in facts]
    return ", ".join(parts) or ABSENT


def with_alternatives(before: Story, after: Story) -> dict[str, dict[str, dict[str, Value]]]:
    """Return a story with what a reviewer allows of its facts, where that is still so.

    Args:
        before: the baseline.
        after: what was seen.
    """
    found = {phase: {s: dict(facts[s]) for s in facts} for phase, facts in after.items()}
    for phase, facts in before.items():
        for subject, values in facts.items():
            now = found.get(phase, {}).get(subject)
            for aspect, value in values.items():
                if now is not None and _fits(values, now, aspect):
                    now[aspect] = value
    return found


def condensed(story: Story) -> dict[str, dict[str, dict[str, Value]]]:
    """Return a story in which each phase has but what changed in it."""
    found: dict[str, dict[str, dict[str, Value]]] = {}
    last: Mapping[str, Mapping[str, Value]] = {}
    for phase, facts in story.items():
        found[phase] = {}
        for subject in dict.fromkeys([*last, *facts]):
            old, new = last.get(subject, {}), facts.get(subject, {})
            changed = {
                aspect: new.get(aspect, ABSENT)
                for aspect in dict.fromkeys([*new, *old])
                if new.get(aspect) != old.get(aspect)
            }
            if changed:
                found[phase][subject] = changed
        last = facts
    return found


def expanded(story: Story) -> dict[str, dict[str, dict[str, Value]]]:
    """Return a story in which each phase has all facts: what `condensed` was made of."""
    found: dict[str, dict[str, dict[str, Value]]] = {}
    last: dict[str, dict[str, Value]] = {}
    for phase, facts in story.items():
        now = {subject: dict(values) for subject, values in last.items()}
        for subject, values in facts.items():
            now.setdefault(subject, {}).update(values)
        last = {
            subject: kept
            for subject, values in now.items()
            if (kept := {aspect: text for aspect, text in values.items() if text != ABSENT})
        }
        found[phase] = last
    return found
