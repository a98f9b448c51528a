"""The probe: loaded and attached, detached and unloaded."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.builds import Build
from tests.bench.peers import Bpftrace
from tests.bench.row import Row, both, ratios
from tests.bench.session import Session, alternated

LOAD, BESIDE_BPFTRACE, UNLOAD = 0.15, 0.25, 0.1


def measure_load(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time to load and attach, against the commit and against bpftrace."""
    before, now = _times(session, "load_s", pairs)
    what = "load and attach of the probe, program cached"
    yield Row(line, what, session.against, ratios(before, now), "", LOAD, both(before, now, "s"))

    def arm_bpftrace() -> float:
        with Bpftrace(session.directory) as bpftrace:
            return bpftrace.armed_after_s

    peer, ours = alternated(pairs, arm_bpftrace, lambda: _figures(session, session.now)["load_s"])
    seen = both(peer, ours, "s")
    yield Row(line, what, "bpftrace", ratios(peer, ours), "", BESIDE_BPFTRACE, seen)


def measure_unload(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time to detach and unload: for the session, and until the kernel has none of it."""
    for name, what, limit in (
        ("unload_s", "detach and unload of the probe", UNLOAD),
        ("gone_s", "detach and unload, until the kernel has none of its programs", None),
    ):
        before, now = _times(session, name, pairs)
        seen = both(before, now, "s")
        yield Row(line, what, session.against, ratios(before, now), "", limit, seen)


def _times(session: Session, name: str, pairs: int) -> tuple[list[float], list[float]]:
    """Return a figure of both states; all figures are measured at once, by the first line."""
    if "probe" not in session.shared:
        session.shared["probe"] = session.pairs(pairs, lambda build: _figures(session, build))
    before, now = session.shared["probe"]
    return [figures[name] for figures in before], [figures[name] for figures in now]


def _figures(session: Session, build: Build) -> dict[str, float]:
    return build.work("probe_times", cwd=session.directory)
