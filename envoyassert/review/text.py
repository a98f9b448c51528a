"""What the model says of a change, as lines for a terminal.

-/+ ingress 127.0.0.1:10000 TCP
      + freebind: true    # push: forces new sockets: queued connections are reset

                        push                          hot restart
      what happens      -/+ replaced, on new sockets  ~ sockets handed over
      kernel sockets    2 closed, 2 made              2 kept
"""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.report.table import columns, count, wrapped
from envoyassert.review.answer import ONLY_A_RUN, Answer, Field, Shown

_INDENT = "      "
#: A table that is wider is printed with its ways one below the other.
_WIDTH = 118


def answer_lines(answer: Answer) -> list[str]:
    """Return what the model says of a change."""
    lines = [f"{answer.old} -> {answer.new}", f"{answer.workers}, {answer.basis}"]
    lines += [f"note: {note}" for note in answer.notes]
    for shown in answer.listeners():
        lines += ["", *_listener(shown, answer.ways)]
    lines += _workers(answer)
    others = [line for one in answer.others() for line in _field(one)]
    lines += ["", *others] if others else []
    lines += ["", *answer.summary()]
    if answer.hidden and answer.result != "none":
        them = "it" if answer.hidden == 1 else "them"
        hidden = count(answer.hidden, "listener")
        lines.append(f"{hidden} not shown, nothing happens to {them} (--all)")
    lines += [line for text in answer.unknown() for line in wrapped(f"not known: {text}")]
    return [
        *lines,
        *wrapped(f"only a run can show: {'; '.join(ONLY_A_RUN)} (--run, --transition)", hang="  "),
    ]


def _listener(shown: Shown, ways: tuple[str, ...]) -> Iterator[str]:
    names = ", ".join(" ".join(name) for name in shown.names)
    yield from wrapped(f"{shown.symbol:<3} {names} {shown.protocol}".rstrip(), hang="    ")
    for one in shown.fields:
        yield from (f"    {line}" for line in _field(one))
    if shown.fields:
        yield ""
    yield from table_lines(("", *ways), [(title, *cells) for title, cells in shown.rows], _INDENT)
    for note in shown.notes:
        yield from ("", *wrapped(note, _INDENT, _INDENT))


def table_lines(head: tuple[str, ...], rows: list[tuple[str, ...]], indent: str) -> list[str]:
    """Return a table; one that is too wide has its columns one below the other.

    Args:
        head: a title for each column, "" for that of the rows' titles.
        rows: a title and a cell for each column.
        indent: before each line.
    """
    lines = columns([[*head], *map(list, rows)], indent, _WIDTH)
    widest = max(max(len(row[at]) for row in (head, *rows)) for at in range(1, len(head)))
    if len(lines) == len(rows) + 1 and widest <= 44:
        return lines
    lines = []
    for at in range(1, len(head)):
        lines.append(f"{indent}{head[at]}")
        lines += columns([[f"  {row[0]}", row[at]] for row in rows], indent, _WIDTH)
    return lines


def _field(one: Field) -> list[str]:
    line = f"  {one.symbol} {one.name}: {one.values}"
    if not one.effects:
        return wrapped(line, hang="      ")
    said = "; ".join(one.effects)
    if len(line) + len(said) < _WIDTH - 10:
        return [f"{line}    # {said}"]
    return [*wrapped(line, hang="      "), *(f"      # {effect}" for effect in one.effects)]


def _workers(answer: Answer) -> list[str]:
    rows = answer.sockets()
    if not rows:
        return []
    before, after = answer.changes[0].workers
    lines = ["", f"~   --concurrency: {before} -> {after}"]
    lines += columns([["listener", "sockets", *answer.ways], *map(list, rows)], _INDENT, _WIDTH)
    for note in answer.workers_notes():
        lines += ["", *wrapped(note, _INDENT, _INDENT)]
    return lines
