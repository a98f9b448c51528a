"""Drafts of configs of every kind: what is written for one that Envoy takes passes on that Envoy.

Many listeners share an Envoy, so each group of them is one run per version.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from envoyassert.cli.draft import draft
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.texts.findings import words_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

Listener = dict[str, Any]
TYPES = "type.googleapis.com/envoy."
QUIC = yaml.safe_load((Path(__file__).parents[2] / "scenarios" / "quic.yaml").read_text())["envoy"]
ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": f"{TYPES}extensions.filters.network.echo.v3.Echo"},
}
UDP_PROXY = {
    "name": "envoy.filters.udp_listener.udp_proxy",
    "typed_config": {
        "@type": f"{TYPES}extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
        "stat_prefix": "u",
        "matcher": {
            "on_no_match": {
                "action": {
                    "name": "route",
                    "typed_config": {
                        "@type": f"{TYPES}extensions.filters.udp.udp_proxy.v3.Route",
                        "cluster": "up",
                    },
                }
            }
        },
    },
}
#: How a listener of a kind serves.
KINDS: dict[str, Listener] = {
    "tcp": {"filter_chains": [{"filters": [ECHO]}]},
    "mptcp": {"filter_chains": [{"filters": [ECHO]}], "enable_mptcp": True},
    "udp": {"listener_filters": [UDP_PROXY]},
    "quic": {
        key: QUIC["config"]["static_resources"]["listeners"][0][key]
        for key in ("udp_listener_config", "filter_chains")
    },
}
COMPATIBLE = {"ipv4_compat": True}
HOSTS: list[tuple[str, dict[str, Any]]] = [
    ("127.0.0.1", {}),
    ("0.0.0.0", {}),
    ("::1", {}),
    ("::", {}),
    ("::", COMPATIBLE),
    ("::ffff:127.0.0.1", COMPATIBLE),
]
TUNNEL: dict[str, Any] = {
    "socket_address": {
        "address": "rc://down:down:tenant@up:1",
        "port_value": 0,
        "resolver_name": "envoy.resolvers.reverse_connection",
    }
}
STATES = (None, "STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING")
PORTS = itertools.count(20000)


def place(kind: str, host: str = "127.0.0.1", port: int | None = None, **more: Any) -> Any:
    protocol = {"protocol": "UDP"} if kind in ("udp", "quic") else {}
    number = next(PORTS) if port is None else port
    return {"socket_address": {"address": host, "port_value": number, **protocol, **more}}


def one(kind: str, address: Any = None, name: str | None = None, **more: Any) -> Listener:
    number = next(PORTS)
    named = {"name": f"{kind}_{number}" if name is None else name}
    return {**named, "address": address or place(kind), **KINDS[kind], **more}


def option(state: str | None, **more: Any) -> dict[str, Any]:
    when = {} if state is None else {"state": state}
    return {"level": 1, "name": 8, "int_value": 8192, **when, **more}


def pipe(path: str, **more: Any) -> Any:
    return {"pipe": {"path": path, **more}}


def addresses() -> Iterator[Listener]:
    """Each host is tried on a port and on one that the kernel chooses."""
    for kind in KINDS:
        for (host, more), port in itertools.product(HOSTS, (None, 0)):
            yield one(kind, place(kind, host, port, **more))


def options() -> Iterator[Listener]:
    for kind in ("tcp", "udp", "quic"):
        for state in STATES:
            yield one(kind, socket_options=[option(state)])
            for type_ in ("stream", "datagram"):
                yield one(kind, socket_options=[option(state, type={type_: {}})])
        yield one(kind, socket_options=[option(state, int_value=4096) for state in STATES])
        yield one(kind, socket_options=[option("STATE_BOUND", name=36, int_value=4294967295)])


def flags() -> Iterator[Listener]:
    fields: list[dict[str, Any]] = [
        {"transparent": True},
        {"freebind": True},
        {"tcp_backlog_size": 64},
        {"tcp_fast_open_queue_length": 0},
        {"tcp_fast_open_queue_length": 5},
        {"reuse_port": False},
        {"transparent": False, "freebind": False},
    ]
    for kind in KINDS:
        for more in fields:
            yield one(kind, **more)
            yield one(kind, place(kind, "::", **COMPATIBLE), **more)
        yield one(kind, place(kind, "::ffff:127.0.0.1", 0, **COMPATIBLE), transparent=True)
    for kind in ("tcp", "mptcp"):
        shared: list[dict[str, Any]] = [
            {},
            {"transparent": True},
            {"socket_options": [option(state) for state in STATES]},
            {"socket_options": [option("STATE_PREBIND", name=15, int_value=1)]},
            {"socket_options": [option("STATE_BOUND", name=15, int_value=1)]},
        ]
        for more in shared:
            yield one(kind, enable_reuse_port=False, **more)
        yield one(kind, place(kind, port=0), enable_reuse_port=False)


def unix() -> Iterator[Listener]:
    fields: list[dict[str, Any]] = [
        {},
        {"tcp_backlog_size": 9},
        {"enable_reuse_port": True},
        *({"socket_options": [option(state)]} for state in STATES),
        {"socket_options": [option(state, name=name) for state in STATES for name in (7, 8)]},
        {"socket_options": [option("STATE_LISTENING", type={"datagram": {}})]},
    ]
    for number, more in enumerate(fields):
        yield one("tcp", pipe(f"@{number}"), **more)
        yield one("tcp", pipe(f"${{rundir}}/{number}.sock"), **more)
        yield one("tcp", pipe(f"${{rundir}}/mode_{number}.sock", mode=0o660), **more)
    yield one("tcp", pipe("@first"), additional_addresses=[{"address": place("tcp")}])


def keepalive() -> Iterator[Listener]:
    """A field that is 0, whichever it is, sets nothing at all."""
    fields = ("keepalive_probes", "keepalive_time", "keepalive_interval")
    for values in itertools.product((None, 0, 5), repeat=3):
        given = {f: v for f, v in zip(fields, values, strict=True) if v is not None}
        yield one("tcp", tcp_keepalive=given)
    yield one("udp", tcp_keepalive={"keepalive_time": 5})
    own: list[dict[str, Any]] = [{}, {"keepalive_time": 0}, {"keepalive_time": 7}]
    more = [{"address": place("tcp"), "tcp_keepalive": value} for value in own]
    yield one("tcp", tcp_keepalive={"keepalive_time": 5}, additional_addresses=more)


def names() -> Iterator[Listener]:
    """Listeners that differ in no name, odd names, and one that is called like the admin."""
    for kind in ("tcp", "udp"):
        yield one(kind, place(kind, port=0), name="")
        yield one(kind, place(kind, port=0), name="", socket_options=[option(None)])
        yield one(kind, name="")
        yield one(kind, place(kind, port=0), name="twin")
        yield one(kind, place(kind, port=0), name=f"like_{kind}")
    yield one("tcp", place("tcp", port=0), name="127.0.0.1:0")
    yield one("tcp", place("tcp", port=0), name="admin")
    yield one("tcp", name="twin")
    odd = [
        '8080: "odd" #é',
        " a ",
        "a\tb",
        "a\nb",
        "x" * 2000,
        ".inf",
        ".5",
        "\x85",
        "\u2028",
        "\x7f",
    ]
    for name in (
        *odd,
        "Case",
        "case",
        "w${concurrency}",
        "${rundir}",
        "$port",
        "\\",
        "\u202e",
        "...",
    ):
        yield one("tcp", place("tcp", port=0), name=name)
        if len(name) < 100:
            yield one("tcp", pipe(f"@{name}"), name="")


def equal_addresses() -> Iterator[Listener]:
    """Addresses of one listener that are equal: of which the kernel chooses each port, or twice."""
    for kind in KINDS:
        for name in (None, ""):
            more: list[Any] = [{"address": place(kind, port=0)} for _ in range(2)]
            yield one(kind, place(kind, port=0), name=name, additional_addresses=more)
        own = {"socket_options": {"socket_options": [option("STATE_BOUND")]}}
        unlike = [{"address": place(kind, port=0), **own}, {"address": place(kind)}]
        yield one(kind, place(kind, port=0), additional_addresses=unlike)
        again = place(kind, "::1")
        other = place(kind, "0:0::1", again["socket_address"]["port_value"])
        yield one(kind, again, additional_addresses=[{"address": other}, {"address": place(kind)}])
        yield one(kind, again := place(kind), additional_addresses=[{"address": again, **own}])
        port = next(PORTS)
        # Of MPTCP on port 0 the kernel does not say the zone, and Envoy's second bind fails.
        ports = (port,) if kind == "mptcp" else (port, 0, 0)
        ways = [place(kind, "FE80:0::1%eth7", number) for number in ports]
        yield one(kind, additional_addresses=[{"address": way} for way in ways])
        yield one(kind, place(kind, "fe80::1%eth8", port))
    more = [{"address": place("tcp", port=0)}, {"address": place("tcp", port=0)}]
    yield one("tcp", pipe("@first"), additional_addresses=more)
    yield one("tcp", pipe("@other"), name="", additional_addresses=more[:1])
    again, shares = place("tcp"), [option("STATE_PREBIND", name=15, int_value=1)]
    twice: dict[str, Any] = {
        "enable_reuse_port": False,
        "additional_addresses": [{"address": again}, {"address": place("tcp")}],
    }
    yield one("tcp", again, socket_options=shares, **twice)


def own_of_envoys() -> Iterator[Listener]:
    """Options that Envoy sets as well, set to something else."""
    names = {"SO_REUSEADDR": (1, 2), "SO_RXQ_OVFL": (1, 40), "UDP_GRO": (17, 104)}
    names |= {"IP_MTU_DISCOVER": (0, 10), "IP_PKTINFO": (0, 8), "IP_RECVTOS": (0, 13)}
    for kind, state in itertools.product(("tcp", "udp", "quic"), STATES):
        for level, name in names.values():
            if kind != "tcp" or level != 17:
                own = option(state, level=level, name=name, int_value=0)
                yield one(kind, socket_options=[own])


def given_up() -> Iterator[Listener]:
    """Envoy is LIVE without these: the kernel refuses an option after listen, or a listen."""
    yield one("tcp", pipe("@open"), tcp_fast_open_queue_length=5)
    late = [option("STATE_LISTENING"), option("STATE_LISTENING", level=6, name=4)]
    yield one("tcp", pipe("@late"), socket_options=[*late, option("STATE_LISTENING", name=9)])
    for state in ("STATE_PREBIND", "STATE_BOUND"):
        apart = [option(state, name=15, int_value=0), option("STATE_LISTENING")]
        yield one("tcp", socket_options=apart)
    again, others = place("tcp"), [{"address": pipe("@more")}, {"address": place("tcp")}]
    twice = [{"address": address} for address in (place("tcp"), again, place("tcp"))]
    own: dict[str, Any] = {"socket_options": [option(state) for state in STATES]}
    yield one("tcp", again, enable_reuse_port=False, additional_addresses=twice, **own)
    yield one("tcp", tcp_fast_open_queue_length=5, additional_addresses=others)
    yield one("tcp")


def elsewhere() -> Iterator[Listener]:
    """Pods' addresses here and in network namespaces, the same ones and chosen ports as well."""
    blue, red = ({"network_namespace_filepath": f"/run/netns/{n}"} for n in ("blue", "red"))
    for kind in ("tcp", "udp"):
        port = next(PORTS)
        for more in ({}, blue, red, {"network_namespace_filepath": "/proc/7/ns/net"}):
            yield one(kind, place(kind, "10.1.2.3", port, **more))
        yield one(kind, place(kind, "2001:db8::1", port, **blue))
    for workers_share in (True, False):
        chosen = [{"address": place("tcp", "10.1.2.4", 0, **more)} for more in (blue, red)]
        first = place("tcp", "10.1.2.4", 0)
        yield one("tcp", first, enable_reuse_port=workers_share, additional_addresses=chosen)
    yield one("udp", place("udp", port=0, **red))
    yield one("tcp", place("tcp", port=0, **blue), name="")
    yield one("tcp", place("tcp", "fe80::1%eth5", next(PORTS), **blue), freebind=True)


