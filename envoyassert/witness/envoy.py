"""Ask Envoy itself what it listens on, by its admin endpoint.

Two questions, half a millisecond each; `/server_info` would take several, and the gauges say what
is needed of it.

`/listeners` names the active listeners and their addresses, with the port that the kernel chose for
port 0. The gauges are asked afterwards, so that a listener that is missing in the first answer
because it is being removed is counted as draining in the second, or has closed its sockets between
the two (envoy.admin.v3.Listeners, "Listener manager statistics").
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from envoyassert.accounts import EnvoyAccount, EnvoyListener
from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.launch.admin import FORBIDDEN, AdminUnreachableError

#: The gauges that tell of listeners and workers, and how far Envoy has come.
GAUGES = (
    "listener_manager.total_listeners_active",
    "listener_manager.total_listeners_draining",
    "listener_manager.total_listeners_warming",
    "listener_manager.workers_started",
    "server.concurrency",
    "server.state",
)
_LISTENERS = "/listeners?format=json"
# Dots match any character, which the names that are read afterwards do not.
_STATS = f"/stats?format=json&filter=^({'|'.join(GAUGES)})$"


def ask_envoy(admin_get: Callable[[str], tuple[int, str]]) -> EnvoyAccount | None:
    """Return what Envoy says of itself; why it could not be asked is in `error`.

    Args:
        admin_get: asks the admin endpoint for a path; returns status and body.

    Returns:
        Its account, or None where its config forbids the questions (`admin.allow_paths`).
    """
    begun_ns = monotonic_ns()
    try:
        listed = _ask(admin_get, _LISTENERS).get("listener_statuses", [])
        gauges = _ask(admin_get, _STATS)["stats"]
        stats = {item["name"]: int(item["value"]) for item in gauges if "name" in item}
        listeners = tuple(map(_listener, listed))
        return EnvoyAccount(begun_ns, monotonic_ns(), listeners, stats)
    except PermissionError:
        return None
    except AdminUnreachableError as error:
        said = f"the admin endpoint did not answer: {error}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"the admin endpoint gave an answer of another form: {error!r}"
    return EnvoyAccount(begun_ns, monotonic_ns(), error=said)


def _ask(admin_get: Callable[[str], tuple[int, str]], path: str) -> Any:
    status, body = admin_get(path)
    if status == FORBIDDEN:
        raise PermissionError(path)
    if status != 200:
        raise ValueError(f"{path}: status {status}")
    return json.loads(body)


def _listener(data: dict[str, Any]) -> EnvoyListener:
    places = [data.get("local_address"), *data.get("additional_local_addresses", [])]
    addresses = tuple(found for place in places if (found := _address(place or {})) is not None)
    return EnvoyListener(data.get("name", ""), addresses)


def _address(place: dict[str, Any]) -> Address | None:
    """Return an `Address` of Envoy's, None for one that is no socket of the kernel."""
    if "pipe" in place:
        return Address.unix(place["pipe"]["path"])
    found = place.get("socket_address")
    if found is None:
        return None
    address = Address.inet(found["address"], int(found.get("port_value", 0)))
    return address.within(found.get("network_namespace_filepath", ""))
