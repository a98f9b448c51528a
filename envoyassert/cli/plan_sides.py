"""The two Envoys of a plan as the model takes them.

A bootstrap is read by itself, so that an answer takes no longer than it must; whatever else `plan`
takes is read as for a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envoyassert.errors import Problem, ScenarioError
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.predict.deciding import discovered_at_start
from envoyassert.predict.dumped import is_bootstrap
from envoyassert.predict.effects import Side
from envoyassert.predict.prediction import PredictError
from envoyassert.predict.start import predict_start
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import (
    discovered_listeners,
    discovers_listeners,
    lds_file,
    proto_name,
    with_lists,
)

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan

#: As large as a scenario may be; what is larger is read as a dump.
_MOST_BYTES = 16 * 1024 * 1024
_SERVED = "listeners"
_TRACE = '"format": "envoyassert-trace/'


@dataclass(frozen=True)
class Read:
    """A bootstrap that is read by itself.

    Args:
        path: where.
        config: its data.
        discovered: listeners of the file that it names for LDS; None if it names none.
    """

    path: Path
    config: dict[str, Any]
    discovered: tuple[Any, ...] | None

    def side(self, workers: int, changes: Sequence[str] = ()) -> Side:
        """Return it as an Envoy with a number of workers, and with changes.

        Raises:
            click.UsageError: a change does not fit.
        """
        if not changes:
            return Side(self.config, self.discovered, workers)
        from envoyassert.scenario.change import ChangeError, Parts, changed_parts

        files = {_SERVED: {"resources": list(self.discovered or ())}}
        parts = Parts(self.config, files, workers)
        try:
            for change in changes:
                parts = changed_parts(parts, change)
        except ChangeError as error:
            raise click.UsageError(f"--set: {error}") from error
        served = tuple(parts.files[_SERVED]["resources"])
        found = None if self.discovered is None else served
        return Side(parts.config, found, parts.concurrency, parts.args)

    def workers(self) -> int:
        """Return how many workers Envoy takes, 2 if that is up to the user.

        Raises:
            ScenarioError: it is no config that Envoy reads.
        """
        try:
            return predict_start(self.config, discovered=self.discovered or ()).concurrency
        except PredictError as error:
            raise refused(self.path, error) from error


def read_bootstrap(path: Path, name: str) -> Read | None:
    """Return a bootstrap, None for any other file: a scenario, a dump, a trace.

    One whose file for LDS is not where it says is read as a draft is made, which looks beside it.

    Args:
        path: the file.
        name: how the user named it.

    Raises:
        ScenarioError: it is neither YAML nor JSON.
        PredictError: it has a number that is none.
    """
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnfitFileError, ValueError):
        return None  # what is wrong with it is said by who reads it next
    if _TRACE in text[:200]:
        return None
    data = parse_envoy_file(text, name).data
    if not isinstance(data, dict) or {"envoy", "expect"} & set(data) or not is_bootstrap(data):
        return None
    config = with_lists(data)
    named = lds_file(config)
    discovered = None if named is None else _discovered(named, path.parent)
    if named is not None and discovered is None:
        return None
    return Read(path, config, discovered)


def _discovered(named: str, directory: Path) -> tuple[Any, ...] | None:
    """Return the listeners of the file that a config names for LDS, None if it cannot be read."""
    try:
        text = read_file(directory / named, _MOST_BYTES).decode("utf-8-sig")
        return tuple(discovered_listeners(parse_envoy_file(text, named).data))
    except (OSError, UnfitFileError, ValueError, ScenarioError):
        return None


def sides_of(
    old: Read, new: Read, changes: Sequence[str], concurrency: int | None
) -> tuple[Side, Side]:
    """Return two bootstraps as Envoys with the same number of workers, unless a change says so.

    Args:
        old: one.
        new: the other.
        changes: of the new one.
        concurrency: the number of workers of both; None for what Envoy takes with either.

    Raises:
        ScenarioError: a config is none that Envoy reads.
        click.UsageError: a change does not fit.
    """
    taken = min(old.workers(), new.workers())
    workers = taken if concurrency is None else concurrency
    return old.side(workers), new.side(workers, changes)


def side_of_plan(plan: RunPlan) -> Side:
    """Return the Envoy that a plan would run.

    Raises:
        ScenarioError: it reads its listeners from a file that is not there.
    """
    served = None
    if discovers_listeners(plan.config):
        served = discovered_at_start(plan.config, plan.files)
    if served is None and plan.xds is not None:
        served = []
    named = lds_file(plan.config)
    if served is None and named is not None:
        message = f"the listeners of {named} are not known: there is no such file"
        remedy = f"put it beside {plan.loaded.path.name}"
        raise ScenarioError([Problem(str(plan.loaded.path), 1, 1, message, remedy)])
    return Side(plan.config, None if served is None else tuple(served), plan.workers, plan.args)


def refused(path: Path, error: PredictError) -> ScenarioError:
    """Return what the model does not take as a problem of the file that it is in."""
    return ScenarioError(
        [Problem(str(path), *_mark(path, error.place), error.message, error.remedy)]
    )


def _mark(path: Path, place: str) -> tuple[int, int]:
    """Return line and column of a field of a config, or of what encloses it."""
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
        document = parse_envoy_file(text, str(path))
    except (OSError, UnfitFileError, ValueError, ScenarioError):
        return 1, 1  # it is no config by itself
    data, keys = document.data, []
    for name in place.split(".") if place else ():
        if isinstance(data, list) and name.isdecimal() and int(name) < len(data):
            keys.append(int(name))
            data = data[int(name)]
            continue
        members = data if isinstance(data, dict) else {}
        key = next((key for key in members if proto_name(str(key)) == name), None)
        if key is None:
            break
        keys.append(key)
        data = members[key]
    return document.value_mark(tuple(keys))


def is_set_wrongly(changes: Sequence[str], error: PredictError) -> str:
    """Return the change that is why a config is refused, "" if it is none."""
    fields = [change.partition("=")[0] for change in changes]
    return next(
        (
            change
            for change, field in zip(changes, fields, strict=True)
            if error.place == field or error.place.endswith(f".{field}")
        ),
        "",
    )
