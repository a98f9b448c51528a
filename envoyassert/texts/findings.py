"""Findings in words: what was asked and seen, why it is open, what comes close, what it means.

Every text about a finding, for people and in documents for machines, is made from its values
(`judge.values`) when it is shown: here, with the words of each value in `values` and those of
each fact in `facts`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from envoyassert.errors import guarded
from envoyassert.fact import Fact
from envoyassert.judge.near import Near, NearListener
from envoyassert.judge.values import Number, Options, Scope
from envoyassert.judge.verdict import Finding
from envoyassert.texts.fact_words import FIELDS
from envoyassert.texts.facts import text
from envoyassert.texts.values import number_alone, options_apart
from envoyassert.trace import Outcome
from envoyassert.words.process import outcome_value

#: So many options have room in one line beside those that differ.
_FEW_OPTIONS = 3


@dataclass(frozen=True)
class Words:
    """A finding in words; each may be empty but for the first three.

    Args:
        subject: what it is about: `port 15006`.
        expected: what was asked: `bound exactly 1 time`.
        seen: what was observed: `bound 2 times`.
        reason: why it could not be decided.
        closest: what came closest to what is not there, field by field.
        hint: what a failure means at the level of behaviour.
        known_defect: the defect that explains it.
        differs: in which parts what was seen is not what was asked, where both have several.
    """

    subject: str
    expected: str
    seen: str
    reason: str = ""
    closest: str = ""
    hint: str = ""
    known_defect: str = ""
    differs: str = ""


def words_of(finding: Finding) -> Words:
    """Return a finding in words; a fault in one text is a line in its place."""
    return Words(
        subject_words(finding),
        _safe(finding.wanted) + scope_words(finding.scope),
        _safe(finding.seen),
        _safe(finding.reason),
        closest_of(finding),
        _safe(finding.cause),
        _safe(finding.known_defect),
        differs_of(finding),
    )


def subject_words(finding: Finding) -> str:
    """Return what a finding is about."""
    return _safe(finding.subject)


def config_field(finding: Finding) -> str:
    """Return the field of Envoy's config that causes a failure, "" if none is known to."""
    known = finding.cause is not None and finding.cause.code == "shape"
    return FIELDS.get(finding.cause["shape"], "") if known and finding.cause else ""


def expected_in_brief(finding: Finding) -> str:
    """Return what was asked; of many options how many, where what was seen names those at fault."""
    wanted = finding.wanted
    if isinstance(wanted, Fact) and wanted.code == "only_options" and differs_of(finding):
        count = len(wanted["options"])
        if count > _FEW_OPTIONS:
            return f"the {count} options that are named and no others{scope_words(finding.scope)}"
    return words_of(finding).expected


def seen_in_brief(finding: Finding) -> str:
    """Return what was observed; a number alone where what was asked for says of what."""
    seen, wanted = finding.seen, finding.wanted
    number = number_alone(seen, wanted) if isinstance(seen, Number) else ""
    return number or differs_of(finding) or _safe(seen)


def differs_of(finding: Finding) -> str:
    """Return which options were set and not asked for, and which were not set; "" for none."""
    if not isinstance(finding.seen, Options):
        return ""
    return guarded(partial(options_apart, finding.seen), str)


def closest_of(finding: Finding) -> str:
    """Return what came closest to what is not there."""
    return "; ".join(map(_safe, finding.near))


def _safe(value: object) -> str:
    return guarded(partial(text, value), str)


def scope_words(scope: Scope | None) -> str:
    """Return ` (during drain)`, or "" for what is not confined to a part of the run."""
    if scope is None:
        return ""
    words = [] if scope.envoy is None else [f"Envoy {scope.envoy}"]
    if scope.during is not None:
        words.append(f"during {scope.during}")
    elif scope.at_end_of is not None:
        words.append(f"at the end of {scope.at_end_of}")
    elif scope.whole_run:
        words.append("over the whole run")
    return f" ({', '.join(words)})"


def in_brief(near: Near) -> str:
    """Return in which fields a near miss differs, without who did what to it."""
    if isinstance(near, NearListener):
        near = replace(near, bound_by=(), served_by=())
    return _safe(near)


def outcome_in_words(outcome: Outcome) -> str:
    """Return what happened to the process: `exited with 1`, `live after 0.060 s, and up`."""
    return text(outcome_value(outcome))
