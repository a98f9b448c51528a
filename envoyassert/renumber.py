"""The numbers of a scenario that its runs do not meet, rewritten by what was seen.

A number is rewritten if every run of the scenario that was traced holds with the new one: each is
judged again. What was lost is no number, so a run that is INCONCLUSIVE leaves the scenario alone.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from envoyassert.errors import ScenarioError
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.counterfactual import counterfactual
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.load import LoadedScenario, parse_scenario
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.source import Document, Node, Path
from envoyassert.trace import Trace
from envoyassert.words.remedy import Change, Place


@dataclass(frozen=True)
class TracedRun:
    """A run of a scenario with its trace.

    Args:
        title: its name.
        plan: what is expected of it, in the trace's run directory.
        trace: what was seen.
        graph: its sockets.
    """

    title: str
    plan: RunPlan
    trace: Trace
    graph: SocketGraph

    def judged(self, items: Sequence[tuple[int, Conditional]]) -> Verdict:
        """Return the verdict by some expectations."""
        plan = self.plan
        workers = self.trace.header.concurrency or plan.workers
        assume = plan.scenario.assume
        return judge(self.trace, items, workers=workers, assume=assume, graph=self.graph)


@dataclass(frozen=True)
class Renumbered:
    """A scenario with other numbers.

    Args:
        before: its text.
        text: its new text; the old one if nothing changes.
        changes: what changes.
        left: why failures were left as they are, a line each.
    """

    before: str
    text: str
    changes: tuple[Change, ...] = ()
    left: tuple[str, ...] = ()


@dataclass
class _Proposal:
    """The values that runs ask for at one place."""

    before: Any
    failed: set[Place] = field(default_factory=set)
    by_run: dict[int, Any] = field(default_factory=dict)


def renumbered(loaded: LoadedScenario, runs: Sequence[TracedRun]) -> Renumbered:
    """Return a scenario with the numbers that its runs show.

    Args:
        loaded: the scenario.
        runs: all of its runs that were traced.
    """
    text = loaded.document.text
    verdicts = [run.judged(run.plan.expectations) for run in runs]
    for run, verdict in zip(runs, verdicts, strict=True):
        if verdict.status is Status.INCONCLUSIVE or not verdict.certificate.whole:
            return Renumbered(
                text, text, left=(f"{run.title} is not known for sure: INCONCLUSIVE",)
            )
    proposals: dict[Place, _Proposal] = {}
    left: list[str] = []
    for number, (run, verdict) in enumerate(zip(runs, verdicts, strict=True)):
        for finding in verdict.with_status(Status.FAIL):
            change = _change(run, finding)
            if change is None:
                left.append(f"{run.title}: {_name(finding.path)} is not met, and no number of it")
                continue
            proposal = proposals.setdefault(change.path, _Proposal(change.before))
            proposal.failed.add(finding.path)
            proposal.by_run[number] = change.after
    changes: list[Change] = []
    for path, proposal in proposals.items():
        fitting = (
            [*changes, Change(path, proposal.before, value)]
            for value in _candidates(runs, proposal)
        )
        tried = next((one for one in fitting if _fits(loaded, runs, verdicts, one, proposal)), None)
        if tried is None:
            seen = ", ".join(f"{runs[n].title}: {v}" for n, v in proposal.by_run.items())
            left.append(f"{_name(path)}: no one number fits every run ({seen})")
        else:
            changes = tried
    after = _text(loaded, changes) or text
    return Renumbered(text, after, tuple(changes), tuple(dict.fromkeys(left)))


def _name(path: Place) -> str:
    return ".".join(map(str, path))


def _is_number(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or value == "workers"


def _change(run: TracedRun, finding: Finding) -> Change | None:
    found = counterfactual(
        run.trace,
        run.graph,
        finding,
        run.plan.expectations,
        workers=run.trace.header.concurrency or run.plan.workers,
        assume=run.plan.scenario.assume,
        accepts=lambda before, after: _one_number((), before, after) is not None,
    )
    return None if found is None else _one_number(found.path, found.before, found.after)


def _one_number(path: Place, before: Any, after: Any) -> Change | None:
    """Return a change of one number, None if it is of anything else."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        differ = [key for key in before if before[key] != after[key]]
        if len(differ) == 1:
            return _one_number((*path, differ[0]), before[differ[0]], after[differ[0]])
    is_one = _is_number(before) and _is_number(after)
    return Change(path, before, after) if is_one else None


