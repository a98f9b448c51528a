"""What Envoy does with the sockets of a bootstrap config, by the config alone.

Source: Envoy's listener_manager (ListenerImpl::buildListenSocketOptions, ListenSocketFactoryImpl,
ListenerManagerImpl::startWorkers) and its system calls as recorded on 1.36.4 and 1.40.0, which do
the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.addresses import Address
from envoyassert.draft.expected import (
    Draft,
    DraftError,
    DraftOption,
    EnvoyField,
    SocketSet,
    addresses_of,
    namespace_fields,
)
from envoyassert.draft.socket_options import given_up, not_listening, socket_options_of
from envoyassert.scenario.absent import looked_up, source_names
from envoyassert.scenario.listeners import (
    NotWholeError,
    address_of,
    admin_address,
    asks_for_sockets,
    discovered_names,
    discovers_listeners,
    items_of,
    proto_field,
    proto_flag,
    proto_int,
    protocol_of,
    static_listeners,
)
from envoyassert.scenario.own_namespaces import own_names, with_own_namespaces

# A bootstrap has at least one of these.
_FIELDS = ("static_resources", "dynamic_resources", "admin", "node", "bootstrap_extensions")
# How Envoy registers what listens, and datagram sockets.
_LEVEL = ("EPOLLIN",)
_EDGE = ("EPOLLIN", "EPOLLOUT", "EPOLLET")
_KEEPALIVE = (
    ("keepalive_probes", "TCP_KEEPCNT"),
    ("keepalive_interval", "TCP_KEEPINTVL"),
    ("keepalive_time", "TCP_KEEPIDLE"),
)


def draft_of_config(
    config: Any,
    concurrency: int | None = None,
    served: Sequence[Any] | None = None,
    discovered: Sequence[Any] | None = None,
) -> Draft:
    """Return what Envoy does with the sockets of a bootstrap config.

    Args:
        config: the bootstrap as data.
        concurrency: Envoy's --concurrency; None for 2, or for 1 where Envoy takes no more.
        served: listeners that are served instead of its own control plane; None for none.
        discovered: listeners of the file that it names for LDS; None if that is not known.

    Raises:
        DraftError: the config is none.
    """
    _refuse_other(config)
    static = proto_field(config, "static_resources")
    given = [*items_of(proto_field(static, "listeners")), *(served or ())]
    names = own_names(given)
    placed = with_own_namespaces(config, names)
    listeners = static_listeners(placed)
    ignored = len(items_of(proto_field(static, "listeners"))) - len(listeners)
    theirs = with_own_namespaces([*(served or ())], names)
    for name, one in discovered_names(placed, (*theirs, *(discovered or ()))):
        listeners.setdefault(name, one)
    if concurrency is None:
        bound = filter(asks_for_sockets, listeners.values())
        concurrency = 1 if any(map(_takes_one_worker, bound)) else 2
    sets = [*_admin(config), *_sets_of_all(listeners, max(1, concurrency))]
    asked = source_names(config)
    known = served is not None or discovered is not None or "lds_config" in asked
    discovers = discovers_listeners(config) and not known
    outside = [one.name for one in sets if one.role == "worker_0"]
    closed = not discovers and not outside
    without = len(set(listeners) - {one.name for one in sets})
    return Draft(
        concurrency,
        tuple(sets),
        closed=closed,
        admin=admin_address(config) is not None,
        requires=">=1.37" if any(map(_names_keepalive, (*given, *(discovered or ())))) else "",
        notes=tuple(_notes(config, ignored, discovers)),
        silences=tuple(_silences(without, outside, closed)),
        envoy=(*_control_plane(asked, served), *namespace_fields(sets, names), *addresses_of(sets)),
    )


def _refuse_other(config: object) -> None:
    """Raise DraftError for what is no bootstrap config."""
    remedy = "name a bootstrap, a trace or a dump"
    if not isinstance(config, dict):
        raise DraftError("an Envoy config is a mapping", remedy)
    if config and all(proto_field(config, field) is None for field in _FIELDS):
        raise DraftError(f"this is no Envoy bootstrap: it has none of {', '.join(_FIELDS)}", remedy)


def _sets_of_all(listeners: Mapping[str, object], workers: int) -> Iterator[SocketSet]:
    """Yield the sockets of all listeners, by their names, as Envoy leaves them at its start."""
    for name, listener in listeners.items():
        try:
            mine = [*_sets_of(name, listener, workers)]
        except NotWholeError as error:
            raise DraftError(
                f"a field of listener {name} is a whole number to Envoy, and {error}",
                "Envoy refuses this config",
            ) from error
        yield from given_up(mine, listener) if asks_for_sockets(listener) else _held(mine, listener)


def _notes(config: dict[str, object], ignored: int, discovers: bool) -> Iterator[str]:
    """Yield what the config has, and the draft has not."""
    if ignored:
        yield f"{ignored} of the listeners have the name of one before: Envoy ignores them"
    if discovers:
        yield "listeners from LDS are not in the config: draft from a trace to have them"
    hosts = looked_up(config)
    if hosts:
        yield f"names that no cluster finds in the run's own network: {', '.join(hosts)}"


def _silences(without: int, outside: Sequence[str], closed: bool) -> Iterator[str]:
    """Yield of which sockets no expectation says anything.

    Args:
        without: how many listeners have no socket.
        outside: names of those of which one worker alone has its socket where they are bound.
        closed: whether the draft says that there are no other sockets.
    """
    if without:
        says_so = ": no_others says so" if closed else ""
        yield f"{without} of the listeners must have no socket{says_so}"
    if outside:
        yield (
            f"Envoy puts one socket of {', '.join(outside)} into the network namespace, and no "
            "expectation is about the others"
        )


def _control_plane(asked: Sequence[str], served: Sequence[object] | None) -> Iterator[EnvoyField]:
    """Yield what takes the place of the servers that a config asks."""
    if served is not None:
        why = "what the dump has, instead of the config's own lds_config; filters echo"
        yield EnvoyField("xds", {"via": "file", "listeners": list(served)}, why)
        asked = [name for name in asked if name != "lds_config"]
    if asked:
        why = f"no server: {', '.join(asked)} answered with nothing"
        more = " (--with DUMP serves a dump's listeners)" if "lds_config" in asked else ""
        yield EnvoyField("control_plane", "empty", why + more)


def _admin(config: object) -> Iterator[SocketSet]:
    admin = proto_field(config, "admin")
    address = admin_address(config)
    if address is None:
        return
    place = proto_field(admin, "address")
    # Envoy applies the options of the admin endpoint before bind and at no other time.
    literal = socket_options_of(proto_field(admin, "socket_options"), "TCP")
    options = [
        *_v6only(address, place),
        DraftOption("SOL_SOCKET", "SO_REUSEADDR", 1, "before_bind"),
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
        mask=_LEVEL,
        options=tuple(options),
        exact=True,
        listens=1,
        listen_by="main",
        backlog=-1,
        file=_file(address, place),
    )


def _reuses_port(listener: object) -> bool:
    """Whether each worker has a socket; the deprecated field can only switch that on."""
    return proto_flag(listener, "enable_reuse_port") is not False


def _takes_one_worker(listener: object) -> bool:
    """Whether Envoy refuses more than one worker: of UDP without SO_REUSEPORT."""
    place = proto_field(listener, "address")
    address = address_of(place)
    is_udp = address is not None and protocol_of(address, place) == "UDP"
    return is_udp and not _reuses_port(listener)


def _sets_of(name: str, listener: object, workers: int) -> Iterator[SocketSet]:
    more = items_of(proto_field(listener, "additional_addresses"))
    for entry in (listener, *more):
        place = proto_field(entry, "address")
        address = address_of(place)
        if address is None:
            continue
        protocol = protocol_of(address, place)
        reuse = _reuses_port(listener) and protocol != "UNIX"
        sockets = workers if reuse else 1
        options = tuple(_options(listener, entry, address, protocol, sockets if reuse else 0))
        balance = proto_field(listener, "connection_balance_config")
        # With some bootstraps this balancer attaches a packet filter.
        exact = proto_field(balance, "cpu_locality_balance") is None
        mapped = address.port == 0 and address.unmapped != address
        late = any(o.phase == "bound" and o.level == "IPPROTO_IPV6" for o in options)
        if mapped and (sockets > 1 or protocol == "UDP" or late):
            # The first socket is bound to the mapped address, and the options that it gets then,
            # as the other sockets, are those of the address that it maps.
            exact, options = False, tuple(o for o in options if o.level == "SOL_SOCKET")
        if protocol == "TCP" and proto_flag(listener, "enable_mptcp") is True:
            protocol = "MPTCP"
        backlog = proto_field(listener, "tcp_backlog_size")
        is_udp = protocol == "UDP"
        found = SocketSet(
            name=name,
            address=address,
            protocol=protocol,
            sockets=sockets,
            bound_by="main",
            descriptors=workers,
            role="workers",
            via=_via(options, sockets, workers),
            mask=_EDGE if is_udp else _LEVEL,
            options=options,
            exact=exact,
            listens=None if is_udp else workers,
            listen_by="main",
            backlog=None if is_udp else proto_int(backlog) if backlog is not None else -1,
            file=_file(address, place),
        )
        if _leaves_namespace(found):
            # Envoy asks for a port in the namespace, and binds the other sockets to it in its own.
            listens = None if is_udp else 1
            found = replace(
                found, sockets=1, descriptors=1, role="worker_0", via="", listens=listens
            )
        yield found


def _leaves_namespace(found: SocketSet) -> bool:
    return found.address.port == 0 and bool(found.address.netns) and found.sockets > 1


def _held(sets: Sequence[SocketSet], listener: object) -> Iterator[SocketSet]:
    """Yield the Unix sockets of a listener with `bind_to_port: false`: bound, and left so."""
    if proto_field(listener, "internal_listener") is None:
        nothing: tuple[str, ...] = ()
        for one in filter(lambda one: one.protocol == "UNIX", sets):
            held = not_listening(one)
            yield replace(held, role="none", via="", mask=nothing, backlog=None, listen_by="")


def _via(options: tuple[DraftOption, ...], sockets: int, workers: int) -> str:
    """Return how the sockets reach the workers; an option of the user's own may have it changed."""
    early = [o for o in options if o.name == "SO_REUSEPORT" and o.phase == "before_bind"]
    together = bool(early and early[-1].value)
    if together == (sockets > 1) or workers == 1:
        return "reuse_port" if together else "dup"
    return ""


