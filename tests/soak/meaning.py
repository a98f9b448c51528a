"""A run as facts that must be the same whenever it is repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from envoyassert.compare.measure import Measure
from envoyassert.compare.profile import Key
from envoyassert.compare.runs import in_phase, profiles_of
from envoyassert.report.results import RunDocument
from envoyassert.trace import Trace

#: What is about a run, what of it, and how much or what it is.
Facts = Mapping[tuple[str, str], str]


def facts_of(trace: Trace) -> dict[tuple[str, str], str]:
    """Return the story of a run without what is volatile: numbers of descriptors, times, order of
    workers, who accepted."""
    facts: dict[tuple[str, str], str] = {}
    for phase, profile in profiles_of(trace).items():
        for listener in profile.listeners.values():
            subject = in_phase(listener.group.title, phase)
            facts |= {(subject, aspect): _text(m) for aspect, m in listener.facts.items()}
        subject = in_phase("the run", phase)
        facts |= {(subject, aspect): _text(m) for aspect, m in profile.facts.items()}
    return facts


def _text(measures: Mapping[Key, Measure]) -> str:
    found = {str(key) or "number": measure.text for key, measure in measures.items()}
    return ", ".join(f"{key}: {text}" for key, text in sorted(found.items()))


def answers_of(document: RunDocument) -> dict[tuple[str, str], str]:
    """Return the result of each expectation of a run."""
    if document.verdict is None:
        return {("the run", "outcome"): document.outcome}
    found: Counter[str] = Counter()
    answers: dict[tuple[str, str], str] = {}
    for finding in document.verdict.findings:
        place = ".".join(map(str, finding.path))
        # One atom may have several answers: one for each address of a listener, say.
        found[place] += 1
        answers[place, f"answer {found[place]}"] = finding.status
    return answers


def varying(runs: Sequence[Facts]) -> Iterator[tuple[tuple[str, str], Counter[str]]]:
    """Yield each fact that is not the same in all runs, with how often it was what."""
    for key in dict.fromkeys(key for facts in runs for key in facts):
        seen = Counter(facts.get(key, "(none)") for facts in runs)
        if len(seen) > 1:
            yield key, seen
