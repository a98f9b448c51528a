"""The shipped scenarios on one version of Envoy: processes, two processors, xdist.

The waits that Envoy imposes are taken off: docs/library.md lists them.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.bench.builds import Build, kept_bytecode
from tests.bench.processes import CommandError, run
from tests.bench.row import Row, figure, ratios
from tests.bench.session import Session, alternated
from tests.library_page import waits

PROCESSES = 2
LIMIT = 0.5
#: Outcomes of runs that are as they must be.
_GOOD = frozenset({"passed", "known_defect", "skipped"})


class Library(NamedTuple):
    """The library, played once.

    Args:
        busy_s: seconds on the clock, without the waits that Envoy imposes.
        waited_s: these waits.
        runs: how many runs were executed.
    """

    busy_s: float
    waited_s: float
    runs: int


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield how long the scenarios take that both states have."""
    names = sorted(set(_names(session.before)) & set(_names(session.now)))
    # No round before that does not count: it would take minutes.
    before, now = alternated(
        pairs,
        lambda: _played(session, session.before, names),
        lambda: _played(session, session.now, names),
        warm=False,
    )
    old, new = [[one.busy_s for one in played] for played in (before, now)]
    what = f"the library of one version, `-n {PROCESSES}`, without Envoy's own waits"
    seen = " to ".join(
        f"{figure(statistics.median(times), 's')} ({played[0].runs} runs)"
        for times, played in ((old, before), (new, now))
    )
    waited = f"; Envoy's waits {figure(now[0].waited_s, 's')}"
    yield Row(line, what, session.against, ratios(old, new), "", LIMIT, seen + waited)


def _names(build: Build) -> list[str]:
    return [path.name for path in (build.root / "scenarios").glob("*.yaml")]


def _played(session: Session, build: Build, names: Sequence[str]) -> Library:
    """Run the scenarios of these names once.

    Raises:
        CommandError: a run is not as it must be, or shorter than the wait that the page claims.
    """
    report = session.directory / "report"
    shutil.rmtree(report, ignore_errors=True)
    files = [str(build.root / "scenarios" / name) for name in names]
    words = ("-q", "--launcher", "process", "--envoy", DEFAULT_VERSION, "--report", str(report))
    command = build.command("run", *files, *words, "--require", "bpf,envoy", "-n", str(PROCESSES))
    took_s = run(command, cwd=session.directory, env=kept_bytecode()).wall_s
    listed = {wait.file: wait.seconds for wait in waits(build.root / "docs" / "library.md")}
    # Documents of older commits have another form: what is read here is the same in all.
    index = json.loads((report / "index.json").read_bytes())
    documents = [json.loads((report / entry["document"]).read_bytes()) for entry in index["runs"]]
    executed = [document for document in documents if document["figures"] is not None]
    waited_s = 0.0
    for document in executed:
        file = Path(document["scenario"]["location"]["file"]).stem
        wait_s, run_s = listed.get(file, 0), document["duration_s"]
        waited_s += wait_s
        if document["outcome"] not in _GOOD or run_s < wait_s:
            raise CommandError(f"{document['run']}: {document['outcome']}, {run_s:.1f} s")
    if not executed:
        raise CommandError("no scenario was run")
    # Each wait holds up one of the processes.
    waited_s /= PROCESSES
    return Library(took_s - waited_s, waited_s, len(executed))
