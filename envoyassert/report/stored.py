"""The results of a session, read again. They may come from a machine of others.

Nothing in them names a file outside of their directory: what does is refused here, for all that
reads results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from envoyassert.report.results import (
    DOCUMENT,
    INDEX,
    RUNS,
    IndexDocument,
    IndexEntry,
    ResultsError,
    RunDocument,
    read_document,
    run_directory,
)
from envoyassert.report.summary import ERROR


def read_index(results: Path) -> IndexDocument:
    """Return the index of the results in a directory.

    Raises:
        ResultsError: it cannot be read, is none, or has a run twice.
    """
    index = read_document(IndexDocument, results / INDEX)
    _refuse_twice((entry.id for entry in index.runs), results / INDEX)
    return index


def read_run(results: Path, entry: IndexEntry) -> RunDocument | None:
    """Return the document of a run; None if the index names none.

    Args:
        results: the directory of `--report` or `--html`.
        entry: what its index says of the run.

    Raises:
        ResultsError: the document is elsewhere or of another run, cannot be read, has another
            outcome than the entry, or names a file that is not beside it.
    """
    if entry.document is None:
        return None
    name = f"{run_directory(entry.id, entry.run)}/{DOCUMENT}"
    document = _read(results, name) if entry.document == name else None
    if document is None or (document.id, document.run) != (entry.id, entry.run):
        raise ResultsError(
            f"{results / INDEX}: `{entry.document}` is not the document of {entry.id}"
        )
    # An output that failed after the document was written makes the run an error in the index.
    if entry.outcome not in (document.outcome, ERROR):
        raise ResultsError(
            f"{results / INDEX}: {entry.id} is `{entry.outcome}`, its document says "
            f"`{document.outcome}`; write the report again"
        )
    return document


def read_runs(results: Path) -> list[RunDocument]:
    """Return the documents of all runs in a directory, whatever its index says, in their order.

    Raises:
        ResultsError: one is of another run or of one that another is of too, cannot be read, or
            names a file that is not beside it.
    """
    found = []
    for file in results.glob(f"{RUNS}/*/{DOCUMENT}"):
        name = file.relative_to(results).as_posix()
        document = _read(results, name)
        if name != f"{run_directory(document.id, document.run)}/{DOCUMENT}":
            raise ResultsError(f"{file} is not the document of {document.id}")
        found.append(document)
    _refuse_twice((document.id for document in found), results / RUNS)
    return sorted(found, key=lambda one: one.started)


def files_of(document: RunDocument) -> tuple[str, ...]:
    """Return the names of the files beside the document of a run."""
    names = (name for one in document.attempts for name in (one.trace, one.log, one.page))
    return tuple(dict.fromkeys(name for name in names if name))


def _read(results: Path, name: str) -> RunDocument:
    path = results / name
    if not _has_no_link(results, name):
        raise ResultsError(f"{path} cannot be used: it is a link, or below one")
    document = read_document(RunDocument, path)
    for file in files_of(document):
        if not _is_beside(results, name, file):
            raise ResultsError(
                f"{path} names `{file}`, which is no file beside it; copy the whole report"
            )
    return document


def _is_beside(results: Path, document: str, file: str) -> bool:
    """Return whether a document may name a file: another one in its directory, and no link."""
    if file == DOCUMENT or Path(file).name != file:
        return False
    beside = Path(document).parent / file
    try:
        return _has_no_link(results, beside) and (results / beside).is_file()
    except (OSError, ValueError):  # its name is too long, or has a NUL
        return False


def _has_no_link(results: Path, name: str | Path) -> bool:
    """Return whether no part of a path below a directory is a link."""
    place = results.resolve() / name
    try:
        return place.resolve() == place
    except RuntimeError:  # a link to itself, before Python 3.13
        return False


def _refuse_twice(runs: Iterable[str], where: Path) -> None:
    twice = next((run for run, number in Counter(runs).items() if number > 1), None)
    if twice is not None:
        raise ResultsError(f"{where} has {twice} twice; write the report again")
