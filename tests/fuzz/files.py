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
from collections.abc import Iterator
from functools import cache, partial
from random import Random
from typing import Any

import yaml
from pydantic import TypeAdapter

from envoyassert.compare.comparison import compare
from envoyassert.compare.diff_text import diff_lines
from envoyassert.compare.profile import profile_of
from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.draft.text import draft_text
from envoyassert.errors import EnvoyAssertError, TraceFileError
from envoyassert.graph.fold import fold
from envoyassert.guard import FAULT
from envoyassert.judge.judge import judge
from envoyassert.report.failure import Context, failure_lines
from envoyassert.report.figures import figures_of
from envoyassert.report.story import tell
from envoyassert.report.story_text import story_lines
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.expectation import Expectation
from envoyassert.trace import Trace
from envoyassert.trace_lines import parse_trace
from tests.fuzz.limits import memory_problems, timed
from tests.fuzz.recorded import ROOT, Items
from tests.fuzz.traces import Tally

Line = dict[str, Any]
Path = tuple[str | int, ...]

_FILES = (
    *("started", "started_unix", "connections", "drained", "lds_port_taken", "lds_options"),
    *("hot_restart", "hot_restart_netns", "started_warming", "exhausted"),
)
#: A number that is written with this many digits stands for itself; JSON's writer has no such one.
_DIGITS = "<5000 digits>"
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53),
    *(2**63 - 1, 2**63, 2**64, 10**30, -(2**31), -(2**63), -(2**64), 0.0, 1.0, 0.5, 1e308),
    *(float("nan"), float("inf"), _DIGITS),
    *("", "x", "AF_INET", "EPOLLIN", "0x1", "worker_0", "\ud800", "\0", "\x1b[2J", "a\n::error::b"),
    *("\u202e", "é" * 300, "9" * 5000),
    *([], {}, [None], [[]], {"a": 1}, [1, 2, 3], ["x"], [True]),
)
_LISTENER = {"listener": {"port": 10000}}
_WISHES: tuple[dict[str, Any], ...] = (
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
    """Return recorded traces as the lines of their files, the closing line left out."""
    packed = [ROOT / "tests" / "traces" / "regressions" / f"{name}.ndjson.gz" for name in _FILES]
    texts = [gzip.decompress(path.read_bytes()).decode() for path in packed]
    witnessed = ROOT / "tests" / "traces" / "witnessed" / "reuse_port_on-1.40.0.ndjson"
    texts.append(witnessed.read_text(encoding="utf-8"))
    files = [[json.loads(line) for line in text.splitlines()] for text in texts]
    return tuple(tuple(line for line in file if "closing" not in line) for file in files)


@cache
def _written() -> list[list[str]]:
    return [[json.dumps(line) for line in lines] for lines in subjects()]


@cache
def _wishes() -> Items:
    adapter: TypeAdapter[Any] = TypeAdapter(Expectation)
    return [(index, adapter.validate_python(item)) for index, item in enumerate(_WISHES)]


def closed_again(texts: list[str]) -> list[str]:
    """Return the lines of a file, and a closing line that fits them."""
    kinds: Counter[str] = Counter()
    accounts = steps = 0
    for text in texts:
        line = _members(text)
        kind = next((kind for kind in ("call", "phase", "witness", "end") if kind in line), "")
        kinds["second" if kind == "call" and "by" in line else kind] += 1
        steps += _length(line.get("steps"))
        accounts += kind == "witness"
        if isinstance(phase := line.get("phase"), dict):
            accounts += phase.get("witness") is not None
            envoys = phase.get("envoys")
            members = envoys[:-1] if isinstance(envoys, list) else []
            accounts += sum(isinstance(m, dict) and m.get("witness") is not None for m in members)
    digest = hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()
    counts = {"events": kinds["call"], "phases": kinds["phase"], "steps": steps}
    counts |= {"accounts": accounts, "second_events": kinds["second"], "ends": 1}
    return [*texts, json.dumps({"closing": {**counts, "sha256": digest}})]


def _members(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of each value in a line."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            yield from paths_in(inner, (*path, index))


def changed(line: Line, chance: Random) -> str:
    """Return the text of a line in which one member is another, gone, or there twice."""
    copy = json.loads(json.dumps(line))
    path = chance.choice(list(paths_in(copy)))
    owner = copy
    for part in path[:-1]:
        owner = owner[part]
    key: Any = path[-1]
    kind = chance.choices(("value", "near", "gone", "added", "twice", "deep"), (12, 4, 2, 1, 1, 1))[
        0
    ]
    found = owner[key]
    if kind == "gone":
        del owner[key]
    elif kind == "added" and isinstance(owner, dict):
        owner[chance.choice(("x", "fd", "by", "stack", "kind"))] = chance.choice(_VALUES)
    elif kind == "near" and isinstance(found, int):
        owner[key] = found + chance.choice((-1, 1, 10, 2**16, 2**31))
    elif kind == "twice" and isinstance(key, str):
        text = json.dumps(copy)
        name = f"{json.dumps(key)}:"
        return text.replace(name, f"{name} {json.dumps(chance.choice(_VALUES))}, {name}", 1)
    elif kind == "deep":
        owner[key] = "<deep>"
        return json.dumps(copy).replace('"<deep>"', "[" * 20_000 + "]" * 20_000)
    else:
        owner[key] = chance.choice(_VALUES)
    return json.dumps(copy).replace(json.dumps(_DIGITS), "1" + "0" * 4999)


def fuzz_files(count: int, seed: str) -> Tally:
    """Read changed trace files, and judge, show and compare what can be read.

    Args:
        count: how many.
        seed: decides everything but the times.
    """
    tally = Tally(Counter(), [])
    chance = Random(seed)
    for _ in range(count):
        number = chance.randrange(len(subjects()))
        lines = subjects()[number]
        written = _written()[number]
        texts = list(written)
        # Lines of each kind, for there are many more events than others.
        others = [index for index, line in enumerate(lines) if "call" not in line]
        for _ in range(chance.choice((1, 1, 1, 2))):
            at = chance.choice(others) if chance.random() < 0.5 else chance.randrange(len(lines))
            texts[at] = changed(lines[at], chance)
        problem = timed(partial(_problem, closed_again(texts), tally))
        if problem:
            odd = [text[:400] for text, line in zip(texts, lines, strict=True)
                   if text != json.dumps(line)]  # fmt: skip
            tally.broken.append(f"{problem}: {odd}")
    tally.broken.extend(memory_problems())
    return tally


def _problem(texts: list[str], tally: Tally) -> str:
    """Return in words what went wrong with a file, "" if it was refused or used as it should."""
    try:
        trace = parse_trace(texts)
    except TraceFileError as error:
        tally.seen["file: refused"] += 1
        return "" if _PLACE.match(str(error)) else f"refused without a line: {error}"
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"reading: {type(error).__name__}: {error}"
    try:
        status, text = used(trace)
    except Exception as error:  # noqa: BLE001 - as above
        frames = error.__traceback__
        while frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
        at = "" if frames is None else f"{frames.tb_frame.f_code.co_filename}:{frames.tb_lineno}"
        return f"using: {type(error).__name__}: {error} at {at}"
    tally.seen[f"file: {status}"] += 1
    return f"a fault: {text[text.index(FAULT) - 200 :][:400]}" if FAULT in text else ""


def used(trace: Trace) -> tuple[str, str]:
    """Return the verdict on a trace, and the texts that are made of it."""
    graph = fold(trace)
    verdict = judge(trace, _wishes(), workers=trace.header.concurrency or 2, graph=graph)
    story = tell(trace, graph, verdict.certificate)
    lines = story_lines(story) + failure_lines(verdict, trace, graph, Context())
    json.dumps(verdict_json(verdict, trace, graph, Context()))
    figures_of(trace, graph)
    profile = profile_of(trace)
    lines += diff_lines(compare(profile, profile), "one", "other")
    try:
        text = draft_text(draft_of_trace(trace), "drafted", "drafted.envoy.yaml", "a trace")
        yaml.safe_load(text)
    except EnvoyAssertError as error:
        lines.append(str(error))
    return verdict.status.value, "\n".join(lines)
