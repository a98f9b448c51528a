"""The listeners of a dump, whatever they are wrapped in.

An Envoy, a control plane and the tools around them print the same messages in many wrappings:
`/config_dump` in whole or by `resource=` and `mask=`, one message of it alone, discovery responses,
lists of listeners, and mappings by namespace and pod. Messages are known by `@type`, else by their
fields; all else is a wrapping and is looked into. What Envoy prints was measured on 1.36.4 and
1.40.0; the sources of the others are in docs/drafting.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envoyassert.scenario.listeners import items_of, proto_field, proto_name

#: What Envoy has of one dynamic listener; the first that is there counts.
_STATES = ("active", "warming", "draining")
#: Fields that a listener has and no other message with an address.
_OF_LISTENER = frozenset(
    {
        *("filter_chains", "default_filter_chain", "listener_filters", "udp_listener_config"),
        *("bind_to_port", "enable_reuse_port", "reuse_port", "tcp_backlog_size", "deprecated_v1"),
        *("traffic_direction", "drain_type", "per_connection_buffer_limit_bytes"),
    }
)
_SECTIONS = {
    "static_listeners",
    "dynamic_listeners",
    *(f"dynamic_{state}_listeners" for state in _STATES),  # Envoy up to 1.13
}
_OF_DUMP = {"bootstrap", "last_updated"}
#: What else a dump holds, by the message, in words.
_OTHERS = {
    "ClustersConfigDump": "clusters",
    "RoutesConfigDump": "routes",
    "ScopedRoutesConfigDump": "scoped routes",
    "EndpointsConfigDump": "endpoints",
    "SecretsConfigDump": "secrets",
    "EcdsConfigDump": "filter configs",
}
#: Members of a wrapping that hold no listener.
_PRUNED = {"clusters", "routes", "endpoints", "secrets", "runtimes", "scoped_routes", "node"}
_PRUNED |= {"extensions", "admin"}
_TYPED = "type.googleapis.com/"
_BOOTSTRAP = "Bootstrap"
_STATIC, _DYNAMIC = "static", "dynamic"
#: Messages of `/config_dump?resource=`, of which all are in one answer.
_PART_OF = {"StaticListener": {_STATIC}, "DynamicListener": {_DYNAMIC}}


@dataclass
class Dumped:
    """What is known of one Envoy.

    Args:
        label: where in the file it is: `namespace/pod`, `#2`; "" if there is but one.
        bootstrap: its bootstrap, None if that is not there.
        static: static listeners, beside those that the bootstrap has.
        served: listeners of a control plane, or of which is not known whether they are.
        remarks: what is to be said of listeners by name, in the order of the file.
        others: what else is there, in words.
        whole: of `static` and `dynamic` listeners, which are all that one Envoy has.
        answer: `full` or `delta` of discovery responses, else "".
        answers: how many of these there were.
        removed: names that a delta response takes away.
    """

    label: str = ""
    bootstrap: dict[str, Any] | None = None
    static: list[dict[str, Any]] = field(default_factory=list)
    served: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    answer: str = ""
    answers: int = 0
    removed: list[str] = field(default_factory=list)


def envoys_of(documents: Sequence[Any]) -> list[Dumped]:
    """Return the Envoys that a file describes, none if it holds no message with listeners.

    Args:
        documents: the data of the file: documents of YAML, or values of JSON, in their order.
    """
    several = len(documents) > 1
    return _in_sequence(documents, lambda number: f"#{number}" if several else "", named=False)


def joined_dumps(one: Dumped, more: Dumped) -> Dumped:
    """Return what two dumps say of one Envoy: its bootstrap, and what it was served."""
    found = Dumped(one.label)
    for part in (one, more):
        _add(found, part)
    return found


def is_bootstrap(data: Any) -> bool:
    """Return whether this is a bootstrap as Envoy reads it from a file."""
    return isinstance(data, dict) and "@type" not in data and _kind(data, named=False) == _BOOTSTRAP


def _in_sequence(
    values: Sequence[Any], label: Callable[[int], str], *, named: bool
) -> list[Dumped]:
    pieces = [
        piece
        for number, value in enumerate(values, 1)
        for piece in _pieces(value, label(number), named=named)
    ]
    return _joined(pieces, in_sequence=True)


def _pieces(value: Any, label: str, *, named: bool) -> list[Dumped]:
    """Return what a value says, by Envoy.

    Args:
        value: any part of the file.
        label: where it is.
        named: whether its place says that listeners are there.
    """
    if isinstance(value, list):
        several = len(value) > 1
        found = _in_sequence(
            value, lambda number: f"{label}#{number}" if several else label, named=named
        )
        for one in found if not named else ():
            if one.served and not one.whole:  # a list of listeners, and no part of one
                one.label, one.whole = label, {_DYNAMIC}
        return found
    if not isinstance(value, dict):
        return []
    kind = _kind(value, named=named)
    if kind in _READERS:
        one = Dumped(label)
        _READERS[kind](one, value)
        # Answers about other resources than listeners, and what only looks like an answer.
        return [] if kind == "DiscoveryResponse" and not one.answer else [one]
    if kind == "Resource":
        return _pieces(proto_field(value, "resource"), label, named=named)
    if kind:
        return []
    pieces: list[Dumped] = []
    for key, member in value.items():
        name = proto_name(str(key)).strip("_")
        typed = str(key).startswith(_TYPED)
        if name in _PRUNED or (typed and not str(key).endswith(".Listener")):
            continue
        listeners = named or typed or name == "listeners"
        pieces += _pieces(member, f"{label}/{key}".lstrip("/"), named=listeners)
    found_here = _joined(pieces, in_sequence=False)
    if "node" in value and len(found_here) == 1:
        found_here[0].whole.add(_DYNAMIC)  # a client of a control plane, as CSDS lists them
    return found_here


def _kind(value: dict[str, Any], *, named: bool) -> str:
    """Return the name of the message that this is, "" for a wrapping."""
    kind = value.get("@type")
    if isinstance(kind, str):
        found = kind.rpartition(".")[2]
        return "" if found.startswith("Client") else found
    keys = {proto_name(str(key)) for key in value}
    tests = (
        ("ConfigDump", isinstance(value.get("configs"), list)),
        ("ListenersConfigDump", not keys.isdisjoint(_SECTIONS)),
        (_BOOTSTRAP, not keys.isdisjoint({"static_resources", "dynamic_resources"})),
        (_BOOTSTRAP, isinstance(proto_field(value.get("admin"), "address"), dict)),
        ("BootstrapConfigDump", isinstance(value.get("bootstrap"), dict) and keys <= _OF_DUMP),
        ("DynamicListener", not keys.isdisjoint({*(f"{s}_state" for s in _STATES), "error_state"})),
        ("DiscoveryResponse", isinstance(value.get("resources"), list)),
        ("DiscoveryResponse", "removed_resources" in keys),
        ("StaticListener", isinstance(value.get("listener"), dict)),
        ("Listener", _is_listener(value, keys, named=named)),
        ("Resource", isinstance(value.get("resource"), dict)),
    )
    return next((name for name, holds in tests if holds), "")


def _is_listener(value: dict[str, Any], keys: set[str], *, named: bool) -> bool:
    if not isinstance(value.get("address"), dict):
        return not keys.isdisjoint({"api_listener", "internal_listener"})
    return named or not keys.isdisjoint(_OF_LISTENER) or keys == {"name", "address"}


def _joined(pieces: Iterable[Dumped], *, in_sequence: bool) -> list[Dumped]:
    """Join what belongs to one Envoy: a bootstrap and listeners, or listeners one by one."""
    found: list[Dumped] = []
    for piece in pieces:
        for one in found:
            follows = in_sequence and bool(one.answer and piece.answer)
            apart = one.bootstrap is not None and piece.bootstrap is not None
            if follows or not (apart or one.whole & piece.whole):
                _add(one, piece)
                break
        else:
            found.append(piece)
    return found


def _add(one: Dumped, more: Dumped) -> None:
    if one.answer and more.answer:
        gone = {*more.removed, *map(_name, more.served)}
        kept = [each for each in one.served if _name(each) not in gone]
        one.served = kept if more.answer == "delta" else []
        one.answers += more.answers
    one.answer = one.answer or more.answer
    one.answers = one.answers or more.answers
    one.bootstrap = one.bootstrap or more.bootstrap
    one.static += more.static
    one.served += more.served
    one.remarks += more.remarks
    one.others += [word for word in more.others if word not in one.others]
    one.whole |= more.whole


def _name(listener: Any) -> str:
    return str(proto_field(listener, "name") or "")


def _take_dump(found: Dumped, value: dict[str, Any]) -> None:
    for part in filter(lambda part: isinstance(part, dict), items_of(value.get("configs"))):
        kind = _kind(part, named=False)
        if kind in _OTHERS and len(part) > 1:
            found.others.append(_OTHERS[kind])
        elif kind in _READERS:
            _READERS[kind](found, part)
            found.whole |= _PART_OF.get(kind, set())


def _take_bootstrap(found: Dumped, value: dict[str, Any]) -> None:
    found.bootstrap = {key: member for key, member in value.items() if key != "@type"}


def _take_bootstrap_dump(found: Dumped, value: dict[str, Any]) -> None:
    bootstrap = value.get("bootstrap")
    if isinstance(bootstrap, dict):
        _take_bootstrap(found, bootstrap)


def _take_listeners_dump(found: Dumped, value: dict[str, Any]) -> None:
    for entry in items_of(proto_field(value, "static_listeners")):
        found.whole.add(_STATIC)
        _take_static(found, entry)
    entries = items_of(proto_field(value, "dynamic_listeners"))
    by_name: dict[str, dict[str, Any]] = {}
    for state in _STATES:
        for entry in items_of(proto_field(value, f"dynamic_{state}_listeners")):
            listener = _held(entry)
            listed = by_name.setdefault(_name(listener), {})
            listed.setdefault(f"{state}_state", {"listener": listener})
    for entry in (*entries, *by_name.values()):
        found.whole.add(_DYNAMIC)
        _take_dynamic(found, entry)


def _take_static(found: Dumped, value: dict[str, Any]) -> None:
    listener = _held(value)
    if isinstance(listener, dict):
        found.static.append(_plain(listener))
    else:
        found.remarks.append(("only named, a mask left out the config", _name(value) or "unnamed"))


def _held(entry: Any) -> Any:
    """Return the listener of an entry, or the entry where it is the listener itself."""
    return entry if proto_field(entry, "address") else proto_field(entry, "listener")


def _take_dynamic(found: Dumped, value: dict[str, Any]) -> None:
    held = {
        state: proto_field(proto_field(value, f"{state}_state"), "listener") for state in _STATES
    }
    there = [state for state in _STATES if isinstance(held[state], dict)]
    error = proto_field(value, "error_state")
    refused = proto_field(error, "failed_configuration")
    name = _name(value) or next((_name(held[state]) for state in there), _name(refused))
    serves = [state for state in there if state != "draining"]
    if serves:
        found.served.append(_plain(held[serves[0]]))
    remarks = {
        "warming (bound, and not yet listening), drafted as one that serves": there[:1]
        == ["warming"],
        "also warming, of which the active one is drafted": serves == ["active", "warming"],
        "draining, left out": there == ["draining"],
        "only named, a mask left out the config": not there and error is None,
    }
    found.remarks += [(remark, name or "unnamed") for remark, holds in remarks.items() if holds]
    if error is not None:
        details = str(proto_field(error, "details") or "").strip().partition("\n")[0]
        what = "a change that Envoy refused, left out" if serves else "refused by Envoy, left out"
        shown = f"{name or 'unnamed'} ({details[:120]})" if details else name or "unnamed"
        found.remarks.append((what, shown))


def _take_response(found: Dumped, value: dict[str, Any]) -> None:
    kind = str(proto_field(value, "type_url") or "")
    named = kind.endswith(".Listener")
    delta = ("system_version_info", "removed_resources", "removed_resource_names")
    pieces = _in_sequence(items_of(value.get("resources")), lambda _: "", named=named)
    if (kind and not named) or not (named or pieces):
        return
    for piece in pieces:
        _add(found, piece)
    found.whole, found.answers, found.answer = {_DYNAMIC}, 1, "full"
    if any(proto_field(value, field) is not None for field in delta):
        found.answer = "delta"
        found.removed = [str(name) for name in items_of(proto_field(value, "removed_resources"))]


def _take_listener(found: Dumped, value: dict[str, Any]) -> None:
    found.served.append(_plain(value))


def _plain(listener: dict[str, Any]) -> dict[str, Any]:
    plain = without_go_json(listener)
    return {key: member for key, member in plain.items() if key != "@type"}


_READERS: dict[str, Callable[[Dumped, dict[str, Any]], None]] = {
    "ConfigDump": _take_dump,
    _BOOTSTRAP: _take_bootstrap,
    "BootstrapConfigDump": _take_bootstrap_dump,
    "ListenersConfigDump": _take_listeners_dump,
    "StaticListener": _take_static,
    "DynamicListener": _take_dynamic,
    "DiscoveryResponse": _take_response,
    "DeltaDiscoveryResponse": _take_response,
    "Listener": _take_listener,
}


_FLAGS = frozenset(
    {"enable_reuse_port", "freebind", "transparent", "bind_to_port", "use_original_dst"}
)
_NUMBERS = frozenset(
    {
        *("tcp_backlog_size", "tcp_fast_open_queue_length"),
        *("keepalive_probes", "keepalive_time", "keepalive_interval"),
    }
)
#: Proto names, and those of proto JSON, begin with a small letter; fields of a struct do not.
_FIELD_OF_STRUCT = re.compile(r"[A-Z][A-Za-z0-9_]*")


def without_go_json(value: Any) -> Any:
    """Return a message as proto JSON has it, of one that may be Go's own JSON.

    Programs that print a message without protobuf's JSON (Emissary's snapshots, debug output) have
    a member for each oneof (`{"Address": {"SocketAddress": {…}}}`), an object for each wrapped
    value (`{"value": true}`, and `{}` for false or 0), and enums as numbers.

    Args:
        value: a listener, or a part of one; what is proto JSON already stays as it is.
    """
    if isinstance(value, list):
        return [without_go_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, member in value.items():
        if _FIELD_OF_STRUCT.fullmatch(str(key)) and isinstance(member, dict):
            found |= {_field(name): without_go_json(one) for name, one in member.items()}
        elif isinstance(member, dict) and set(member) <= {"value"} and key in _FLAGS | _NUMBERS:
            found[key] = member.get("value", False if key in _FLAGS else 0)
        else:
            found[key] = without_go_json(member)
    return found


def _field(name: str) -> str:
    """Return the proto name of a struct's field: `SocketAddress`, `BufValue`."""
    return proto_name(name).lstrip("_")