def without_sockets() -> Iterator[Listener]:
    yield {"name": "inside", "internal_listener": {}, **KINDS["tcp"]}
    yield one("tcp", bind_to_port=False)
    yield one("tcp", pipe("@virtual"), bind_to_port=False, socket_options=[option("STATE_BOUND")])
    yield one("tcp", pipe("${rundir}/virtual.sock", mode=0o600), bind_to_port=False)
    yield one("tcp", deprecated_v1={"bind_to_port": False})
    yield one("tcp", TUNNEL, listener_filters_timeout="0s")
    yield one("tcp")


GROUPS = {
    group.__name__: [*group()]
    for group in (
        addresses,
        options,
        flags,
        unix,
        keepalive,
        names,
        equal_addresses,
        own_of_envoys,
        given_up,
        elsewhere,
        without_sockets,
    )
}
EXTENSIONS = [
    {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": f"{TYPES}extensions.bootstrap.internal_listener.v3.InternalListener"
        },
    },
    {
        "name": "envoy.bootstrap.reverse_tunnel.downstream_socket_interface",
        "typed_config": {
            "@type": f"{TYPES}extensions.bootstrap.reverse_tunnel.downstream_socket_interface.v3."
            "DownstreamReverseConnectionSocketInterface",
            "stat_prefix": "tunnel",
        },
    },
]
ADMINS: dict[str, Any] = {
    "v6": place("tcp", "::1", 9901),
    "compatible": place("tcp", "::", 9901, **COMPATIBLE),
    "chosen": place("tcp", port=0),
    "path": pipe("${rundir}/admin.sock"),
    "path_mode": pipe("${rundir}/admin.sock", mode=0o600),
    "abstract": pipe("@admin"),
    "called_udp": place("udp", port=9901),
}


