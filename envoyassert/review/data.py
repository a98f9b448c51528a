"""What the model says of a change, as JSON types."""

from __future__ import annotations

from typing import Any

from envoyassert.predict.effects import Change, ListenerChange, OtherChange, Reason
from envoyassert.predict.prediction import KNOWN
from envoyassert.review.answer import ONLY_A_RUN, Answer, is_unread
from envoyassert.review.words import woken


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return what the model says of a change: typed values, by each way."""
    return {
        "versions": KNOWN,
        "version": answer.changes[0].version,
        "result": answer.result,
        "ways": {change.way.value: _way(change, answer.everything) for change in answer.changes},
        "notes": list(answer.notes),
        "only_a_run_shows": list(ONLY_A_RUN),
    }


def _way(change: Change, everything: bool) -> dict[str, Any]:
    before, after = change.workers
    return {
        "workers": {"before": before, "after": after},
        "differs": change.differs,
        "refused": change.is_refused,
        "loses": change.loses,
        "listeners": [
            _listener(change, one)
            for one in change.listeners
            if everything or change.touches(one) or is_unread(change, one)
        ],
        "others": [_other(one) for one in change.others],
        "unknown": change.unknown,
    }


def _listener(change: Change, one: ListenerChange) -> dict[str, Any]:
    workers = change.workers[0 if change.way.value == "push" else 1]
    return {
        "listener": one.name,
        "protocol": one.protocol,
        "addresses": {
            "before": [place.to_json() for place in one.before],
            "after": [place.to_json() for place in one.after],
        },
        "kind": one.kind.value,
        "fields": [_reason(reason) for reason in one.reasons],
        "sockets": {
            "kept": one.kept,
            "closed": one.closed,
            "left": one.left,
            "made": one.made,
        },
        "queue": {"before": one.queue_before or None, "after": one.queue or None},
        "queued": one.queued.value,
        "held": one.held.value,
        "gap": one.gap.value,
        "wakes": {"at_most": woken(one, workers)},
        "served": one.served,
        "shut_by_overload": one.shut_by_overload,
        "gone": [place.to_json() for place in change.gone(one)],
        "envoy_says": one.words or None,
        "unknown": one.unknown,
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "field": reason.field,
        "is": reason.why.value,
        "before": reason.before,
        "after": reason.after,
        "forces_new_sockets": reason.forces_new,
        "refused": reason.refused,
        "in_effect": reason.in_effect,
        "versions": reason.versions or None,
    }


def _other(other: OtherChange) -> dict[str, Any]:
    return {
        "topic": other.topic.value,
        "field": other.field,
        "before": other.before,
        "after": other.after,
        "applied": other.applied,
        "kind": other.kind.value if other.kind is not None else None,
    }
