"""What an Envoy that is not LIVE yet waits for, by its admin endpoint.

While it says PRE_INITIALIZING it waits for clusters, the answer of CDS, or that of RTDS: the
statistics show which. While it says INITIALIZING it waits for what its listeners need: /init_dump
names that (1.36.4 and 1.40.0; statistics "cluster.NAME.warming_state", config_dump.proto
UnreadyTargetsDumps).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from envoyassert.launch.admin import AdminUnreachableError, Many, shortened

#: Names that are given; of more there is the number.
_NAMES = 3
PRE_INITIALIZING = "PRE_INITIALIZING"
_STATS = (
    r"/stats?filter=^(cluster\..*\.warming_state"
    r"|(cluster_manager\.cds|listener_manager\.lds|runtime)\.(update_success|init_fetch_timeout))$"
)
_WARMING = re.compile(r"cluster\.(?P<name>.+)\.warming_state: 1")
_SOURCES = {
    "runtime": "the runtime of RTDS",
    "cluster_manager.cds": "the clusters of CDS",
    "listener_manager.lds": "the listeners of LDS",
}
_LISTENER = re.compile(r"init manager Listener-local-init-manager (?P<name>.*) \d+")
# rds_impl.cc, sds_api.h, config_provider_manager: how each calls what it waits for.
_TARGET = re.compile(
    r"(?:shared )?target (?:\w+ RDS init (?P<routes>.+)|SdsApi (?P<secret>.+)"
    r"|\w+ init (?P<extension>.+)|(?P<other>.+))"
)


@dataclass(frozen=True, slots=True)
class _Manager:
    name: str = ""
    target_names: Many[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _InitDump:
    """What is read of `/init_dump`: envoy.admin.v3.UnreadyTargetsDumps."""

    unready_targets_dumps: Many[_Manager] = field(default_factory=list)


@functools.cache
def _init_dump() -> TypeAdapter[_InitDump]:
    return TypeAdapter(_InitDump)


def waits_of(admin_get: Callable[[str], tuple[int, str]], state: str) -> tuple[str, ...]:
    """Return what Envoy waits for, `cluster slow`; () if it does not say.

    Args:
        admin_get: asks the admin endpoint for a path; returns status and body.
        state: what `/ready` said: `PRE_INITIALIZING`, or another state.
    """
    try:
        stats = _body(admin_get, _STATS).splitlines()
        if state == PRE_INITIALIZING:
            found = [*_clusters(stats), *_sources(stats, "runtime", "cluster_manager.cds")]
        else:
            dump = _init_dump().validate_json(_body(admin_get, "/init_dump") or "{}")
            found = [*_sources(stats, "listener_manager.lds"), *_targets(dump)]
    except (AdminUnreachableError, ValueError):
        return ()
    names = list(dict.fromkeys(map(shortened, found)))
    more = len(names) - _NAMES
    return (*names[:_NAMES], *([f"{more} more"] if more > 0 else []))


def _body(admin_get: Callable[[str], tuple[int, str]], path: str) -> str:
    status, body = admin_get(path)
    return body if status == 200 else ""


def _clusters(stats: list[str]) -> Iterator[str]:
    for line in stats:
        warming = _WARMING.fullmatch(line)
        if warming:
            yield f"cluster {warming['name']}"


def _sources(stats: list[str], *prefixes: str) -> Iterator[str]:
    """Yield the config sources that have not answered, nor been given up."""
    for prefix in prefixes:
        if {f"{prefix}.update_success: 0", f"{prefix}.init_fetch_timeout: 0"} <= set(stats):
            yield _SOURCES[prefix]


def _targets(dump: _InitDump) -> Iterator[str]:
    for manager in dump.unready_targets_dumps:
        listener = _LISTENER.fullmatch(manager.name)
        for target in manager.target_names:
            found = _TARGET.fullmatch(target)
            kind = str(found.lastgroup) if found else "other"
            name = found[kind] if found else target
            what = name if kind == "other" else f"{kind} {name}"
            yield f"{what} of listener {listener['name']}" if listener else what
