"""The values of findings as JSON types."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.judge.values import Fact, Topic


def to_json(value: Any) -> Any:
    """Return a value as JSON types: a `kind` and its parts; a Fact's kind is `fact`.

    Parts that are None are left out.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Fact):
        details = {name: to_json(part) for name, part in value.details.items() if part is not None}
        return {"kind": "fact", "code": value.code, **details}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True, exclude={"numbers"})
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Event):
        said = {"call": value.call, "tid": value.tid, "ret": value.ret, "args": value.args}
        return {"kind": "event", **{name: to_json(part) for name, part in said.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        shown = {name: to_json(part) for name, part in parts.items() if part is not None}
        return shown if isinstance(value, Topic) else {"kind": _kind(value), **shown}
    if isinstance(value, dict):
        return {str(name): to_json(part) for name, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((to_json(part) for part in value), key=str)
    return [to_json(part) for part in value]


def _kind(value: object) -> str:
    name = type(value).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
