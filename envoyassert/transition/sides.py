"""OLD and NEW of a change: their listeners, which answer by themselves, and where clients go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoyassert.addresses import Address
from envoyassert.naming import ListenerRecord
from envoyassert.predict.overload import BYPASS
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovered_listeners,
    discovered_names,
    items_of,
    proto_field,
    proto_name,
    static_listeners,
)
from envoyassert.scenario.overload import (
    MONITOR,
    REFRESH,
    STOP_ACCEPTING,
    monitor_of,
    stop_accepting,
)
from envoyassert.scenario.plan import RunPlan
from envoyassert.transition.answering import answering, protocol_at

#: Of a bootstrap: what asks servers, or needs what does.
_LEFT_OUT = (
    *("static_resources", "dynamic_resources", "cluster_manager", "hds_config", "tracing"),
    *("stats_config", "stats_sinks", "config_sources", "default_config_source", "xds_delegate"),
    *("xds_config_tracker_extension", "layered_runtime"),
)


@dataclass(frozen=True)
class Place:
    """Where clients go.

    Args:
        listener: the name of the listener.
        protocol: as `transition.answering.protocol_at` returns it.
        address: as configured.
        old, new: whether OLD has it, and NEW.
    """

    listener: str
    protocol: str
    address: Address
    old: bool
    new: bool

    @property
    def selector(self) -> dict[str, Any]:
        """The place in the words of a scenario."""
        address = self.address
        if address.path is not None:
            return {"path": address.path}
        if address.abstract is not None:
            return {"abstract": address.abstract}
        if address.port == 0:
            return {"name": self.listener, "port": 0, "address": address.host}
        protocol = "UDP" if self.protocol == "QUIC" else self.protocol
        netns = address.netns or "own"
        place = {"address": address.host, "port": address.port}
        return {**place, "protocol": protocol, "netns": netns}


@dataclass(frozen=True)
class Side:
    """One of the two configs: its listeners, which answer by themselves, and the rest of it.

    Args:
        plan: the run of it.
        listeners: by their names.
        rest: the bootstrap without them.
        replaced: whether filters of some are others than those of the config.
        bypasses: whether some bypass the overload manager in the config; here none does.
    """

    plan: RunPlan
    listeners: Mapping[str, dict[str, Any]]
    rest: dict[str, Any]
    replaced: bool
    bypasses: bool = False

    def config(self, overload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return its bootstrap, with all listeners in it.

        Args:
            overload: an overload manager in place of its own.
        """
        config = self.without_listeners(overload)
        config["static_resources"] = {"listeners": list(self.listeners.values())}
        return config

    def without_listeners(self, overload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return its bootstrap without listeners."""
        return {**self.rest, **({"overload_manager": overload} if overload else {})}

    def records(self, *, silent: bool = False) -> tuple[ListenerRecord, ...]:
        """Return its listeners; `silent` as `configured_listeners` takes it."""
        found = configured_listeners(self.config(), silent=silent)
        return tuple(one for one in found if one.kind != "admin")


def side_of(plan: RunPlan) -> Side:
    """Return one of the two configs, without what needs servers."""
    found = dict(static_listeners(plan.config))
    for content in plan.files.values():
        for name, one in discovered_names(plan.config, discovered_listeners(content)):
            found.setdefault(name, one)
    listeners = {name: answering(one, name) for name, one in found.items()}
    rest = {key: v for key, v in plan.config.items() if proto_name(key) not in _LEFT_OUT}
    layers = _plain_layers(plan.config)
    if layers:
        rest["layered_runtime"] = {"layers": layers}
    if admin_address(rest) is None:
        # By it Envoy says whether it is ready, and what it makes of an update.
        rest["admin"] = {"address": {"pipe": {"path": "${rundir}/admin.sock"}}}
    heeding = {name: _without_bypass(one, name) for name, one in found.items()}
    replaced = any(answering(one, name) != one for name, one in heeding.items())
    bypasses = any(heeding[name] != {**one, "name": name} for name, one in found.items())
    return Side(plan, listeners, rest, replaced, bypasses)


def _without_bypass(listener: Mapping[str, Any], name: str) -> dict[str, Any]:
    kept = {key: value for key, value in listener.items() if proto_name(key) != BYPASS}
    return {**kept, "name": name}


def _plain_layers(config: object) -> list[Any]:
    layers = items_of(proto_field(proto_field(config, "layered_runtime"), "layers"))
    return [layer for layer in layers if proto_field(layer, "rtds_layer") is None]


def places_of(before: Side, after: Side) -> Iterator[Place]:
    """Yield where clients of either go: an address of both once, by the listener of OLD."""
    found: dict[tuple[str, Address, str], Place] = {}
    for side in (before, after):
        for record in side.records():
            protocol = protocol_at(side.listeners[record.name])
            for address in record.addresses:
                kind = "UNIX" if not address.is_ip else "TCP" if protocol == "UNIX" else protocol
                # Each listener that leaves its port to the kernel has one of its own.
                owner = record.name if address.port == 0 else ""
                key = ("UDP" if kind == "QUIC" else kind, address, owner)
                if address.port == 0 and record.addresses.count(address) > 1:
                    continue  # which of them a client would reach is not known
                known = found.get(key)
                found[key] = Place(
                    known.listener if known else record.name,
                    kind,
                    address,
                    old=side is before or (known is not None and known.old),
                    new=side is after,
                )
    yield from found.values()


def overload_of(side: Side, pressed: bool) -> dict[str, Any] | None:
    """Return an overload manager under whose pressure no worker accepts; None if it cannot be."""
    own = proto_field(side.rest, "overload_manager") or {}
    monitors = items_of(proto_field(own, "resource_monitors"))
    actions = items_of(proto_field(own, "actions"))
    if any(proto_field(one, "name") == MONITOR for one in monitors):
        return None
    if any(proto_field(one, "name") == STOP_ACCEPTING for one in actions):
        return None
    monitor = monitor_of("${rundir}/pressure" if pressed else "${rundir}/calm")
    others = {k: v for k, v in own.items() if proto_name(k) != "refresh_interval"}
    return {
        **{k: v for k, v in others.items() if k not in ("resource_monitors", "actions")},
        "refresh_interval": REFRESH,
        "resource_monitors": [*monitors, monitor],
        "actions": [*actions, stop_accepting()],
    }