def _file(address: Address, place: object) -> tuple[bool, str] | None:
    """Return what is done to the file of a path: removed before bind, and given a mode."""
    if address.path is None:
        return None
    mode = proto_int(proto_field(proto_field(place, "pipe"), "mode") or 0)
    return True, f"{mode:04o}" if mode else "umask"


def _options(
    listener: Any, entry: Any, address: Address, protocol: str, group: int
) -> Iterator[DraftOption]:
    """Yield what is set on each socket; `group` is how many share the port by SO_REUSEPORT."""
    own = proto_field(entry, "socket_options")
    if entry is not listener and own is not None:
        literal = list(socket_options_of(proto_field(own, "socket_options"), protocol))
    else:
        literal = list(socket_options_of(proto_field(listener, "socket_options"), protocol))
    if protocol == "UNIX":
        # Envoy sets none before it binds a path or a name, and says nothing of it.
        yield from (option for option in literal if option.phase != "before_bind")
        return
    v6 = address.family == "AF_INET6"
    level, prefix = ("IPPROTO_IPV6", "IPV6") if v6 else ("IPPROTO_IP", "IP")
    transparent = proto_flag(listener, "transparent") is True
    yield from _v6only(address, proto_field(entry, "address"))
    if protocol == "TCP":
        yield DraftOption("SOL_SOCKET", "SO_REUSEADDR", 1, "before_bind")
    if transparent:
        yield DraftOption(level, f"{prefix}_TRANSPARENT", 1, "before_bind")
    if proto_flag(listener, "freebind") is True:
        yield DraftOption(level, f"{prefix}_FREEBIND", 1, "before_bind")
    if group:
        yield DraftOption("SOL_SOCKET", "SO_REUSEPORT", 1, "before_bind")
    if protocol != "UDP":
        yield from _keepalive(listener, entry)
    if transparent:
        yield DraftOption(level, f"{prefix}_TRANSPARENT", 1, "bound")
    if protocol == "UDP":
        # Nothing listens, so what is to be set after listen is not set at all.
        yield from (option for option in literal if option.phase != "listening")
        yield from _udp(listener, entry, prefix, group)
    else:
        yield from literal
    queue = proto_field(listener, "tcp_fast_open_queue_length")
    if queue is not None and protocol == "TCP":
        yield DraftOption("IPPROTO_TCP", "TCP_FASTOPEN", proto_int(queue), "listening")


