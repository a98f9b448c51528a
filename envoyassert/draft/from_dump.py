"""Stand-ins for the listeners of a dump, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.draft.expected import DraftError
from envoyassert.draft.stand_in import bootstrap_with, serving, stand_in_note
from envoyassert.predict.deciding import OF_LISTENER
from envoyassert.predict.dumped import Dumped
from envoyassert.report.table import count
from envoyassert.scenario.listeners import (
    address_of,
    asks_for_sockets,
    discovers_listeners,
    items_of,
    proto_field,
    proto_flag,
    protocol_of,
    static_listeners,
    with_lists,
)

#: Names that a note shows before it only counts.
_SHOWN = 6
#: What a stand-in keeps of a listener: beside what its sockets are, how connections are accepted.
_KEPT = (*OF_LISTENER, "max_connections_to_accept_per_socket_event")
#: Balancers that are no extensions, of which an Envoy may have none.
_LOCALITY = "cpu_locality_balance"
_BALANCERS = ("exact_balance", _LOCALITY)

Listeners = list[dict[str, Any]]


def chosen(envoys: Sequence[Dumped], wanted: str = "") -> Dumped:
    """Return the Envoy of a dump that is to be drafted.

    Args:
        envoys: all that the dump describes, at least one.
        wanted: its label, or the end of it; "" where there is one, or all have the same sockets.

    Raises:
        DraftError: which one is not clear.
    """
    labels = [one.label for one in envoys]
    if wanted:
        exact = [one for one in envoys if one.label == wanted]
        found = exact or [one for one in envoys if one.label.endswith(f"/{wanted}")]
        if len(found) == 1:
            return found[0]
        raise DraftError(
            f"the dump has {'several Envoys' if found else 'no Envoy'} of this name: {wanted}",
            f"it has {_listed(labels)}",
        )
    first, *others = envoys
    if not all(_sockets(one) == _sockets(first) for one in others):
        raise DraftError(
            f"the dump is of {len(envoys)} Envoys with different sockets: {_listed(labels)}",
            f"draft one of them: envoyassert draft --pod {labels[0]}",
        )
    if others:
        first.remarks.insert(0, ("Envoys with the same sockets", ", ".join(labels)))
    return first


def bootstrap_of_dump(dump: Dumped) -> tuple[dict[str, Any], list[str]]:
    """Return a bootstrap with the sockets of a dumped Envoy, and notes on what it leaves out.

    Args:
        dump: what is known of that Envoy.

    Raises:
        DraftError: it has neither a listener with a socket nor an admin endpoint.
    """
    admin = proto_field(dump.bootstrap, "admin")
    kept, notes = _stood_in([*_static(dump), *dump.served], dump)
    if proto_field(admin, "address") is None:
        admin = None
    if not kept and admin is None:
        raise _nothing("listener with a socket of its own", notes)
    if dump.bootstrap is None:
        notes.append("there is no bootstrap in it, so nothing is known of an admin endpoint")
    elif not dump.served and discovers_listeners(dump.bootstrap):
        notes.append("there are no listeners of a control plane in it, and the bootstrap asks one")
    fields = ("address", "socket_options")
    kept_admin = {key: value for key in fields if (value := proto_field(admin, key))}
    found = bootstrap_with(kept, kept_admin)
    # The balancer by CPU does nothing but with pinned workers.
    affinity = "enable_worker_cpu_affinity"
    pinned = proto_flag(dump.bootstrap, affinity) is True
    if pinned and any(_LOCALITY in _balancer(one) for one in kept):
        found = {affinity: True, **found}
    return found, notes


def served_by_dump(dump: Dumped, bootstrap: Any) -> tuple[Listeners, list[str]]:
    """Return stand-ins of the listeners that a control plane gave to a dumped Envoy, and notes.

    Args:
        dump: what is known of that Envoy.
        bootstrap: what it was started with; a listener of it that the dump has too is its own.

    Raises:
        DraftError: the dump has none.
    """
    own = [*map(_identity, static_listeners(bootstrap).values())]
    theirs = [one for one in dump.served if _identity(one) not in own]
    kept, notes = _stood_in(theirs, dump)
    if not kept:
        raise _nothing("listener from a control plane", notes)
    named = static_listeners({"static_resources": {"listeners": kept}})
    if len(named) < len(kept):
        again = len(kept) - len(named)
        are = "is" if again == 1 else "are"
        notes.append(f"{count(again, 'listener')} with the name of one before {are} left out")
    return [{**one, "name": name} for name, one in named.items()], notes


def _sockets(dump: Dumped) -> Any:
    try:
        return bootstrap_of_dump(dump)[0]
    except DraftError:
        return None


def _static(dump: Dumped) -> Listeners:
    """Return the static listeners, of which a bootstrap and a dump of it both have some."""
    own = items_of(proto_field(proto_field(dump.bootstrap, "static_resources"), "listeners"))
    rest = [*map(_identity, (*dump.static, *dump.served))]
    found = [*dump.static]
    for one in own:
        if _identity(one) in rest:
            rest.remove(_identity(one))
        else:
            found.append(one)
    return found


def _identity(listener: Any) -> tuple[str, str, str]:
    place = proto_field(listener, "address")
    address = address_of(place)
    protocol = protocol_of(address, place) if address is not None else ""
    return str(proto_field(listener, "name") or ""), str(address), protocol


def _stood_in(listeners: Listeners, dump: Dumped) -> tuple[Listeners, list[str]]:
    """Return stand-ins of listeners, and notes on what is left out of them."""
    whole = with_lists({"static_resources": {"listeners": listeners}})
    kept: Listeners = []
    originals, silent, of_silent = [], [], []
    by_protocol: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    taken: set[tuple[str, Address]] = set()
    for listener in items_of(whole["static_resources"]["listeners"]):
        place = proto_field(listener, "address")
        address = address_of(place)
        name = str(proto_field(listener, "name") or address or "unnamed")
        internal = proto_field(listener, "internal_listener") is not None
        if address is None:
            socket_address = proto_field(place, "socket_address")
            host = proto_field(socket_address, "address")
            port = proto_field(socket_address, "port_value")
            if asks_for_sockets(listener) and host is not None:
                why = "an address that Envoy does not take, left out"
                refused.setdefault(why, []).append(f"{name} ({host}:{port})")
            continue
        protocol = protocol_of(address, place)
        present = _kept_of(listener)
        # A Unix listener is bound whatever bind_to_port says.
        if not asks_for_sockets(listener) and (internal or address.is_ip):
            if not internal:
                silent.append({**present, "bind_to_port": False, **serving(protocol)})
                of_silent.append(listener)
            continue
        mine = {(protocol, one) for one in _addresses(listener) if one.port != 0}
        if mine & taken:
            refused.setdefault("the address of another, so Envoy refuses it", []).append(name)
            continue
        taken |= mine
        udp = proto_field(listener, "udp_listener_config")
        if protocol == "UDP" and proto_field(udp, "quic_options") is not None:
            protocol = "QUIC"
        by_protocol.setdefault(protocol, []).append(name)
        kept.append({**present, **serving(protocol)})
        originals.append(listener)
    notes = _notes_on_dump(dump)
    notes += [f"{why}: {_listed(names)}" for why, names in refused.items()]
    if silent and not kept and not refused:
        # That they have no socket is what there is to expect.
        kept, originals, by_protocol = silent, of_silent, {"TCP": []}
    if virtual := len(listeners) - len(kept) - sum(map(len, refused.values())):
        own, are = ("its", "is") if virtual == 1 else ("their", "are")
        notes.append(f"{count(virtual, 'listener')} without a socket of {own} own {are} left out")
    notes += _notes_on_balancers(originals)
    left_out = _left_out(originals, dump.others)
    if kept:
        because = "; left out, for no socket depends on it: "
        notes.append(
            stand_in_note(by_protocol) + (because + ", ".join(left_out) if left_out else "")
        )
    return kept, notes


def _balancer(listener: object) -> dict[str, object]:
    """Return the balancer of a listener's connections by its kind, {} if it has none."""
    given = proto_field(listener, "connection_balance_config")
    kinds = (*_BALANCERS, "extend_balance")
    return {kind: value for kind in kinds if (value := proto_field(given, kind)) is not None}


