"""What Envoy does with the sockets of a bootstrap config at its start, by the config alone.

Source: Envoy's listener_manager (ListenerManagerImpl::startWorkers) and its system calls as
recorded on 1.36.4 and 1.40.0, which do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.predict.conflicts import conflicts_within, is_never_bound, one_conflicts
from envoyassert.predict.deciding import INTERNAL, REVERSE_TUNNEL, has_extension
from envoyassert.predict.listener import LEVEL, file_of, held, sets_of, takes_one_worker
from envoyassert.predict.options import v6only
from envoyassert.predict.prediction import (
    LAST,
    LISTENERS,
    PROCESS,
    PredictError,
    Prediction,
    Unknown,
)
from envoyassert.predict.refusals import (
    duplicate_words,
    has_duplicate,
    has_resolver,
    is_compatible_alone,
    refusals_of,
    refusals_of_address,
    refusals_of_discovery,
    refusals_of_options,
    text_of,
    unsure_of_unbound,
)
from envoyassert.predict.shape import NEVER, Read, bootstrap_as_read, listeners_as_read
from envoyassert.predict.socket_options import (
    given_up,
    giving_up_words,
    is_unnamed,
    kernel_takes,
    socket_options_of,
)
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.scenario.listeners import (
    admin_address,
    asks_for_sockets,
    discovered_names,
    discovers_listeners,
    is_reverse_tunnel,
    items_of,
    proto_field,
    proto_flag,
    static_listeners,
)
from envoyassert.versions import satisfies

# A bootstrap has at least one of these.
_FIELDS = ("static_resources", "dynamic_resources", "admin", "node", "bootstrap_extensions")


def predict_start(
    config: Any,
    *,
    concurrency: int | None = None,
    version: str = "",
    served: Sequence[Any] = (),
    discovered: Sequence[Any] | None = None,
) -> Prediction:
    """Return what Envoy has made of the listeners of a bootstrap config when it has started.

    Args:
        config: the bootstrap as data.
        concurrency: Envoy's --concurrency; None for 2, or for 1 where Envoy takes no more.
        version: of Envoy; "" for any that is supported.
        served: listeners of its control plane.
        discovered: further ones, of the file that it names for LDS; None if it names a control
            plane of which nothing is known.

    Raises:
        PredictError: the config is none, or has a value of another type than Envoy reads there.
    """
    _refuse_other(config)
    fixed, sent = Read(), Read()
    config = bootstrap_as_read(config, fixed)
    static = static_listeners(config)
    theirs = listeners_as_read((*served, *(discovered or ())), version, sent)
    more: dict[str, Any] = {}
    for name, one in discovered_names(config, theirs):
        if name not in static:
            more.setdefault(name, one)
    if concurrency is None:
        bound = filter(asks_for_sockets, (*static.values(), *more.values()))
        concurrency = 1 if any(map(takes_one_worker, bound)) else 2
    found = _Start(config, max(1, concurrency), version)
    if fixed.requires and not satisfies(version or LAST, fixed.requires):
        found.refusals.append("has unknown fields")
    # One of a control plane, a version that does not know it takes no heed of.
    bounds = (fixed.requires, "" if version else sent.requires)
    requires = max(one for one in (*bounds, "") if one != NEVER)
    found.add(static, fatal=True)
    found.add(more, fatal=False)
    if discovers_listeners(config) and not served and discovered is None:
        found.unknown.append(Unknown("", LISTENERS, "listeners from LDS are not in the config"))
    if found.refusals:
        admin = admin_address(config) is not None
        said = tuple(dict.fromkeys(found.refusals))
        return Prediction(concurrency, (), admin=admin, requires=requires, refusals=said)
    sets = found.sets_when_started()
    with_sockets = {*(one.name for one in sets), *(one.listener for one in found.unknown)}
    prediction = Prediction(
        concurrency,
        sets,
        silent=tuple(name for name in (*static, *more) if name not in with_sockets),
        unknown=(*found.unknown, *_declined(sets)),
        admin=admin_address(config) is not None,
        requires=requires,
        left_out=found.left_out,
    )
    return replace(prediction, closed=not found.unknown and not prediction.split)


_WHETHER_TAKEN = "it is not known whether the kernel takes the option "


class _Start:
    """A start as far as it has come.

    Args:
        config: the bootstrap.
        workers: how many there are.
        version: of Envoy, "" for any that is supported.
    """

    def __init__(self, config: Any, workers: int, version: str) -> None:
        self._workers = workers
        self._version = version
        self._has_affinity = proto_flag(config, "enable_worker_cpu_affinity") is True
        self._has_internal = has_extension(config, INTERNAL)
        self._has_tunnels = has_extension(config, REVERSE_TUNNEL)
        self._admin = (*_admin(config),)
        #: The sockets of each listener before any of them listens, with its config.
        self._bound: dict[str, tuple[list[SocketSet], Any]] = {}
        self._taken: list[Any] = []
        self.left_out: dict[str, str] = {}
        self.unknown: list[Unknown] = []
        admin = proto_field(config, "admin")
        self.refusals = [
            *refusals_of_discovery(config),
            *refusals_of_options(proto_field(admin, "socket_options")),
            *refusals_of_address(proto_field(admin, "address")),
        ]

    def add(self, listeners: Mapping[str, Any], *, fatal: bool) -> None:
        """Take listeners as Envoy takes them: checked, made and bound one after the other.

        Args:
            listeners: their configs by their names.
            fatal: whether Envoy ends where it refuses one; else it goes on without.
        """
        for name, one in listeners.items():
            listener = one if self._has_affinity else _without_locality(one)
            said = [*refusals_of(listener, self._workers, self._version)]
            if proto_field(listener, "internal_listener") is not None and not self._has_internal:
                said.append("InternalListener bootstrap extension is mandatory")
            if self._lacks_tunnels(listener) and self._is_since_1_40:
                said.append("failed to create socket using custom interface")
            if any(has_duplicate(listener, other) for other in self._taken):
                said.append(duplicate_words(str(proto_field(listener, "name") or ""), listener))
            sets = [*sets_of(name, listener, self._workers)] if not said else []
            if asks_for_sockets(listener):
                said += self._not_bound(listener, sets)
            self.unknown += self._unsure(name, listener, sets)
            if said and fatal:
                self.refusals += said
            elif said:
                self.left_out[name] = said[0]
                continue
            self._taken.append(listener)
            self._bound[name] = (sets, listener)

    @property
    def _is_since_1_40(self) -> bool:
        return bool(self._version) and satisfies(self._version, ">=1.40")

    def _lacks_tunnels(self, listener: Any) -> bool:
        return is_reverse_tunnel(proto_field(listener, "address")) and not self._has_tunnels

    def _unsure(self, name: str, listener: Any, sets: Sequence[SocketSet]) -> Iterator[Unknown]:
        """Yield what keeps it open whether Envoy takes a listener."""
        early = [o for one in sets for o in one.options if o.phase != "listening"]
        strange = {f"{o.level}/{o.name}" for o in early if is_unnamed(o)}
        if strange:
            yield Unknown(name, PROCESS, _WHETHER_TAKEN + ", ".join(sorted(strange)))
        if proto_field(listener, "api_listener") is not None:
            why = "Envoy takes an API listener in builds with its extension alone"
            yield Unknown(name, PROCESS, why)
        more = items_of(proto_field(listener, "additional_addresses"))
        places = [proto_field(entry, "address") for entry in (listener, *more)]
        whys = {
            "Envoy takes another resolver in builds with it alone": any(
                has_resolver(place) and not is_reverse_tunnel(place) for place in places
            ),
            "Envoy before 1.40 may crash at a reverse tunnel without its extension": (
                self._lacks_tunnels(listener) and not self._is_since_1_40
            ),
            "Envoy may crash at a further address that is none": None in places[1:],
            "Envoy may crash at a further address of IPv6 that takes IPv4": any(
                map(is_compatible_alone, places[1:])
            ),
        }
        yield from (Unknown(name, PROCESS, why) for why, holds in whys.items() if holds)
        why = unsure_of_unbound(listener, self._version)
        if why:
            yield Unknown(name, PROCESS, why)

    def _not_bound(self, listener: Any, sets: Sequence[SocketSet]) -> Iterator[str]:
        """Yield why the sockets of a listener cannot be bound, or get an option until then."""
        udp = [one for sets, _ in self._bound.values() for one in sets if one.protocol == "UDP"]
        within = [*conflicts_within(sets)]
        for one in sets:
            if one in within or any(map(one_conflicts(one), (*self._admin, *udp))):
                yield f"cannot bind '{text_of(one.address)}': Address already in use"
            if is_never_bound(one):
                yield f"cannot bind '{text_of(one.address)}': Invalid argument"
            early = [option for option in one.options if option.phase != "listening"]
            flags = (proto_flag(listener, field) for field in ("transparent", "freebind"))
            unfit = not one.address.is_ip and True in flags
            if unfit or not all(kernel_takes(option, one) for option in early):
                yield "Setting socket options failed"

    def sets_when_started(self) -> tuple[SocketSet, ...]:
        """Return all sockets when those that are to listen do, one listener after the other."""
        found = [*self._admin]
        for name, (sets, listener) in self._bound.items():
            if not asks_for_sockets(listener):
                found += held(sets, listener)
                continue
            late = [o for one in sets for o in one.options if o.phase == "listening"]
            strange = {f"{o.level}/{o.name}" for o in late if is_unnamed(o)}
            if strange:
                why = _WHETHER_TAKEN + ", ".join(sorted(strange))
                self.unknown.append(Unknown(name, LISTENERS, why))
                continue
            found += given_up(sets, listener, found)
        return tuple(found)


def _declined(sets: Sequence[SocketSet]) -> Iterator[Unknown]:
    """Yield what is not known of sockets that are."""
    for one in sets:
        if not one.exact:
            why = "which options there are beside those that are named depends on the machine"
            yield Unknown(one.name, "only_options", why)
        if one.role == "worker_0":
            yield Unknown(one.name, LISTENERS, "one socket alone is where its address is bound")


def _refuse_other(config: object) -> None:
    """Raise PredictError for what is no bootstrap config."""
    remedy = "name a bootstrap, a trace or a dump"
    if not isinstance(config, dict):
        raise PredictError("an Envoy config is a mapping", remedy)
    if config and all(proto_field(config, field) is None for field in _FIELDS):
        raise PredictError(
            f"this is no Envoy bootstrap: it has none of {', '.join(_FIELDS)}", remedy
        )


def sets_of_listener(
    name: str, listener: object, workers: int, listening: Sequence[SocketSet] = ()
) -> tuple[SocketSet, ...]:
    """Return the sockets of one listener, per address, as Envoy leaves them at its start.

    Args:
        name: its name.
        listener: its config.
        workers: how many there are.
        listening: sockets that listen already.
    """
    mine = [*sets_of(name, listener, workers)]
    if not asks_for_sockets(listener):
        return tuple(held(mine, listener))
    return tuple(given_up(mine, listener, listening))


def words_of_giving_up(
    name: str, listener: object, workers: int, listening: Sequence[SocketSet] = ()
) -> str:
    """Return what Envoy says where it gives a listener up at its start, "" where it does not.

    Arguments as `sets_of_listener` takes them.
    """
    if not asks_for_sockets(listener):
        return ""
    return giving_up_words([*sets_of(name, listener, workers)], listener, listening)


def _without_locality(listener: Any) -> Any:
    """Return a listener without the balancer by CPU, which does nothing but with pinned workers."""
    balance = proto_field(listener, "connection_balance_config")
    if proto_field(balance, "cpu_locality_balance") is None:
        return listener
    fields = ("connection_balance_config", "connectionBalanceConfig")
    return {key: value for key, value in listener.items() if key not in fields}


def _admin(config: object) -> Iterator[SocketSet]:
    admin = proto_field(config, "admin")
    address = admin_address(config)
    if address is None:
        return
    place = proto_field(admin, "address")
    # Envoy applies the options of the admin endpoint before bind and at no other time.
    literal = socket_options_of(proto_field(admin, "socket_options"), "TCP", address.family)
    options = [
        *v6only(address, place),
        SocketOption("SOL_SOCKET", "SO_REUSEADDR", 1, "before_bind"),
        *(option for option in literal if option.phase == "before_bind"),
    ]
    yield SocketSet(
        name="admin",
        address=address,
        # Envoy takes no heed of the protocol that the address says.
        protocol="TCP" if address.is_ip else "UNIX",
        sockets=1,
        bound_by="main",
        descriptors=1,
        role="main",
        via="",
        mask=LEVEL,
        options=tuple(options),
        exact=True,
        listens=1,
        listen_by="main",
        backlog=-1,
        file=file_of(address, place),
    )
