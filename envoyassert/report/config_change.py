"""Which field of Envoy's config makes a run do what the scenario asks for, where that is known."""

from __future__ import annotations

from collections.abc import Iterable

from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord
from envoyassert.words.registry import word_named
from envoyassert.words.remedy import Change


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
    word = word_named(change.path[2])
    field = "" if word is None else word.config(change, workers)
    if not field:
        return ""
    whose = next((f" on listener {r.name}" for r in listeners if _is_about(r, subject)), "")
    return f"`{field}`{whose}"


def _is_about(record: ListenerRecord, subject: Selector | None) -> bool:
    if subject is None:
        return False
    if subject.name is not None:
        return subject.name == record.name
    ports = {address.port for address in record.addresses if address.port is not None}
    return subject.port in ports
