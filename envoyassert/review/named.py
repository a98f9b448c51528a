"""What each way of a change does, in sentences with the names of listeners: for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.predict.effects import LOSSES, Change, Gap, Kind, ListenerChange, Way
from envoyassert.report.table import count
from envoyassert.review import words as w
from envoyassert.review.answer import CHANGES, LOSES, NOTHING, Answer

#: More names than these are counted.
_NAMES = 3
#: What happens to a listener, where it is a sentence: of one, and of several.
_VERBS = {
    "nothing": ("follows the number of workers", "follow the number of workers"),
    "sockets kept": ("keeps its sockets", "keep their sockets"),
    "sockets handed over": ("keeps its sockets", "keep their sockets"),
    "new sockets": ("gets new sockets", "get new sockets"),
    "on the sockets of another": ("uses the sockets of another", "use the sockets of others"),
}
#: What happens to Envoy as a whole.
_WHOLE = ("the next epoch does not start", "Envoy does not start", "Envoy crashes")


def title_words(answer: Answer) -> str:
    """Return the result in a few words: what is refused or lost, and by which way.

    Args:
        answer: what the model says of a change.
    """
    if answer.result == CHANGES and not answer.unknown() and any(map(_lost, answer.changes)):
        # What every restart does is no result of the change, and yet it is on the page.
        return f"{answer.title} but what any restart loses"
    if answer.result != LOSES:
        return answer.title
    ended = [one for one in answer.changes if _has(one, Kind.ENDS_ENVOY)]
    rest = [one for one in answer.changes if one not in ended]
    ways = {
        "refused by {}": [one for one in rest if _has(one, Kind.REFUSED)],
        "{} ends Envoy": [one for one in ended if one.way is not Way.RESTART],
        "Envoy does not start with {}": [one for one in ended if one.way is Way.RESTART],
        "given up after {}": [one for one in rest if _has(one, Kind.DROPPED)],
        "an address is not served after {}": [one for one in rest if _leaves(one)],
        "{} loses connections": [one for one in rest if "connections" in _lost(one)],
        "{} loses datagrams": [one for one in rest if "datagrams" in _lost(one)],
    }
    every = len(answer.changes) if answer.changes[1:] else -1
    parts = []
    for form, found in ways.items():
        if len(found) == every:
            parts.append(form.format("each way"))
        elif found[1:]:
            several = form.replace("} loses", "} lose").replace("} ends", "} end")
            parts.append(several.format(_and(_articled(found))))
        elif found:
            parts.append(form.format(*_articled(found)))
    text = "; ".join(parts) or answer.title
    return text[:1].upper() + text[1:]


def named_summary(answer: Answer) -> list[str]:
    """Return what each way does to which listeners, a sentence each.

    Args:
        answer: what the model says of a change.
    """
    if answer.result == NOTHING:
        return answer.summary()
    return [f"{w.WAYS[change.way]}: {'; '.join(_clauses(change))}" for change in answer.changes]


def _clauses(change: Change) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    touched = _touched(change)
    for one in touched:
        groups.setdefault(_verbs(change, one), []).append(one.name)
    for (single, several), names in groups.items():
        subject = _subject(names)
        verb = several if names[1:] else single
        yield f"{verb} ({subject})" if single.startswith(_WHOLE) else f"{subject} {verb}"
    rest = len(change.listeners) - len(touched)
    if not touched:
        yield "no listener changes"
    elif change.way is Way.PUSH and all(one.kind is Kind.REFUSED for one in touched):
        yield "nothing changes"
    elif rest and change.way is Way.RESTART:
        yield f"{count(rest, 'listener')} {'starts' if rest == 1 else 'start'} as before"
    elif rest:
        yield "1 listener is as it was" if rest == 1 else f"{rest} listeners are as they were"


def _verbs(change: Change, one: ListenerChange) -> tuple[str, str]:
    words = w.kind_words(change, one)
    if words in _WHOLE:
        return words, words
    single, several = _VERBS.get(words, (f"is {words}", f"are {words}"))
    more = []
    effects = [w.effect_words(change, one, reason) for reason in one.reasons]
    if effects and set(effects) == {"without effect"}:
        more.append("the change is without effect")
    if one.is_unserved:
        more.append("clients are not served")
    if lost := loss_words(one):
        more.append(lost)
    end = "".join(f", {text}" for text in more)
    return single + end, several + end


def loss_words(one: ListenerChange) -> str:
    """Return which connections or datagrams of a listener are lost, "" for none."""
    if one.protocol == "UDP":
        lost = one.queued in LOSSES or one.gap is Gap.PARENT_SHUTDOWN
        return "datagrams are lost" if lost else ""
    if one.held in LOSSES:
        return "connections are reset"
    return "waiting connections are reset" if one.queued in LOSSES else ""


def _touched(change: Change) -> list[ListenerChange]:
    return [one for one in change.listeners if change.touches(one)]


def _has(change: Change, kind: Kind) -> bool:
    return kind in {one.kind for one in change.listeners} | {one.kind for one in change.others}


def _leaves(change: Change) -> bool:
    """Whether an address has no listener afterwards."""
    return any(one.is_unserved or change.gone(one) for one in _touched(change))


def _lost(change: Change) -> set[str]:
    """Return of which kinds something is lost: `connections`, `datagrams`."""
    found = [one for one in change.listeners if change.touches(one) or one.gap is not Gap.NONE]
    return {
        "datagrams" if one.protocol == "UDP" else "connections" for one in found if loss_words(one)
    }


def _articled(changes: Sequence[Change]) -> list[str]:
    return [f"a {w.WAYS[change.way]}" for change in changes]


def _subject(names: Sequence[str]) -> str:
    if len(names) > _NAMES:
        return f"{len(names)} listeners"
    return f"listener{'s' if names[1:] else ''} {_and(names)}"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
