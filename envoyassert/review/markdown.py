"""What the model says of a change, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.report.github_text import code, code_block, inline
from envoyassert.review.answer import NOTHING, ONLY_A_RUN, Answer, Field, Shown

#: By this line a comment of an earlier run is found; it is not shown.
MARK = "<!-- envoyassert plan -->"


def answer_markdown(answer: Answer) -> list[str]:
    """Return what the model says of a change, as lines of GitHub's Markdown."""
    lines = [
        MARK,
        f"### envoyassert plan: {answer.title}",
        "",
        f"{code(answer.old)} → {code(answer.new)}, {inline(answer.workers)}, {answer.basis}.",
    ]
    if answer.result != NOTHING:
        lines += ["", *(f"- **{way}**: {said}" for way, said in _summary(answer))]
    for note in answer.notes:
        lines += ["", f"> {inline(note)}"]
    for shown in answer.listeners():
        lines += ["", *_listener(shown, answer.ways)]
    if answer.sockets():
        before, after = answer.changes[0].workers
        lines += ["", f"#### `~` --concurrency: {before} → {after}", ""]
        lines += _table(["listeners", "sockets", *answer.ways], _joined(answer.sockets()))
        lines += ["", *(f"- {inline(note)}" for note in answer.workers_notes())]
    others = [line for one in answer.others() for line in _field(one)]
    if others:
        lines += ["", "#### Outside of listeners", "", *others]
    return [*lines, "", *_rest(answer)]


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines of text as they are, folded away below a title."""
    head = f"<details><summary>{title}</summary>"
    return [head, "", *code_block("\n".join(lines)).split("\n"), "", "</details>"]


def _summary(answer: Answer) -> Iterator[tuple[str, str]]:
    for line in answer.summary():
        way, _, said = line.partition(": ")
        yield way, said


def _listener(shown: Shown, ways: tuple[str, ...]) -> Iterator[str]:
    names = ", ".join(f"{inline(name)} {code(place)}" for name, place in shown.names)
    yield f"#### {code(shown.symbol.strip() or '=')} {names} {shown.protocol}".rstrip()
    yield ""
    for one in shown.fields:
        yield from _field(one)
    if shown.fields:
        yield ""
    yield from _table(["", *ways], [(title, *cells) for title, cells in shown.rows])
    if shown.notes:
        yield ""
    yield from (f"- {inline(note)}" for note in shown.notes)


def _field(one: Field) -> Iterator[str]:
    yield f"- {code(one.symbol)} {code(f'{one.name}: {one.values}')}"
    for effect in one.effects:
        way, _, said = effect.partition(": ")
        yield f"  - {way}: **{inline(said)}**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(inline, row))} |"


def _joined(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows without those that are equal but for the listener: each has all their names."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name, *cells in rows:
        names.setdefault(tuple(cells), []).append(name)
    return [(", ".join(found), *cells) for cells, found in names.items()]


def _rest(answer: Answer) -> Iterator[str]:
    hidden = answer.hidden
    yield "<details><summary>What this does not say</summary>"
    yield ""
    if hidden and answer.result != NOTHING:
        yield f"- {hidden} listener{'' if hidden == 1 else 's'} to which nothing happens"
    yield from (f"- not known: {inline(one)}" for one in answer.unknown())
    yield from (f"- only a run can show: {one}" for one in ONLY_A_RUN)
    yield ""
    yield "</details>"
