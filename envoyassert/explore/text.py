"""What a search came to, in words."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.explore.search import Counts, Found
from envoyassert.explore.trial import Outcome
from envoyassert.report.table import count
from envoyassert.shown import shown

#: Differences of one case that are shown.
_MOST = 6


def summary_lines(counts: Counts) -> Iterator[str]:
    """Yield the lines of a summary.

    Args:
        counts: what came of all cases.
    """
    by_outcome = [
        f"{counts.outcomes[outcome]} {outcome.value}"
        for outcome in Outcome
        if counts.outcomes[outcome]
    ]
    yield f"{count(counts.runs, 'config')} run: {', '.join(by_outcome) or 'none'}"
    ran = counts.outcomes[Outcome.AGREES] + counts.outcomes[Outcome.DIFFERS]
    agree = counts.outcomes[Outcome.AGREES] / ran if ran else 0
    yield (
        f"agreement {100 * agree:.1f} % of those that came up, {count(counts.compared, 'fact')} "
        f"compared; {count(counts.declined, 'fact')} declined by the model "
        f"({100 * counts.declined_share:.1f} %)"
    )
    for kind, times in sorted(counts.met.items()):
        yield f"known difference met {count(times, 'time')}: {shown(kind)}"
    for said, times in counts.said.most_common(5):
        yield f"not compared {count(times, 'time')}: {shown(said)}"
    yield f"{count(len(counts.found), 'new difference')}"


def difference_lines(found: Found) -> Iterator[str]:
    """Yield the lines of one difference.

    Args:
        found: the difference.
    """
    yield f"difference: {shown(found.kind)}"
    for one in found.differences[:_MOST]:
        yield f"  {shown(one.subject)}: {shown(one.fact)}"
        yield f"    predicted: {shown(one.expected)}"
        yield f"    Envoy did: {shown(one.seen)}"
    more = len(found.differences) - _MOST
    if more > 0:
        yield f"  and {count(more, 'fact')} more"
