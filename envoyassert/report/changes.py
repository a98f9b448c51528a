"""What would make a failed run pass, in the scenario or in Envoy's config, where that is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from envoyassert.errors import guarded
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.counterfactual import counterfactual
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.report.headline import deciding
from envoyassert.report.places import Finder, nowhere
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.words.registry import word_named
from envoyassert.words.remedy import Change

#: For how many failures it is looked for.
_FAILURES = 3
#: Of more expectations none is tried out: each trial judges all of them.
_EXPECTATIONS = 1000

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Remedy:
    """What would make one atom hold.

    Args:
        change: the change of the scenario, which was tried; None if looking for it failed.
        config: what to set in Envoy's config instead, which was not; or "".
        fault: why there is no change, or "".
    """

    change: Change | None
    config: str = ""
    fault: str = ""

    @property
    def words(self) -> str:
        """Both in one sentence, or the fault."""
        if self.change is None:
            return self.fault
        text = f"with {change_words(self.change)} in the scenario"
        return text + (f", or else try {self.config} in the config" if self.config else "")


def remedies(
    verdict: Verdict,
    trace: Trace,
    graph: SocketGraph,
    expectations: Sequence[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
    place: Finder = nowhere,
) -> dict[Path, Remedy]:
    """Return what would make the first failures hold, by the path of their atoms.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: what it folds into.
        expectations: what it was judged by.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
        place: finds the place of a finding in the scenario file, for their order.
    """
    if verdict.status is not Status.FAIL or len(expectations) > _EXPECTATIONS:
        return {}
    found: dict[Path, Remedy] = {}
    for finding in deciding(verdict, place)[:_FAILURES]:
        remedy = guarded(
            partial(_remedy, trace, graph, finding, expectations, workers, assume),
            lambda fault: Remedy(None, fault=fault),
        )
        if remedy is not None:
            found[finding.path] = remedy
    return found


def _remedy(
    trace: Trace,
    graph: SocketGraph,
    finding: Finding,
    expectations: Sequence[tuple[int, Conditional]],
    workers: int,
    assume: tuple[str, ...],
) -> Remedy | None:
    change = counterfactual(trace, graph, finding, expectations, workers=workers, assume=assume)
    if change is None:
        return None
    listeners = trace.header.listeners
    field = guarded(
        lambda: config_change(change, finding.subject.listener, listeners, workers), str
    )
    return Remedy(change, field)


def change_words(change: Change) -> str:
    """Return `bound: {times: 2}` instead of 1."""
    now = changed(change)
    return now if change.before is None else f"{now} instead of {plain(change.before)}"


def changed(change: Change) -> str:
    """Return `bound: {times: 2}`, in back quotes: what a scenario says after a change."""
    keys = [str(key) for key in change.path[2:]]
    text = plain(change.after)
    for key in reversed(keys[1:]):
        text = f"{{{key}: {text}}}"
    return f"`{keys[0]}: {text}`"


def plain(value: Any) -> str:
    """Return a value as YAML's flow form writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(plain, value)) + "]"
    return str(value)


def config_change(
    change: Change,
    subject: Selector | None,
    listeners: Iterable[ListenerRecord],
    workers: int,
) -> str:
    """Return what to set in the config instead of changing the scenario, or "".

    From Envoy's documentation of listeners; unlike the change of the scenario it was not tried.

    Args:
        change: the change of the scenario that was tried.
        subject: the listener that the finding is about, None if it is about none.
        listeners: those of the config.
        workers: the number of workers that was asked for.
    """
    word = word_named(change.path[2])
    field = "" if word is None else word.config(change, workers)
    if not field:
        return ""
    whose = next((f" on listener {r.name}" for r in listeners if _is_about(r, subject)), "")
    return f"`{field}`{whose}"


def _is_about(record: ListenerRecord, subject: Selector | None) -> bool:
    if subject is None:
        return False
    if subject.name is not None:
        return subject.name == record.name
    ports = {address.port for address in record.addresses if address.port is not None}
    return subject.port in ports