def _udp(listener: object, entry: object, prefix: str, group: int) -> Iterator[DraftOption]:
    families = [prefix]
    if _is_compatible(proto_field(entry, "address")):
        families.append("IP")  # an IPv6 socket that takes IPv4 as well needs both
    level = {"IP": "IPPROTO_IP", "IPV6": "IPPROTO_IPV6"}
    for family in families:
        yield DraftOption(level[family], f"{family}_MTU_DISCOVER", 2, "before_bind")
    info = "IPV6_RECVPKTINFO" if prefix == "IPV6" else "IP_PKTINFO"
    yield DraftOption(level[prefix], info, 1, "bound")
    yield DraftOption("SOL_SOCKET", "SO_RXQ_OVFL", 1, "bound")
    yield DraftOption("IPPROTO_UDP", "UDP_GRO", 1, "bound")
    quic = proto_field(proto_field(listener, "udp_listener_config"), "quic_options")
    if quic is None:
        return
    if group > 1:
        # The filter sends each connection to its worker, so it differs with their number.
        yield DraftOption("SOL_SOCKET", "SO_ATTACH_REUSEPORT_CBPF", None, "bound")
    for family in families:
        tos = "IPV6_RECVTCLASS" if family == "IPV6" else "IP_RECVTOS"
        yield DraftOption(level[family], tos, 1, "bound")


