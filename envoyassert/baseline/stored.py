"""The file of a scenario's baselines: YAML that is reviewed as a diff.

It has a story for each run and each Envoy. A phase has but what changed in it, so a change of the
start-up shows once.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from envoyassert.baseline import SUFFIX
from envoyassert.baseline.answer import BaselineAnswer, RunKey, Story, Value
from envoyassert.baseline.story import condensed, differences, expanded, reworded
from envoyassert.errors import Problem, ScenarioError
from envoyassert.report.table import count
from envoyassert.scenario.complaint import problems_of
from envoyassert.scenario.source import parse_yaml
from envoyassert.shown import shown

#: How large one may be, in bytes.
MOST_BYTES = 16 << 20
_FORMAT = "envoyassert-baseline/1"
_COUNT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"([0-9]{1,18})")
_HEAD = (
    "# Baselines of envoyassert: what these runs did, without what differs from one run to the",
    "# next. After a change on purpose: envoyassert run --baseline DIR --update-baseline",
)


@dataclass
class Stored:
    """The baselines of a scenario.

    Args:
        scenario: its file, relative to the directory above that of the baselines.
        stories: the story of each run.
    """

    scenario: str
    stories: dict[RunKey, Story] = field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["envoyassert-baseline/1"]
    scenario: str
    runs: dict[str, dict[str, dict[str, dict[str, dict[str, int | str | list[int | str]]]]]]


def run_name(scenario: str, matrix: Mapping[str, str]) -> str:
    """Return the name of a run, whatever Envoy and launcher it is made with.

    Args:
        scenario: the scenario's name.
        matrix: the value of each axis.
    """
    last = [axis.rpartition(".")[2] for axis in matrix]
    labels = [
        short if last.count(short) == 1 else axis for axis, short in zip(matrix, last, strict=True)
    ]
    parts = [f"{label}={value}" for label, value in zip(labels, matrix.values(), strict=True)]
    return shown(scenario + (f"[{','.join(parts)}]" if parts else ""))


def place_of(scenario: str, directory: Path) -> tuple[str, Path]:
    """Return how a file of baselines names its scenario, and where that file is.

    Both follow from where the two are to each other, whatever directory the session began in.

    Args:
        scenario: the scenario's file.
        directory: that of the baselines.
    """
    above = os.path.realpath(directory / os.pardir)
    name = PurePath(os.path.relpath(os.path.realpath(scenario), above))
    parts = [part for part in name.parts if part not in (os.pardir, name.anchor)]
    return name.as_posix(), directory.joinpath(*parts[:-1], name.stem + SUFFIX)


def parse_stored(text: str, path: str) -> Stored:
    """Return the baselines that a file holds.

    Args:
        text: its text.
        path: its name, for messages.

    Raises:
        ScenarioError: it is not YAML, or not of this form.
    """
    document = parse_yaml(text, path)
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        raise ScenarioError(problems_of(error, document)) from error
    stories: dict[RunKey, Story] = {
        RunKey(run, envoy): reworded(
            expanded(
                {
                    phase: {
                        subject: {aspect: _value(value) for aspect, value in values.items()}
                        for subject, values in facts.items()
                    }
                    for phase, facts in phases.items()
                }
            )
        )
        for run, envoys in file.runs.items()
        for envoy, phases in envoys.items()
    }
    return Stored(file.scenario, stories)


def stored_lines(stored: Stored) -> list[str]:
    """Return the lines of a file; runs and Envoys are in the order of their names."""
    runs: dict[str, dict[str, object]] = {}
    for key, story in sorted(stored.stories.items(), key=lambda item: _order(item[0])):
        runs.setdefault(key.run, {})[key.envoy] = {
            phase: {
                subject: {aspect: _plain(text) for aspect, text in values.items()}
                for subject, values in facts.items()
            }
            for phase, facts in condensed(story).items()
        }
    data = {"format": _FORMAT, "scenario": stored.scenario, "runs": runs}
    dumped = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=float("inf"))
    return [*_HEAD, *dumped.splitlines()]


def _order(key: RunKey) -> list[list[tuple[int, int | str]]]:
    """Order names by the numbers in them: `concurrency=10` after `concurrency=2`."""
    return [
        [(0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBER.split(text)]
        for text in (key.run, key.envoy)
    ]


def _value(read: int | str | list[int | str]) -> Value:
    return tuple(map(str, read)) if isinstance(read, list) else str(read)


def _plain(text: Value) -> int | str | list[int | str]:
    if isinstance(text, tuple):
        return [int(one) if _COUNT.fullmatch(one) else one for one in text]
    return int(text) if _COUNT.fullmatch(text) else text


class _Dumper(yaml.SafeDumper):
    """Quotes text that would be read back as something else."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal parts out: who reviews one looks at one place."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        style = None if _is_read_back(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


@functools.lru_cache(maxsize=4096)
def _is_read_back(text: str) -> bool:
    """Whether a text without quotes is that text to our reader."""
    try:
        return bool(parse_yaml(f"- {text}\n", "").data == [text])
    except ScenarioError:
        return False


def refused(path: str, message: str) -> ScenarioError:
    """Return the error for a file of baselines as a whole."""
    return ScenarioError([Problem(path, 0, 0, message, "move it away, and update the baselines")])


def held_against(stored: Stored | None, file: str, key: RunKey, story: Story) -> BaselineAnswer:
    """Hold the story of a run against what is stored.

    Args:
        stored: the baselines of its scenario, None if there are none.
        file: their file.
        key: which of them.
        story: the run's.
    """
    stories = {} if stored is None else stored.stories
    before = stories.get(key)
    if before is None:
        others = [one.envoy for one in stories if one.run == key.run]
        have = f"; there is one on {', '.join(others)}" if others else ""
        return BaselineAnswer("missing", file, f"there is no baseline of {key}{have}", (), key)
    found = differences(before, story)
    if not found:
        return BaselineAnswer("same", file, key=key)
    more = f"; {count(len(found) - 1, 'more difference')}" if len(found) > 1 else ""
    return BaselineAnswer("different", file, f"{found[0].words} (baseline){more}", found, key)
