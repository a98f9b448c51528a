"""What a finding is about, by the names that Envoy's config has for it."""

from __future__ import annotations

from collections.abc import Sequence

from envoyassert.judge.verdict import Finding
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.scope import is_at
from envoyassert.texts.findings import subject_words

#: What is about the run as a whole: the atom says what it is about.
_NO_LISTENER = frozenset({"process", "calls", "never", "others", "invariant", "order"})


def about(finding: Finding, listeners: Sequence[ListenerRecord] = ()) -> str:
    """Return what a finding is about, with its atom: `listener http (0.0.0.0:80) bound.times`.

    Args:
        finding: one of a verdict's.
        listeners: those of the config.
    """
    if finding.subject.kind in _NO_LISTENER and finding.atom:
        return finding.atom
    return f"{whose(finding, listeners)} {finding.atom}".strip()


def whose(finding: Finding, listeners: Sequence[ListenerRecord] = ()) -> str:
    """Return what a finding is about: `listener http (0.0.0.0:80)`.

    What the scenario says stands for a listener that the config does not have, or has twice, and
    the atom for what is about the run as a whole.

    Args:
        finding: one of a verdict's.
        listeners: those of the config.
    """
    if finding.subject.kind in _NO_LISTENER and finding.atom:
        return finding.atom
    selector = finding.subject.listener
    if selector is None:
        return subject_words(finding)
    by_name = selector.name is not None and selector.port is None
    found = [
        (record, address)
        for record in listeners
        for address in record.addresses
        if (selector.name == record.name if by_name else is_at(selector, record, address))
    ]
    record = found[0][0] if found else None
    if record is None or any(other is not record for other, _ in found):
        return subject_words(finding)
    places = [finding.subject.address] if finding.subject.address else [str(a) for _, a in found]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    name = "admin endpoint" if record.kind == "admin" else f"listener {record.name}"
    return f"{name} ({places[0]}{more})"
