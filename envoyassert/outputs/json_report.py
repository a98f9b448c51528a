"""The results for machines: a document for each run, and an index of them.

A document is written when its run is over. The index is written at the start too, as incomplete: a
session that was killed leaves no old one behind.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from envoyassert.errors import MachineError
from envoyassert.outputs.output import (
    Console,
    Detail,
    Option,
    Output,
    OutputRefusedError,
    Settings,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events
    from envoyassert.report.parts import DocumentPart
    from envoyassert.report.results import BaselinePart, RunDocument
    from envoyassert.report.summary import RunRecord

_REPORT = Option(
    "report",
    "DIR",
    "Write the results for machines there: a JSON document per run, an index of them, and "
    "the traces and logs that are kept (in place of --envoyassert-artifacts).",
    "Write the results for machines there (JSON).",
)
_INDEX_FORMATS = "envoyassert-index/"


class RunDocuments:
    """Makes the document of each run from the events of a session.

    Args:
        began: the beginning of the session.
    """

    def __init__(self, began: events.SessionBegan) -> None:
        self.machine = began.machine
        self.started = _utc(began.started_s)
        self._judged: dict[str, list[events.RunJudged]] = {}

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of an attempt."""
        self._judged.setdefault(event.run.id, []).append(event)

    def run_ended(self, event: events.RunEnded) -> RunDocument | None:
        """Return the document of a run that is over; None for a test in Python."""
        from envoyassert.report.results import Attempt, RunDocument

        attempts = self._judged.pop(event.id, [])
        last = attempts[-1] if attempts else None
        if event.run is None or event.record is None:
            return None
        return RunDocument(
            id=event.id,
            run=event.title,
            scenario=event.run.scenario,
            outcome=event.record.outcome,
            reason=event.record.reason,
            defect=event.record.defect,
            seen=event.record.seen,
            started=_utc(event.started_s),
            duration_s=round(event.duration_s, 3),
            asked=event.run.asked,
            envoy=None if last is None else last.envoy,
            machine=self.machine,
            verdict=None if last is None else last.judgement,
            figures=None if last is None else last.figures,
            baseline=None if last is None else _baseline(last),
            attempts=tuple(
                Attempt(
                    status=attempt.status,
                    reason=attempt.reason,
                    trace=Path(attempt.trace).name or None,
                    log=Path(attempt.log).name or None,
                    page=Path(attempt.page).name or None,
                )
                for attempt in attempts
            ),
        )


def _baseline(judged: events.RunJudged) -> BaselinePart | None:
    from envoyassert.report.results import BaselinePart, FactDifference

    answer = judged.baseline
    if answer is None:
        return None
    found = tuple(FactDifference(**asdict(one)) for one in answer.found)
    return BaselinePart(
        answer=answer.word, file=answer.file, reason=answer.reason, differences=found
    )


