"""A comparison for people, in plain lines of at most 100 columns; and as JSON types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoyassert.compare.comparison import DIFFERENT, SAME, Comparison, Difference, TimeDifference
from envoyassert.compare.profile import Profile
from envoyassert.report.table import count, wrapped

NOT_SURE = " (not sure: see `incomplete`)"


def diff_lines(comparison: Comparison, before: str, after: str) -> list[str]:
    """Return the whole of a comparison.

    Args:
        comparison: two runs.
        before: the name of the old one, a file say.
        after: the name of the new one.
    """
    lines = [
        *wrapped(f"--- {before}: {side_words(comparison.before)}", hang="    "),
        *wrapped(f"+++ {after}: {side_words(comparison.after)}", hang="    "),
        *incomplete_lines(comparison, before, after),
        *difference_lines(comparison.differences),
    ]
    if comparison.times:
        lines += ["times", *time_lines(comparison.times)]
    return [*lines, *wrapped(result_words(comparison), hang="  ")]


def side_words(profile: Profile) -> str:
    """Return which Envoy ran: `Envoy 1.40.0, 2 workers, 233 events`."""
    header = profile.trace.header
    facts = [f"Envoy {header.envoy.version or '(unknown version)'}"]
    if header.launcher:
        facts.append(header.launcher)
    facts.append(count(profile.workers, "worker") if profile.workers else "workers unknown")
    facts.append(count(len(profile.trace.events), "event"))
    if profile.assumed:
        facts.append(f"assumed: {', '.join(profile.assumed)}")
    return ", ".join(facts)


def incomplete_lines(comparison: Comparison, before: str, after: str) -> list[str]:
    """Return what the traces lack, nothing if they are whole."""
    lines = []
    for name, profile in ((before, comparison.before), (after, comparison.after)):
        if profile.missing:
            lines += wrapped(f"incomplete: {name}: {'; '.join(profile.missing)}", hang="  ")
    if comparison.not_compared:
        lines += wrapped(f"not compared: {', '.join(comparison.not_compared)}", hang="  ")
    return lines


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """Return the differences; listeners that differ in the same ways are shown together."""
    lines = []
    for subjects, words in together(differences):
        lines += wrapped(", ".join(subjects))
        for text in words:
            lines += wrapped(text, "  ", "    ")
    return lines


def together(differences: Iterable[Difference]) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """Yield subjects, and the words that say how every one of them differs."""
    by_subject: dict[str, list[str]] = {}
    for difference in differences:
        words = difference.words + ("" if difference.sure else NOT_SURE)
        by_subject.setdefault(difference.subject, []).append(words)
    by_words: dict[tuple[str, ...], list[str]] = {}
    for subject, words_of_it in by_subject.items():
        by_words.setdefault(tuple(words_of_it), []).append(subject)
    for texts, subjects in by_words.items():
        yield subjects, texts


def time_lines(times: Iterable[TimeDifference]) -> list[str]:
    """Return the milestones that differ."""
    return [
        f"  {time.words}: {time.after_ms:.0f} ms after exec instead of {time.before_ms:.0f} ms"
        for time in times
    ]


def result_words(comparison: Comparison) -> str:
    """Return the answer in a line: `same: 5 listeners, 9 sockets`."""
    if comparison.result == SAME:
        filled = [pair for pair in comparison.pairs if pair.after and not pair.after.group.is_empty]
        sockets = sum(len(pair.after.group.sockets) for pair in filled if pair.after)
        text = f"same: {count(len(filled), 'address', 'addresses')}, {count(sockets, 'socket')}"
    elif comparison.result == DIFFERENT:
        text = f"different: {count(len(comparison.differences), 'difference')}"
    elif comparison.differences:
        text = "unknown: what differs may come from what the traces lack"
    else:
        text = "unknown: no difference was seen, but a trace that is incomplete cannot show that"
    if comparison.growing:
        text += f"; grows with the workers: {', '.join(comparison.growing)}"
    return text


FORMAT = "envoyassert-diff/1"


def diff_json(comparison: Comparison, before: str, after: str) -> dict[str, object]:
    """Return the whole of a comparison.

    Args:
        comparison: two runs.
        before: the name of the old one, a file say.
        after: the name of the new one.
    """
    return {
        "format": FORMAT,
        "result": comparison.result,
        "before": side_json(comparison.before, before),
        "after": side_json(comparison.after, after),
        "differences": [difference_json(one) for one in comparison.differences],
        "times": [time_json(one) for one in comparison.times],
        "grows_with_workers": list(comparison.growing),
        "not_compared": list(comparison.not_compared),
    }


def side_json(profile: Profile, name: str) -> dict[str, object]:
    """Return which run it was, and what its trace lacks."""
    header = profile.trace.header
    return {
        "name": name,
        "scenario": header.scenario,
        "matrix": dict(header.matrix),
        "envoy": header.envoy.version,
        "build_id": header.envoy.build_id,
        "source": header.envoy.source,
        "launcher": header.launcher,
        "workers": profile.workers,
        "events": len(profile.trace.events),
        "whole": profile.whole,
        "missing": list(profile.missing),
        "assumed": list(profile.assumed),
    }


def difference_json(difference: Difference) -> dict[str, object]:
    """Return one difference."""
    return {
        "subject": difference.subject,
        "aspect": difference.aspect,
        "before": difference.before,
        "after": difference.after,
        "words": difference.words,
        "sure": difference.sure,
    }


def time_json(time: TimeDifference) -> dict[str, object]:
    """Return one milestone that came at another time, in milliseconds since exec."""
    return {
        "milestone": time.milestone,
        "before_ms": time.before_ms,
        "after_ms": time.after_ms,
        "words": time.words,
    }
