"""From the results of a session to the pages of an atlas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from pydantic import ValidationError

from envoyassert.atlas.model import Atlas, AtlasRun, atlas_run, changes_of, in_order
from envoyassert.atlas.page import GENERATOR, index_page, story_page
from envoyassert.compare.comparison import Difference
from envoyassert.compare.phases import Seen, differences_of, profiles_of
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.judge.verdict import Status
from envoyassert.output_file import write_lines
from envoyassert.report.envoy_log import said_lines
from envoyassert.report.results import IndexDocument, RunDocument
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.trace_file import read_lines, read_trace

Document = TypeVar("Document", RunDocument, IndexDocument)

INDEX = "index.html"
STORIES = "stories"
RESULTS = "results"


def check_directory(out: Path) -> None:
    """Refuse a directory with a page that is not of an atlas.

    Raises:
        click.UsageError: there is one.
    """
    index = out / INDEX
    if index.exists() and f'content="{GENERATOR}"' not in "\n".join(read_lines(index)):
        raise click.UsageError(f"{index} is not of an atlas; name another directory")


def draw(out: Path) -> Atlas:
    """Write the pages of the results that lie in a directory, and return what they show.

    Args:
        out: the directory; its results are in `results/`.

    Raises:
        click.UsageError: there are no results that can be read.
        MachineError: a page cannot be written.
    """
    results = out / RESULTS
    index = _read(IndexDocument, results / "index.json")
    documents = [
        (results / entry.document, _read(RunDocument, results / entry.document))
        for entry in index.runs
        if entry.document is not None
    ]
    envoys = in_order(document.asked.envoy for _, document in documents)
    rows: dict[tuple[str, str, int, str], list[_Result]] = {}
    for path, document in documents:
        result = _Result(path, document, atlas_run(document, f"{STORIES}/{path.parent.name}.html"))
        rows.setdefault(result.run.row, []).append(result)
    for row in rows.values():
        row.sort(key=lambda result: envoys.index(result.run.envoy))
    changes = changes_of(pair for row in rows.values() for pair in _draw_row(row, out))
    written = {Path(result.run.story).name for row in rows.values() for result in row}
    stories = out / STORIES
    for stale in () if stories.is_symlink() else stories.glob("*.html"):
        if stale.name not in written:
            stale.unlink()
    atlas = Atlas(
        runs=tuple(result.run for row in rows.values() for result in row),
        changes=tuple(changes),
        descriptions={
            document.scenario.name: document.scenario.description for _, document in documents
        },
        machine=index.machine,
        started=index.started,
        complete=index.complete,
    )
    _write(index_page(atlas), out, INDEX)
    return atlas


@dataclass(frozen=True)
class _Result:
    """A run's document, where it lies, and what the atlas shows of it."""

    path: Path
    document: RunDocument
    run: AtlasRun


def _draw_row(
    row: list[_Result], out: Path
) -> Iterator[tuple[AtlasRun, AtlasRun, tuple[Difference, ...]]]:
    """Write the page of each run of a row; yield neighbours with what differs.

    The traces are read one after the other, and no more than two are held.
    """
    others = [result.run for result in row]
    before: tuple[AtlasRun, Seen] | None = None
    for result in row:
        seen, story = _seen(result)
        _write(story_page(result.run, result.document, others, story), out, result.run.story)
        if seen is not None and before is not None:
            yield before[0], result.run, differences_of(before[1], seen)
        before = None if seen is None else (result.run, seen)


def _seen(result: _Result) -> tuple[Seen | None, list[str]]:
    """Return what was seen of a run, None if it was not executed, and its story."""
    document = result.document
    kept = document.attempts[-1].trace if document.attempts else None
    if kept is None or document.verdict is None:
        return None, []
    trace = read_trace(result.path.parent / kept)
    graph = fold(trace)
    seen = Seen(Status[document.verdict.status], profiles_of(trace, graph))
    story = story_lines(story_of(trace, graph, certify_phases(trace, graph)))
    outcome = trace.end.outcome
    said = said_lines(outcome) if not outcome.running or outcome.live is False else []
    return seen, [*said, *([""] if said else []), *story]


def _read(kind: type[Document], path: Path) -> Document:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is of another version"
        raise click.UsageError(f"{path} cannot be read: {reason}") from error


def _write(page: str, out: Path, name: str) -> None:
    write_lines(page.splitlines(), out / name, below=out)
