"""One change of a plan, as it is written on a command line: `enable_reuse_port=false`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from envoyassert.errors import EnvoyAssertError, ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import (
    SCALAR_FIELDS,
    admin_address,
    configured_listeners,
    is_listener,
)
from envoyassert.scenario.overlay import OverlayError, set_at
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.source import parse_yaml
from envoyassert.scenario.vocabulary import did_you_mean


class ChangeError(EnvoyAssertError):
    """A change that does not fit the config."""


def changed(plan: RunPlan, change: str) -> RunPlan:
    """Return a plan with one change.

    Args:
        plan: what would be run without it.
        change: `field=value`. The field is a plain field of every listener, static or in a
            discovery response among the files; a path into the config
            (`static_resources.listeners.0.transparent`); or `concurrency`. The value is YAML.

    Raises:
        ChangeError: it is not of this form, or there is nothing that it could change.
    """
    field, equals, text = change.partition("=")
    if not (field and equals):
        raise ChangeError(f"`{change}` is no change", "write field=value: enable_reuse_port=false")
    value = _value(change, text)
    if field == "concurrency":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1024:
            raise ChangeError(f"`{change}`: a concurrency is a number from 0 to 1024")
        return replace(plan, concurrency=value)
    if "." in field:
        try:
            config = set_at(plan.config, tuple(field.split(".")), value)
        except OverlayError as error:
            raise ChangeError(f"`{change}`: {error.message}", error.remedy) from error
        return _with(plan, config, dict(plan.files))
    if field not in SCALAR_FIELDS:
        raise ChangeError(
            f"`{change}`: `{field}` is no plain field of a listener",
            did_you_mean(field, (*SCALAR_FIELDS, "concurrency"))
            or "write a path from the top of the config: static_resources.listeners.0.transparent",
        )
    return _with_every_listener(plan, change, field, value)


def _value(change: str, text: str) -> Any:
    try:
        return parse_yaml(f"value: {text}\n", change).data["value"]
    except ScenarioError as error:
        raise ChangeError(f"`{change}`: {error.problems[0].message}") from error


def _with_every_listener(plan: RunPlan, change: str, field: str, value: Any) -> RunPlan:
    config, files, found = plan.config, dict(plan.files), False
    static = config.get("static_resources")
    if isinstance(static, dict) and static.get("listeners"):
        config = set_at(config, ("static_resources", "listeners", "*", field), value)
        found = True
    for name, content in plan.files.items():
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
    return _with(plan, config, files)


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


def _with(plan: RunPlan, config: dict[str, Any], files: dict[str, Any]) -> RunPlan:
    return replace(
        plan,
        config=config,
        files=files,
        admin=admin_address(config),
        listeners=configured_listeners(config, files),
    )
