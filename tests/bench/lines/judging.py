"""Decode, fold and judge long records."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.bench.builds import Build
from tests.bench.row import Row, both, figure, ratios
from tests.bench.session import Session

SMALL, LARGE = 100_000, 1_000_000
LIMIT = 0.4
#: How much more than in proportion the large record may take; memory costs more when it is much.
GROWTH = 1.2
BYTES = 300.0
_PARTS = ("decode_s", "fold_s", "judge_s")


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time of the small record, the growth to the large one, and its memory."""
    before, now = session.pairs(pairs, lambda build: _figures(session, build, SMALL))
    old, new = [list(map(_sum, figures)) for figures in (before, now)]
    parts = ", ".join(
        f"{part.removesuffix('_s')} {figure(statistics.median(one[part] for one in now), 's')}"
        for part in _PARTS
    )
    what = f"decode, fold and judge {SMALL:,} events"
    yield Row(
        line, what, session.against, ratios(old, new), "", LIMIT, f"{both(old, new, 's')}; {parts}"
    )
    large = [_figures(session, session.now, LARGE) for _ in range(max(1, pairs // 4))]
    size = large[0]["events"] / now[0]["events"]
    growth = tuple(_sum(one) / statistics.median(new) / size for one in large)
    seen = figure(statistics.median(map(_sum, large)), "s")
    yield Row(line, f"{LARGE:,} events", f"{SMALL:,} events", growth, "", GROWTH, seen)
    for name, what, limit in (
        ("event_bytes", "memory of an event", BYTES),
        ("graph_bytes", "memory of an event, with the graph and the verdict", None),
    ):
        memory = tuple(one[name] for one in large)
        seen = both([one[name] for one in before], memory, "B")
        yield Row(line, what, "", memory, "B", limit, seen)


def _figures(session: Session, build: Build, events: int) -> dict[str, float]:
    return build.work("judging", str(events), cwd=session.directory)


def _sum(figures: dict[str, float]) -> float:
    return sum(figures[part] for part in _PARTS)
