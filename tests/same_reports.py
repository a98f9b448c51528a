"""Whether two reports say the same but for times: a merged one and that of one machine.

    python -m tests.same_reports REPORT OTHER

Every difference is printed, then how much was compared. Ends with 1 if there is one. Of each run
it compares what came of it, the answer of each expectation, the checks of the certificate, the
names of its files, and the story of its trace. Numbers in texts are left out: they are ports,
times, counts of retries and names of folders, which are others in each run.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from envoyassert.report.results import IndexDocument, RunDocument, run_directory
from envoyassert.report.stored import read_index, read_run
from envoyassert.trace_file import read_trace
from tests.soak.meaning import answers_of, facts_of, varying

_FOLDER = re.compile(r"/tmp/envoyassert-[^/\s]+/[^/\s]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LINK = re.compile(r'href="(runs/[^"]+)"')
_ROW = re.compile(r'<tr id="(scenario-[^"]+)"')

Said = Mapping[tuple[str, str], str]


def differences(one: Path, other: Path) -> tuple[list[str], Counter[str]]:
    """Return what differs between two reports, and how much was compared.

    Args:
        one, other: directories of `--report`, `--html` or `merge -o`.

    Raises:
        ResultsError: one is no report.
    """
    compared: Counter[str] = Counter()
    indexes = read_index(one), read_index(other)
    found = list(
        _that_differ("the session", _of_session(one, indexes[0]), _of_session(other, indexes[1]))
    )
    entries = [{entry.id: entry for entry in index.runs} for index in indexes]
    for name in dict.fromkeys([*entries[0], *entries[1]]):
        if name not in entries[0] or name not in entries[1]:
            found.append(f"{name}: it is in one of them alone")
            continue
        documents = read_run(one, entries[0][name]), read_run(other, entries[1][name])
        compared["runs"] += 1
        if documents[0] is None or documents[1] is None:
            found += ["a document is missing"] * (documents[0] != documents[1])
            continue
        said = _of_run(one, documents[0], compared), _of_run(other, documents[1], Counter())
        found += _that_differ(name, *said)
    return found, compared


def _that_differ(what: str, one: Said, other: Said) -> Iterator[str]:
    for (subject, aspect), values in varying([one, other]):
        yield f"{what}: {subject}: {aspect}: {'; '.join(values)}"


def _of_session(report: Path, index: IndexDocument) -> dict[tuple[str, str], str]:
    said = {("index", name): str(value) for name, value in index.counts}
    said |= {("index", "complete"): str(index.complete), ("index", "stopped"): index.stopped}
    said |= {("fault", fault.id): fault.message for fault in index.faults}
    page = report / "index.html"
    if page.exists():
        text = page.read_text("utf-8")
        said |= {("page", one): "there" for one in _LINK.findall(text) + _ROW.findall(text)}
    return said


def _of_run(
    report: Path, document: RunDocument, compared: Counter[str]
) -> dict[tuple[str, str], str]:
    parts = {
        "outcome": document.outcome,
        "reason": _without_numbers(document.reason),
        "defect": document.defect,
        "scenario": document.scenario,
        "asked": document.asked,
        "envoy": document.envoy,
        "machine": document.machine,
        "verdict": document.verdict and document.verdict.status,
        "attempts": [(one.status, one.trace, one.log, one.page) for one in document.attempts],
    }
    said = {("the run", name): str(value) for name, value in parts.items()}
    answers = answers_of(document)
    compared["answers"] += len(answers)
    said |= answers
    for check in document.verdict.certificate if document.verdict else ():
        compared["checks"] += 1
        said["certificate", check.name] = str(check.ok)
    for attempt in document.attempts[-1:]:
        if attempt.trace is not None:
            path = report / run_directory(document.id, document.run) / attempt.trace
            facts = facts_of(read_trace(path))
            compared["facts of traces"] += len(facts)
            said |= {
                (_without_numbers(a), _without_numbers(b)): _without_numbers(text)
                for (a, b), text in facts.items()
            }
    return said


def _without_numbers(text: str) -> str:
    return _NUMBER.sub("#", _FOLDER.sub("FOLDER", text))


def main() -> int:
    """Compare, print, and return 1 if something differs."""
    found, compared = differences(*map(Path, sys.argv[1:3]))
    for line in found:
        print(line)
    figures = ", ".join(f"{number} {what}" for what, number in compared.items())
    print(f"{len(found)} differences; compared: {figures or 'nothing'}")
    return 1 if found or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