class JSONReport(Output):
    """Writes documents and index into a directory, which it holds for the session.

    Args:
        directory: of the report.
        console: where it is said at the end.
    """

    title = "results"
    option = _REPORT
    options = (_REPORT,)
    is_essential = True
    needs_beginning = True
    wants = frozenset({Detail.JUDGEMENT, Detail.FIGURES})

    def __init__(self, directory: Path, console: Console) -> None:
        self._directory = self.artifacts = directory
        self._console = console
        self._runs: RunDocuments | None = None
        self._part: tuple[int, int] | None = None
        self._faults: dict[str, str] = {}
        self._documents: dict[str, str] = {}
        self._lock = contextlib.ExitStack()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it if a directory is named."""
        directory = settings.options.get(cls.option.name)
        return cls(Path(directory), settings.console) if directory else None

    def artifacts_of(self, run_id: str, title: str) -> Path:
        """Return the run's own directory."""
        from envoyassert.report.results import run_directory

        return self._directory / run_directory(run_id, title)

    def session_began(self, event: events.SessionBegan) -> None:
        """Remove the last session's results.

        Raises:
            OutputRefusedError: the directory cannot be written, is in use, or holds other things.
        """
        if event.collects_only:
            return
        self._runs = RunDocuments(event)
        try:
            self._lock.enter_context(locked(self._directory, self.option.flag))
            empty(self._directory, self.option.flag)
            self._part = event.part
            self._write_index({}, complete=False, stopped="")
        except OSError as error:
            raise OutputRefusedError(
                f"{self.option.flag}: {self._directory} cannot be used: {error.strerror or error}"
            ) from error
        except MachineError as error:
            raise OutputRefusedError(f"{self.option.flag}: {error}") from error

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of what could not be collected."""
        self._faults[event.id] = event.message

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of an attempt."""
        if self._runs is not None:
            self._runs.run_judged(event)

    def run_ended(self, event: events.RunEnded) -> None:
        """Write the document of a run."""
        from envoyassert.report.results import DOCUMENT, run_directory

        document = None if self._runs is None else self._runs.run_ended(event)
        if document is None:
            return
        name = f"{run_directory(event.id, event.title)}/{DOCUMENT}"
        self._documents.pop(event.id, None)
        write_document(document, self._directory, name)
        self._documents[event.id] = name

    def session_ended(self, event: events.SessionEnded) -> None:
        """Write the index, and say where the results are."""
        from envoyassert.report.results import INDEX

        if self._runs is None:
            return
        with self._lock:
            self._write_index(
                event.records,
                complete=event.complete,
                stopped=event.stopped,
                division=event.division,
                nothing_ran=event.nothing_ran,
                machine_errors=event.machine_errors,
                scenario_errors=event.scenario_errors,
            )
        self._console.line(f"results: {self._directory / INDEX}")

    def _write_index(
        self,
        records: Mapping[str, RunRecord],
        *,
        complete: bool,
        stopped: str,
        division: str = "",
        nothing_ran: bool = False,
        machine_errors: int = 0,
        scenario_errors: int = 0,
    ) -> None:
        from envoyassert.report.results import INDEX, ShardPart, index_document

        assert self._runs is not None
        shard = None
        if self._part is not None:
            shard = ShardPart(number=self._part[0], of=self._part[1], division=division)
        index = index_document(
            records,
            self._documents,
            self._faults,
            machine=self._runs.machine,
            started=self._runs.started,
            complete=complete,
            stopped=stopped,
            shard=shard,
            nothing_ran=nothing_ran,
            machine_errors=machine_errors,
            scenario_errors=scenario_errors,
        )
        write_document(index, self._directory, INDEX)


def empty(directory: Path, flag: str) -> None:
    """Remove the runs of an earlier report, and nothing that is not of one.

    Args:
        directory: of the report.
        flag: the option that names it.

    Raises:
        OutputRefusedError: it has files of these names that are not of a report.
    """
    from envoyassert.report.results import INDEX, RUNS

    index, runs = directory / INDEX, directory / RUNS
    if not index.exists() and not runs.exists():
        return
    if not _is_index(index):
        raise OutputRefusedError(
            f"{flag}: {directory} holds {index.name} or {runs.name}/ that "
            "are not of a report; name another directory"
        )
    if runs.exists():
        shutil.rmtree(runs)


def _is_index(path: Path) -> bool:
    from envoyassert.input_file import UnfitFileError, read_file
    from envoyassert.report.results import MOST_BYTES

    try:
        found = json.loads(read_file(path, MOST_BYTES))
    except (OSError, UnfitFileError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("format")).startswith(_INDEX_FORMATS)


@contextlib.contextmanager
def locked(directory: Path, flag: str) -> Iterator[None]:
    """Hold a directory for one session; the lock is on itself, so that no lock file is left.

    Args:
        directory: the directory.
        flag: the option that names it.

    Raises:
        OutputRefusedError: another session holds it.
    """
    import fcntl  # only where it is needed: Windows has none

    from envoyassert.output_file import directory_at

    with directory_at(directory) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputRefusedError(
                f"{flag}: another session is writing to {directory}; name another one"
            ) from error
        yield


def write_document(document: DocumentPart, directory: Path, name: str) -> None:
    """Write a document of a report.

    Args:
        document: the document.
        directory: of the report.
        name: of the file, relative to it.

    Raises:
        MachineError: it cannot be written.
    """
    from envoyassert.output_file import write_lines
    from envoyassert.shown import json_text

    text = json_text(document.model_dump(mode="json"), indent=1)
    write_lines(text.splitlines(), directory / name, below=directory)


def _utc(timestamp_s: float) -> str:
    when = datetime.fromtimestamp(timestamp_s, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
