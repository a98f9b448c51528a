"""Ask Envoy itself what it listens on, by its admin endpoint.

Two questions, half a millisecond each; `/server_info` would take several, and the gauges say what
is needed of it.

`/listeners` names the active listeners and their addresses, with the port that the kernel chose for
port 0. The gauges are asked afterwards, so that a listener that is missing in the first answer
because it is being removed is counted as draining in the second, or has closed its sockets between
the two (envoy.admin.v3.Listeners, "Listener manager statistics").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from envoyassert.accounts import EnvoyAccount, EnvoyListener
from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.launch.admin import FORBIDDEN, MOST, AdminUnreachableError, shortened

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


def _object(required: dict[str, CoreSchema], **others: CoreSchema) -> CoreSchema:
    """Return the form of an object; members without one are passed over."""
    members = [
        *((one, True) for one in required.items()),
        *((one, False) for one in others.items()),
    ]
    fields = {
        name: core_schema.typed_dict_field(form, required=needed)
        for (name, form), needed in members
    }
    return core_schema.typed_dict_schema(fields)


def _many(form: CoreSchema) -> CoreSchema:
    """Return the form of a list, which is read up to its first fault, and not without end."""
    return core_schema.list_schema(form, max_length=MOST, fail_fast=True)


# Written for pydantic's validator itself: to derive them from classes takes longer than Envoy to
# start, and every run asks.
_TEXT = core_schema.str_schema()
_SOCKET_ADDRESS = _object(
    {"address": _TEXT},
    port_value=core_schema.int_schema(ge=0, lt=2**16),
    network_namespace_filepath=_TEXT,
)
#: envoy.config.core.v3.Address; one that is no socket of the kernel has neither.
_PLACE = _object(
    {},
    pipe=core_schema.nullable_schema(_object({"path": _TEXT})),
    socket_address=core_schema.nullable_schema(_SOCKET_ADDRESS),
)
_STATUS = _object(
    {},
    name=_TEXT,
    local_address=core_schema.nullable_schema(_PLACE),
    additional_local_addresses=_many(_PLACE),
)
#: What is read of `/listeners`: envoy.admin.v3.Listeners.
_LISTED = SchemaValidator(_object({}, listener_statuses=_many(_STATUS)))
#: The last statistic of a list is that of histograms, and has neither name nor value.
_ASKED = SchemaValidator(
    _object({"stats": _many(_object({}, name=_TEXT, value=core_schema.any_schema()))})
)
_NUMBERS = SchemaValidator(core_schema.dict_schema(_TEXT, core_schema.int_schema(ge=0, lt=2**64)))


def ask_envoy(admin_get: Callable[[str], tuple[int, str]]) -> EnvoyAccount | None:
    """Return what Envoy says of itself; why it could not be asked is in `error`.

    Args:
        admin_get: asks the admin endpoint for a path; returns status and body.

    Returns:
        Its account, or None where its config forbids the questions (`admin.allow_paths`).
    """
    begun_ns = monotonic_ns()
    try:
        listed = _ask(admin_get, _LISTENERS, _LISTED).get("listener_statuses", [])
        asked = _ask(admin_get, _STATS, _ASKED)["stats"]
        gauges = {one["name"]: one.get("value") for one in asked if one.get("name") in GAUGES}
        stats = _NUMBERS.validate_python(gauges)
        listeners = tuple(map(_listener, listed))
        return EnvoyAccount(begun_ns, monotonic_ns(), listeners, stats)
    except PermissionError:
        return None
    except AdminUnreachableError as error:
        said = f"the admin endpoint did not answer: {error}"
    except ValueError as error:
        from envoyassert.trace_schema import words_of

        why = words_of(error) if isinstance(error, ValidationError) else shortened(str(error))
        said = f"the admin endpoint gave an answer of another form: {why}"
    return EnvoyAccount(begun_ns, monotonic_ns(), error=said)


def _ask(admin_get: Callable[[str], tuple[int, str]], path: str, form: SchemaValidator) -> Any:
    status, body = admin_get(path)
    if status == FORBIDDEN:
        raise PermissionError(path)
    if status != 200:
        raise ValueError(f"{path}: status {status}")
    return form.validate_json(body)


def _listener(status: Mapping[str, Any]) -> EnvoyListener:
    places = [status.get("local_address"), *status.get("additional_local_addresses", [])]
    addresses = tuple(found for place in places if (found := _address(place)) is not None)
    return EnvoyListener(status.get("name", ""), addresses)


def _address(place: Mapping[str, Any] | None) -> Address | None:
    """Return an `Address` of Envoy's, None for one that is no socket of the kernel."""
    place = place or {}
    if place.get("pipe") is not None:
        return Address.unix(place["pipe"]["path"])
    found = place.get("socket_address")
    if found is None:
        return None
    address = Address.inet(found["address"], found.get("port_value", 0))
    return address.within(found.get("network_namespace_filepath", ""))
