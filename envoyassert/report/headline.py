"""A verdict in one line: for lists of failed tests, for JUnit, and on top of the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from envoyassert.errors import guarded
from envoyassert.judge.near import OptionsThere
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.names import signal_text
from envoyassert.naming import ListenerRecord
from envoyassert.report.envoy_log import cause
from envoyassert.report.places import Blame, Finder, nowhere, unblamed
from envoyassert.scenario.scope import is_at
from envoyassert.texts.findings import (
    config_field,
    expected_in_brief,
    in_brief,
    seen_in_brief,
    subject_words,
    words_of,
)
from envoyassert.trace import UNKNOWN_STATUS, Outcome

#: Envoy's own words in a headline are cut off here; they stand in full below it.
_CAUSE_WIDTH = 170
_CAUSE_START = 90

#: What is about the run as a whole: the atom says what it is about.
_NO_LISTENER = frozenset({"process", "calls", "never", "others", "invariant", "order"})

#: How the line of a known defect begins.
KNOWN_DEFECT_STARTS = "known defect ("


def deciding(verdict: Verdict, place: Finder = nowhere) -> tuple[Finding, ...]:
    """Return the findings that made the verdict what it is: those of its status.

    the result of the process comes first, for it explains the others; these are in the order of
    the scenario file.
    """

    def order(finding: Finding) -> tuple[bool, int, int]:
        where = place(finding.path)
        line, column = (0, 0) if where is None else (where.line, where.column)
        return (not about_process(finding), line, column)

    # Where everything was skipped nothing else is there to show.
    found = verdict.with_status(verdict.status) or verdict.with_status(Status.SKIPPED)
    return tuple(sorted(found, key=order))


def about_process(finding: Finding) -> bool:
    """Whether a finding is about the result of the Envoy process."""
    return finding.subject.kind == "process"


def headline(
    verdict: Verdict,
    title: str = "",
    outcome: Outcome | None = None,
    place: Finder = nowhere,
    blame: Blame = unblamed,
    listeners: Sequence[ListenerRecord] = (),
) -> str:
    """Return the verdict in one line, naming the first atom that was not met.

    `FAIL reuse_port_off: listener http (0.0.0.0:80): expected 1 bind() call, saw 2`

    Args:
        verdict: the judgement.
        title: the run: `reuse_port_off[concurrency=2]`.
        outcome: what happened to Envoy; where it ended unasked, that comes first.
        place: finds the place of a finding in the scenario file.
        blame: finds what Envoy's reason for its end means in its config.
        listeners: those of the config.
    """
    start = f"{verdict} {title}".rstrip()
    reason = reason_line(verdict, outcome, place, blame, listeners)
    return f"{start}: {reason}" if reason else start


def reason_line(
    verdict: Verdict,
    outcome: Outcome | None = None,
    place: Finder = nowhere,
    blame: Blame = unblamed,
    listeners: Sequence[ListenerRecord] = (),
) -> str:
    """Return why a verdict is not PASS in one line, without the verdict; "" if it is PASS."""
    return guarded(
        lambda: _reason(verdict, outcome, place, blame, listeners),
        lambda fault: f"the reason: {fault}",
    )


def _reason(
    verdict: Verdict,
    outcome: Outcome | None,
    place: Finder,
    blame: Blame,
    listeners: Sequence[ListenerRecord],
) -> str:
    findings = deciding(verdict, place)
    if verdict.status is Status.PASS or not findings:
        return ""
    more = _and_more(findings)
    before = setback(verdict, outcome, blame)
    first = findings[0]
    if first.known_defect:
        return known_defect_words(*_known_defect(findings, listeners))
    if verdict.status is Status.INCONCLUSIVE:
        start = f"{before}; " if before else ""
        return f"{start}{about(first, listeners)}{more}: {_why_not_judged(first)}"
    if before:
        return f"{before}; not met: {about(first, listeners)}{more}"
    why = closest(first) or caused_by(first)
    return sentence(first, listeners) + more + (f"; {why}" if why else "")


def statement(
    verdict: Verdict, title: str, place: Finder, listeners: Sequence[ListenerRecord]
) -> str:
    """Return the first line of the text of a failure: the listener, what was expected, what seen.

    Args:
        verdict: FAIL.
        title: the run.
        place: finds the place of a finding in the scenario file.
        listeners: those of the config.
    """
    start = f"{verdict} {title}".rstrip()
    findings = deciding(verdict, place)
    return f"{start}: {sentence(findings[0], listeners)}{_and_more(findings)}"


def closest(finding: Finding) -> str:
    """Return what came closest to a listener or call that is not there, "" if nothing did."""
    # Which options a socket has instead is no news, where a listener is instead may be all.
    absent = finding.near and not isinstance(finding.near[0], OptionsThere)
    return f"closest: {in_brief(finding.near[0])}" if absent else ""


def caused_by(finding: Finding) -> str:
    """Return the field of Envoy's config that causes a failure, "" if none is known to."""
    return f"cause: {field}" if (field := config_field(finding)) else ""


