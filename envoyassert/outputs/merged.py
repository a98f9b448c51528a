"""The reports of several machines, each with a part of the runs, as one report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from envoyassert.errors import EnvoyAssertError
from envoyassert.output_file import write_lines
from envoyassert.outputs.atlas import INDEX as PAGE
from envoyassert.outputs.atlas import draw, read_session, refuse_foreign
from envoyassert.outputs.json_report import empty, locked, write_document
from envoyassert.report.results import (
    DOCUMENT,
    INDEX,
    RUNS,
    IndexDocument,
    RunDocument,
    index_document,
    run_directory,
)
from envoyassert.report.stored import files_of, read_index, read_run, read_runs
from envoyassert.report.summary import SKIPPED, RunRecord

#: Seconds by run, as pytest-split reads them (its option `--durations-path`).
DURATIONS = "durations.json"
_FLAG = "-o"
#: Missing parts that are named.
_MOST_NAMED = 8


class MergeRefusedError(EnvoyAssertError):
    """Reports cannot be merged as it is asked for: wrong usage."""


@dataclass(frozen=True)
class _Run:
    """One run of a report: its record, its document if there is one, and its files."""

    record: RunRecord
    document: RunDocument | None
    directory: Path


@dataclass(frozen=True)
class Merged:
    """What the merged report says.

    Args:
        index: its index.
        incomplete: the reports of sessions that did not come to their end.
        missing: the parts of a division that are in none of the reports, in words.
        is_cut: whether runs are not known that no session left out by itself (`-x`): a part is
            missing, or its session was killed.
        has_pages: whether it has index.html.
    """

    index: IndexDocument
    incomplete: tuple[Path, ...]
    missing: tuple[str, ...]
    is_cut: bool
    has_pages: bool


def merge_reports(directories: Sequence[Path], out: Path) -> Merged:
    """Merge reports into one, and return what it says.

    Args:
        directories: of `--report` or `--html`, in the order of their runs.
        out: the directory of the merged report: new, empty, or of an earlier report.

    Raises:
        MergeRefusedError: a directory is no report, a run has two results, or `out` holds other
            things. Nothing is written then.
        ResultsError: a document cannot be read. Nothing is written then.
        OutputRefusedError: another process is writing to `out`.
        MachineError: something cannot be written.
    """
    directories = [*dict.fromkeys(map(_resolved, directories))]
    indexes = {path: _index_of(path) for path in directories}
    runs: dict[str, _Run] = {}
    for path, index in indexes.items():
        for name, run in _runs_of(path, index).items():
            _refuse_second(name, runs.setdefault(name, run), run)
    faults: dict[str, str] = {}
    for index in indexes.values():
        for fault in index.faults:
            faults.setdefault(fault.id, fault.message)
    incomplete = tuple(path for path, index in indexes.items() if not index.complete)
    missing = _missing(indexes)
    stopped = [_stopped(path, indexes[path], directories) for path in incomplete]
    _check_output(out, directories)
    try:
        with locked(out, _FLAG):
            empty(out, _FLAG)
            (out / PAGE).unlink(missing_ok=True)
            first = indexes[directories[0]]
            merged = index_document(
                {name: run.record for name, run in runs.items()},
                {
                    name: f"{run_directory(name, run.document.run)}/{DOCUMENT}"
                    for name, run in runs.items()
                    if run.document is not None
                },
                faults,
                machine=first.machine,
                started=min(index.started for index in indexes.values()),
                complete=not (incomplete or missing),
                stopped="; ".join([*stopped, *missing]),
                nothing_ran=any(index.nothing_ran for index in indexes.values())
                and all(run.record.outcome == SKIPPED for run in runs.values()),
                machine_errors=sum(index.machine_errors for index in indexes.values()),
                scenario_errors=sum(index.scenario_errors for index in indexes.values()),
            )
            write_document(merged.model_copy(update={"complete": False}), out, INDEX)
            for run in runs.values():
                _copy(run, out)
            write_lines([_durations(runs)], out / DURATIONS, below=out)
            write_document(merged, out, INDEX)
            has_pages = any((path / PAGE).exists() for path in directories) or any(
                attempt.page
                for run in runs.values()
                if run.document
                for attempt in run.document.attempts
            )
            if has_pages:
                draw(read_session(out), out, results="")
    except OSError as error:
        raise _unusable(out, error) from error
    is_cut = bool(missing) or any(not indexes[path].stopped for path in incomplete)
    return Merged(merged, incomplete, missing, is_cut, has_pages)


def _resolved(path: Path) -> Path:
    try:
        found = path.resolve()
        found.exists()  # raises for a name that is too long
    except (OSError, RuntimeError) as error:  # a link to itself, before Python 3.13
        raise _unusable(path, error) from error
    return found


def _unusable(path: Path, error: Exception) -> MergeRefusedError:
    reason = error.strerror if isinstance(error, OSError) else ""
    return MergeRefusedError(f"{path} cannot be used: {reason or error}")


def _index_of(path: Path) -> IndexDocument:
    if not (path / INDEX).exists():
        below = next((one.parent for one in sorted(path.glob(f"*/{INDEX}"))), None)
        remedy = f"did you mean {below}?" if below else "name a directory of --report or --html"
        raise MergeRefusedError(f"{path} is no report, it has no {INDEX}; {remedy}")
    return read_index(path)


def _runs_of(path: Path, index: IndexDocument) -> dict[str, _Run]:
    """Return the runs of a report by name; of a killed session those that it wrote, in order."""
    runs: dict[str, _Run] = {}
    for entry in index.runs:
        document = read_run(path, entry)
        record = RunRecord(
            entry.run,
            entry.envoy,
            entry.launcher,
            entry.concurrency,
            entry.outcome,
            entry.reason,
            entry.attempts,
            "" if document is None else document.scenario.name,
            "" if document is None else document.defect,
            "" if document is None else document.seen,
        )
        runs[entry.id] = _Run(record, document, path / run_directory(entry.id, entry.run))
    if not index.complete:
        for document in read_runs(path):
            directory = path / run_directory(document.id, document.run)
            runs.setdefault(document.id, _Run(_record_of(document), document, directory))
    return runs


def _record_of(document: RunDocument) -> RunRecord:
    envoy = document.envoy
    return RunRecord(
        document.run,
        document.asked.envoy if envoy is None else envoy.version or envoy.source,
        document.asked.launcher if envoy is None else envoy.launcher,
        str(document.asked.concurrency),
        document.outcome,
        document.reason,
        tuple(attempt.status for attempt in document.attempts),
        document.scenario.name,
        document.defect,
        document.seen,
    )


def _refuse_second(name: str, first: _Run, second: _Run) -> None:
    if (first.record, first.document) != (second.record, second.document):
        raise MergeRefusedError(
            f"{name} has two results, in {first.directory} and {second.directory}; leave one "
            "report out"
        )


def _check_output(out: Path, directories: Sequence[Path]) -> None:
    """Refuse a directory with other things than an earlier report.

    Raises:
        OutputRefusedError: it has another page.
        MergeRefusedError: it has some, or is one of those that are merged.
    """
    place = _resolved(out)
    if any(path == place or path.is_relative_to(place / RUNS) for path in directories):
        raise MergeRefusedError(f"{_FLAG} {out} is merged itself; name another directory")
    if place.is_dir() and any(place.iterdir()) and not (place / INDEX).exists():
        raise MergeRefusedError(f"{_FLAG} {out} holds other things; name another directory")
    refuse_foreign(out / PAGE, _FLAG)


def _missing(indexes: Mapping[Path, IndexDocument]) -> tuple[str, ...]:
    """Return what is missing of each division, in words."""
    numbers: dict[tuple[int, str], set[int]] = {}
    for index in indexes.values():
        if index.shard is not None:
            key = index.shard.of, index.shard.division
            numbers.setdefault(key, set()).add(index.shard.number)
    found = []
    for (of, division), ended in numbers.items():
        # What a killed session was to have a part of is not known; it is reported by itself.
        if not division and any(key[0] == of and key[1] for key in numbers):
            continue
        there = ended | numbers.get((of, ""), set())
        absent = (str(number) for number in range(1, of + 1) if number not in there)
        named = list(islice(absent, _MOST_NAMED))
        if named:
            more = ", …" if next(absent, None) else ""
            words = "part {} of {} is missing" if len(named) == 1 else "parts {} of {} are missing"
            found.append(words.format(", ".join(named) + more, of))
    if len(found) > 1:
        found[-1] += " (the parts of one whole are made with the same paths and options)"
    return tuple(found)


def _stopped(path: Path, index: IndexDocument, directories: Sequence[Path]) -> str:
    """Return why a report is incomplete, behind a name of it that no machine's paths are in."""
    number = f"report {directories.index(path) + 1} of {len(directories)}"
    return f"{number}: {index.stopped or 'the session did not come to its end'}"


def _copy(run: _Run, out: Path) -> None:
    if run.document is None:
        return
    directory = run_directory(run.document.id, run.document.run)
    (out / directory).mkdir(parents=True, exist_ok=True)
    for name in files_of(run.document):
        shutil.copyfile(run.directory / name, out / directory / name, follow_symlinks=False)
    write_document(run.document, out, f"{directory}/{DOCUMENT}")


def _durations(runs: dict[str, _Run]) -> str:
    seconds = {name: run.document.duration_s for name, run in sorted(runs.items()) if run.document}
    return json.dumps(seconds, indent=1)
