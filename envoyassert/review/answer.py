"""What the model says of a change, by each way, as rows that any form prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from envoyassert.predict.effects import (
    Change,
    Fate,
    Gap,
    Kind,
    ListenerChange,
    OtherChange,
    Reason,
    Topic,
    Way,
)
from envoyassert.predict.prediction import FIRST, LAST
from envoyassert.predict.restarts import INITIALIZING
from envoyassert.review import words as w

#: What a model cannot know.
ONLY_A_RUN = (
    "how long no one serves, and how many clients are hit",
    "whether the kernel takes each option and each address",
    "how connections spread over the workers",
)
NOTHING, CHANGES, LOSES = "none", "changes", "loses"
#: Each result as a title.
_TITLES = {
    NOTHING: "No listener changes",
    CHANGES: "Listeners change, and nothing is lost",
    LOSES: "Something is lost or refused",
}
#: The same where the model does not know all of it.
_UNSURE = {
    NOTHING: "No listener is known to change",
    CHANGES: "Listeners change, and not all that is lost is known",
}


class Field(NamedTuple):
    """A difference of a listener: its symbol, its values as text, and what each way makes of it.

    `effects` leaves out the ways by which it is in effect and no more, `all_effects` has each way.
    """

    symbol: str
    name: str
    values: str
    effects: tuple[str, ...]
    all_effects: tuple[str, ...] = ()

    @property
    def change(self) -> str:
        """The values, where a sign before them could be read as part of a file."""
        default = w.DEFAULTS.get(self.name, "")
        more = f"; default {default}" if default else ""
        if self.symbol == w.ADD:
            return f"(not set{more}) → {self.values}"
        if self.symbol == w.REMOVE:
            return f"{self.values} → (removed{more})"
        return self.values.replace(" -> ", " → ")


class Shown(NamedTuple):
    """A listener as it is shown, with those to which the same happens.

    Args:
        symbol: of the worst that happens to it.
        names: the name and the addresses of each.
        protocol: `TCP`, …, "" for none.
        fields: what differs in its config.
        rows: a title, and a cell for each way.
        notes: sentences.
    """

    symbol: str
    names: tuple[tuple[str, str], ...]
    protocol: str
    fields: tuple[Field, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the model says of one change.

    Args:
        old, new: the names of the two.
        changes: what happens, by each way that is asked for.
        ran: what was run, in words.
        everything: whether listeners are shown too to which nothing happens.
        notes: what was found when the two were read.
    """

    old: str
    new: str
    changes: tuple[Change, ...]
    ran: str = "nothing was run"
    everything: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def result(self) -> str:
        """`none`, `changes`, or `loses` where something is lost or refused by some way."""
        differ = [change for change in self.changes if change.differs]
        if any(change.is_refused or change.loses for change in differ):
            return LOSES
        return CHANGES if differ else NOTHING

    @property
    def title(self) -> str:
        """The result in a few words."""
        titles = _TITLES | _UNSURE if self.unknown() else _TITLES
        return titles[self.result]

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways, in words."""
        return tuple(w.WAYS[change.way] for change in self.changes)

    @property
    def workers(self) -> str:
        """`2 workers`, or `2 -> 4 workers`."""
        before, after = self.changes[0].workers
        plural = "" if after == 1 else "s"
        return f"{after} worker{plural}" if before == after else f"{before} -> {after} workers"

    @property
    def basis(self) -> str:
        """By what is predicted, and whether anything was run."""
        change = self.changes[0]
        measured = f"Envoy {FIRST} to {LAST}"
        if "version" in change.unknown:
            which = (
                f"for Envoy {change.version}, which was not measured: by the model of {measured}"
            )
        else:
            which = f"by the model of {f'Envoy {change.version}' if change.version else measured}"
        return f"{which}; {self.ran}"

    def listeners(self) -> Iterator[Shown]:
        """Yield the listeners that are shown, in the order of the configs."""
        together: dict[object, Shown] = {}
        for name in self._names():
            found = self._of(name)
            if self.everything or any(
                (c.touches(one) and not _is_scaled(c, one)) or is_unread(c, one) for c, one in found
            ):
                one = _shown(found)
                notes = tuple(note.replace(name, "") for note in one.notes)
                key = (one.symbol, one.protocol, one.fields, one.rows, notes)
                first = together.get(key)
                together[key] = first._replace(names=first.names + one.names) if first else one
        yield from together.values()

    @property
    def hidden(self) -> int:
        """How many listeners are not shown, for nothing happens to them."""
        shown = {name for one in self.listeners() for name, _ in one.names}
        shown |= {row[0] for row in self.sockets()}
        return len(self._names()) - len(shown)

    def sockets(self) -> list[tuple[str, ...]]:
        """Return a row per listener where the number of workers changes: sockets, and each way."""
        if self.changes[0].workers[0] == self.changes[0].workers[1]:
            return []
        rows = []
        for name in self._names():
            found = self._of(name)
            counts = [_counts(one) for change, one in found if change.way is not Way.PUSH]
            counts = counts or [_counts(one) for _, one in found]
            cells = [
                "not applied" if change.way is Way.PUSH else w.sockets_words(one)
                for change, one in found
            ]
            rows.append((name, " -> ".join(map(str, counts[-1])), *cells))
        return rows

    def workers_notes(self) -> list[str]:
        """Return what a change of the number of workers costs, by each way."""
        said = [(w.WAYS[change.way], w.fewer_words(change)) for change in self.changes]
        return [f"{way}: {text}" for way, text in said if text]

    def others(self) -> Iterator[Field]:
        """Yield what differs outside of listeners, but for the number of workers."""
        found = {
            other.field: other
            for change in self.changes
            for other in change.others
            if other.topic is not Topic.WORKERS
        }
        for name, other in found.items():
            effects = tuple(
                f"{w.WAYS[change.way]}: {w.other_words(change, one)}"
                for change in self.changes
                for one in change.others
                if one.field == name
            )
            yield Field(_sign(other.before, other.after), name, _values(other), effects)

    def unknown(self) -> list[str]:
        """Return what the model does not know of this change."""
        found = []
        for change in self.changes:
            found += [f"{fact}: {why}" for fact, why in change.unknown.items()]
            for one in change.listeners:
                if change.touches(one) or is_unread(change, one):
                    found += [
                        f"{w.WAYS[change.way]}: {one.name}: {text}" for text in w.unknown_words(one)
                    ]
        return [*dict.fromkeys(found)]

    def summary(self) -> list[str]:
        """Return what each way does, counted."""
        if self.result == NOTHING:
            number = len(self._names())
            few = ("there is no listener", "1 listener is as it was")
            known = "no changes are known" if self.unknown() else "no changes"
            return [f"{known}: {[*few, f'{number} listeners are as they were'][min(number, 2)]}"]
        return [f"{w.WAYS[change.way]}: {_counted(change)}" for change in self.changes]

    def _names(self) -> list[str]:
        return [*dict.fromkeys(one.name for change in self.changes for one in change.listeners)]

    def _of(self, name: str) -> list[tuple[Change, ListenerChange]]:
        return [
            (change, next((one for one in change.listeners if one.name == name), _absent(name)))
            for change in self.changes
        ]


def is_unread(change: Change, one: ListenerChange) -> bool:
    """Whether datagrams of a listener may be lost though nothing of it changes."""
    return change.differs and one.gap is not Gap.NONE


def _is_scaled(change: Change, one: ListenerChange) -> bool:
    """Whether nothing but the number of workers is why the sockets of a listener differ."""
    return change.workers[0] != change.workers[1] and not one.reasons and bool(one.before)


def _absent(name: str) -> ListenerChange:
    return ListenerChange(name, (), (), "", Kind.SAME)


def _counts(one: ListenerChange) -> tuple[int, int]:
    if not one.before:
        return 0, one.kept + one.made
    return one.kept + one.closed + one.left, one.kept + one.made


def _sign(before: object, after: object) -> str:
    return w.ADD if before is None else w.REMOVE if after is None else w.CHANGE


def _values(one: OtherChange | Reason) -> str:
    before, after = w.value_text(one.before), w.value_text(one.after)
    if one.before is None:
        return after
    return before if one.after is None else "changes" if before == after else f"{before} -> {after}"


def _shown(found: Sequence[tuple[Change, ListenerChange]]) -> Shown:
    places = max(found, key=lambda pair: len(pair[1].before) + len(pair[1].after))[1]
    return Shown(
        w.symbol_of(found),
        ((places.name, w.places_text(places)),),
        places.protocol,
        tuple(_fields(found)),
        tuple(_rows(found)),
        tuple(_notes(found)),
    )


def _fields(found: Sequence[tuple[Change, ListenerChange]]) -> Iterator[Field]:
    """Yield what differs in the config of a listener, as all ways have it."""
    reasons = {r.field: r for _, one in found for r in one.reasons}
    for name, reason in reasons.items():
        there = [(c, one, r) for c, one in found for r in one.reasons if r.field == name]
        effects = [(w.WAYS[c.way], w.effect_words(c, one, r)) for c, one, r in there]
        yield Field(
            _sign(reason.before, reason.after),
            name,
            _values(reason),
            tuple(f"{way}: {text}" for way, text in effects if text),
            tuple(f"{w.WAYS[c.way]}: {w.whole_effect(c, one, r)}" for c, one, r in there),
        )


def _rows(
    found: Sequence[tuple[Change, ListenerChange]],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    cells = [
        (
            f"{w.SYMBOLS[one.kind]} {w.kind_words(change, one)}".strip(),
            w.sockets_words(one),
            w.lost_words(one),
            w.reset_words(one),
            w.queue_words(one.queue, _workers(change)),
            w.wake_words(one, _workers(change)),
            w.served_words(change, one),
        )
        for change, one in found
    ]
    datagrams = any(one.protocol == "UDP" for _, one in found)
    for titles, row in zip(w.ROWS, zip(*cells, strict=True), strict=True):
        yield titles[datagrams], row


def _workers(change: Change) -> int:
    return change.workers[0 if change.way is Way.PUSH else 1]


def _notes(found: Sequence[tuple[Change, ListenerChange]]) -> Iterator[str]:
    for change, one in found:
        way = w.WAYS[change.way]
        if one.words:
            yield f"{way}: Envoy says: {one.words}"
        pushed = change.way is Way.PUSH
        if pushed and one.kind is Kind.REFUSED and one.is_unserved and one.words:
            yield f"{way}: the path is removed though: clients cannot connect any more"
        if one.left and one.queued is not Fate.UNKNOWN:
            yield (
                f"{way}: the old sockets stay open until the drain time is over, and no one reads "
                "them: datagrams that the kernel sends there are lost"
            )
        if one.words == INITIALIZING:
            yield f"{way}: a listener was given up at the start, and so Envoy never ends that start"
        if one.gap is Gap.PARENT_SHUTDOWN:
            yield f"{way}: {w.GAP}"
        if one.shut_by_overload:
            yield f"{way}: {w.SHUT_BY_OVERLOAD}"
        if one.kind is Kind.DROPPED:
            yield f"{way}: {w.dropped_words(change, one)}"
        for reason in one.reasons:
            text = w.reason_words(change, one, reason)
            if text:
                yield f"{way}: {reason.field}: {text}"


def _counted(change: Change) -> str:
    kinds = {one.kind for one in change.listeners}
    there = sum(bool(one.before) for one in change.listeners)
    if kinds == {Kind.ENDS_ENVOY}:
        ends = "Envoy crashes" if change.way is Way.PUSH else "Envoy does not start"
        return f"{ends}, {there} lost"
    is_kept = not any(one.closed for one in change.listeners)
    if change.way is Way.HOT_RESTART and kinds == {Kind.REFUSED} and is_kept:
        return f"the next epoch does not start, {there} as before"
    differ = [one for one in change.listeners if change.touches(one)]
    counts = {
        "added": [Kind.ADDED],
        "changed": [Kind.IN_PLACE, Kind.FULL_KEPT],
        "replaced": [Kind.FULL_NEW],
        "removed": [Kind.REMOVED],
        "given up": [Kind.DROPPED],
        "refused": [Kind.REFUSED],
        "lost": [Kind.ENDS_ENVOY],
        "not known": [Kind.UNKNOWN],
    }
    numbers = {word: sum(one.kind in kinds for one in differ) for word, kinds in counts.items()}
    said = [f"{number} {word}" for word, number in numbers.items() if number]
    rest = len(change.listeners) - len(differ)
    return ", ".join([*said, f"{rest} as before"] if rest or not said else said)
