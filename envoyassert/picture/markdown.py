"""A run as Markdown, for a pull request: verdict, map, sockets in words, certificate."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.judge.verdict import Status
from envoyassert.picture.map_words import for_clients, listener_name, socket_lines
from envoyassert.picture.mermaid import map_mermaid
from envoyassert.picture.pair import PairPicture
from envoyassert.picture.run import PictureFinding, RunPicture
from envoyassert.report.github_text import code_block, inline
from envoyassert.report.table import count

#: GitHub takes 65,536 characters for a comment; each of these has its room below that.
_MOST_FINDINGS, _MOST_SOCKETS, _MOST_CELL = 20, 60, 600
_NO_NEWS = (Status.PASS, Status.SKIPPED)


def run_markdown(picture: RunPicture) -> str:
    """Return a run as Markdown, with the map as Mermaid.

    Args:
        picture: the run.
    """
    return "\n".join(_lines(picture))


def fenced_map(picture: RunPicture) -> str:
    """Return the map of a run as a block that GitHub draws."""
    return _fenced(map_mermaid(picture.map, picture.title))


def pair_markdown(picture: PairPicture) -> str:
    """Return two runs as Markdown: what differs, and both maps of the listeners that do.

    Args:
        picture: the two.
    """
    before, after = picture.names
    lines = [f"## {inline(before)} → {inline(after)}: {picture.result}", ""]
    lines += [code_block("\n".join(picture.lines))]
    sides = (
        (before, picture.maps[0], [pair.before for pair in picture.moved]),
        (after, picture.maps[1], [pair.after for pair in picture.moved]),
    )
    for name, drawn, listeners in sides if picture.moved else ():
        found = [listener for listener in listeners if listener is not None]
        lines += ["", f"### {inline(name)}", ""]
        lines += [_fenced(map_mermaid(drawn, name, found))] if found else ["no such listener"]
    return "\n".join(lines)


def _fenced(text: str) -> str:
    return f"```mermaid\n{text}\n```"


def _lines(picture: RunPicture) -> Iterator[str]:
    status = "" if picture.status is None else f"{picture.status.value} "
    yield f"## {inline(f'{status}{picture.title}')}"
    yield from ("", inline(picture.headline))
    news = [one for one in picture.findings if one.status not in _NO_NEWS]
    if news:
        yield from ("", "| verdict | what | expected | seen | where |", "|---|---|---|---|---|")
        yield from map(_finding, news[:_MOST_FINDINGS])
        if len(news) > _MOST_FINDINGS:
            yield from ("", f"… and {count(len(news) - _MOST_FINDINGS, 'more finding')}")
    yield from ("", f"### Sockets {inline(picture.map.when)}", "", fenced_map(picture))
    yield from ("", *_sockets(picture))
    yield from ("", f"- certificate: {inline(picture.certificate_line)}")
    for name, value in picture.facts:
        yield f"- {inline(name)}: {inline(value)}"


def _finding(one: PictureFinding) -> str:
    words = one.words
    seen = words.seen if not words.reason else f"{words.seen} ({words.reason})"
    return _row(one.status.value, one.about, words.expected, seen, one.place)


def _sockets(picture: RunPicture) -> Iterator[str]:
    yield "| listener | address | socket | state, descriptors, who waits |"
    yield "|---|---|---|---|"
    shown = 0
    for listener in for_clients(picture.map):
        name = listener_name(listener)
        lines = list(socket_lines(listener, picture.map)) or [("none", "")]
        for title, words in lines:
            shown += 1
            if shown <= _MOST_SOCKETS:
                yield _row(name, listener.address, title, words)
    if shown > _MOST_SOCKETS:
        yield _row("…", "", f"and {count(shown - _MOST_SOCKETS, 'more socket')}", "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(inline(_cut(cell)) for cell in cells) + " |"


def _cut(cell: str) -> str:
    return cell if len(cell) <= _MOST_CELL else f"{cell[: _MOST_CELL - 1]}…"
