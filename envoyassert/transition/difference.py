"""Where the model of a change and what was observed differ; each difference is a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoyassert.predict.effects import Change, Fate, Kind, ListenerChange
from envoyassert.transition.observed import Observed, ObservedListener

#: Kinds that differ in what Envoy does, and not only in which sockets it ends with.
_DISTINGUISHED = frozenset(
    (Kind.REFUSED, Kind.ENDS_ENVOY, Kind.IN_PLACE, Kind.ADDED, Kind.REMOVED, Kind.DROPPED)
)


@dataclass(frozen=True)
class Difference:
    """One fact of which model and run say different things.

    Args:
        listener: its name.
        fact: which: a member of `ListenerChange`.
        model: what the model says, a number, a word, true or false.
        run: what was observed.
    """

    listener: str
    fact: str
    model: int | str | bool
    run: int | str | bool


def differences(change: Change, observed: Observed) -> tuple[Difference, ...]:
    """Return where a model and a run of the same change differ.

    What the model does not know, and what a run could not show, is no difference.

    Args:
        change: the model's.
        observed: the run's.
    """
    seen = {one.name: one for one in observed.listeners}
    return tuple(
        Difference(one.name, *fact)
        for one in change.listeners
        if one.name in seen and not observed.problem
        for fact in _of(one, seen[one.name], sure=not observed.missing)
    )


def _of(
    model: ListenerChange, run: ObservedListener, *, sure: bool
) -> Iterator[tuple[str, int | str | bool, int | str | bool]]:
    known = [fact for fact in ("kept", "closed", "made") if fact not in model.unknown]
    if sure and model.kind is not Kind.UNKNOWN and "kind" not in model.unknown:
        kinds = {model.kind, run.kind}
        # Where there is no socket, an update in place has nothing to do.
        same = kinds == {Kind.SAME, Kind.IN_PLACE} and not run.kept
        if len(kinds) > 1 and not same and kinds & _DISTINGUISHED:
            yield "kind", model.kind.value, run.kind.value
            return  # the rest follows from it
        for fact in known:
            # Of the run it is not said which of those that stay are to be closed later.
            left = model.left if fact == "kept" else 0
            numbers = getattr(model, fact) + left, getattr(run, fact)
            if numbers[0] != numbers[1]:
                yield fact, *numbers
    # Datagrams have no connections.
    for fact in ("queued", "held") if model.protocol != "UDP" else ():
        fates: tuple[Fate, Fate] = getattr(model, fact), getattr(run, fact)
        unknown = fact in model.unknown or fates[0] is Fate.UNKNOWN or fates[1] is Fate.NONE
        if not unknown and fates[0] is not fates[1]:
            yield fact, fates[0].value, fates[1].value
    stays = run.kind is Kind.REFUSED
    asked = [
        one.after
        for one in run.places
        if (one.place.old if stays else one.place.new) and one.after.tried
    ]
    # Who is answered where a listener was given up is answered by another one.
    own = not run.unread and run.kind is not Kind.DROPPED
    served = own and all(clients.answered == clients.tried for clients in asked)
    if asked and model.served is not None and model.served is not served:
        yield "served", model.served, served
