"""What Envoy refuses at its start, gives up, or takes: each was seen on 1.36.4 and 1.40.0."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envoyassert.predict.deciding import deciding_config, discovered_at_start, prediction_of
from envoyassert.predict.expectations import expected_of
from envoyassert.predict.messages import BOOTSTRAP, LISTENER
from envoyassert.predict.prediction import LISTENERS, PROCESS, Prediction
from envoyassert.predict.start import predict_start

SERVES: dict[str, Any] = {"filter_chains": [{}]}
ADMIN: dict[str, Any] = {
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
}


def at(host: str = "127.0.0.1", port: int = 10000, **more: Any) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port, **more}}


def tcp(name: str = "a", place: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": place or at(), **SERVES, **more}


def udp(name: str = "a", host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return {"name": name, "address": at(host, protocol="UDP"), **more}


def pipe(path: str, **more: Any) -> dict[str, Any]:
    return tcp(place={"pipe": {"path": path, **more}})


def option(
    level: int, name: int, value: int = 1, state: str = "PREBIND", **more: Any
) -> dict[str, Any]:
    one = {"level": level, "name": name, "int_value": value, "state": f"STATE_{state}", **more}
    return {"socket_options": [one]}


def started(*listeners: dict[str, Any], workers: int = 2, **more: Any) -> Prediction:
    version = more.pop("version", "1.40.0")
    config = {**ADMIN, "static_resources": {"listeners": [*listeners]}, **more}
    return predict_start(config, concurrency=workers, version=version)


DUPLICATE = "error adding listener: 'b' has duplicate address '127.0.0.1:10000' as existing"
OPTIONS = "Setting socket options failed"
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a twin": ([tcp(), tcp("b")], DUPLICATE),
    "a twin that is not bound": ([tcp(bind_to_port=False), tcp("b")], DUPLICATE),
    "a twin of UDP": ([udp(), udp("b")], DUPLICATE),
    "the admin endpoint": (
        [tcp(place=at(port=9901))], "cannot bind '127.0.0.1:9901': Address already in use"
    ),
    "all addresses with the port of the admin endpoint": (
        [tcp(place=at("0.0.0.0", 9901))], "cannot bind '0.0.0.0:9901': Address already in use"
    ),
    "UDP of several workers without SO_REUSEPORT": (
        [udp(enable_reuse_port=False)], "Listening on UDP when concurrency is > 1 without"
    ),
    "MPTCP on a path": (
        [tcp(place={"pipe": {"path": "/s"}}, enable_mptcp=True)],
        "listener a: enable_mptcp can only be used with IP addresses",
    ),
    "MPTCP of UDP": (
        [udp(enable_mptcp=True)], "listener a: enable_mptcp can only be used with TCP listeners"
    ),
    "IPv4 on an address of IPv4": (
        [tcp(place=at(ipv4_compat=True))],
        "valid IPv4-mapped IPv6 address can set ipv4_compat: 127.0.0.1:10000",
    ),
    "IPv4 on one address of IPv6": (
        [tcp(place=at("::1", ipv4_compat=True))], "can set ipv4_compat: [::1]:10000"
    ),
    "IPv4 on a further address, and IPv6 alone on the first": (
        [tcp(place=at("::1"), additional_addresses=[{"address": at("::", 1, ipv4_compat=True)}])],
        "can set ipv4_compat: [::1]:10000",
    ),
    "a reverse tunnel without its extension": (
        [tcp(place=at("rc://a:b:c@d:1", resolver_name="envoy.resolvers.reverse_connection"))],
        "failed to create socket using custom interface",
    ),
    "a reverse tunnel to no cluster": (
        [tcp(place=at("cluster", resolver_name="envoy.resolvers.reverse_connection"))],
        "Address must start with 'rc://' for reverse connection resolver",
    ),
    "a mapped address for IPv6 alone": (
        [tcp(place=at("::ffff:127.0.0.1"))],
        "cannot bind '[::ffff:127.0.0.1]:10000': Invalid argument",
    ),
    "a mapped address for IPv6 alone, on port 0": (
        [tcp(place=at("::ffff:127.0.0.1", 0))],
        "cannot bind '[::ffff:127.0.0.1]:0': Invalid argument",
    ),
    "no filter chain": (
        [tcp(filter_chains=[])],
        "error adding listener '127.0.0.1:10000': no filter chains specified",
    ),
    "a filter chain of UDP": (
        [udp(**SERVES)], "filter chain(s) specified for connection-less UDP listener."
    ),
    "a host name": ([tcp(place=at("localhost"))], "malformed IP address: localhost"),
    "a device of no link": ([tcp(place=at("::1%lo"))], "malformed IP address: ::1%lo"),
    "a device in other digits": (
        [tcp(place=at("fd00::1%\u0665"))],
        "malformed IP address: fd00::1%\u0665",
    ),
    "no host": ([tcp(place=at(""))], "Proto constraint validation failed"),
    "no port": (
        [tcp(place={"socket_address": {"address": "127.0.0.1"}})],
        "Proto constraint validation failed",
    ),
    "a port by its name": (
        [tcp(place={"socket_address": {"address": "127.0.0.1", "named_port": "http"}})],
        "IP resolver can't handle port specifier type",
    ),
    "a number that is no protocol": (
        [tcp(place=at(protocol=7))], "Proto constraint validation failed"
    ),
    "an address of no kind": ([{**tcp(), "address": {}}],
                              "Proto constraint validation failed"),
    "a further address of no kind": (
        [tcp(additional_addresses=[{"address": {}}])], "Proto constraint validation failed"
    ),
    "a balancer that is none": (
        [tcp(connection_balance_config={})], "Proto constraint validation failed"
    ),
    "a path without text": ([pipe("")], "Proto constraint validation failed"),
    "an option without a value": (
        [tcp(socket_options=[{"level": 1, "name": 9}])], "Proto constraint validation failed"
    ),
    "a number that is no state of a socket": (
        [tcp(socket_options=[{"level": 1, "name": 9, "int_value": 1, "state": 7}])],
        "Proto constraint validation failed",
    ),
    "a port of more than 16 bits": (
        [tcp(place=at(port=70000))], "Proto constraint validation failed"
    ),
    "a mode of more than 9 bits": ([pipe("/s", mode=0o1777)], "Proto constraint validation failed"),
    "a mode of a name": ([pipe("@s", mode=0o600)], "Cannot set mode for Abstract AF_UNIX sockets"),
    "a long path": (
        [pipe("/" + "x" * 107)], "exceeds maximum UNIX domain socket path size of 108."
    ),
    "an address of a listener within Envoy": (
        [tcp(place={"envoy_internal_address": {"server_listener_name": "x"}})],
        "error adding listener named 'a': use internal_listener field instead of address",
    ),
    "no address": (
        [{"name": "a", **SERVES}], "error adding listener named 'a': address is necessary"
    ),
    "a listener within Envoy, and no extension": (
        [{"name": "a", "internal_listener": {}}],
        "InternalListener bootstrap extension is mandatory",
    ),
    "addresses of TCP and UDP": (
        [tcp(additional_addresses=[{"address": at(port=1, protocol="UDP")}])],
        "listener a: has different socket type.",
    ),
    "an option of TCP on UDP": ([udp(**option(6, 1))], OPTIONS),
    "an option of IPv6 on IPv4": ([tcp(**option(41, 26))], OPTIONS),
    "an option that is out of range": ([tcp(**option(6, 4, 100000))], OPTIONS),
    "keepalive that is out of range": ([tcp(tcp_keepalive={"keepalive_probes": 128})], OPTIONS),
    "an option of TCP on a path": (
        [tcp(place={"pipe": {"path": "/s"}}, **option(6, 1, state="BOUND"))], OPTIONS
    ),
    "freebind of a path": ([tcp(place={"pipe": {"path": "/s"}}, freebind=True)], OPTIONS),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_envoy_refuses_a_start_in_its_own_words(case: tuple[list[dict[str, Any]], str]) -> None:
    listeners, words = case
    found = started(*listeners)
    assert words in found.refused
    assert (found.sets, found.closed) == ((), True)


TAKEN: dict[str, list[dict[str, Any]]] = {
    "TCP and UDP on one port": [tcp(), udp("b")],
    "two that ask for a port": [tcp(place=at(port=0)), tcp("b", at(port=0))],
    "one network namespace each": [
        tcp(), tcp("b", at(network_namespace_filepath="/run/netns/blue"))
    ],
    "the resolver that is the usual one": [tcp(place=at(resolver_name="envoy.ip"))],
    "IPv4 on a further address of IPv4, and all of IPv6 on the first": [
        tcp(place=at("::"), additional_addresses=[{"address": at("127.0.0.1", ipv4_compat=True)}])
    ],
    "IPv4 on a further address, and a path as the first": [
        tcp(
            place={"pipe": {"path": "/s"}},
            additional_addresses=[{"address": at("::", ipv4_compat=True)}],
        )
    ],
    "all addresses of both families": [
        tcp(place=at("::")), tcp("b", at("0.0.0.0"))
    ],
    "a path of 107 bytes": [pipe("/" + "x" * 106)],
    "an address and a path": [tcp(additional_addresses=[{"address": {"pipe": {"path": "/s"}}}])],
    "an option of IP on IPv6": [tcp(place=at("::1"), **option(0, 1, 16))],
    "keepalive at its bounds": [
        tcp(tcp_keepalive={"keepalive_probes": 127, "keepalive_time": 32767})
    ],
    "SO_REUSEPORT of all addresses and of one": [tcp(place=at("0.0.0.0")), tcp("b")],
}  # fmt: skip


@pytest.mark.parametrize("listeners", TAKEN.values(), ids=TAKEN)
def test_envoy_takes_and_serves_them_all(listeners: list[dict[str, Any]]) -> None:
    found = started(*listeners)
    assert (found.refused, found.silent, found.unknown) == ("", (), ())
    assert {one.role for one in found.sets} == {"main", "workers"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"enable_reuse_port": False}, {"enable_reuse_port": False}),
        ({"enable_reuse_port": False}, {}),
        ({}, {"enable_reuse_port": False}),
    ],
)
@pytest.mark.parametrize("place", [at("0.0.0.0"), at("::", ipv4_compat=True)])
def test_listener_is_given_up_where_one_that_clients_could_mean_listens(
    place: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    found = started(tcp("all", place, **first), tcp("one", **second))
    by_name = {one.name: one for one in found.sets}
    assert (by_name["all"].role, by_name["one"].role) == ("workers", "none")
    assert (by_name["one"].listens, by_name["one"].descriptors) == (0, 0)


@pytest.mark.parametrize("fields", [option(6, 23, -1, "LISTENING"), option(17, 104, 1, "LISTENING"),
                                    {"tcp_fast_open_queue_length": 2**32 - 1}])  # fmt: skip
def test_listener_is_given_up_for_an_option_that_is_refused_after_listen(
    fields: dict[str, Any],
) -> None:
    _, one = started(tcp(**fields)).sets
    assert (one.role, one.listens, one.sockets) == ("none", 1, 2)


def test_listener_of_a_control_plane_is_refused_and_envoy_goes_on() -> None:
    config = {**ADMIN, "static_resources": {"listeners": [tcp()]},
              "dynamic_resources": {"lds_config": {"ads": {}}}}  # fmt: skip
    found = predict_start(config, concurrency=2, served=[tcp("b"), tcp("c", at(port=10001))])
    assert DUPLICATE in found.left_out["b"]
    assert [one.name for one in found.sets] == ["admin", "a", "c"]
    assert (found.refused, found.silent, found.closed) == ("", ("b",), True)


@pytest.mark.parametrize(
    ("fields", "since"),
    [
        ({"tcp_keepalive": {}}, ">=1.37"),
        ({"connection_balance_config": {"cpu_locality_balance": {}}}, ">=1.39"),
        ({"per_connection_buffer_high_watermark_timeout": "1s"}, ">=1.38"),
        ({"stats_matcher": {}}, ">=1.40"),
        (option(1, 9, ip_version=1), ">=1.38"),
        ({"additional_addresses": [{"address": at("::1"), "tcpKeepalive": {}}]}, ">=1.37"),
    ],
)
def test_field_that_a_version_does_not_know_ends_it(fields: dict[str, Any], since: str) -> None:
    assert started(tcp(**fields)).requires == since
    assert started(tcp(**fields)).refused == ""
    assert started(tcp(**fields), version="1.36.4").refused == "has unknown fields"


@pytest.mark.parametrize(
    "fields",
    [{"bogus": 1}, {"bogus": None}, {"address": {**at(), "@type": "x", "host": "::1"}}],
)
def test_field_that_no_version_knows_ends_it(fields: dict[str, Any]) -> None:
    for version in ("1.36.4", "1.40.0", ""):
        found = started(tcp(**fields), version=version)
        assert (found.refused, found.requires) == ("has unknown fields", "")


def test_field_of_a_control_plane_that_envoy_does_not_know_is_passed_over() -> None:
    config = {**ADMIN, "dynamic_resources": {"lds_config": {"ads": {}}}}
    given = tcp(tcp_keepalive={"keepalive_probes": 3}, bogus=1)
    found = {
        version: predict_start(config, concurrency=2, version=version, served=[given])
        for version in ("1.36.4", "1.37.0", "")
    }
    names = {version: {o.name for o in one.sets[1].options} for version, one in found.items()}
    assert "TCP_KEEPCNT" not in names["1.36.4"]
    assert all("TCP_KEEPCNT" in names[version] for version in ("1.37.0", ""))
    assert [one.refused for one in found.values()] == ["", "", ""]
    assert [one.requires for one in found.values()] == ["", "", ">=1.37"]


def test_option_of_one_ip_version_is_set_on_its_sockets_and_on_those_of_a_path() -> None:
    """Seen on 1.38.2 and 1.40.0; one that takes IPv4 as well is of IPv6."""
    more = [{"address": place} for place in (at(), {"pipe": {"path": "/s"}})]
    for number, expected in ((0, "TTT"), (1, "FTT"), (2, "TFT"), (7, "TTT")):
        fields = option(1, 8, state="BOUND", ip_version=number)
        both = at("::", 10001, ipv4_compat=True)
        _, *sets = started(tcp(place=both, additional_addresses=more, **fields)).sets
        there = ["SO_RCVBUF" in {o.name for o in one.options} for one in sets]
        assert "".join("FT"[one] for one in there) == expected


def test_balancer_by_cpu_is_declined_where_workers_are_pinned_alone() -> None:
    """What it attaches depends on the CPUs of the machine."""
    balanced = tcp(connection_balance_config={"cpu_locality_balance": {}})
    assert started(balanced).unknown == ()
    (declined,) = started(balanced, enable_worker_cpu_affinity=True).unknown
    assert (declined.listener, declined.fact) == ("a", "only_options")
    shared = {**balanced, "enable_reuse_port": False}
    assert started(shared, enable_worker_cpu_affinity=True).unknown == ()


@pytest.mark.parametrize(("state", "fact"), [("PREBIND", PROCESS), ("BOUND", PROCESS),
                                             ("LISTENING", LISTENERS)])  # fmt: skip
def test_option_without_a_name_is_declined(state: str, fact: str) -> None:
    found = started(tcp(**option(1, 9999, state=state)), tcp("b", at(port=10001)))
    assert [(one.listener, one.fact) for one in found.unknown] == [("a", fact)]
    assert not found.closed
    assert "b" in {one.name for one in found.sets}


def test_start_with_a_listener_of_an_extension_that_few_builds_have_is_declined() -> None:
    found = started(tcp(api_listener={}, filter_chains=[]))
    assert [(one.listener, one.fact) for one in found.unknown] == [("a", PROCESS)]
    assert not found.refused


REVERSE = at("rc://a:b:c@d:1", resolver_name="envoy.resolvers.reverse_connection")


def test_reverse_tunnel_with_its_extension_has_no_socket() -> None:
    name = "envoy.bootstrap.reverse_tunnel.downstream_socket_interface"
    found = started(tcp(place=REVERSE), bootstrap_extensions=[{"name": name}])
    assert (found.refused, found.silent, found.unknown) == ("", ("a",), ())


@pytest.mark.parametrize("version", ["1.36.4", "1.39.3", ""])
def test_reverse_tunnel_without_its_extension_is_declined_before_1_40(version: str) -> None:
    """Envoy ended by SIGSEGV, on 1.36.4, 1.37.0, 1.38.2, 1.39.1 and 1.39.3."""
    found = started(tcp(place=REVERSE), version=version)
    assert [(one.fact, found.refused) for one in found.unknown] == [(PROCESS, "")]


def test_resolver_of_an_extension_is_declined() -> None:
    found = started(tcp(place=at(resolver_name="mine")))
    assert [one.fact for one in found.unknown] == [PROCESS]


@pytest.mark.parametrize("source", [{"path": "lds.yaml"},
                                    {"path_config_source": {"path": "lds.yaml"}}])  # fmt: skip
def test_file_of_lds_is_named_with_a_slash(source: dict[str, Any]) -> None:
    config = {**ADMIN, "dynamic_resources": {"lds_config": source}}
    found = predict_start(config, concurrency=2, discovered=[])
    assert "invalid file path lds.yaml" in found.refusals
    assert any("'lds.yaml' does not exist" in words for words in found.refusals)
    kept = prediction_of(deciding_config(config, []), concurrency=2)
    assert kept.refusals == found.refusals
    slashed = json.loads(json.dumps(config).replace("lds.yaml", "./lds.yaml"))
    assert predict_start(slashed, concurrency=2, discovered=[]).refused == ""


def test_admin_endpoint_and_a_listener_on_one_path_are_both_bound() -> None:
    """The one that is bound last takes the path away, and clients reach it alone."""
    place = {"pipe": {"path": "/s"}}
    found = started({**tcp(), "address": place}, admin={"address": place})
    (item,) = [one.item for one in expected_of(found.sets)]
    assert item["bound"] == {"times": 2, "by": "main"}
    assert item["descriptors"] == 3
    assert "listened" not in item


@pytest.mark.parametrize(("given", "asked"), [(0, 0), (64, 64), (2**31, -(2**31)), (2**32 - 1, -1)])
def test_backlog_is_an_int_of_c(given: int, asked: int) -> None:
    _, one = started(tcp(tcp_backlog_size=given)).sets
    assert one.backlog == asked


SECRET = {"filters": [{"typed_config": {"key": "secret"}}]}


def test_what_decides_of_a_config_leads_to_the_same_prediction_and_holds_no_secret() -> None:
    listeners = [
        tcp(additional_addresses=[{"address": at("::1")}], **option(1, 8), tcp_backlog_size=9),
        udp("b", udp_listener_config={"quic_options": {}}, filter_chains=[SECRET]),
        {"name": "c", "internal_listener": {}, "filter_chains": [SECRET]},
        tcp("d", at(port=10001), bind_to_port=False, filter_chains=[SECRET]),
        tcp("e", at(port=10002), connection_balance_config={"cpu_locality_balance": {}}),
    ]
    extension = {"name": "envoy.bootstrap.internal_listener", "typed_config": {"x": "secret"}}
    listeners += [tcp("f", at(port=10003), tcp_keepalive={}, stats_matcher={"x": "secret"})]
    config = {**ADMIN, "static_resources": {"listeners": listeners, "secrets": ["secret"]},
              "bootstrap_extensions": [extension],
              "enable_worker_cpu_affinity": True, "node": {"id": "secret"}}  # fmt: skip
    kept = deciding_config(config, [])
    assert "secret" not in str(kept)
    whole = predict_start(config, concurrency=2, version="1.40.0", discovered=())
    assert prediction_of(kept, concurrency=2, version="1.40.0") == whole
    assert len(whole.sets) == 6
    for version in ("1.36.4", ""):
        more = {"memory_allocator_manager": {}, "admin": {**ADMIN["admin"], "allow_paths": []}}
        whole = predict_start({**config, **more}, concurrency=2, version=version, discovered=())
        kept = deciding_config({**config, **more}, [])
        assert prediction_of(kept, concurrency=2, version=version) == whole


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"lds.yaml": {"resources": []}}, []),
        ({"other.yaml": {"resources": []}}, None),
        ({"x": {"resources": [{"@type": "t/envoy.config.listener.v3.Listener", "name": "b"}]}},
         ["b"]),
    ],
)  # fmt: skip
def test_listeners_of_files_are_known_where_the_file_is(files: Any, found: Any) -> None:
    source = {"path_config_source": {"path": "/run/dir/lds.yaml"}}
    config = {"dynamic_resources": {"lds_config": source}}
    theirs = discovered_at_start(config, files)
    assert (theirs if theirs is None else [one["name"] for one in theirs]) == found
    assert discovered_at_start({}, files) == ([] if found is None else theirs)


@pytest.mark.parametrize("version", ["1.36.4", "1.40.0"])
@pytest.mark.parametrize("name", [*LISTENER, *BOOTSTRAP])
def test_field_that_is_null_is_absent_in_what_a_trace_keeps(name: str, version: str) -> None:
    """It is as Envoy reads it, whether the whole config is read or what decides about sockets."""
    # Chains that are not there may be given by a draft: only a trace knows that there are none.
    given = tcp(filter_chains=[{}])
    listener = {**given, name: None} if name in LISTENER and name != "filter_chains" else given
    config: Any = {**ADMIN, "static_resources": {"listeners": [listener]}}
    if name not in LISTENER:
        config[name] = None
    kept = prediction_of(deciding_config(config, []), concurrency=2, version=version)
    assert kept == predict_start(config, concurrency=2, version=version)


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_port_zero_is_a_twin_where_the_first_binds_nothing(first: bool, second: bool) -> None:
    """Seen on 1.36.4 and 1.40.0, which look at the `bind_to_port` of the one that is there."""
    place = at(port=0)
    found = started(tcp("a", place, bind_to_port=first), tcp("b", place, bind_to_port=second))
    assert ("has duplicate address" in found.refused) == (not first)