def _fits(
    loaded: LoadedScenario,
    runs: Sequence[TracedRun],
    verdicts: Sequence[Verdict],
    changes: Sequence[Change],
    proposal: _Proposal,
) -> bool:
    """Whether changes can be written, and each run then meets what it did and what it did not."""
    return _text(loaded, changes) is not None and all(
        _holds(run, verdict, changes, proposal.failed)
        for run, verdict in zip(runs, verdicts, strict=True)
    )


def _candidates(runs: Sequence[TracedRun], proposal: _Proposal) -> Iterator[int | str]:
    values = dict.fromkeys(proposal.by_run.values())
    if len(values) > 1 and all(v == runs[n].plan.workers for n, v in proposal.by_run.items()):
        yield "workers"
    yield from values


def _holds(run: TracedRun, verdict: Verdict, changes: Sequence[Change], failed: set[Place]) -> bool:
    items = [(index, _with_values(index, item, changes)) for index, item in run.plan.expectations]
    changed = [(index, item) for index, item in items if item is not None]
    if len(changed) < len(items):
        return False
    before = {finding.path for finding in verdict.findings if finding.status is not Status.PASS}
    after = {f.path for f in run.judged(changed).findings if f.status is not Status.PASS}
    return not before & failed & after and after <= before


def _with_values(index: int, item: Conditional, changes: Sequence[Change]) -> Conditional | None:
    """Return an expectation with other values, None if it cannot have these."""
    mine = [change for change in changes if change.path[1] == index]
    if not mine:
        return item
    data = copy.deepcopy(item.model_dump(exclude_unset=True, mode="python"))
    for change in mine:
        _set(data, change.path[2:], change.after)
    try:
        return type(item).model_validate(data)
    except ValidationError:
        return None


def _set(data: Any, path: Place, value: int | str) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def _text(loaded: LoadedScenario, changes: Sequence[Change]) -> str | None:
    """Return the new text, None if it would not say what was tried."""
    text = with_values(loaded.document, {one.path: one.after for one in changes})
    if text is None:
        return None
    expected = copy.deepcopy(loaded.scenario.model_dump(exclude_unset=True, mode="python"))
    for one in changes:
        _set(expected, one.path, one.after)
    try:
        found = parse_scenario(text, loaded.path, directory=loaded.path.parent).scenario
    except ScenarioError:
        return None
    return text if found.model_dump(exclude_unset=True, mode="python") == expected else None


#: A plain scalar that may be replaced; what is quoted, an alias or anchored is not.
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def with_values(document: Document, values: Mapping[Path, int | str]) -> str | None:
    """Return the text with other scalars at some places.

    Args:
        document: the document.
        values: what is written, by place: a number, or a word.

    Returns:
        None if one of the places has no plain scalar.
    """
    lines = document.text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans = []
    for path, value in values.items():
        node = _node_at(document.root, path)
        if node is None or node.members is not None or node.line > len(lines):
            return None
        start = starts[node.line - 1] + node.column - 1
        found = _PLAIN.match(document.text, start)
        if found is None:
            return None
        spans.append((start, found.end(), str(value)))
    text = document.text
    for start, end, written in sorted(spans, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _node_at(node: Node, path: Path) -> Node | None:
    for part in path:
        members: Any = node.members
        if isinstance(members, dict) and part in members:
            node = members[part][2]
        elif isinstance(members, list) and isinstance(part, int) and part < len(members):
            node = members[part]
        else:
            return None
    return node
