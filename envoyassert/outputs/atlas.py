"""The runs of a session as an atlas: a table of what each Envoy did, and a page for each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envoyassert.atlas.model import Atlas, AtlasRun, atlas_run, changes_of, in_order
from envoyassert.atlas.page import index_page, story_page
from envoyassert.compare.comparison import Difference
from envoyassert.compare.runs import Seen, differences_of, profiles_of
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.judge.verdict import Status
from envoyassert.output_file import write_lines
from envoyassert.outputs import events
from envoyassert.outputs.json_report import RunDocuments
from envoyassert.outputs.output import Detail, Output
from envoyassert.report.envoy_log import said_lines
from envoyassert.report.parts import MachinePart
from envoyassert.report.results import RunDocument, run_directory
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.trace_file import read_trace

INDEX = "index.html"
STORIES = "stories"
RESULTS = "results"


@dataclass
class AtlasSession:
    """What an atlas shows of a session.

    Args:
        machine: where it was run.
        started: when, UTC, ISO 8601.
        complete: whether it came to its end.
        documents: what is known of its runs.
    """

    machine: MachinePart
    started: str
    complete: bool = False
    documents: list[RunDocument] = field(default_factory=list)


class SessionForAtlas(Output):
    """Takes what an atlas shows of a session; its attribute `session` is None before it began.

    The atlas is drawn when pytest has printed its last line: the table stands below it.
    """

    title = "the atlas"
    needs_beginning = True
    wants = frozenset({Detail.JUDGEMENT})

    def __init__(self) -> None:
        self.session: AtlasSession | None = None
        self._documents: dict[str, RunDocument] = {}

    def session_began(self, event: events.SessionBegan) -> None:
        """Take note of where and when it is run."""
        self._made = RunDocuments(event)
        self.session = AtlasSession(event.machine, self._made.started)

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of a verdict."""
        self._made.run_judged(event)

    def run_ended(self, event: events.RunEnded) -> None:
        """Take a run, the last time if it is repeated."""
        document = self._made.run_ended(event)
        if document is not None:
            self._documents[event.id] = document

    def session_ended(self, event: events.SessionEnded) -> None:
        """Put the runs in the order of the results."""
        assert self.session is not None
        self.session.complete = event.complete
        found = (self._documents.get(run_id) for run_id in event.records)
        self.session.documents += [document for document in found if document is not None]


def draw(session: AtlasSession, out: Path) -> Atlas:
    """Write the pages of a session, and return what they show.

    Args:
        session: the session; traces of its runs are in `results/` of the directory.
        out: the directory.

    Raises:
        MachineError: a page cannot be written.
    """
    envoys = in_order(document.asked.envoy for document in session.documents)
    rows: dict[tuple[str, str, int, str], list[_Result]] = {}
    for document in session.documents:
        directory = out / RESULTS / run_directory(document.id, document.run)
        run = atlas_run(document, f"{STORIES}/{directory.name}.html")
        rows.setdefault(run.row, []).append(_Result(directory, document, run))
    for row in rows.values():
        row.sort(key=lambda result: envoys.index(result.run.envoy))
    changes = changes_of(pair for row in rows.values() for pair in _draw_row(row, out))
    _remove_stale(out / STORIES, (result.run for row in rows.values() for result in row))
    atlas = Atlas(
        runs=tuple(result.run for row in rows.values() for result in row),
        changes=tuple(changes),
        descriptions={
            document.scenario.name: document.scenario.description for document in session.documents
        },
        machine=session.machine,
        started=session.started,
        complete=session.complete,
    )
    _write(index_page(atlas), out, INDEX)
    return atlas


def _remove_stale(stories: Path, runs: Iterable[AtlasRun]) -> None:
    """Remove the stories of runs that there are no more."""
    written = {Path(run.story).name for run in runs}
    for stale in () if stories.is_symlink() else stories.glob("*.html"):
        if stale.name not in written:
            stale.unlink()


@dataclass(frozen=True)
class _Result:
    """A run's document, the directory of its trace, and what the atlas shows of it."""

    directory: Path
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
    trace = read_trace(result.directory / kept)
    graph = fold(trace)
    seen = Seen(Status[document.verdict.status], profiles_of(trace, graph))
    story = story_lines(story_of(trace, graph, certify_phases(trace, graph)))
    outcome = trace.end.outcome
    said = said_lines(outcome) if not outcome.running or outcome.live is False else []
    return seen, [*said, *([""] if said else []), *story]


def _write(page: str, out: Path, name: str) -> None:
    write_lines(page.splitlines(), out / name, below=out)
