"""What a search came to, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envoyassert.explore.difference import Known
from envoyassert.explore.scenario import NAME
from envoyassert.explore.search import Counts, Found
from envoyassert.explore.trial import Outcome
from envoyassert.report.table import count
from envoyassert.shown import shown

#: Differences of one case that are shown.
_MOST = 6


def summary_lines(counts: Counts, known: Sequence[Known] = ()) -> Iterator[str]:
    """Yield the lines of a summary.

    Args:
        counts: what came of all cases.
        known: differences of which it is said too that they were not met.
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
    for words, times in sorted(counts.foreseen.items()):
        yield f"as the model of change says, {count(times, 'time')}: {words}"
    for kind, times in sorted(counts.met.items()):
        yield f"known difference met {count(times, 'time')}: {shown(kind)}"
    for one in known:
        if one.kind not in counts.met:
            yield f"known difference not met: {one.kind}: {shown(one.what)}"
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
    for line in found.tried.log:
        yield f"  log: {shown(line)}"


def scenario_lines(found: Found, name: str, version: str, number: int) -> Iterator[str]:
    """Yield the lines of a scenario that shows a difference, with both sides above it.

    Args:
        found: the difference.
        name: of the scenario.
        version: of the Envoy.
        number: the seed of the search.
    """
    yield f"# Found by `envoyassert explore --envoy {version} --seed {number}`."
    yield from (f"# {line}" for line in difference_lines(found))
    yield from found.tried.text.replace(f"\nname: {NAME}\n", f"\nname: {name}\n", 1).splitlines()


def file_name(found: Found, number: int, seed: int) -> str:
    """Return the name of the scenario of a difference, which no other search gives to another one.

    Args:
        found: the difference.
        number: which one of the search it is.
        seed: of the search.
    """
    words = re.sub(r"\W+", "_", found.kind.lower()).strip("_")[:60].rstrip("_")
    return f"difference_{seed}_{number}_{words}"


def progress_text(counts: Counts, seconds: float, what: str) -> str:
    """Return the line that shows how far a search is.

    Args:
        counts: what came of all cases so far.
        seconds: how long it has taken.
        what: what it does at the moment.
    """
    parts = [f"{seconds:.0f} s", count(counts.runs, "config"), count(counts.compared, "fact")]
    known = sum(counts.met.values())
    parts += [f"{count(len(counts.found), 'new difference')}, {known} known", what]
    return "  ".join(parts)
