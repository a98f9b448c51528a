"""Changed scenario files: each is refused with problems, or judged like any other.

What a changed expectation means is not known here, so a false PASS is found by two runs of it: what
is not PASS on a whole trace is not PASS on the same trace with events lost.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from envoyassert.cli import exits
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status
from envoyassert.scenario.load import load_scenario, read_text
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.reference import EXAMPLES
from envoyassert.scenario.source import parse_yaml
from envoyassert.trace import Trace
from tests.fuzz.case import REFUSED, Case
from tests.fuzz.commands import broken, command
from tests.fuzz.recorded import RECORDED, ROOT, judged, recorded, some, without
from tests.fuzz.values import Vocabulary, change, damaged, written

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
#: How many characters of YAML there are at most in a file of which a part is repeated.
_LARGE = 300_000


class _Base(NamedTuple):
    name: str
    text: str
    data: str


@cache
def _bases() -> tuple[_Base, ...]:
    found = []
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        text = read_text(path)
        found.append(_Base(path.name, text, json.dumps(parse_yaml(text, "").data)))
    return tuple(found)


@cache
def _words() -> Vocabulary:
    members = [f"{{{text}}}" for model in EXAMPLES.values() for text in model.values()]
    examples = [parse_yaml(text, "").data for text in members]
    return Vocabulary([*(json.loads(base.data) for base in _bases()), *examples])


@cache
def _traces() -> tuple[tuple[Trace, SocketGraph], ...]:
    traces = [recorded(name) for name in RECORDED]
    return tuple((trace, fold(trace)) for trace in traces)


def scenario(case: Case) -> str:
    """Check a changed scenario file as `check` does, and judge what it expects."""
    chance = case.chance
    base = chance.choice(_bases())
    file, config = case.folder / base.name, case.folder / "config.yaml"
    if config.is_dir() and not config.is_symlink():
        config.rmdir()
    config.unlink(missing_ok=True)
    if chance.random() < 0.3:
        text = base.text
        for _ in range(chance.randint(1, 3)):
            text = damaged(text, chance)
    else:
        text = _changed(json.loads(base.data), config, chance)
    file.write_text(text, "utf-8", "surrogatepass", newline="")
    done = command("check", str(file))
    if problem := broken(done, (file, config)):
        case.broken.append(f"{problem}\n{text}")
    if chance.random() < 0.2:
        untrusted = command("check", "--untrusted", str(file))
        problem = broken(untrusted, (file, config))
        if untrusted.code == exits.PASSED != done.code:
            problem = "valid as an untrusted one, and not otherwise"
        if problem:
            case.broken.append(f"--untrusted: {problem}\n{text}")
        case.seen[f"untrusted: {'valid' if untrusted.code == exits.PASSED else REFUSED}"] += 1
    if done.code != exits.PASSED:
        return REFUSED
    if chance.random() < 0.5:
        return "valid"
    plans = expand(load_scenario(file))
    trace, graph = chance.choice(_traces())
    plan = chance.choice(plans).in_rundir(trace.header.rundir)
    plan.config_text()
    plan.own_files()
    items = list(plan.expectations)
    whole = judged(trace, items, graph).status
    after = judged(without(trace, some(trace, chance)), items).status
    if whole is not Status.PASS and after is Status.PASS:
        case.broken.append(f"{file.name}: {whole} became PASS by a loss:\n{text}")
    return f"{whole.value} -> {after.value}"


def _changed(data: Any, config: Path, chance: Random) -> str:
    """Return the text of a scenario whose data were changed; its config may be in another file."""
    envoy = data["envoy"]
    apart = chance.random() < 0.15 and isinstance(envoy.get("config"), dict)
    changed: dict[str, Any] = {"config": envoy["config"]} if apart else data
    if chance.random() < 0.6:
        data.pop("matrix", None)  # each run of it takes as long as all else
    if apart:
        envoy["config"] = config.name
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        change(changed, chance, _words())
    if apart and chance.random() < 0.02:
        chance.choice((os.mkfifo, Path.mkdir, _link_to_a_device))(config)
    elif apart:
        config.write_text(_text(changed.get("config"), chance), "utf-8", "surrogatepass")
    elif chance.random() < 0.003:
        _enlarge(changed, chance)
    return _text(data, chance)


def _link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _enlarge(data: Any, chance: Random) -> None:
    """Repeat an expectation, a step, a listener or the like until the file is a large one."""
    lists = [one for one in _lists(data) if one]
    if lists:
        owner = chance.choice(lists)
        owner += [owner[-1]] * (_LARGE // (len(json.dumps(owner[-1])) + 2))


def _lists(value: Any) -> list[list[Any]]:
    inner = value.values() if isinstance(value, dict) else value
    below = [one for each in inner if isinstance(each, (dict, list)) for one in _lists(each)]
    return [value, *below] if isinstance(value, list) else below


def _text(data: Any, chance: Random) -> str:
    text = written(data)
    if chance.random() < 0.1 and len(text) < 10_000 and text.isascii() and "\\u" not in text:
        return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))
    if chance.random() < 0.05:
        return damaged(text, chance)
    return text
