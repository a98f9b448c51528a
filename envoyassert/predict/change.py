"""The model of change: what happens when one config replaces another.

Each way by which a change reaches Envoy does something else with the same two configs: `push`, and
the two of `restarts`. What is not a listener's is `around` them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from envoyassert.predict.around import other_changes
from envoyassert.predict.effects import (
    Change,
    Kind,
    ListenerChange,
    OtherChange,
    Reason,
    Side,
    Topic,
    Way,
)
from envoyassert.predict.fields import differences, is_same_message, normal
from envoyassert.predict.messages import LISTENER, Since
from envoyassert.predict.overload import stops_accepting, with_bypass
from envoyassert.predict.prediction import KNOWN
from envoyassert.predict.push import Listeners, push_changes
from envoyassert.predict.refusals import duplicate_words, has_duplicate, refused_alone
from envoyassert.predict.restarts import (
    INITIALIZING,
    hot_restart_changes,
    refused_start,
    restart_changes,
    start_refusal,
)
from envoyassert.predict.shape import bootstrap_as_read, listeners_as_read
from envoyassert.predict.start import predict_start
from envoyassert.scenario.listeners import (
    discovered_names,
    proto_field,
    static_listeners,
)
from envoyassert.versions import satisfies


def predict_change(
    old: Side, new: Side, way: Way, *, version: str = "", at: Listeners | None = None
) -> Change:
    """Return what a change does when it reaches Envoy in one way.

    A push is of the listeners that a control plane serves: it changes no static one. Where neither
    side has such listeners it is of the static ones, as if a control plane served these.

    Args:
        old: the Envoy before, up and serving; nothing of it drains.
        new: what it is to be.
        way: how the change reaches it.
        version: of Envoy; "" for every one that the model knows.
        at: what earlier changes left of its listeners, all of them served ones; takes note of a
            push, and of a hot restart. None for the listeners that a start with `old` has.

    Raises:
        PredictError: a config is none, or has a value of another type than Envoy reads there.
    """
    old, new = _as_read(old), _as_read(new)
    workers = max(1, old.workers), max(1, new.workers)
    static = [static_listeners(side.config) for side in (old, new)]
    served = [dict(discovered_names(side.config, side.discovered or ())) for side in (old, new)]
    others = list(other_changes(old, new, way))
    if way is Way.PUSH:
        alone = old.discovered is None and new.discovered is None
        sent, fixed = (static, {}) if alone else (served, static[0])
        known = [_known(one, version) for one in sent]
        if at is not None:
            listeners = at.push(known[1])
        else:
            listeners = push_changes(known[0], known[1], fixed, workers[0], version)
        listeners = [_with_unknown_fields(one, sent[0], sent[1], version) for one in listeners]
        if not alone:
            others += _static_changes(*static)
    else:
        known = [_known(one, version) for one in served]
        listeners = _restarted(new, way, static, known, workers, version, at)
        if any(one.kind is Kind.REFUSED for one in others):
            every = {**static[0], **served[0]}
            listeners = refused_start(every, workers[0], "", "", ended=False)
        if listeners and all(one.kind in (Kind.REFUSED, Kind.ENDS_ENVOY) for one in listeners):
            others = [replace(one, applied=False) for one in others]  # the old one goes on, or none
    after = {**static[1], **served[1]}
    can_stop = stops_accepting(old.config)
    listeners = [
        with_bypass(one, after.get(one.name), is_push=way is Way.PUSH, can_stop=can_stop)
        for one in listeners
    ]
    unknown = {}
    if version and not satisfies(version, KNOWN):
        unknown["version"] = f"the model knows {KNOWN}"
    if any(proto_field(one.config, "dynamic_resources") for one in (old, new)) and None in (
        old.discovered,
        new.discovered,
    ):
        unknown["listeners"] = "those that a control plane serves are not known"
    again = way is Way.PUSH or any(one.words == INITIALIZING for one in listeners)
    anyway = old == new and again
    return Change(way, version, workers, tuple(listeners), tuple(others), unknown, anyway)


def _as_read(side: Side) -> Side:
    theirs = None if side.discovered is None else listeners_as_read(side.discovered, "")
    return replace(side, config=bootstrap_as_read(side.config), discovered=theirs)


def _known(listeners: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return listeners of a control plane without the fields that Envoy does not know."""
    return dict(zip(listeners, listeners_as_read([*listeners.values()], version), strict=True))


def _with_unknown_fields(
    change: ListenerChange, old: Mapping[str, Any], new: Mapping[str, Any], version: str
) -> ListenerChange:
    """Return a change with the fields that differ and of which Envoy takes no heed."""
    both = change.name in old and change.name in new
    pairs = [normal(side[change.name]) for side in (old, new)] if both else [{}, {}]
    reasons = {reason.field: reason for reason in change.reasons}
    for why, path, before, after in differences(*pairs):
        shape = LISTENER.get(path.partition(".")[0])
        bounds = shape.versions if isinstance(shape, Since) else ""
        if path not in reasons:
            reasons[path] = Reason(why, path, before, after, in_effect=False, versions=bounds)
        elif bounds and not version and reasons[path].in_effect:
            reasons[path] = replace(reasons[path], in_effect=None, versions=bounds)
    return replace(change, reasons=tuple(reasons.values()))


def _restarted(
    new: Side,
    way: Way,
    static: list[dict[str, Any]],
    served: list[dict[str, Any]],
    workers: tuple[int, int],
    version: str,
    at: Listeners | None,
) -> list[ListenerChange]:
    every = [{**fixed, **more} for fixed, more in zip(static, served, strict=True)]
    cold = way is Way.RESTART
    name, words = start_refusal(static[1], workers[1], version)
    if not words:
        found = predict_start(
            new.config,
            concurrency=workers[1],
            version=version,
            discovered=new.discovered,
        )
        words = found.refused
    if words:
        return refused_start(every[0], workers[0], name, words, ended=cold)
    refused = _refused(static[1], served[1], workers[1], version)
    taken = {key: value for key, value in every[1].items() if key not in refused}
    changes = (
        restart_changes(every[0], taken, workers)
        if cold
        else hot_restart_changes(every[0], taken, workers, version, at)
    )
    names = {one.name for one in changes}
    changes += [
        ListenerChange(one, (), (), "", Kind.REFUSED, served=False)
        for one in refused
        if one not in names
    ]
    return [
        replace(one, kind=Kind.REFUSED, words=refused[one.name]) if one.name in refused else one
        for one in changes
    ]


def _refused(
    static: Mapping[str, Any], served: Mapping[str, Any], workers: int, version: str
) -> dict[str, str]:
    """Return which listeners of a control plane Envoy refuses at its start, and what it says."""
    refused, seen = {}, list(static.values())
    for name, listener in served.items():
        words = refused_alone(normal(listener), workers, version)
        if any(has_duplicate(listener, one) for one in seen):
            words = duplicate_words(name, listener)
        if words:
            refused[name] = words
        else:
            seen.append(listener)
    return refused


def _static_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[OtherChange]:
    """Return the static listeners that differ: no push changes one."""
    return [
        OtherChange(
            Topic.OTHER,
            f"static_resources.listeners.{name}",
            {} if name in old else None,
            {} if name in new else None,
            applied=False,
        )
        for name in dict.fromkeys((*old, *new))
        if not (
            name in old and name in new and is_same_message(normal(old[name]), normal(new[name]))
        )
    ]
