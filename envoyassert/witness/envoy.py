"""Ask Envoy itself what it listens on, by its admin endpoint.

Two questions, half a millisecond each; `/server_info` would take several, and the gauges say what
is needed of it.

`/listeners` names the active listeners and their addresses, with the port that the kernel chose for
port 0. The gauges are asked afterwards, so that a listener that is missing in the first answer
because it is being removed is counted as draining in the second, or has closed its sockets between
the two (envoy.admin.v3.Listeners, "Listener manager statistics").
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from envoyassert.accounts import EnvoyAccount, EnvoyListener
from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.launch.admin import FORBIDDEN, AdminUnreachableError, Many, shortened
from envoyassert.ranges import U64, Port
from envoyassert.trace_schema import words_of

#: The gauges of listeners and workers, and how far Envoy has come.
GAUGES = (
    "listener_manager.total_listeners_active",
    "listener_manager.total_listeners_draining",
    "listener_manager.total_listeners_warming",
    "listener_manager.workers_started",
    "server.concurrency",
    "server.state",
)
_LISTENERS = "/listeners?format=json"
# Dots match any character; what has another name than asked for is passed over.
_STATS = f"/stats?format=json&filter=^({'|'.join(GAUGES)})$"


@dataclass(frozen=True, slots=True)
class _Pipe:
    path: str


@dataclass(frozen=True, slots=True)
class _SocketAddress:
    address: str
    port_value: Port = 0
    network_namespace_filepath: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """envoy.config.core.v3.Address; one that is no socket of the kernel has neither."""

    pipe: _Pipe | None = None
    socket_address: _SocketAddress | None = None


@dataclass(frozen=True, slots=True)
class _Status:
    name: str = ""
    local_address: _Place = field(default_factory=_Place)
    additional_local_addresses: Many[_Place] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Listeners:
    """What is read of `/listeners`: envoy.admin.v3.Listeners."""

    listener_statuses: Many[_Status] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Stat:
    """A statistic; the last of a list is that of histograms, and has neither."""

    name: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True)
class _Stats:
    stats: Many[_Stat]


@functools.cache
def _form(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def ask_envoy(admin_get: Callable[[str], tuple[int, str]]) -> EnvoyAccount | None:
    """Return what Envoy says of itself; why it could not be asked is in `error`.

    Args:
        admin_get: asks the admin endpoint for a path; returns status and body.

    Returns:
        Its account, or None where its config forbids the questions (`admin.allow_paths`).
    """
    begun_ns = monotonic_ns()
    try:
        listed = _ask(admin_get, _LISTENERS, _Listeners).listener_statuses
        asked = _ask(admin_get, _STATS, _Stats).stats
        gauges = {one.name: one.value for one in asked if one.name in GAUGES}
        stats = _form(dict[str, U64]).validate_python(gauges)
        listeners = tuple(map(_listener, listed))
        return EnvoyAccount(begun_ns, monotonic_ns(), listeners, stats)
    except PermissionError:
        return None
    except AdminUnreachableError as error:
        said = f"the admin endpoint did not answer: {error}"
    except ValueError as error:
        why = words_of(error) if isinstance(error, ValidationError) else shortened(str(error))
        said = f"the admin endpoint gave an answer of another form: {why}"
    return EnvoyAccount(begun_ns, monotonic_ns(), error=said)


def _ask(admin_get: Callable[[str], tuple[int, str]], path: str, form: Any) -> Any:
    status, body = admin_get(path)
    if status == FORBIDDEN:
        raise PermissionError(path)
    if status != 200:
        raise ValueError(f"{path}: status {status}")
    return _form(form).validate_json(body)


def _listener(status: _Status) -> EnvoyListener:
    places = [status.local_address, *status.additional_local_addresses]
    addresses = tuple(found for place in places if (found := _address(place)) is not None)
    return EnvoyListener(status.name, addresses)


def _address(place: _Place) -> Address | None:
    """Return an `Address` of Envoy's, None for one that is no socket of the kernel."""
    if place.pipe is not None:
        return Address.unix(place.pipe.path)
    found = place.socket_address
    if found is None:
        return None
    address = Address.inet(found.address, found.port_value)
    return address.within(found.network_namespace_filepath)
