"""What a scenario needs, as far as its file says: capabilities, and places its clients can go to.

Envoy has the capabilities that its sockets need, and no others. Sources: capabilities(7),
socket(7), ip(7), network_namespaces(7), and `sockopt_capable` and `ns_capable` in net/core/sock.c,
net/ipv4 and net/ipv6 of Linux 6.18.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from envoyassert.errors import ScenarioError
from envoyassert.names import OPTIONS, level_name, option_name
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.complaint import Complaint
from envoyassert.scenario.destination import (
    DestinationError,
    ListenerPlace,
    configured_places,
    destination,
)
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import (
    configured_listeners,
    discovers_listeners,
    items_of,
    proto_field,
    proto_flag,
    proto_int,
    proto_name,
)
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.own_namespaces import MADE
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import Step
from envoyassert.steps.registry import limits_at_launch

BIND = "CAP_NET_BIND_SERVICE"
_ADMIN, _RAW, _SYS = "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"
#: net.ipv4.ip_unprivileged_port_start of a new network namespace.
PORT_START = 1024
#: Options that the kernel does not let everybody set.
_PRIVILEGED = {
    **dict.fromkeys(
        ("SO_DEBUG", "SO_SNDBUFFORCE", "SO_RCVBUFFORCE", "SO_MARK", "SO_RCVMARK", "SO_TXTIME",
         "SO_BUSY_POLL", "SO_PREFER_BUSY_POLL", "SO_BUSY_POLL_BUDGET", "IP_IPSEC_POLICY",
         "IP_XFRM_POLICY", "IPV6_IPSEC_POLICY", "IPV6_XFRM_POLICY", "IPV6_FLOWLABEL_MGR",
         "TCP_CONGESTION", "TCP_REPAIR", "TCP_REPAIR_QUEUE", "TCP_QUEUE_SEQ", "TCP_REPAIR_OPTIONS",
         "TCP_REPAIR_WINDOW", "TCP_TIMESTAMP"),
        (_ADMIN,),
    ),
    **dict.fromkeys(
        ("IP_TRANSPARENT", "IPV6_TRANSPARENT", "IPV6_HOPOPTS", "IPV6_RTHDR", "IPV6_RTHDRDSTOPTS",
         "IPV6_DSTOPTS", "IPV6_2292HOPOPTS", "IPV6_2292RTHDR", "IPV6_2292DSTOPTS"),
        (_RAW,),
    ),
}  # fmt: skip
#: socket(7): a higher priority is not for everybody.
_FREE_PRIORITY = 6


@dataclass(frozen=True, order=True)
class Need:
    """A capability that Envoy needs.

    Args:
        capability: `CAP_…`, as capabilities(7) names it.
        why: what needs it: `port 80`.
    """

    capability: str
    why: str


def needs_of(plan: RunPlan) -> tuple[Need, ...]:
    """Return which capabilities a run's config needs, those of later updates among them, in order.

    What only a control plane elsewhere knows is not in it.
    """
    found: set[Need] = set()
    start = limits_at_launch(plan.steps).get("port_start", PORT_START)
    changed = listeners_of_steps(plan.steps, plan.config, plan.files)
    for record in (*plan.listeners, *plan.later, *changed):
        for address in record.addresses:
            # Where the sysctl is set is Envoy's own network alone.
            first = PORT_START if address.netns else start
            if address.is_ip and 0 < (address.port or 0) < first:
                found.add(Need(BIND, f"port {address.port}"))
    for part in _parts(plan):
        found |= set(_of_data(part))
    return tuple(sorted(found))


def capabilities_of(needs: Iterable[Need]) -> tuple[str, ...]:
    """Return the capabilities, each once."""
    return tuple(dict.fromkeys(need.capability for need in needs))


def _parts(plan: RunPlan) -> Iterator[object]:
    """Yield all that Envoy is given, as data."""
    yield plan.config
    files = [*plan.files.items()]
    for step in plan.steps:
        yield from step.parts()
        files += step.files().items()
    for name, content in files:
        if not isinstance(content, str):
            yield content
        elif "envoy." in content:
            try:
                yield parse_envoy_file(content, name).data
            except ScenarioError:
                continue  # no config


def _of_data(value: object) -> Iterator[Need]:
    """Yield what a part of a config needs, and all in it."""
    if isinstance(value, list):
        for one in value:
            yield from _of_data(one)
    if not isinstance(value, dict):
        return
    if proto_flag(value, "transparent") is True:
        yield Need(_RAW, "transparent")
    if proto_field(value, "network_namespace_filepath"):
        yield Need(_SYS, "network_namespace_filepath")
    if proto_flag(value, "use_original_src_ip") is True:
        yield Need(_RAW, "use_original_src_ip")
    if str(value.get("@type", "")).endswith(".original_src.v3.OriginalSrc"):
        yield Need(_ADMIN, "original_src")
    for key, member in value.items():
        if proto_name(str(key)) == "socket_options":
            # One message is a list of one to protobuf.
            for option in items_of(member) or [member]:
                if proto_field(option, "name") is not None:
                    yield from _of_option(option)
        yield from _of_data(member)


def _of_option(option: object) -> Iterator[Need]:
    """Yield what setting a socket option needs; of one that is not known here, what any could."""
    try:
        level = level_name(proto_int(proto_field(option, "level") or 0))
        name = option_name(level, proto_int(proto_field(option, "name") or 0))
    except (TypeError, ValueError):
        return  # Envoy refuses it
    if name == "SO_PRIORITY":
        try:
            free = proto_int(proto_field(option, "int_value") or 0) <= _FREE_PRIORITY
        except (TypeError, ValueError):
            free = False
        needed: tuple[str, ...] = () if free else (_ADMIN,)
    elif name in OPTIONS.get(str(level), {}).values():
        needed = _PRIVILEGED.get(str(name), ())
    else:
        needed = (_ADMIN, _RAW)
    for capability in needed:
        yield Need(capability, name if isinstance(name, str) else f"option {level}/{name}")


def client_complaints(
    scenario: Scenario,
    config: dict[str, object],
    files: Mapping[str, object],
    later: Sequence[ListenerRecord],
) -> Iterator[Complaint]:
    """Yield which clients cannot be sent where the scenario says.

    Args:
        scenario: the scenario.
        config: bootstrap of the run after all overlays.
        files: files of the run by name, text or data.
        later: the listeners of all updates.
    """
    if not scenario.steps:
        return
    listeners = configured_listeners(config, files)
    changed = (*later, *listeners_of_steps(scenario.steps, config, files))
    records = (*listeners, *changed)
    known = not discovers_listeners(config) or any(record.kind == "lds" for record in records)
    places = [*configured_places(records), *redirected_places(scenario.steps)]
    names = dict.fromkeys(record.name for record in records)  # in the order of the config
    for path, selector in _selectors(scenario.steps):
        yield from _unmade(path, selector, [one.name for one in scenario.envoy.namespaces])
        try:
            destination(selector, places, names)
        except DestinationError as error:
            # What is added, removed or moved during the run may leave one address.
            if known and not (error.ambiguous and changed):
                yield Complaint(path, error.message, error.remedy)


def redirected_places(steps: Sequence[Step]) -> Iterator[ListenerPlace]:
    """Yield the addresses whose clients are redirected: as if a listener of TCP were there."""
    for step in steps:
        yield from step.redirections()


def _selectors(steps: Sequence[Step]) -> Iterator[tuple[tuple[str | int, ...], Selector]]:
    """Yield place and selector of all that sends clients."""
    for index, step in enumerate(steps):
        for path, selector in step.selectors():
            yield ("steps", index, *path), selector


def _unmade(
    path: tuple[str | int, ...], selector: Selector, made: Sequence[str]
) -> Iterator[Complaint]:
    netns = selector.netns or ""
    name = netns[len(MADE) :]
    if netns.startswith(MADE) and name not in made:
        remedy = f"add it to `envoy.netns`, which has: {', '.join(made) or 'none'}"
        yield Complaint((*path, "netns"), f"no network namespace `{name}` is made", remedy, True)


def listeners_of_steps(
    steps: Sequence[Step], config: dict[str, object], files: Mapping[str, object]
) -> Iterator[ListenerRecord]:
    """Yield the listeners that come with files that steps replace, and with further Envoys."""
    for step in steps:
        with contextlib.suppress(OverlayError):  # a problem of that step
            for one, its_files in step.configs(config, files):
                yield from configured_listeners(one, its_files)