def _keepalive(listener: object, entry: object) -> Iterator[DraftOption]:
    """Yield what keepalive sets: nothing at all if one of its fields is 0."""
    keepalive = proto_field(entry, "tcp_keepalive")
    if keepalive is None:
        keepalive = proto_field(listener, "tcp_keepalive")
    if keepalive is None:
        return
    values = {name: proto_field(keepalive, field) for field, name in _KEEPALIVE}
    given = {name: proto_int(value) for name, value in values.items() if value is not None}
    if all(given.values()):
        yield DraftOption("SOL_SOCKET", "SO_KEEPALIVE", 1, "before_bind")
        for name, value in given.items():
            yield DraftOption("IPPROTO_TCP", name, value, "before_bind")


def _names_keepalive(listener: object) -> bool:
    """Whether a listener has the field for keepalive, which Envoy does not know before 1.37."""
    more = items_of(proto_field(listener, "additional_addresses"))
    return any(proto_field(entry, "tcp_keepalive") is not None for entry in (listener, *more))


def _v6only(address: Address, place: object) -> Iterator[DraftOption]:
    if address.family == "AF_INET6":
        only = 0 if _is_compatible(place) else 1
        yield DraftOption("IPPROTO_IPV6", "IPV6_V6ONLY", only, "before_bind")


def _is_compatible(place: object) -> bool:
    return proto_flag(proto_field(place, "socket_address"), "ipv4_compat") is True
