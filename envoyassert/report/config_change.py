"""Which field of Envoy's config makes a run do what the scenario asks for, where that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoyassert.judge.counterfactual import Change
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord

_ON, _OFF = "enable_reuse_port: true", "enable_reuse_port: false"

#: Fields of a listener (config.listener.v3.Listener) by the option that they set; see advice.py.
_OPTION_FIELDS = {
    "SO_REUSEPORT": {True: _ON, False: _OFF},
    "IP_TRANSPARENT": {True: "transparent: true", False: "transparent: false"},
    "IPV6_TRANSPARENT": {True: "transparent: true", False: "transparent: false"},
    "IP_FREEBIND": {True: "freebind: true", False: "freebind: false"},
    "IPV6_FREEBIND": {True: "freebind: true", False: "freebind: false"},
}


def config_change(
    change: Change,
    subject: Selector | None,
    listeners: Iterable[ListenerRecord],
    workers: int,
) -> str:
    """Return what to set in the config instead of changing the scenario, or "".

    From Envoy's documentation of listeners; unlike the change of the scenario it was not tried.

    Args:
        change: the change of the scenario that was tried.
        subject: the listener that the finding is about, None if it is about none.
        listeners: those of the config.
        workers: the number of workers that was asked for.
    """
    field = _field(change, workers)
    if not field:
        return ""
    whose = next((f" on listener {r.name}" for r in listeners if _is_about(r, subject)), "")
    return f"`{field}`{whose}"


def _field(change: Change, workers: int) -> str:
    words = [str(part) for part in change.path[2:]]
    word, before = words[-1], change.before
    if word == "via":
        return {"reuse_port": _ON, "dup": _OFF}.get(str(before), "")
    if words[0] == "options" and len(words) > 1:
        return _option_field(words[1], before)
    if words[0] == "backlog":
        return f"tcp_backlog_size: {before}" if isinstance(before, int) and before > 0 else ""
    if words == ["listener", "port"]:
        return f"port_value: {before}"
    if words in (["sockets"], ["bound", "times"], ["sockets", "live"]) and workers > 1:
        fields = {1: _OFF, workers: _ON}
        wanted = _number(before, workers)
        if _number(change.after, workers) in fields and wanted in fields:
            return fields[wanted]
    return ""


def _number(count: Any, workers: int) -> int | None:
    """Return which number a count asks for, None if it leaves a choice."""
    if isinstance(count, dict):
        if "workers" in count:
            return int(count["workers"]) * workers + int(count.get("plus", 0))
        return _number(count.get("exactly"), workers)
    return workers if count == "workers" else count if isinstance(count, int) else None


def _option_field(name: str, wanted: Any) -> str:
    fields = _OPTION_FIELDS.get(name)
    if isinstance(wanted, dict):
        wanted = wanted.get("value")
    if fields is not None and (wanted == "absent" or isinstance(wanted, int)):
        return fields[wanted not in ("absent", 0)]
    if name == "TCP_FASTOPEN" and isinstance(wanted, int):
        return f"tcp_fast_open_queue_length: {wanted}"
    return ""


def _is_about(record: ListenerRecord, subject: Selector | None) -> bool:
    if subject is None:
        return False
    if subject.name is not None:
        return subject.name == record.name
    ports = {address.port for address in record.addresses if address.port is not None}
    return subject.port in ports
