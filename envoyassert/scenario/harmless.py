"""What of Envoy's config an untrusted scenario may use: a list of what is known to be harmless.

Envoy runs what its config says: it loads libraries, runs scripts, writes files, enters network
namespaces. So nothing is looked for that does harm. A config is followed message by message, by
Envoy's schema: an extension, or a field, that is not in the list (`harmless.txt`) is refused,
whatever Envoy would make of it. The fields of files and addresses are looked at one by one.

The list is written by `tests/unit/harmless_messages.py`, which says what was left out, and why.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from envoyassert.scenario.listeners import proto_name
from envoyassert.scenario.own_namespaces import MADE as OWN_NETNS
from envoyassert.scenario.xds import DIRECTORY, LISTENER_URL

#: The list: a message in each line, and its fields.
FILE = Path(__file__).with_name("harmless.txt")
HEAD = (
    "# Written by `python -m tests.unit.harmless_messages`. Behind the name of a field: nothing if",
    "# it is plain, =MESSAGE, @ an extension, ? free data, * a map of these.",
)
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"
LISTENER = LISTENER_URL.rpartition("/")[2]

RUNDIR = "${rundir}"
_CORE = "envoy.config.core.v3."
#: Fields that name what Envoy reads: data, or answers of a control plane.
_READ = {
    f"{_CORE}DataSource.filename",
    f"{_CORE}WatchedDirectory.path",
    "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig.filename",
}
_SOURCES = {f"{_CORE}ConfigSource.path", f"{_CORE}PathConfigSource.path"}
#: Fields that name what Envoy writes.
_WRITTEN = {
    f"{_CORE}HealthCheck.event_log_path",
    "envoy.config.bootstrap.v3.Admin.access_log_path",
    "envoy.config.bootstrap.v3.Admin.profile_path",
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection.event_log_path",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog.path",
    "envoy.extensions.transport_sockets.tls.v3.TlsKeyLog.path",
}
_PIPE = f"{_CORE}Pipe.path"
_NETNS = f"{_CORE}SocketAddress.network_namespace_filepath"
_HOST = f"{_CORE}SocketAddress.address"
#: Fields that hold an address that Envoy binds; any other is one that it connects to.
_BOUND = {
    "envoy.config.bootstrap.v3.Admin.address",
    "envoy.config.listener.v3.AdditionalAddress.address",
    "envoy.config.listener.v3.Listener.address",
    f"{_CORE}BindConfig.source_address",
    f"{_CORE}ExtraSourceAddress.address",
}
_OUTPUTS = ("/dev/null", "/dev/stderr", "/dev/stdout")
#: How a file's name ends that Envoy would read as config.
CONFIG_SUFFIXES = (".json", ".yaml", ".yml")
_OTHER_CONFIG = (".pb", ".pb_length_delimited", ".pb_text")
#: Places in the run directory that are not the scenario's.
_NOT_THEIRS = (DIRECTORY, "netns")
#: A switch of Envoy's that has extensions taken by their names, without a type.
_BY_NAME = "no_extension_lookup_by_name"

_NAME = re.compile(r"\w+")
_TRUST = "leave it out, or run what you trust without --untrusted"
_INSIDE = "name a file of it, `${rundir}/…`, or let `envoy.stand_in` take its place"
_REMEDIES = {
    "api_config_source": "`envoy.control_plane: empty` answers it, or `envoy.xds` serves listeners",
    "grpc_services": "`envoy.xds` serves listeners instead of a server",
}


class Refusal(NamedTuple):
    """Something that an untrusted scenario may not say.

    Args:
        path: where in the data that was looked at.
        value: what stands there.
        message: what is wrong.
        remedy: what to write instead.
    """

    path: tuple[str | int, ...]
    value: Any
    message: str
    remedy: str


@functools.cache
def messages() -> Mapping[str, Mapping[str, str]]:
    """Return the fields of each harmless message, by its name, with what is in them."""
    found = {}
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, _, words = line.partition(":")
        found[name] = {_NAME.findall(word)[0]: word for word in words.split()}
    return found


@dataclass(eq=False, repr=False)
class Inspection:
    """Looks at the config of one run.

    Args:
        hosts: addresses that the run's own network has, besides those of the loopback.
        sources: what was found of files that Envoy reads as config, by name in the run directory,
            with where it is named.
        read: the same of all other files and directories that it reads.
    """

    hosts: Collection[str] = ()
    sources: dict[str, tuple[tuple[str | int, ...], str]] = field(default_factory=dict)
    read: dict[str, tuple[tuple[str | int, ...], str]] = field(default_factory=dict)

    def refusals(
        self, value: object, message: str, path: tuple[str | int, ...] = (), *, bound: bool = False
    ) -> Iterator[Refusal]:
        """Yield what is refused of a message, or of a list of them.

        Args:
            value: the message as data.
            message: the name of its type.
            path: where it is.
            bound: whether an address in it is one that Envoy binds.
        """
        if isinstance(value, list):
            for index, element in enumerate(value):
                yield from self.refusals(element, message, (*path, index), bound=bound)
            return
        if value is None:
            return
        if not isinstance(value, dict):
            yield Refusal(path, value, f"`{_short(value)}` stands where a message does", _TRUST)
            return
        fields = messages()[message]
        for key, member in value.items():
            place = (*path, key)
            name = proto_name(str(key))
            if key == "@type" and path:  # looked at by whoever came here
                continue
            word = fields.get(name)
            if word is None:
                remedy = _REMEDIES.get(name, _TRUST)
                yield Refusal(place, member, f"`{key}` is not known to be harmless", remedy)
                continue
            full = f"{message}.{name}"
            yield from self._member(member, word[len(name) :], full, place, bound=bound)

    def _member(
        self, value: object, word: str, full: str, path: tuple[str | int, ...], *, bound: bool
    ) -> Iterator[Refusal]:
        """Yield what is refused of a field's value."""
        if word.startswith("*"):
            for key, member in value.items() if isinstance(value, dict) else ():
                yield from self._member(member, word[1:], full, (*path, key), bound=False)
        elif word == "@":
            yield from self.extension(value, path)
        elif word == "?":
            yield from _free(value, path)
        elif word:
            yield from self.refusals(value, word[1:], path, bound=bound or full in _BOUND)
        else:
            yield from self._plain(value, full, path, bound=bound)

    def extension(
        self, value: object, path: tuple[str | int, ...], default: str = ""
    ) -> Iterator[Refusal]:
        """Yield what is refused of extensions or resources, which name their types.

        Args:
            value: one, or a list of them.
            path: where it is.
            default: the type of what names none.
        """
        if isinstance(value, list):
            for index, element in enumerate(value):
                yield from self.extension(element, (*path, index), default)
            return
        if value is None:
            return
        url = value.get("@type", default) if isinstance(value, dict) else None
        kind = str(url).rpartition("/")[2]
        if kind not in messages():
            place = (*path, "@type") if isinstance(value, dict) and "@type" in value else path
            what = f"`{kind}` is not known to be harmless" if url else "an extension without a type"
            yield Refusal(place, url or value, what, _TRUST)
            return
        yield from self.refusals(value, kind, path or ("",))

    def _plain(
        self, value: Any, full: str, path: tuple[str | int, ...], *, bound: bool
    ) -> Iterator[Refusal]:
        if isinstance(value, dict):
            yield Refusal(path, value, f"`{path[-1]}` holds what it cannot", _TRUST)
            return
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                continue
            if full in _SOURCES:
                self.sources.setdefault(own_name(text), (path, text))
            elif full in _READ:
                self.read.setdefault(own_name(text), (path, text))
            what = self._fault(text, full, bound=bound)
            if what:
                yield Refusal(path, value, *what)

    def _fault(self, text: str, full: str, *, bound: bool) -> tuple[str, str] | None:
        """Return what is wrong with the text of a field, and the remedy."""
        if full == _HOST:
            if bound or self._is_own(text):
                return None
            remedy = "name 127.0.0.1, or give it to the run's own network by `envoy.addresses`"
            return f"`{text}` is not on the loopback", remedy
        if full == _NETNS:
            if text.startswith(OWN_NETNS) and is_inside(text):
                return None
            return f"`{text}` is a network namespace of this machine", "`envoy.netns` makes one"
        if full not in (_PIPE, *_READ, *_SOURCES, *_WRITTEN):
            return None
        if (full == _PIPE and text.startswith("@")) or (full in _WRITTEN and text in _OUTPUTS):
            return None
        if not is_inside(text):
            return f"`{text}` is not in the run directory", _INSIDE
        if full in _WRITTEN or full == _PIPE:
            name = own_name(text)
            if name.partition("/")[0] in _NOT_THEIRS:
                return f"`{text}` is not the scenario's to write to", "take another name"
            if name.endswith((*CONFIG_SUFFIXES, *_OTHER_CONFIG)):
                return f"`{text}` would be written, and could be read as config", "rename it"
        return None

    def _is_own(self, host: str) -> bool:
        if host in ("localhost", *self.hosts):
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        own = {ipaddress.ip_address(one) for one in self.hosts}
        return (
            mapped.is_loopback or address.is_unspecified or mapped.is_unspecified or address in own
        )


def _free(value: object, path: tuple[str | int, ...]) -> Iterator[Refusal]:
    """Yield what is refused of data that Envoy only hands on, or takes for its switches."""
    if isinstance(value, dict):
        for key, member in value.items():
            if _BY_NAME in str(key):
                yield Refusal((*path, key), member, f"`{key}` is not known to be harmless", _TRUST)
            yield from _free(member, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _free(element, (*path, index))


def is_inside(text: str) -> bool:
    """Return whether a path leads nowhere but into the run directory, where Envoy works."""
    begin, own, rest = text.partition(RUNDIR)
    if own and (begin or rest[:1] not in ("", "/")):
        return False  # beside the run directory, or wherever
    return (bool(own) or not text.startswith("/")) and ".." not in text.split("/")


def own_name(text: str) -> str:
    """Return the name in the run directory of a path that is inside."""
    return os.path.normpath(text.removeprefix(RUNDIR).lstrip("/") or ".")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
