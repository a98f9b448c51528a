"""Mutated scenario files: each is refused with problems, or judged like any other.

What a mutated expectation means is not known here, so a false PASS is told by two runs of it: what
is not PASS on a whole trace is not PASS on the same trace with events lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from envoyassert.errors import ScenarioError
from envoyassert.judge.verdict import Status
from envoyassert.scenario.load import parse_scenario, read_text
from envoyassert.scenario.matrix import expand
from envoyassert.trace import Trace
from tests.fuzz.recorded import RECORDED, ROOT, judged, recorded, some, without
from tests.fuzz.traces import Tally

_SCALARS = ("0", "-1", "99999999999999999999", "null", "true", "''", "[]", "{}", "workers", "main")
_SIGNS = ":{}[],&*#?|-<>=!%@`'\"\\ \t\n\0\ufeff\U0001f600e0.~"


@cache
def _texts() -> tuple[tuple[Path, str], ...]:
    return tuple((path, read_text(path)) for path in sorted((ROOT / "scenarios").glob("*.yaml")))


@cache
def _traces() -> tuple[Trace, ...]:
    return tuple(recorded(name) for name in RECORDED)


def fuzz_scenarios(count: int, seed: str) -> Tally:
    """Check mutated scenario files, and judge what they expect.

    Args:
        count: how many.
        seed: decides everything.
    """
    tally = Tally(Counter(), [])
    chance = Random(seed)
    for _ in range(count):
        path, text = chance.choice(_texts())
        for _ in range(chance.randint(1, 3)):
            text = mutated(text, chance)
        try:
            loaded = parse_scenario(text, path, read_config=_read_config(path))
            plans = expand(loaded)
        except ScenarioError:
            tally.seen["scenario: refused"] += 1
            continue
        trace = chance.choice(_traces())
        plan = chance.choice(plans).in_rundir(trace.header.rundir)
        whole = judged(trace, list(plan.expectations)).status
        damaged = without(trace, some(trace, chance))
        after = judged(damaged, list(plan.expectations)).status
        tally.seen[f"scenario: {whole.value} -> {after.value}"] += 1
        if whole is not Status.PASS and after is Status.PASS:
            tally.broken.append(f"{path.name}: {whole} became PASS by a loss:\n{text}")
    return tally


def _read_config(path: Path) -> Callable[[str], str]:
    return lambda name: read_text(path.parent / name)


def mutated(text: str, chance: Random) -> str:
    """Return a text with a line, a value or a character changed."""
    lines = text.splitlines(keepends=True) or ["\n"]
    at = chance.randrange(len(lines))
    kind = chance.randrange(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(chance.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        other = chance.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = " " * chance.randint(0, 4) + lines[at].lstrip()
    elif kind == 4:
        key, colon, _ = lines[at].rpartition(": ")
        lines[at] = f"{key}{colon}{chance.choice(_SCALARS)}\n"
    else:
        place = chance.randrange(len(text) + 1)
        if kind == 5:
            return text[:place] + chance.choice(_SIGNS) + text[place + chance.randint(0, 1) :]
        words = text.split()
        old, new = chance.choice(words or ["x"]), chance.choice(words or ["x"])
        return text.replace(old, new, 1)
    return "".join(lines)
