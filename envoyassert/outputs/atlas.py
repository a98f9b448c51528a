"""The runs of a session as an atlas: a table of what each Envoy did, which leads to their pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envoyassert.atlas.model import Atlas, AtlasRun, atlas_run, changes_of, in_order
from envoyassert.atlas.page import index_page, is_index, row_id
from envoyassert.compare.comparison import Difference
from envoyassert.compare.runs import Seen, differences_of, profiles_of
from envoyassert.graph.fold import fold
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.judge.verdict import Status
from envoyassert.output_file import write_lines
from envoyassert.outputs import events
from envoyassert.outputs.json_report import RunDocuments
from envoyassert.outputs.output import Detail, Output, OutputRefusedError
from envoyassert.picture.html.page import page_with_index
from envoyassert.report.parts import MachinePart
from envoyassert.report.results import RunDocument, run_directory
from envoyassert.report.stored import read_index, read_run
from envoyassert.trace_file import MAX_BYTES, read_trace

INDEX = "index.html"
RESULTS = "results"


def refuse_foreign(page: Path, flag: str) -> None:
    """Refuse to replace a page that is not of a report.

    Args:
        page: where a page is to be written.
        flag: the option that names its directory.

    Raises:
        OutputRefusedError: what is there is another page, or cannot be read.
    """
    try:
        if not page.exists() or is_index(read_file(page, MAX_BYTES).decode("utf-8", "replace")):
            return
        what = "is not of a report"
    except UnfitFileError as error:
        what = f"cannot be read: {error}"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    raise OutputRefusedError(f"{flag}: {page} {what}; name another directory")


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
    wants = frozenset({Detail.JUDGEMENT, Detail.PAGE})

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


def read_session(results: Path) -> AtlasSession:
    """Return what the results in a directory say of their session.

    Args:
        results: a directory of `--report` or `--html`.

    Raises:
        ResultsError: there are none that can be read, or they name files outside of it.
    """
    index = read_index(results)
    found = (read_run(results, entry) for entry in index.runs)
    documents = [document for document in found if document is not None]
    return AtlasSession(index.machine, index.started, index.complete, documents)


def draw(session: AtlasSession, out: Path, results: str = RESULTS) -> Atlas:
    """Write the index of a session, and return what it shows.

    Args:
        session: the session.
        out: the directory.
        results: below it, where the results are with the pages of the runs.

    Raises:
        MachineError: the page cannot be written.
    """
    envoys = in_order(document.asked.envoy for document in session.documents)
    rows: dict[tuple[str, str, int, str], list[_Result]] = {}
    for document in session.documents:
        directory = Path(results, run_directory(document.id, document.run))
        page = document.attempts[-1].page if document.attempts else None
        run = atlas_run(document, f"{directory.as_posix()}/{page}" if page else "")
        rows.setdefault(run.row, []).append(_Result(out / directory, document, run))
    for row in rows.values():
        row.sort(key=lambda result: envoys.index(result.run.envoy))
    changes = changes_of(pair for row in rows.values() for pair in _changes(row))
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
    write_lines(index_page(atlas).splitlines(), out / INDEX, below=out)
    for row in rows.values():
        for result in row:
            _lead_to_index(result, out)
    return atlas


def _lead_to_index(result: _Result, out: Path) -> None:
    """Have the pages of a run lead to the index, wherever they were written first."""
    for page in (result.directory / one.page for one in result.document.attempts if one.page):
        try:
            before = read_file(page, MAX_BYTES).decode()
        except (OSError, UnfitFileError, UnicodeDecodeError):
            continue  # someone else's, or not there
        scenario = result.document.scenario.name
        up = "../" * len(page.relative_to(out).parent.parts)
        after = page_with_index(before, f"{up}{INDEX}#{row_id(scenario)}")
        if after != before:
            write_lines(after.removesuffix("\n").split("\n"), page, below=out)


@dataclass(frozen=True)
class _Result:
    """A run's document, the directory of its trace, and what the atlas shows of it."""

    directory: Path
    document: RunDocument
    run: AtlasRun


def _changes(
    row: list[_Result],
) -> Iterator[tuple[AtlasRun, AtlasRun, tuple[Difference, ...]]]:
    """Yield neighbours of a row with what differs.

    The traces are read one after the other, and no more than two are held.
    """
    before: tuple[AtlasRun, Seen] | None = None
    for result in row if len(row) > 1 else ():
        seen = _seen(result)
        if seen is not None and before is not None:
            yield before[0], result.run, differences_of(before[1], seen)
        before = None if seen is None else (result.run, seen)


def _seen(result: _Result) -> Seen | None:
    """Return what was seen of a run, None if it was not executed or its trace is not kept."""
    document = result.document
    kept = document.attempts[-1].trace if document.attempts else None
    if kept is None or document.verdict is None:
        return None
    trace = read_trace(result.directory / kept)
    return Seen(Status[document.verdict.status], profiles_of(trace, fold(trace)))
