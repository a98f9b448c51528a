"""Which listeners Envoy serves while its action `stop_accepting_connections` is active.

Source: Envoy's ConnectionHandlerImpl (disableListeners, enableListeners, addListener), each rule
seen on 1.36.4 and 1.40.0. While the action is active a worker starts each listener disabled. When
it is over, it enables those alone that do not bypass it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoyassert.predict.effects import Kind, ListenerChange
from envoyassert.predict.refusals import is_datagram
from envoyassert.scenario.listeners import items_of, proto_field, proto_flag
from envoyassert.scenario.overload import STOP_ACCEPTING

BYPASS = "bypass_overload_manager"
#: What happens to a listener that workers start.
_STARTED = (Kind.ADDED, Kind.FULL_KEPT, Kind.FULL_NEW)


def stops_accepting(config: Any) -> bool:
    """Return whether the overload manager of a bootstrap has the action."""
    actions = items_of(proto_field(proto_field(config, "overload_manager"), "actions"))
    return any(proto_field(one, "name") == STOP_ACCEPTING for one in actions)


def goes_on_under_overload(listener: Any) -> bool:
    """Return whether workers wait for a listener that they have while the action is active.

    Args:
        listener: its config.
    """
    return _is_quic(listener) or (heeds_bypass(listener) is True and _bypasses(listener))


def heeds_bypass(listener: Any) -> bool | None:
    """Return whether Envoy takes heed of `bypass_overload_manager`; None if that is not known.

    The sockets of QUIC stay in the epolls whatever it says. Whether new connections are taken is
    seen in no call.

    Args:
        listener: its config.
    """
    return None if _is_quic(listener) else not is_datagram(listener)


def with_bypass(
    change: ListenerChange, listener: Any, *, is_push: bool, can_stop: bool
) -> ListenerChange:
    """Return a change with what it means for `bypass_overload_manager`.

    Args:
        change: what happens to the listener.
        listener: its config afterwards; None if it is not there.
        is_push: whether it is sent to an Envoy that runs.
        can_stop: whether that Envoy has the action.
    """
    heeds = heeds_bypass(listener)
    reasons = tuple(
        replace(one, in_effect=heeds) if one.field == BYPASS and one.in_effect else one
        for one in change.reasons
    )
    starts = is_push and change.kind in _STARTED and change.served is not False
    is_shut = can_stop and starts and heeds is True and _bypasses(listener)
    return replace(change, reasons=reasons, shut_by_overload=is_shut)


def _bypasses(listener: Any) -> bool:
    return proto_flag(listener, BYPASS) is True


def _is_quic(listener: Any) -> bool:
    return proto_field(proto_field(listener, "udp_listener_config"), "quic_options") is not None