def known_defect(
    verdict: Verdict, place: Finder = nowhere, listeners: Sequence[ListenerRecord] = ()
) -> tuple[str, str]:
    """Return the known defect that explains a verdict, and what was seen of it; "" if none does.

    The defect is as the scenario states it, so that it is the same in each run.
    """
    if verdict.status is not Status.KNOWN_DEFECT:
        return "", ""
    return guarded(
        lambda: _known_defect(deciding(verdict, place), listeners),
        lambda fault: ("", f"the defect: {fault}"),
    )


def _known_defect(
    findings: Sequence[Finding], listeners: Sequence[ListenerRecord]
) -> tuple[str, str]:
    known = findings[0].known_defect if findings else None
    if known is None:
        return "", ""
    stated = [said.text for said in (known["defect"], known["what"]) if said is not None]
    return ": ".join(stated), sentence(findings[0], listeners) + _and_more(findings)


def known_defect_words(defect: str, seen: str) -> str:
    """Return a known defect with what was seen of it, in one line."""
    return f"{KNOWN_DEFECT_STARTS}{defect}): {seen}"


def _and_more(findings: Sequence[Finding]) -> str:
    return f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""


def setback(verdict: Verdict, outcome: Outcome | None, blame: Blame = unblamed) -> str:
    """Return what happened to Envoy unasked by the scenario, and why; "" if nothing did.

    `Envoy ended with status 1: cannot bind '192.0.2.1:80': Cannot assign requested address`
    """
    if outcome is None:
        return ""
    judged = [finding for finding in verdict.findings if about_process(finding)]
    if outcome.running:
        asked = any(finding.path[-1] in ("live", "within") for finding in judged)
        late = outcome.live is False and not asked
        return f"Envoy was not live after {outcome.deadline_s or 0:g} s{_waited(outcome)}" * late
    if any(finding.status is Status.PASS for finding in judged) and not any(
        finding.status is Status.FAIL for finding in judged
    ):
        return ""
    return f"Envoy {why_ended(outcome, blame)}"


def why_ended(outcome: Outcome, blame: Blame = unblamed) -> str:
    """Return how Envoy ended and why, in a phrase: `ended with status 1: cannot bind …`."""
    reason = cause(outcome)
    text = _shortened(reason.text)
    place = "" if outcome.signal is not None or not text else blame(reason)
    end = end_in_words(outcome)
    if outcome.exit_code == 0 and outcome.live is False and not _had_started(outcome):
        end += f" before it was live{_waited(outcome)}"
    return end + (f": {text}" if text else "") + (f" ({place})" if place else "")


def _had_started(outcome: Outcome) -> bool:
    """Whether the workers had been started, if only after the deadline."""
    return any("all dependencies initialized. starting workers" in x for x in outcome.log_tail)


def _waited(outcome: Outcome) -> str:
    return f", waiting for {' and '.join(outcome.waits_for)}" if outcome.waits_for else ""


def _shortened(reason: str) -> str:
    """Return a long text without its middle: it begins with what failed and ends with why."""
    if len(reason) <= _CAUSE_WIDTH:
        return reason
    start, end = reason[:_CAUSE_START], reason[_CAUSE_START - _CAUSE_WIDTH :]
    start, end = start.rpartition(" ")[0] or start, end.partition(" ")[2] or end
    return f"{start} … {end}"


def end_in_words(outcome: Outcome, was: str = "was ") -> str:
    """Return how the process ended: `ended with status 1`, `was killed by SIGSEGV`, or "".

    Args:
        outcome: what happened to it.
        was: stands before `killed`.
    """
    if outcome.exit_code == UNKNOWN_STATUS:
        return "ended, and how was not recorded"
    if outcome.exit_code is not None:
        return f"ended with status {outcome.exit_code}"
    return f"{was}killed by {signal_text(outcome.signal)}" if outcome.signal is not None else ""


def sentence(finding: Finding, listeners: Sequence[ListenerRecord] = ()) -> str:
    """Return a finding in one line: `listener http (0.0.0.0:80): expected …, saw …`.

    Args:
        finding: one of a verdict's.
        listeners: those of the config.
    """
    if finding.status in (Status.INCONCLUSIVE, Status.SKIPPED):
        return f"{about(finding, listeners)}: {_why_not_judged(finding)}"
    expected = expected_in_brief(finding)
    return f"{whose(finding, listeners)}: expected {expected}, saw {seen_in_brief(finding)}"


def _why_not_judged(finding: Finding) -> str:
    skipped = "skipped: " if finding.status is Status.SKIPPED else ""
    return skipped + (words_of(finding).reason or "cannot be decided")


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