def _kept_of(listener: object) -> dict[str, object]:
    """Return what a stand-in keeps of a listener."""
    fields = {field: proto_field(listener, field) for field in _KEPT}
    kept = {field: value for field, value in fields.items() if value is not None}
    known = {kind: value for kind, value in _balancer(listener).items() if kind in _BALANCERS}
    return {**kept, "connection_balance_config": known} if known else kept


def _notes_on_balancers(listeners: Listeners) -> list[str]:
    extensions = [_balancer(one).get("extend_balance") for one in listeners]
    names = [_of(one) for one in extensions if one is not None]
    return [f"connection balancers that are extensions, left out: {_listed(names)}"] * bool(names)


def _notes_on_dump(dump: Dumped) -> list[str]:
    notes = [f"{remark}: {_listed(names)}" for remark, names in _grouped(dump.remarks).items()]
    if dump.answers > 1:
        notes.append(f"{dump.answers} responses in a row: what holds after the last is drafted")
    if dump.answer == "delta":
        notes.append("an incremental response has only changes: what was there before is not known")
    return notes


def _addresses(listener: Any) -> Iterator[Address]:
    for one in (listener, *items_of(proto_field(listener, "additional_addresses"))):
        address = address_of(proto_field(one, "address"))
        if address is not None:
            yield address


