"""Changed dumps, and bootstraps beside them: `draft` refuses them, or what it prints is valid."""

from __future__ import annotations

import contextlib
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from envoyassert.cli import exits
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from tests.fuzz.case import REFUSED, Case
from tests.fuzz.commands import broken, command
from tests.fuzz.values import Vocabulary, change, damaged, written
from tests.unit.test_draft_of_dumps import SHAPES, bootstrap_dump, dynamic, listener, section, typed

#: What listeners have that decides about their sockets, or that is said of them.
_MEMBERS: dict[str, Any] = {
    "additional_addresses": [
        {"address": {"socket_address": {"address": "::1", "port_value": 8081}}},
        {"address": {"pipe": {"path": "@abstract", "mode": 384}}},
    ],
    "socket_options": [{"level": 1, "name": 9, "int_value": 1, "state": "STATE_LISTENING"}],
    "tcp_backlog_size": 64,
    "enable_reuse_port": False,
    "bind_to_port": False,
    "internal_listener": {},
    "udp_listener_config": {"quic_options": {}},
    "tcp_keepalive": {"keepalive_time": 7},
    "access_log": [{"name": "envoy.access_loggers.file"}],
    "rds": {"route_config_name": "one"},
    "deprecated_v1": {"bind_to_port": False},
}
_ENTRY: dict[str, Any] = {
    "warming_state": {"listener": typed(listener(82))},
    "draining_state": {"listener": typed(listener(83))},
    "error_state": {"details": "in: no\nline", "failed_configuration": typed(listener(84))},
}
_BOOTSTRAP = {
    "node": {"id": "a", "cluster": "b"},
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}},
    "dynamic_resources": {"lds_config": {"ads": {}}, "ads_config": {"api_type": "GRPC"}},
    "static_resources": {
        "listeners": [listener(7000, "own", tcp_backlog_size=7)],
        "clusters": [{"name": "up", "connect_timeout": "1s"}],
    },
}
_TEXT_PROTO = """
version_info: "1"
resources { [type.googleapis.com/envoy.config.listener.v3.Listener] {
  name: "web"
  address { socket_address { address: "127.0.0.1" port_value: 8080 } }
  filter_chains {}
} }
"""


@cache
def _bases() -> tuple[str, ...]:
    of_two = {f"ns/{name}": section(dynamic(listener(port))) for name, port in (("a", 1), ("b", 2))}
    more = [
        {"configs": [bootstrap_dump(), section(dynamic(listener(**_MEMBERS), **_ENTRY))]},
        [bootstrap_dump(), section(*(dynamic(listener(port, f"l{port}")) for port in (1, 2, 3)))],
        of_two,
        _BOOTSTRAP,
    ]
    return tuple(json.dumps(one) for one in [*SHAPES.values(), *more])


@cache
def _words() -> Vocabulary:
    return Vocabulary([*map(json.loads, _bases()), _MEMBERS, _ENTRY])


def dump(case: Case) -> str:
    """Draft a changed dump, or a bootstrap with a dump beside it."""
    chance = case.chance
    file = _written(case.folder / "dump", chance)
    arguments, files = [str(file)], [file]
    if chance.random() < 0.3:
        config = case.folder / "bootstrap.json"
        data = json.loads(json.dumps(_BOOTSTRAP))
        if chance.random() < 0.5:
            change(data, chance, _words())
        config.write_text(written(data), "utf-8", "surrogatepass")
        arguments, files = [str(config), "--with", str(file)], [config, file]
    if chance.random() < 0.05:
        arguments += ["--pod", chance.choice(("a", "ns/b", "ns/c", "\x1b"))]
    if chance.random() < 0.1:
        arguments.append("--stand-in")
    done = command("draft", *arguments)
    # That options do not go together is no fault of a file.
    usage = done.code == exits.USAGE and "Error: " in done.err and "Usage: " in done.err
    if problem := broken(done, files) if not usage else "":
        case.broken.append(f"{problem}\n{file.read_bytes()[:1000]!r} {arguments[1:]}")
    if done.code != exits.PASSED:
        return REFUSED
    here = Path.cwd()  # which a config that is not printed is named from
    drafted = parse_scenario(done.out, Path(f"{files[0].stem}.yaml"), directory=here)
    return "drafted" if expand(drafted) else "nothing"


def _written(place: Path, chance: Random) -> Path:
    """Write a changed dump, in one of the languages, and return the file."""
    if chance.random() < 0.03:
        return _file(place.with_suffix(".pb_text"), damaged(_TEXT_PROTO, chance))
    texts = []
    for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
        data = json.loads(chance.choice(_bases()))
        for _ in range(chance.choice((1, 1, 2, 3))):
            change(data, chance, _words())
        texts.append(written(data))
    if chance.random() < 0.15:
        # Some of it YAML's writer has no way to write.
        with contextlib.suppress(ValueError, RecursionError, yaml.YAMLError):
            texts = ["---\n" + str(yaml.safe_dump(json.loads(text))) for text in texts]
    text = chance.choice(("", "\n", "\x1e")).join(texts)
    if chance.random() < 0.2:
        text = damaged(text, chance)
    return _file(place.with_suffix(chance.choice((".json", ".json", ".yaml"))), text)


def _file(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8", "surrogatepass", newline="")
    return file
