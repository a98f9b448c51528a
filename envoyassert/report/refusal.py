"""Why `envoy --mode validate` refused a config, and which line of the config it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envoyassert.errors import Problem
from envoyassert.report.envoy_log import log_records
from envoyassert.report.lacking import lacking
from envoyassert.scenario.listeners import configured_listeners, items_of, proto_field
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.source import Path

_INITIALIZING = re.compile(r"error initializing configuration '[^']*': ")
# protobuf: the message, then perhaps the whole config again; positions in a text that nobody sees.
_UNPARSED = re.compile(r"Unable to parse JSON as proto \(INVALID_ARGUMENT: (.*?)\): \{.*")
_UNKNOWN = re.compile(r"Protobuf message \(.*?INVALID_ARGUMENT: (.*)\) has unknown fields")
_INVALID = re.compile(
    r"invalid JSON in [\w.]+(?: @ (?P<path>[^\s:]+):(?: message [\w.]+)?)?"
    r",? near \S+ \(offset \d+\): (?P<reason>.*)"
)
# protoc-gen-validate: the way down to the field, one message after the other.
_CONSTRAINT = re.compile(r"Proto constraint validation failed \((?P<chain>.*)\)")
_LINK = re.compile(r"\w+ValidationError\.(?P<field>\w+)(?:\[(?P<index>[^\]]+)\])?: (?P<reason>.*)")
_FIELD = re.compile(r"no such field: '([^']+)'")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_LISTENER = re.compile(r"listener '?(?P<name>[^'\s]+)'?")
#: Shorter values (`1`, `on`) turn up in a message by accident.
_LEAST_VALUE = 3


def refusal(printed: str, plan: RunPlan) -> Problem:
    """Return in one sentence why Envoy refused a config, at the line that it most likely means.

    Args:
        printed: what Envoy printed, or the end of it.
        plan: the run whose config it was asked about.

    Returns:
        The problem. Its place is `config` itself where no part of it is recognized.
    """
    path, reason = _reason(printed)
    where = _where(path, reason, plan.config)
    message = f"Envoy refuses the config of {plan.id}: {reason or 'no reason given'}"
    remedy = lacking(reason)
    loaded = plan.loaded
    known = _known(where, plan)
    if loaded.config_document is not None:
        return loaded.config_document.problem(known, message, remedy)
    if len(known) < len(where) and loaded.scenario.envoy.overlay:
        # The overlay brought it: the config as written has no such part.
        return loaded.document.problem(("envoy", "overlay"), message, remedy)
    return loaded.document.problem(("envoy", "config", *known), message, remedy)


def _reason(printed: str) -> tuple[Path, str]:
    """Return where in the config Envoy says the fault is, and its words without wrapping paper."""
    records = log_records(printed.splitlines())
    grave = [number for number, record in enumerate(records) if record.level == "critical"]
    text = " ".join(record.text for record in records[grave[0] if grave else 0 :])
    text = _INITIALIZING.sub("", " ".join(text.split()))
    constraint = _CONSTRAINT.search(text)
    if constraint:
        return _constraint(constraint["chain"])
    for wrapping in (_UNPARSED, _UNKNOWN):
        text = wrapping.sub(r"\1", text)
    invalid = _INVALID.fullmatch(text)
    if not invalid:
        return (), text
    path: Path = tuple(name or int(index) for name, index in _STEP.findall(invalid["path"] or ""))
    field = _FIELD.search(invalid["reason"])
    shown = f"{invalid['path']}: {invalid['reason']}" if path else invalid["reason"]
    return (*path, field[1]) if field else path, shown


def _constraint(chain: str) -> tuple[Path, str]:
    path: list[str | int] = []
    reason = chain
    for text in chain.split(" | caused by "):
        link = _LINK.fullmatch(text)
        if link is None:
            break
        path.append(re.sub(r"(?<=.)([A-Z])", r"_\1", link["field"]).lower())
        if link["index"] is not None:
            path.append(int(link["index"]) if link["index"].isdigit() else link["index"])
        reason = link["reason"]
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return tuple(path), f"{shown.lstrip('.')}: {reason}" if shown else reason


def _where(path: Path, reason: str, config: dict[str, Any]) -> Path:
    """Return the path that Envoy named, or of the listener or the value that it speaks of."""
    if path:
        return path
    static = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    for number, listener in enumerate(static):
        (record,) = configured_listeners({"static_resources": {"listeners": [listener]}})
        names = {record.name, *map(str, record.addresses)}
        if any(found["name"] in names for found in _LISTENER.finditer(reason)):
            return ("static_resources", "listeners", number)
    spoken = [
        (len(str(value)), place)
        for place, value in _values(config)
        if isinstance(value, str) and len(value) >= _LEAST_VALUE and _says(reason, value)
    ]
    # The longest says most; of several places the first.
    return max(spoken, key=lambda item: item[0])[1] if spoken else ()


def _says(reason: str, value: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w])", reason) is not None


def _values(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _values(member, (*path, key))
    elif isinstance(value, list):
        for number, element in enumerate(value):
            yield from _values(element, (*path, number))
    else:
        yield path, value


def _known(path: Path, plan: RunPlan) -> Path:
    """Return the part of a path that means the same in the config as it is written.

    An overlay may have taken elements out of a list, so that the numbers behind them are others;
    and proto JSON has two spellings of a field's name.
    """
    written: Any = plan.loaded.config
    final: Any = plan.config
    known: list[str | int] = []
    for part in path:
        step = _camel(str(part)) if isinstance(written, dict) and part not in written else part
        if not _has(written, step) or not _has(final, step):
            break
        written, final = written[step], final[step]
        if isinstance(part, int) and _name(written) != _name(final):
            break
        known.append(step)
    return tuple(known)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else None