def _left_out(listeners: Listeners, others: Sequence[str]) -> list[str]:
    """Return what of a dump no socket depends on, in words."""
    chains = [chain for one in listeners for chain in _chains(one)]
    parts = {
        "filters": [one for chain in chains for one in items_of(proto_field(chain, "filters"))],
        "listener filters": [
            one for each in listeners for one in items_of(proto_field(each, "listener_filters"))
        ],
        "transport sockets": [
            socket for chain in chains if (socket := proto_field(chain, "transport_socket"))
        ],
    }
    said = [f"{what} ({_listed([*map(_of, ones)])})" for what, ones in parts.items() if ones]
    fields = {"access_log": "access logs", "rds": "routes by RDS", "sds_config": "secrets by SDS"}
    said += [word for field, word in fields.items() if _has(listeners, field)]
    return [*said, *others]


def _chains(listener: dict[str, Any]) -> Iterator[Any]:
    yield from items_of(proto_field(listener, "filter_chains"))
    default = proto_field(listener, "default_filter_chain")
    if default is not None:
        yield default


def _of(named: Any) -> str:
    name = str(proto_field(named, "name") or "unnamed")
    return name.rpartition(".")[2] if name.startswith("envoy.") else name


def _has(value: Any, field: str) -> bool:
    """Return whether a field is anywhere in a message."""
    if isinstance(value, list):
        return any(_has(one, field) for one in value)
    if not isinstance(value, dict):
        return False
    return bool(proto_field(value, field)) or any(_has(one, field) for one in value.values())


def _grouped(remarks: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for remark, name in remarks:
        names = found.setdefault(remark, [])
        names += [name] if name not in names else []
    return found


def _listed(names: Sequence[str]) -> str:
    """Return names as a text, each once, and of many only the first."""
    different = list(dict.fromkeys(names))
    more = len(different) - _SHOWN
    shown = ", ".join(different[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _nothing(wanted: str, notes: Sequence[str]) -> DraftError:
    why = f" ({'; '.join(notes)})" if notes else ""
    return DraftError(
        f"the dump has no {wanted}{why}",
        "ask for all of it: curl 127.0.0.1:15000/config_dump (15000 is Istio's admin port)",
    )
