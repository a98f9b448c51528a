"""One change of a plan, as it is written on a command line: `enable_reuse_port=false`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envoyassert.errors import EnvoyAssertError, ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import (
    SCALAR_FIELDS,
    admin_address,
    configured_listeners,
    is_listener,
)
from envoyassert.scenario.overlay import OverlayError, set_at
from envoyassert.scenario.source import parse_yaml
from envoyassert.scenario.vocabulary import did_you_mean

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan


class ChangeError(EnvoyAssertError):
    """A change that does not fit the config."""


def changed(plan: RunPlan, change: str) -> RunPlan:
    """Return a plan with one change.

    Args:
        plan: what would be run without it.
        change: as `changed_parts` takes it.

    Raises:
        ChangeError: it is not of this form, or there is nothing that it could change.
    """
    old = Parts(plan.config, plan.files, plan.concurrency, plan.args)
    new = changed_parts(old, change)
    if new.config is old.config and new.files is old.files:
        return replace(plan, concurrency=new.concurrency, args=new.args)
    return replace(
        plan,
        config=new.config,
        files=new.files,
        admin=admin_address(new.config),
        listeners=configured_listeners(new.config, new.files),
    )


@dataclass(frozen=True)
class Parts:
    """What of an Envoy a change can be about.

    Args:
        config: its bootstrap.
        files: files of the run by name: text, data, or anything else.
        concurrency: its number of workers.
        args: further arguments of its command line.
    """

    config: dict[str, Any]
    files: Mapping[str, Any]
    concurrency: int
    args: tuple[str, ...] = ()


def changed_parts(parts: Parts, change: str) -> Parts:
    """Return parts of an Envoy with one change.

    Args:
        parts: what there is without it.
        change: `field=value`. The field is a plain field of every listener, static or in a
            discovery response among the files; a path into the config
            (`static_resources.listeners.0.transparent`); `concurrency`; or an argument of Envoy's
            command line (`--base-id`), with any value as text. Other values are YAML.

    Raises:
        ChangeError: it is not of this form, or there is nothing that it could change.
    """
    field, equals, text = change.partition("=")
    if field.startswith("--"):
        return replace(parts, args=_with_argument(parts.args, change))
    if not (field and equals):
        raise ChangeError(f"`{change}` is no change", "write field=value: enable_reuse_port=false")
    value = _value(change, text)
    if field == "concurrency":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1024:
            raise ChangeError(f"`{change}`: a concurrency is a number from 0 to 1024")
        return replace(parts, concurrency=value)
    if "." in field:
        try:
            return replace(parts, config=set_at(parts.config, tuple(field.split(".")), value))
        except OverlayError as error:
            raise ChangeError(f"`{change}`: {error.message}", error.remedy) from error
    if field not in SCALAR_FIELDS:
        raise ChangeError(
            f"`{change}`: `{field}` is no plain field of a listener",
            did_you_mean(field, (*SCALAR_FIELDS, "concurrency"))
            or "write a path from the top of the config: static_resources.listeners.0.transparent",
        )
    return _with_every_listener(parts, change, field, value)


def _with_argument(args: tuple[str, ...], change: str) -> tuple[str, ...]:
    """Return arguments with one that is new, or has another value."""
    name, _, value = change.partition("=")
    kept = list(args)
    for at, word in enumerate(args):
        if word.partition("=")[0] == name:
            takes_next = (
                "=" not in word and at + 1 < len(args) and not args[at + 1].startswith("--")
            )
            del kept[at : at + (2 if takes_next else 1)]
            break
    return (*kept, name, value) if value else (*kept, name)


def _value(change: str, text: str) -> Any:
    try:
        return parse_yaml(f"value: {text}\n", change).data["value"]
    except ScenarioError as error:
        raise ChangeError(f"`{change}`: {error.problems[0].message}") from error


def _with_every_listener(parts: Parts, change: str, field: str, value: Any) -> Parts:
    config, files, found = parts.config, dict(parts.files), False
    static = config.get("static_resources")
    if isinstance(static, dict) and static.get("listeners"):
        config = set_at(config, ("static_resources", "listeners", "*", field), value)
        found = True
    for name, content in parts.files.items():
        data = _discovery(name, content)
        resources = data.get("resources") if isinstance(data, dict) else None
        if isinstance(resources, list) and any(map(is_listener, resources)):
            files[name] = {
                **data,
                "resources": [
                    {**resource, field: value} if is_listener(resource) else resource
                    for resource in resources
                ],
            }
            found = True
    if not found:
        raise ChangeError(
            f"`{change}`: the config has no listeners of its own to change",
            "those of a management server are not known here",
        )
    return replace(parts, config=config, files=files)


def _discovery(name: str, content: Any) -> Any:
    """Return a file as data, None if it is none."""
    if not isinstance(content, str):
        return content
    if Path(name).suffix not in (".yaml", ".yml", ".json"):
        return None
    try:
        return parse_envoy_file(content, name).data
    except ScenarioError:
        return None
