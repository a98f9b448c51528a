"""What a config names and is not there when it is tried out: servers, and files.

A config source (`envoy.config.core.v3.ConfigSource`) that names a server keeps Envoy from starting
until the server answers, or for `initial_fetch_timeout`: 15 s by default, for ever with 0. What
Envoy does with an answer that holds nothing is seen from it alone: it goes on, without listeners
and clusters, and with routes, secrets and extensions that answer no client. A file gives that
answer without any server.

What stands in for a file is the least that Envoy takes: no socket depends on what is in it. Both
were measured on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from envoyassert.durations import parse_duration
from envoyassert.scenario.listeners import (
    address_of,
    items_of,
    proto_field,
    proto_name,
    proto_names,
)
from envoyassert.scenario.overlay import Path
from envoyassert.scenario.vocabulary import LONGEST_S

#: The file in the run directory that answers with nothing.
NOTHING = "nothing.yaml"
#: What is in it: a discovery response without a resource, of whatever type.
NO_RESOURCES = {"version_info": "1", "resources": []}
#: Envoy's default of `initial_fetch_timeout`, in seconds.
FETCH_TIMEOUT_S = 15.0

_SERVERS = ("api_config_source", "ads")
_SERVER_NAMES = proto_names(_SERVERS)
_FIELDS = frozenset(
    {
        *("path", "path_config_source", "api_config_source", "ads", "self", "authorities"),
        *("initial_fetch_timeout", "resource_api_version"),
    }
)
_NODE = ("id", "cluster")


class ServerSource(NamedTuple):
    """A config source that names a server.

    Args:
        path: where it is in the config.
        wait_s: seconds that Envoy waits for the first answer; None for ever.
    """

    path: Path
    wait_s: float | None

    @property
    def name(self) -> str:
        """What is asked for, by the field: `lds_config`, `rds`."""
        words = [part for part in self.path if isinstance(part, str)]
        return next((word for word in reversed(words) if word != "config_source"), "config_source")


def server_sources(config: object) -> list[ServerSource]:
    """Return the config sources of a config that name a server, in its order."""
    return [ServerSource(path, _wait_s(source)) for path, source in _found(config, ())]


def source_names(config: object) -> list[str]:
    """Return what a config asks servers for, each once: `lds_config`, `rds`."""
    return list(dict.fromkeys(source.name for source in server_sources(config)))


def without_servers(config: Any, path: str) -> Any:
    """Return a config whose config sources that name a server read a file instead.

    `vhds` is left out with its source, which Envoy takes from a server alone. What only reports to
    a server, or opens a stream on which nothing is asked, stays: Envoy waits for neither.

    Args:
        config: a bootstrap, or a part of one.
        path: the file, as Envoy sees it.
    """
    if isinstance(config, list):
        return [without_servers(element, path) for element in config]
    if not isinstance(config, dict):
        return config
    if _is_server_source(config):
        kept = {key: value for key, value in config.items() if proto_name(key) not in _SERVERS}
        return {**kept, "path_config_source": {"path": path}}
    return {
        key: without_servers(value, path)
        for key, value in config.items()
        if not (key == "vhds" and any(_found(value, ())))
    }


def with_node(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a bootstrap whose node has an id and a cluster, without which Envoy asks no server.

    One whose node is no mapping stays as it is: Envoy says so itself.
    """
    node = proto_field(config, "node") or {}
    if not isinstance(node, dict):
        return config
    missing = {key: name for key in _NODE if not node.get(key)}
    return {**config, "node": {**node, **missing}} if missing else config


