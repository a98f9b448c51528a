"""One round: the shipped scenarios once, by the command that users have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envoyassert.report.results import IndexDocument, RunDocument

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
#: Marked `slow`: scenarios whose waits Envoy itself imposes.
FAST = ("-m", "not slow")
#: Outcomes that are as they must be.
GOOD = frozenset({"passed", "known_defect", "skipped"})


class RoundError(Exception):
    """A round did not come to its end; the text is what the command printed last."""


@dataclass(frozen=True)
class Result:
    """One run of a round: its document, and the directory that it lies in."""

    directory: Path
    document: RunDocument

    @property
    def is_good(self) -> bool:
        """Whether it passed, is a known defect, or does not apply."""
        return self.document.outcome in GOOD

    @property
    def trace(self) -> Path | None:
        """The trace of its last attempt, if it was kept."""
        kept = self.document.attempts[-1].trace if self.document.attempts else None
        return None if kept is None else self.directory / kept


def play(
    report: Path, envoy: str, *more: str, scenarios: Sequence[Path] = SCENARIOS
) -> list[Result]:
    """Run the scenarios once and return the result of each run.

    Args:
        report: directory for the results.
        envoy: which Envoy.
        more: further arguments of `envoyassert run`.
        scenarios: the files, in the order in which they are run.

    Raises:
        RoundError: not every run was reached.
    """
    command = [sys.executable, "-m", "envoyassert", "run", *map(str, scenarios), "-q"]
    command += ["--launcher", "process", "--envoy", envoy, "--report", str(report)]
    command += ["--require", "bpf,envoy", *more]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    try:
        index = IndexDocument.model_validate_json((report / "index.json").read_bytes())
    except OSError as error:
        raise RoundError(f"{done.stdout}{done.stderr}") from error
    if not index.complete or index.faults or not index.runs:
        raise RoundError(f"{done.stdout}{done.stderr}")
    return list(_results(report, index))


def _results(report: Path, index: IndexDocument) -> Iterator[Result]:
    for entry in index.runs:
        if entry.document is None:
            raise RoundError(f"the process that ran {entry.id} died")
        path = report / entry.document
        yield Result(path.parent, RunDocument.model_validate_json(path.read_bytes()))
