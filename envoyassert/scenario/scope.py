"""What says that there is none: over which part of a run, and of which listeners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.addresses import Address, canonical_host
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.conditional import AboutListener
from envoyassert.scenario.listeners import configured_listeners, discovers_listeners
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.selector import Selector
from envoyassert.words.registry import subject_of, word_of

Where = tuple[str | int, ...]

_OVER_THE_RUN = (
    "judged over the whole run, steps included (formerly at the end of start-up: "
    "`at_end_of: startup` says that)"
)


def over_the_run(scenario: Scenario) -> list[tuple[Where, str]]:
    """Return where a scenario with steps says that there is none and not in which phase.

    Args:
        scenario: the scenario, as written.
    """
    if all(step.is_before_startup for step in scenario.steps):
        return []
    return [
        (("expect", index, subject_of(item) or ""), _OVER_THE_RUN)
        for index, item in enumerate(scenario.expect)
        if item.says_none and item.is_unscoped
    ]


def of_no_listener(plans: Sequence[RunPlan]) -> list[tuple[Where, str]]:
    """Return where an expectation is about an address that no listener of any run has.

    What it says that there is none of would hold of any Envoy. One that has a `why` means it.

    Listeners that ask for no socket count: that they get none is worth to be said.

    Args:
        plans: the runs of one scenario.
    """
    missing: dict[Where, str] = {}
    found: set[Where] = set()
    selected = [(plan, dict(_selected(plan))) for plan in plans]
    if not any(selectors for _, selectors in selected):
        return []
    for plan, selectors in selected:
        # What the run has at its start is known already: most expectations are about that.
        found |= {where for where, one in selectors.items() if _is_among(one, plan.listeners)}
        if found.issuperset(selectors):
            continue
        records = tuple(_listeners(plan))
        if not records:
            return []
        for where, selector in selectors.items():
            if _is_among(selector, records):
                found.add(where)
            else:
                addresses = dict.fromkeys(str(a) for r in records for a in r.addresses)
                missing[where] = f"no listener is at {selector}; there are {', '.join(addresses)} "
                missing[where] += "(if that is meant, `why` says so)"
    return [(where, words) for where, words in missing.items() if where not in found]


def _is_among(selector: Selector, records: Sequence[ListenerRecord]) -> bool:
    return any(is_at(selector, r, a) for r in records for a in r.addresses)


def _selected(plan: RunPlan) -> Iterator[tuple[Where, Selector]]:
    """Yield which addresses the expectations of a run are about, and where that is said."""
    for index, item in plan.expectations:
        if item.why is not None:
            continue
        if isinstance(item, AboutListener) and _has_address(item.listener):
            yield ("expect", index, "listener"), item.listener
            continue
        forbids = word_of(item).forbids
        pattern = forbids(item) if forbids else None
        if pattern is not None and pattern.listener is not None and _has_address(pattern.listener):
            yield ("expect", index, subject_of(item) or "", "listener"), pattern.listener


def _listeners(plan: RunPlan) -> Iterator[ListenerRecord]:
    """Yield the listeners of a run at any time; none if others may come from outside."""
    configs = [(plan.config, plan.files)]
    try:
        for step in plan.steps:
            configs += step.configs(plan.config, plan.files)
    except OverlayError:
        return  # the run shows it
    records = [
        record
        for config, files in configs
        for record in configured_listeners(config, files, silent=True)
    ]
    if discovers_listeners(plan.config) and not any(record.kind == "lds" for record in records):
        return
    yield from records
    yield from plan.later


def _has_address(selector: Selector) -> bool:
    """Whether a selector is by an address that stands in it."""
    return isinstance(selector.port, int) or bool(selector.path or selector.abstract)


def is_at(selector: Selector, record: ListenerRecord, address: Address) -> bool:
    """Whether a selector means an address of a listener."""
    if selector.name not in (None, record.name):
        return False
    wanted = (selector.port, selector.path, selector.abstract)
    if wanted != (address.port, address.path, address.abstract):
        return False
    protocol = record.protocol_at(address)
    protocols = (None, protocol, "MPTCP" if protocol == "TCP" else None)
    return (
        selector.protocol in protocols
        and selector.namespace in (None, address.netns)
        and (selector.address is None or canonical_host(selector.address) == address.host)
    )