def with_empty_clusters(config: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a bootstrap that has clusters of these names; one that it lacks has no members.

    Args:
        config: the bootstrap. One whose `static_resources` are no mapping stays as it is.
        names: of the clusters.
    """
    key = next((key for key in config if proto_name(key) == "static_resources"), "static_resources")
    static = config.get(key) or {}
    if not isinstance(static, dict):
        return config
    clusters = items_of(proto_field(static, "clusters"))
    known = [proto_field(cluster, "name") for cluster in clusters]
    made = [
        {"name": name, "type": "STATIC", "connect_timeout": "1s"}
        for name in dict.fromkeys(names)
        if name not in known
    ]
    others = {name: value for name, value in static.items() if proto_name(name) != "clusters"}
    return {**config, key: {**others, "clusters": [*clusters, *made]}} if made else config


def unknown_clusters(config: object, answers: Sequence[object]) -> list[str]:
    """Return the clusters that listeners and routes refer to and nothing has, each once.

    Args:
        config: a bootstrap.
        answers: the discovery responses that it reads from files.
    """
    static = proto_field(config, "static_resources")
    resources = [one for answer in answers for one in items_of(proto_field(answer, "resources"))]
    clusters = [*items_of(proto_field(static, "clusters")), *resources]
    known = {proto_field(cluster, "name") for cluster in clusters}
    users = [*items_of(proto_field(static, "listeners")), *resources]
    return list(dict.fromkeys(name for name in _cluster_names(users) if name not in known))


def _cluster_names(value: Any) -> Iterator[str]:
    """Yield the names of clusters that a part of a config refers to."""
    if isinstance(value, list):
        for element in value:
            yield from _cluster_names(element)
    elif isinstance(value, dict):
        weighted = proto_field(value, "weighted_clusters")
        named = [
            proto_field(value, "cluster"),
            proto_field(proto_field(value, "envoy_grpc"), "cluster_name"),
            *(proto_field(one, "name") for one in items_of(proto_field(weighted, "clusters"))),
        ]
        yield from (name for name in named if isinstance(name, str) and name)
        for member in value.values():
            yield from _cluster_names(member)


def looked_up(config: object) -> list[str]:
    """Return the names that the clusters of a bootstrap look up, each once."""
    clusters = items_of(proto_field(proto_field(config, "static_resources"), "clusters"))
    return list(dict.fromkeys(name for cluster in clusters for name in _names(cluster)))


def _names(value: Any) -> Iterator[str]:
    """Yield the hosts of endpoints that are no IP address."""
    if isinstance(value, list):
        for element in value:
            yield from _names(element)
    elif isinstance(value, dict):
        place = proto_field(proto_field(value, "endpoint"), "address")
        host = proto_field(proto_field(place, "socket_address"), "address")
        if isinstance(host, str) and address_of(place) is None and host != "localhost":
            yield host
        for member in value.values():
            yield from _names(member)


def longest_wait_s(config: object) -> float:
    """Return for how many seconds a bootstrap may keep Envoy from starting, 0 for not at all.

    Envoy fetches in stages: what its clusters are made of, the clusters (CDS), then listeners and
    what these are made of; within one all at once. What it waits for without end does not count.
    """
    stages = {"clusters": 0.0, "cds": 0.0, "others": 0.0}
    for source in server_sources(config):
        stage = "clusters" if "clusters" in source.path else "others"
        stage = "cds" if source.name == "cds_config" else stage
        stages[stage] = max(stages[stage], source.wait_s or 0.0)
    return sum(stages.values())


def _found(value: object, path: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from _found(element, (*path, index))
    elif isinstance(value, dict):
        if _is_server_source(value):
            yield path, value
            return
        for key, member in value.items():
            yield from _found(member, (*path, proto_name(str(key))))


def _is_server_source(value: dict[str, object]) -> bool:
    if _SERVER_NAMES.isdisjoint(value):
        return False
    return {proto_name(str(key)) for key in value} <= _FIELDS


def _wait_s(source: dict[str, object]) -> float | None:
    text = proto_field(source, "initial_fetch_timeout")
    if not isinstance(text, (str, int, float)):
        return FETCH_TIMEOUT_S  # if it is there at all, Envoy says what is wrong with it
    try:
        return min(parse_duration(text), LONGEST_S) or None
    except ValueError:
        return FETCH_TIMEOUT_S  # likewise


#: What a file that is not there may have in its place.
Kind = Literal[
    "certificate", "private_key", "crl", "ticket_key", "wasm", "users", "nothing", "empty",
    "text", "number", "directory",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
#: The kind that is a directory and no file.
DIRECTORY = "directory"

#: For tests alone: the key is public, and protects nothing. The certificate is its own authority,
#: valid until 9999, for stand-in.invalid; its list revokes nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBhjCCASygAwIBAgIBATAKBggqhkjOPQQDAjAbMRkwFwYDVQQDDBBzdGFuZC1p
bi5pbnZhbGlkMCAXDTIwMDEwMTAwMDAwMFoYDzk5OTkxMjMxMjM1OTU5WjAbMRkw
FwYDVQQDDBBzdGFuZC1pbi5pbnZhbGlkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAE9p7LZUMOaGezusxC3VSGYo63GMMnlo16ktK8yeKLsOesywcVoVACcNIk7jL1
tooltB5YGdVvLV92ZYu4oH4Zr6NfMF0wDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAYYwHQYDVR0OBBYEFG23ZKFNVuwdHurR5KsvmSmPDFVpMBsGA1UdEQQU
MBKCEHN0YW5kLWluLmludmFsaWQwCgYIKoZIzj0EAwIDSAAwRQIgOBOH7rOugbP1
cMeESu2StpKYqeZwEbgIsj5Fu1ah0O4CIQDl6c0J6lc8ibDTmzqEpOLIhn8TNoNx
VJ5hYONiIP/Zlg==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAJWuRMjH+Q9dofEV
21QdNOSaVv0JPxOhwBmGTNkw75KhRANCAAT2nstlQw5oZ7O6zELdVIZijrcYwyeW
jXqS0rzJ4ouw56zLBxWhUAJw0iTuMvW2iiW0HlgZ1W8tX3Zli7igfhmv
-----END PRIVATE KEY-----
"""
_CRL = """\
-----BEGIN X509 CRL-----
MIGzMFwCAQEwCgYIKoZIzj0EAwIwGzEZMBcGA1UEAwwQc3RhbmQtaW4uaW52YWxp
ZBcNMjYxMTI4MDg1NzA2WhgPOTk2NjExMDMwODU3MDZaoA4wDDAKBgNVHRQEAwIB
ATAKBggqhkjOPQQDAgNHADBEAiA3s4LzaGSg4fQxKY7J6SgyHq4a18NgH2BDQIEQ
KpHMawIgOU7Q65znG5VEJdgk8AzK/AmwJvdnplFkp7oaZ1NZOKQ=
-----END X509 CRL-----
"""

# A WebAssembly module of functions that do nothing, and of the Proxy-Wasm ABI 0.2.0
# (proxy-wasm/spec): memory, the ABI's version, an allocator and an initializer.
_WASM = (
    "\0asm\x01\0\0\0"
    "\x01\x09\x02\x60\0\0\x60\x01\x7f\x01\x7f"  # types: () -> (), i32 -> i32
    "\x03\x03\x02\0\x01"  # a function of each
    "\x05\x03\x01\0\x01"  # one page of memory
    "\x07\x3b\x04"  # what is exported
    "\x06memory\x02\0"
    "\x17proxy_abi_version_0_2_0\0\0"
    "\x06malloc\0\x01"
    "\x0b_initialize\0\0"
    "\x0a\x09\x02"  # code: nothing; the address 16
    "\x02\0\x0b"
    "\x04\0\x41\x10\x0b"
)

#: What each kind is; None is a directory.
MADE_UP: Mapping[str, object] = {
    "certificate": CERTIFICATE,
    "private_key": KEY,
    "crl": _CRL,
    "ticket_key": "0" * 80,
    "wasm": _WASM,
    "users": "stand-in:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n",
    "nothing": NO_RESOURCES,
    "empty": "",
    "text": "stand-in\n",
    "number": "0",
    DIRECTORY: None,
}
