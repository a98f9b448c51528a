"""Mutated traces, judged; and the rules that the answers must keep.

Every mutated trace is a whole recorded one with some damage, folded and judged again.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from envoyassert.judge.verdict import Status, Verdict
from envoyassert.trace import Trace
from tests.fuzz.case import Case
from tests.fuzz.recorded import (
    RECORDED,
    Items,
    judged,
    proven,
    recorded,
    right_and_wrong,
    some,
    swappable,
    swapped,
    with_repeated,
    without,
)


class Subject(NamedTuple):
    """A recorded trace, expectations, and the answer to them while it is whole.

    `proof` is the index of the one event that proves them by its own arguments, if there is one:
    every other event is irrelevant to them, and its loss must leave the PASS.
    """

    name: str
    trace: Trace
    items: Items
    whole: Verdict
    proof: int | None = None


@cache
def subjects() -> tuple[Subject, ...]:
    """Return each recorded trace with what is right, wrong, and proven by one event of it."""
    found = []
    for name in RECORDED:
        trace = recorded(name)
        for kind, items in zip(("right", "wrong"), right_and_wrong(name, trace), strict=True):
            found.append(Subject(f"{name} {kind}", trace, items, judged(trace, items)))
        proof, items = proven(trace)
        found.append(Subject(f"{name} proven", trace, items, judged(trace, items), proof))
    return tuple(found)


@cache
def _swappable(name: str) -> list[int]:
    return swappable(next(s.trace for s in subjects() if s.name == name))


def trace(case: Case) -> str:
    """Judge a changed trace; after a loss, also one with further losses."""
    subject = case.chance.choice(subjects())
    kind = case.chance.choices(("delete", "duplicate", "reorder"), (8, 1, 1))[0]
    if kind == "delete":
        return _delete(subject, case)
    return _duplicate(subject, case) if kind == "duplicate" else _reorder(subject, case)


def _delete(subject: Subject, case: Case) -> str:
    """Lose events, then more of them: no answer may come out of it, only go."""
    chance = case.chance
    lost = some(subject.trace, chance)
    trace = subject.trace
    if chance.random() < 0.5:
        # Without the kernel's account there is less to be warned by.
        trace = Trace(trace.header, trace.events, trace.end, None)
    once = judged(without(trace, lost), subject.items)
    more = lost | some(trace, chance)
    twice = judged(without(trace, more), subject.items)
    _compare("delete", subject, subject.whole, once, lost, case)
    _compare("delete more", subject, once, twice, more, case)
    return "judged"


def _compare(
    kind: str, subject: Subject, before: Verdict, after: Verdict, lost: set[int], case: Case
) -> None:
    """Hold an answer against the one before the loss, and against the truth: the whole trace's.

    A second loss may well bring back a FAIL that the first one had put in doubt (a socket that
    looked like a candidate is gone); an answer that the whole trace does not give never comes.
    """
    _count(kind, subject, before, after, case)
    where = f"{kind}, {subject.name}, lost {sorted(lost)}"
    if before.status is not Status.PASS and after.status is Status.PASS:
        case.broken.append(f"{where}: {before} became PASS")
    now = {finding.path: finding.status for finding in after.findings}
    for finding in subject.whole.findings:
        # A finding may vanish where its socket did; then something else is INCONCLUSIVE.
        status = now.get(finding.path, Status.INCONCLUSIVE)
        case.seen[f"  finding {finding.status.value} -> {status.value}"] += 1
        if status not in (finding.status, Status.INCONCLUSIVE):
            case.broken.append(f"{where}: {finding.path} {finding.status} became {status}")
    if subject.proof is not None and after.status is not Status.PASS and subject.proof not in lost:
        case.broken.append(f"{where}: {after}, though the event that proves it is there")


def _duplicate(subject: Subject, case: Case) -> str:
    after = judged(with_repeated(subject.trace, case.chance), subject.items)
    _count("duplicate", subject, subject.whole, after, case)
    if after.status is Status.PASS:
        case.broken.append(f"duplicate, {subject.name}: PASS of a record that came twice")
    return "judged"


def _reorder(subject: Subject, case: Case) -> str:
    index = case.chance.choice(_swappable(subject.name))
    after = judged(swapped(subject.trace, index), subject.items)
    _count("legal reorder", subject, subject.whole, after, case)
    if [f.status for f in after.findings] != [f.status for f in subject.whole.findings]:
        case.broken.append(f"legal reorder, {subject.name}, event {index}: became {after}")
    return "judged"


def _count(kind: str, subject: Subject, before: Verdict, after: Verdict, case: Case) -> None:
    case.seen[f"{kind}: {before.status.value} -> {after.status.value}"] += 1
