"""Where the time of one run is spent, before and now: `make bench ARGS=--profile`."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.builds import Build, kept_bytecode
from tests.bench.lines.one_run import arguments
from tests.bench.processes import run
from tests.bench.session import Session

#: Stages that take less than this, in both states, are added up as one.
SMALLEST_S = 0.010

#: Of the interpreter itself: its start, and what it does after the command has ended.
INTERPRETER = "start and end of the interpreter"
_MODELS = "models of scenarios and results (pydantic)"
_REST = f"stages below {SMALLEST_S * 1000:.0f} ms each"
#: Runs the command and looks at its main thread.
SAMPLED = Path(__file__).parent / "work" / "sampled.py"

#: By the package of the innermost function of ours, or by the module and the function.
_STAGES = {
    "probe": "probe: load, attach and read",
    "launch": "Envoy: launch, ready, stop, clean up",
    "witness": "accounts of the kernel and of Envoy",
    "driver": "steps",
    "steps": "steps",
    "wire": "decode and fold",
    "graph": "decode and fold",
    "calls": "decode and fold",
    "judge": "judge",
    "words": "judge",
    "scenario": "read the scenario",
    "symbolize": "names of functions",
    "report": "report",
    "outputs": "report",
    "texts": "report",
    "runner": "the run itself",
    "cli": "command, pytest and plugin",
    "pytest_plugin": "command, pytest and plugin",
}
_UNLOAD = "probe: detach and unload"
_UNLOADERS = frozenset({"close", "detach", "cleanup"})
#: Packages of pytest and of plugins that may be installed beside it.
_PYTEST = frozenset(
    {
        *("pytest", "_pytest", "pluggy", "iniconfig", "xdist", "execnet", "hypothesis", "syrupy"),
        *("pytest_benchmark", "pytest_rerunfailures", "pytest_timeout", "pygments", "unittest"),
    }
)


class Profile(NamedTuple):
    """One run.

    Args:
        wall_s: seconds from the command to its end.
        stages: seconds of each stage, by its name.
    """

    wall_s: float
    stages: dict[str, float]


def stage_of(imported: str, frames: Sequence[str]) -> str:
    """Return the stage that a stack belongs to.

    Args:
        imported: the module that is being imported, or "".
        frames: `module:function`, outermost first; `import` stands before those of the import.
    """
    ours = [number for number, frame in enumerate(frames) if frame.startswith("envoyassert.")]
    if any(frame.startswith("pydantic._internal") for frame in frames[ours[-1] if ours else 0 :]):
        return _MODELS
    if imported:
        package = imported.partition(".")[0]
        if package == "envoyassert":
            return "import of envoyassert"
        return "import of pytest and its plugins" if package in _PYTEST else "import of libraries"
    if not ours:
        return _STAGES["cli"]
    name = frames[ours[-1]].partition(":")[0].split(".")[1]
    if name == "probe" and any(
        frame.startswith("envoyassert.probe") and frame.partition(":")[2] in _UNLOADERS
        for frame in frames
    ):
        return _UNLOAD
    return _STAGES.get(name, "other of envoyassert")


def profiles(session: Session, pairs: int) -> tuple[list[Profile], list[Profile]]:
    """Profile one run in both states, in turn."""
    return session.pairs(pairs, lambda build: _profile(session, build))


def _profile(session: Session, build: Build) -> Profile:
    path = session.directory / "profile.json"
    words = [build.python, str(SAMPLED), str(path), *arguments(session)]
    usage = run(words, cwd=session.directory, env=kept_bytecode())
    document = json.loads(path.read_text("utf-8"))
    stages: dict[str, float] = defaultdict(float)
    for seconds, imported, frames in document["stacks"]:
        stages[stage_of(imported, frames)] += seconds
    stages[INTERPRETER] = usage.wall_s - document["took_s"]
    return Profile(usage.wall_s, dict(stages))


def table_lines(
    before: Sequence[Profile], now: Sequence[Profile], names: tuple[str, str]
) -> Iterator[str]:
    """Yield the medians of each stage as a Markdown table, those that took most first.

    Args:
        before: runs of the one state.
        now: runs of the other.
        names: of the two.
    """
    columns = [_medians(before), _medians(now)]
    rows = {
        stage: [column.get(stage, 0.0) for column in columns]
        for stage in {stage for column in columns for stage in column}
    }
    small = [seconds for seconds in rows.values() if max(seconds) < SMALLEST_S]
    yield f"| ms of one run | {names[0]} | {names[1]} |"
    yield "| --- | ---: | ---: |"
    for stage, seconds in sorted(rows.items(), key=lambda row: -max(row[1])):
        if max(seconds) >= SMALLEST_S:
            yield _line(stage, seconds)
    if small:
        yield _line(_REST, [sum(column) for column in zip(*small, strict=True)])
    yield _line(
        "the whole run", [statistics.median(one.wall_s for one in s) for s in (before, now)]
    )


def _medians(runs: Sequence[Profile]) -> dict[str, float]:
    stages = {stage for one in runs for stage in one.stages}
    return {
        stage: statistics.median(one.stages.get(stage, 0.0) for one in runs) for stage in stages
    }


def _line(what: str, seconds: Sequence[float]) -> str:
    return f"| {what} | {' | '.join(f'{time_s * 1000:.0f}' for time_s in seconds)} |"