def drafted(directory: Path, config: dict[str, Any], *arguments: str) -> Path:
    """Write a config and the draft of it."""
    text = yaml.safe_dump(config, sort_keys=False)
    for name in ("key.pem", "certificate.pem"):
        (directory / name).write_text(QUIC["files"][name])
        text = text.replace(f"${{rundir}}/{name}", str(directory / name))
    (directory / "envoy.yaml").write_text(text)
    scenario = directory / "drafted.envoyassert.yaml"
    done = CliRunner().invoke(
        draft, [str(directory / "envoy.yaml"), "-o", str(scenario), "--force", *arguments]
    )
    assert done.exit_code == 0, done.output
    return scenario


def verdict_of(scenario: Path, probe: Probe, version: str) -> Verdict:
    (plan,) = expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])
    result = run_plan(plan, probe, "process")
    assert result.trace.end.outcome.running, result.log_text[-2000:]
    return judge(result.trace, result.plan.expectations, workers=result.plan.workers)


def assert_draft_passes(
    directory: Path, config: dict[str, Any], probe: Probe, version: str, *arguments: str
) -> None:
    verdict = verdict_of(drafted(directory, config, *arguments), probe, version)
    bad = [
        f"{f.status.name} {words_of(f)}" for f in verdict.findings if f.status is not Status.PASS
    ]
    assert verdict.status is Status.PASS, bad


