"""Why `envoy --mode validate` refused a config, and which line of the config it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envoyassert.errors import Problem
from envoyassert.names import is_crash, signal_text
from envoyassert.report.advice import lacking
from envoyassert.report.envoy_log import Reason, cause
from envoyassert.report.places import Blame
from envoyassert.scenario.listeners import configured_listeners, items_of, proto_field
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.source import Path
from envoyassert.trace import Outcome

_LISTENER = re.compile(r"listener:? '?(?P<name>[^'\s]+)'?")
#: What Envoy says without a name, and the key of the config that it is about.
_KEYS = {"ADS must be configured": "ads", "node 'id' and 'cluster' are required": "node"}
#: Shorter values (`1`, `on`) turn up in a message by accident.
_LEAST_VALUE = 3


def refusal(outcome: Outcome, plan: RunPlan) -> Problem:
    """Return in one sentence why Envoy refused a config, at the line that it most likely means.

    Args:
        outcome: how Envoy ended when it was asked.
        plan: the run whose config it was asked about.

    Returns:
        The problem. Its place is `config` itself where no part of it is recognized, and where
        Envoy crashed.
    """
    reason = cause(outcome)
    if outcome.signal is not None:
        said = f": {reason.text}" if reason.text else ""
        verb = "crashed" if is_crash(outcome.signal) else "was killed"
        end = f"Envoy {verb} ({signal_text(outcome.signal)}) while it validated the config of"
        return _problem((), f"{end} {plan.id}{said}", plan)
    message = f"Envoy refuses the config of {plan.id}: {reason.text or 'no reason given'}"
    return _problem(_where(reason, plan), message, plan, lacking(reason.text))


def blame(plan: RunPlan) -> Blame:
    """Return a function from a reason of Envoy's to what it most likely means in a run's config.

    `cluster slow, envoy.yaml:12:5`, without the name if the reason has it; "" if nothing of the
    config is recognized.
    """

    def find(reason: Reason) -> str:
        where = _where(reason, plan)
        if not _known(where, plan) and not (where and plan.loaded.scenario.envoy.overlay):
            return ""
        problem = _problem(where, "", plan)
        kind, name = _owner(where, plan.config)
        named = not name or _says(reason.text, name)
        place = f"{problem.path}:{problem.line}:{problem.column}"
        return place if named else f"{kind} {name}, {place}"

    return find


def _problem(where: Path, message: str, plan: RunPlan, remedy: str = "") -> Problem:
    loaded = plan.loaded
    known = _known(where, plan)
    if loaded.config_document is not None:
        return loaded.config_document.problem(known, message, remedy)
    if len(known) < len(where) and loaded.scenario.envoy.overlay:
        # The overlay brought it: the config as written has no such part.
        return loaded.document.problem(("envoy", "overlay"), message, remedy)
    return loaded.document.problem(("envoy", "config", *known), message, remedy)


def _owner(where: Path, config: dict[str, Any]) -> tuple[str, str]:
    """Return the static listener or cluster that a part belongs to, by kind and name, or ""."""
    found: Any = config
    for part in where[:3]:
        if not _has(found, part):
            return "", ""
        found = found[part]
    kind = {"listeners": "listener", "clusters": "cluster"}.get(str(where[1]) if where[1:] else "")
    name = _name(found) if kind is not None else None
    return (kind, str(name)) if kind is not None and name else ("", "")


def _where(reason: Reason, plan: RunPlan) -> Path:
    """Return the path that Envoy named, or of the listener or the value that it mentions."""
    if reason.path:
        return reason.path
    config, text = plan.config, reason.text
    static = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    records = [
        configured_listeners({"static_resources": {"listeners": [listener]}})[0]
        for listener in static
    ]
    named = {found["name"] for found in _LISTENER.finditer(text)}
    by_name = [n for n, record in enumerate(records) if record.name in named]
    by_address = [
        n for n, it in enumerate(records) if any(_says(text, str(a)) for a in it.addresses)
    ]
    for number in (*by_name, *by_address):
        return ("static_resources", "listeners", number)
    if plan.admin is not None and _says(text, str(plan.admin)):
        return ("admin",)
    for words, key in _KEYS.items():
        if words in text:
            places = [place[: place.index(key) + 1] for place, _ in _values(config) if key in place]
            # What has that source of its own comes before the way to all of them.
            return min(places, key=lambda place: place[0] == "dynamic_resources", default=())
    spoken = [
        ((f"'{value}'" in text, len(value)), place)
        for place, value in _values(config)
        if isinstance(value, str) and len(value) >= _LEAST_VALUE and _says(text, value)
    ]
    # What Envoy quotes, or else the longest, says most; of several places the first.
    return max(spoken, key=lambda item: item[0])[1] if spoken else ()


def _says(reason: str, value: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w])", reason) is not None


def _values(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict) and value:
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


def _has(value: object, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _name(value: object) -> object:
    return value.get("name") if isinstance(value, dict) else None
