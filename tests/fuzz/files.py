"""Trace files in which a value has another type or range, under a closing line that fits.

So nothing but the check of each line stands between the value and fold, judge and texts. A file is
refused with the line, or judged, shown and compared without an internal error.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from functools import cache, lru_cache
from random import Random
from typing import Any

from pydantic import TypeAdapter

from envoyassert.compare.comparison import compare_profiles
from envoyassert.compare.diff_text import diff_lines
from envoyassert.compare.profile import profile_of
from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.draft.scenario_text import draft_text
from envoyassert.errors import FAULT, EnvoyAssertError, TraceFileError
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.report.failure import RunContext, failure_lines
from envoyassert.report.figures import figures_of
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.source import parse_yaml
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, trace_lines
from envoyassert.words.registry import Expectation
from tests.fuzz.case import REFUSED, Case
from tests.fuzz.commands import refusal_problem
from tests.fuzz.recorded import ROOT, Items
from tests.fuzz.values import DEEP, odd, places_in, written
from tests.whole_trace import whole

Line = dict[str, Any]

_FILES = (
    *("started", "started_unix", "connections", "drained", "lds_port_taken", "lds_options"),
    *("hot_restart", "hot_restart_netns", "started_warming", "exhausted"),
)
_LISTENER = {"listener": {"port": 10000}}
_EXPECTATIONS: tuple[dict[str, Any], ...] = (
    {"invariants": "all"},
    {"no_others": True},
    {"process": {"live": True}},
    {**_LISTENER, "bound": {"times": 2, "by": "main"}, "sockets": {"live": 2}},
    {**_LISTENER, "listened": {"by": "workers"}, "served_by": "workers", "descriptors": "workers"},
    {
        **_LISTENER,
        "connections": {"spread": {"even": {"false_alarm": 0.01}}},
        "backlog": {"effective": 128},
    },
    {**_LISTENER, "options": {"SO_REUSEPORT": {"value": 1, "phase": "before_bind"}}},
    {"in_order": [{"call": "bind"}, {"call": "listen"}]},
    {"never": {"call": "bind", "errno": "EADDRINUSE"}},
    {"calls": {"call": ["setsockopt", "close"], "times": {"at_least": 1}}},
)
_PLACE = re.compile(r"^<trace>:\d+:1: error: ")


@cache
def subjects() -> tuple[tuple[Line, ...], ...]:
    """Return traces as the lines of their files, the closing line left out.

    One has everything, and few events; so it comes first, and is taken most often.
    """
    packed = [ROOT / "tests" / "traces" / "regressions" / f"{name}.ndjson.gz" for name in _FILES]
    texts = [gzip.decompress(path.read_bytes()).decode() for path in packed]
    witnessed = ROOT / "tests" / "traces" / "witnessed" / "reuse_port_on-1.40.0.ndjson"
    texts.append(witnessed.read_text(encoding="utf-8"))
    files = [[json.loads(line) for line in text.splitlines()] for text in texts]
    files.insert(0, [json.loads(line) for line in trace_lines(whole())])
    return tuple(tuple(line for line in file if "closing" not in line) for file in files)


@cache
def _written() -> list[list[str]]:
    return [[json.dumps(line) for line in lines] for lines in subjects()]


@cache
def _expectations() -> Items:
    adapter: TypeAdapter[Any] = TypeAdapter(Expectation)
    return [(index, adapter.validate_python(item)) for index, item in enumerate(_EXPECTATIONS)]


def closed_again(texts: list[str]) -> list[str]:
    """Return the lines of a file, and a closing line that fits them."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(_contents(text))
    digest = hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()
    names = ("events", "phases", "steps", "accounts", "second_events")
    counts = {name: found[name] for name in names} | {"ends": 1}
    return [*texts, json.dumps({"closing": {**counts, "sha256": digest}})]


@lru_cache(20_000)
def _contents(text: str) -> Counter[str]:
    """Return what a line adds to each count of the closing line."""
    line = _members(text)
    kind = next((kind for kind in ("call", "phase", "witness", "end") if kind in line), "")
    found: Counter[str] = Counter(steps=_length(line.get("steps")), accounts=kind == "witness")
    found["second_events" if "by" in line else "events"] += kind == "call"
    found["phases"] += kind == "phase"
    if isinstance(phase := line.get("phase"), dict):
        found["accounts"] += phase.get("witness") is not None
        envoys = phase.get("envoys")
        members = envoys[:-1] if isinstance(envoys, list) else []
        found["accounts"] += sum(
            isinstance(m, dict) and m.get("witness") is not None for m in members
        )
    return found


def _members(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def changed(line: Line, chance: Random) -> str:
    """Return the text of a line in which one member is another, gone, or there twice."""
    copy = json.loads(json.dumps(line))
    owner, key = chance.choice(places_in(copy, 3))
    kind = chance.choices(("value", "near", "gone", "added", "twice", "deep"), (12, 4, 2, 1, 1, 1))[
        0
    ]
    found = owner[key]
    if kind == "gone":
        del owner[key]
    elif kind == "added" and isinstance(owner, dict):
        owner[chance.choice(("x", "fd", "by", "stack", "kind", "k" * 70_000))] = odd(chance)
    elif kind == "near" and isinstance(found, int):
        owner[key] = found + chance.choice((-1, 1, 10, 2**16, 2**31))
    elif kind == "twice" and isinstance(key, str):
        text = json.dumps(copy)
        name = f"{json.dumps(key)}:"
        return text.replace(name, f"{name} {json.dumps(odd(chance))}, {name}", 1)
    elif kind == "deep":
        owner[key] = DEEP
    else:
        owner[key] = odd(chance)
    return written(copy)


def trace_file(case: Case) -> str:
    """Read a changed trace file, and judge, show and compare what can be read."""
    chance = case.chance
    number = 0 if chance.random() < 0.7 else chance.randrange(len(subjects()))
    lines = subjects()[number]
    texts = list(_written()[number])
    # Lines of each kind, for there are many more events than others.
    others = [index for index, line in enumerate(lines) if "call" not in line]
    for _ in range(chance.choice((1, 1, 1, 2))):
        at = chance.choice(others) if chance.random() < 0.5 else chance.randrange(len(lines))
        texts[at] = changed(lines[at], chance)
    problem, how = "", REFUSED
    try:
        trace = parse_trace(closed_again(texts))
    except TraceFileError as error:
        problem = refusal_problem(str(error), _PLACE)
    else:
        how, text = used(trace)
        if FAULT in text:
            problem = f"a fault: {text[text.index(FAULT) - 200 :][:400]}"
    if problem:
        odd = [text[:400] for text in texts if text not in set(_written()[number])]
        case.broken.append(f"{problem}: {odd}")
    return how


def used(trace: Trace) -> tuple[str, str]:
    """Return the verdict on a trace, and the texts that are made of it."""
    graph = fold(trace)
    verdict = judge(trace, _expectations(), workers=trace.header.concurrency or 2, graph=graph)
    story = story_of(trace, graph, verdict.certificate)
    lines = story_lines(story) + failure_lines(verdict, trace, graph, RunContext())
    json.dumps(verdict_json(verdict, trace, graph, RunContext()))
    figures_of(trace, graph)
    profile = profile_of(trace)
    lines += diff_lines(compare_profiles(profile, profile), "one", "other")
    try:
        text = draft_text(draft_of_trace(trace), "drafted", "drafted.envoy.yaml", "a trace")
        parse_yaml(text, "drafted.yaml")
    except EnvoyAssertError as error:
        lines.append(str(error))
    return verdict.status.value, "\n".join(lines)
