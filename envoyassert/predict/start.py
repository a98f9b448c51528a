"""What Envoy does with the sockets of a bootstrap config at its start, by the config alone.

Source: Envoy's listener_manager (ListenerManagerImpl::startWorkers) and its system calls as
recorded on 1.36.4 and 1.40.0, which do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.predict.listener import LEVEL, file_of, held, sets_of, takes_one_worker
from envoyassert.predict.options import names_keepalive, v6only
from envoyassert.predict.prediction import LISTENERS, PredictError, Prediction, Unknown
from envoyassert.predict.socket_options import given_up, socket_options_of
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.scenario.listeners import (
    NotWholeError,
    admin_address,
    asks_for_sockets,
    discovered_names,
    discovers_listeners,
    items_of,
    proto_field,
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
        PredictError: the config is none, or has a number that is none.
    """
    _refuse_other(config)
    listeners = static_listeners(config)
    theirs = (*served, *(discovered or ()))
    given = (*items_of(proto_field(proto_field(config, "static_resources"), "listeners")), *theirs)
    for name, one in discovered_names(config, theirs):
        listeners.setdefault(name, one)
    if concurrency is None:
        bound = filter(asks_for_sockets, listeners.values())
        concurrency = 1 if any(map(takes_one_worker, bound)) else 2
    requires = ">=1.37" if any(map(names_keepalive, given)) else ""
    if version and requires and not satisfies(version, requires):
        return Prediction(concurrency, (), refused="no such field: 'tcp_keepalive'")
    sets = (*_admin(config), *_sets_of_all(listeners, max(1, concurrency)))
    unknown = []
    if discovers_listeners(config) and not served and discovered is None:
        unknown.append(Unknown("", LISTENERS, "listeners from LDS are not in the config"))
    with_sockets = {one.name for one in sets}
    found = Prediction(
        concurrency,
        sets,
        silent=tuple(name for name in listeners if name not in with_sockets),
        unknown=tuple(unknown),
        admin=admin_address(config) is not None,
        requires=requires,
    )
    return replace(found, closed=not unknown and not found.split)


def _refuse_other(config: object) -> None:
    """Raise PredictError for what is no bootstrap config."""
    remedy = "name a bootstrap, a trace or a dump"
    if not isinstance(config, dict):
        raise PredictError("an Envoy config is a mapping", remedy)
    if config and all(proto_field(config, field) is None for field in _FIELDS):
        raise PredictError(
            f"this is no Envoy bootstrap: it has none of {', '.join(_FIELDS)}", remedy
        )


def _sets_of_all(listeners: Mapping[str, object], workers: int) -> Iterator[SocketSet]:
    """Yield the sockets of all listeners, by their names, as Envoy leaves them at its start."""
    for name, listener in listeners.items():
        yield from sets_of_listener(name, listener, workers)


def sets_of_listener(name: str, listener: object, workers: int) -> tuple[SocketSet, ...]:
    """Return the sockets of one listener, per address, as Envoy leaves them at its start.

    Args:
        name: its name.
        listener: its config.
        workers: how many there are.

    Raises:
        PredictError: the config has a number that is none.
    """
    try:
        mine = [*sets_of(name, listener, workers)]
    except NotWholeError as error:
        raise PredictError(
            f"a field of listener {name} is a whole number to Envoy, and {error}",
            "Envoy refuses this config",
        ) from error
    found = given_up(mine, listener) if asks_for_sockets(listener) else held(mine, listener)
    return tuple(found)


def _admin(config: object) -> Iterator[SocketSet]:
    admin = proto_field(config, "admin")
    address = admin_address(config)
    if address is None:
        return
    place = proto_field(admin, "address")
    # Envoy applies the options of the admin endpoint before bind and at no other time.
    literal = socket_options_of(proto_field(admin, "socket_options"), "TCP")
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
