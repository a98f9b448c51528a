"""`envoyassert run` of one scenario, from the command to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.bench.builds import Build
from tests.bench.configs import scenario
from tests.bench.processes import Usage
from tests.bench.row import Row, both, ratios
from tests.bench.session import Session

WALL, CPU = 0.33, 0.35
PEAK_MIB = 120.0
#: Runs whose memory is added up process by process: looking at it takes time of its own.
_ADDED_UP = 3


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield wall time, processor time and memory of a run."""

    def once(build: Build) -> Usage:
        return run_one(session, build)

    before, now = session.pairs(pairs, once)
    yield _ratio(session, line, "wall", "wall_s", before, now, WALL)
    yield _ratio(session, line, "processor time", "cpu_s", before, now, CPU)
    peaks = tuple(usage.peak_mib for usage in now)
    yield Row(
        line,
        "peak memory of its largest process",
        "",
        peaks,
        "MiB",
        PEAK_MIB,
        both([usage.peak_mib for usage in before], peaks, "MiB"),
    )
    count = min(pairs, _ADDED_UP)
    together = [run_one(session, session.now, add_up=True).together_mib for _ in range(count)]
    yield Row(line, "peak memory with Envoy and all children", "", tuple(together), "MiB")


def run_one(session: Session, build: Build, *, add_up: bool = False) -> Usage:
    """Run one scenario once."""
    return session.run(build, *arguments(session), add_up=add_up)


def arguments(session: Session) -> tuple[str, ...]:
    """Return the arguments that run one scenario on the newest Envoy, as a local process."""
    path = session.directory / "one.yaml"
    path.write_text(scenario("one"), "utf-8")
    return run_arguments(path)


def run_arguments(path: Path) -> tuple[str, ...]:
    """Return the arguments that run a scenario file so."""
    return (
        *("run", str(path), "--launcher", "process", "--envoy", DEFAULT_VERSION),
        *("--require", "bpf,envoy"),
    )


def _ratio(
    session: Session,
    line: str,
    what: str,
    name: str,
    before: list[Usage],
    now: list[Usage],
    limit: float,
) -> Row:
    old, new = ([getattr(usage, name) for usage in usages] for usages in (before, now))
    what = f"`run` of one scenario: {what}"
    return Row(line, what, session.against, ratios(old, new), "", limit, both(old, new, "s"))