def bootstrap(listeners: list[Listener], admin: Any = None) -> dict[str, Any]:
    return {
        "node": {"id": "down", "cluster": "down"},
        "admin": {
            "address": admin or place("tcp", port=9901),
            "socket_options": [option(state) for state in STATES],
        },
        "bootstrap_extensions": EXTENSIONS,
        "static_resources": {
            "listeners": listeners,
            "clusters": [{"name": "up", "connect_timeout": "1s", "type": "STATIC"}],
        },
    }


@pytest.mark.parametrize(
    ("group", "version"),
    # The field for keepalive came with 1.37, as the draft says.
    [
        (group, version)
        for group in GROUPS
        for version in ("1.36.4", "1.40.0")
        if (group, version) != ("keepalive", "1.36.4")
    ],
)
def test_draft_passes_for_every_listener_of_a_kind(
    group: str, version: str, tmp_path: Path, probe: Probe
) -> None:
    for workers in ("1", "3") if group in ("addresses", "flags") else ("2",):
        directory = tmp_path / workers
        directory.mkdir()
        config = bootstrap(GROUPS[group])
        assert_draft_passes(directory, config, probe, version, "--concurrency", workers)


@pytest.mark.parametrize("admin", ADMINS)
def test_draft_passes_wherever_the_admin_endpoint_is(
    admin: str, tmp_path: Path, probe: Probe
) -> None:
    assert_draft_passes(tmp_path, bootstrap([one("tcp")], ADMINS[admin]), probe, "1.40.0")


@pytest.mark.parametrize("version", ["1.36.4", "1.40.0"])
@pytest.mark.parametrize("kind", ["none", "internal_listener", "bind_to_port", "tunnel"])
def test_draft_of_a_bootstrap_in_which_nothing_binds_leaves_no_room_for_a_socket(
    kind: str, version: str, tmp_path: Path, probe: Probe
) -> None:
    unbound = {
        "internal_listener": [{"name": "inside", "internal_listener": {}, **KINDS["tcp"]}],
        "bind_to_port": [one("tcp", bind_to_port=False)],
        "tunnel": [one("tcp", TUNNEL, listener_filters_timeout="0s")],
    }
    config = bootstrap(unbound.get(kind, []))
    del config["admin"]
    assert_draft_passes(tmp_path, config, probe, version)
    config["static_resources"]["listeners"].append(one("tcp", name="added"))
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    added = verdict_of(tmp_path / "drafted.envoyassert.yaml", probe, version)
    assert added.status is Status.FAIL
