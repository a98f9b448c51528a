"""draft: every shape in which an Envoy, a control plane or a tool prints listeners."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.unit.cli_words import run_cli

ADMIN = "type.googleapis.com/envoy.admin.v3."
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
CLUSTER = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "up"}
ENDPOINT = {"address": {"socket_address": {"address": "10.0.0.9", "port_value": 99}}}


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def drafted(cli, tmp_path):
    """Draft from data or text; return the scenario, its ports, its notes and the stand-in."""

    def run(content: Any, *arguments: str, file: str = "dump.json") -> Drafted:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / file).write_text(text)
        done = cli("draft", file, "-o", "drafted.yaml", "--force", *arguments)
        assert done.code == 0, done.out + done.err
        assert cli("check", "drafted.yaml").code == 0
        return Drafted((tmp_path / "drafted.yaml").read_text(), tmp_path / "drafted.envoy.yaml")

    return run


class Drafted:
    def __init__(self, text: str, stand_in: Any) -> None:
        items = yaml.safe_load(text)["expect"]
        self.ports = [one["listener"].get("port") for one in items if "bound" in one]
        lines = text.splitlines()
        self.notes = [line[8:] for line in lines if line.startswith("# Note: ")]
        self.envoy = yaml.safe_load(text)["envoy"]
        self.stand_in = yaml.safe_load(stand_in.read_text()) if stand_in.exists() else None


def listener(port: int = 8080, name: str = "in", **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{}], **more}


def camel(port: int = 8080, name: str = "in") -> dict[str, Any]:
    address = {"socketAddress": {"address": "0.0.0.0", "portValue": port}}
    return {"name": name, "address": address, "filterChains": [{}], "tcpBacklogSize": 7}


def typed(one: dict[str, Any]) -> dict[str, Any]:
    return {"@type": LISTENER, **one}


def dynamic(one: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": one["name"], "active_state": {"listener": typed(one)}, **more}


def section(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    kind = {"@type": f"{ADMIN}ListenersConfigDump"}
    return {**kind, **({"dynamic_listeners": [*entries]} if entries else {}), **more}


def bootstrap_dump(**more: Any) -> dict[str, Any]:
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}}
    bootstrap = {"node": {"id": "a"}, "admin": admin, **more}
    return {"@type": f"{ADMIN}BootstrapConfigDump", "bootstrap": bootstrap}


#: As Go prints the structs of a message without protobuf's own JSON.
GO = {
    "name": "in",
    "address": {
        "Address": {
            "SocketAddress": {"address": "0.0.0.0", "PortSpecifier": {"PortValue": 8080}},
        }
    },
    "filter_chains": [
        {"filters": [{"name": "x", "ConfigType": {"TypedConfig": {"value": "AA="}}}]}
    ],
    "enable_reuse_port": {},
    "tcp_backlog_size": {"value": 7},
    "socket_options": [{"level": 1, "name": 8, "Value": {"IntValue": 4096}}],
}

SHAPES: dict[str, Any] = {
    # Envoy's own, in whole, by resource= and by mask=.
    "config_dump": {"configs": [section(dynamic(listener()))]},
    "resource=dynamic_listeners": {
        "configs": [{"@type": f"{ADMIN}ListenersConfigDump.DynamicListener", **dynamic(listener())}]
    },
    "resource=static_listeners": {
        "configs": [
            {"@type": f"{ADMIN}ListenersConfigDump.StaticListener", "listener": typed(listener())}
        ]
    },
    "of Envoy 1.7": {
        "configs": {
            "listeners": {
                "@type": "type.googleapis.com/envoy.admin.v2alpha.ListenersConfigDump",
                "dynamic_active_listeners": [{"version_info": "1", "listener": listener()}],
                "dynamic_warming_listeners": [{"listener": listener(81, "in")}],
                "dynamic_draining_listeners": [{"listener": listener(82, "in")}],
            }
        }
    },
    "entries without a wrapping": section(dynamic_active_listeners=[listener()]),
    "listeners alone": section(dynamic(listener())),
    "without its type": {"dynamicListeners": [{"activeState": {"listener": camel()}}]},
    # Tools: by namespace and pod, by pod, under a word, lists.
    "egctl": {"default": {"eg": section(dynamic(listener()))}},
    "egctl all": {"default": {"eg": {"configs": [section(dynamic(listener()))]}}},
    "egctl translate": {"xds": {"default/eg": section(dynamic(listener()))}},
    "pod": {"web-proxy": {"configs": [section(dynamic(listener()))]}},
    "istioctl": [camel()],
    "kuma": {"diff": [], "xds": {LISTENER: {"in": camel()}, CLUSTER["@type"]: {"up": {}}}},
    "kuma resources": {"resources": [{"name": "up", "resource": CLUSTER},
                                     {"name": "in", "resource": typed(camel())}]},
    "snapshot": {"Listeners": [camel()], "Clusters": [{"name": "up", "endpoint": ENDPOINT}]},
    "Go's own JSON": {"version": "v1", "v3": {"listeners": {"Version": "1", "Items": {
        "in": {"Resource": GO, "TTL": None}}}, "clusters": {"Items": {"in": {"Resource": GO}}}}},
    "a client": {"config": [{"node": {"id": "a"}, "genericXdsConfigs": [
        {"typeUrl": LISTENER, "name": "in", "xdsConfig": typed(listener())},
        {"typeUrl": CLUSTER["@type"], "xdsConfig": CLUSTER}]}]},
    # Files and messages of discovery.
    "LDS file": {"resources": [typed(listener())]},
    "LDS file without types": {"resources": [listener()]},
    "response": {"versionInfo": "1", "typeUrl": LISTENER, "nonce": "1", "resources": [camel()]},
    "delta response": {"system_version_info": "1", "type_url": LISTENER, "resources": [
        {"name": "in", "version": "1", "resource": typed(listener())}]},
    "wrapped resource": {"resources": [
        {"@type": "type.googleapis.com/envoy.service.discovery.v3.Resource", "name": "in",
         "resource": typed(listener())}]},
    # Parts of a bootstrap.
    "static resources": {"listeners": [listener()], "clusters": [CLUSTER]},
    "typed bootstrap": {"@type": "/envoy.config.bootstrap.v3.Bootstrap",
                        "static_resources": {"listeners": [listener()]}},
    "bare": listener(),
    "bare with its type": typed(listener()),
    "bare with nothing but a place": {key: listener()[key] for key in ("name", "address")},
    "static entry": {"listener": listener(), "last_updated": "2026-01-01T00:00:00Z"},
    "dynamic entry": dynamic(listener()),
}  # fmt: skip


@pytest.mark.parametrize("syntax", ["json", "yaml"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_read(drafted, shape, syntax):
    content = SHAPES[shape]
    text = json.dumps(content) if syntax == "json" else yaml.safe_dump(content)
    found = drafted(text, file=f"dump.{syntax}")
    assert found.ports == [8080]
    assert len(found.stand_in["static_resources"]["listeners"]) == 1


def test_discovery_response_in_text_protobuf_is_read(drafted):
    text = """
    version_info: "1"
    resources { [type.googleapis.com/envoy.config.listener.v3.Listener] {
      name: "web"
      address { socket_address { address: "127.0.0.1" port_value: 8080 } }
      filter_chains {}
    } }
    """
    assert drafted(text, file="lds.pb_text").ports == [8080]


def test_fields_have_the_same_meaning_in_every_spelling(drafted):
    found = drafted(SHAPES["Go's own JSON"]).stand_in["static_resources"]["listeners"][0]
    assert found["address"] == {"socket_address": {"address": "0.0.0.0", "port_value": 8080}}
    assert (found["enable_reuse_port"], found["tcp_backlog_size"]) == (False, 7)
    assert found["socket_options"] == [{"level": 1, "name": 8, "int_value": 4096}]
    found = drafted(SHAPES["istioctl"]).stand_in["static_resources"]["listeners"][0]
    assert found["tcp_backlog_size"] == 7


def test_bootstrap_beside_listeners_in_one_wrapping_is_of_one_envoy(drafted):
    parts = {"bootstrap": bootstrap_dump()["bootstrap"], "lds": SHAPES["LDS file"]}
    assert drafted(parts).ports == [15000, 8080]


@pytest.mark.parametrize("between", ["", "\n", "\n\x1e", "\n---\n"])
def test_parts_of_one_envoy_in_a_stream_are_one(drafted, between):
    parts = [
        {"configs": [bootstrap_dump()]},
        {"configs": [section(static_listeners=[{"listener": listener(81, "static")}])]},
        {"configs": [section(dynamic(listener()))]},
    ]
    text = between.join(map(json.dumps, parts))
    assert drafted("\ufeff" * (between != "\n---\n") + text).ports == [15000, 81, 8080]


def test_listeners_one_by_one_in_a_stream_are_of_one_envoy(drafted):
    text = "\n".join(json.dumps(listener(port, f"l{port}")) for port in (81, 82))
    assert drafted(text).ports == [81, 82]
    text = "\n---\n".join(yaml.safe_dump(typed(camel(port, f"l{port}"))) for port in (81, 82))
    assert drafted(text, file="dump.yaml").ports == [81, 82]


def test_stream_of_json_that_breaks_off_is_refused_with_its_place(cli, tmp_path):
    (tmp_path / "dump.json").write_text(f'{json.dumps(section(dynamic(listener())))}\n{{"a": \n')
    code, out, err = cli("draft", "dump.json")
    assert (code, out) == (4, "")
    assert err.startswith("dump.json:3:1: error: not JSON: expecting value")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {
                "name": "a",
                "envoy": {"config": {"static_resources": {"listeners": [listener()]}}},
                "expect": [],
            },
            "this is a scenario (name the config that it is about",
        ),
        ({"listener_statuses": [listener()]}, "this is the answer of /listeners"),
        # Printed one after another without a line between them: YAML takes them for one.
        (2 * yaml.safe_dump(listener()), "duplicate key `address`; it is first given on line 1"),
    ],
)
def test_what_is_no_dump_is_refused(cli, tmp_path, content, said):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "dump.yaml").write_text(text)
    code, out, err = cli("draft", "dump.yaml")
    assert (code, out) == (4, "")
    assert said in err


SEVERAL: dict[str, Any] = {
    "pods": {"default": {"a": section(dynamic(listener(81))), "b": section(dynamic(listener(82)))}},
    "lists": [[listener(81)], [listener(82)]],
    "lists by name": {"default/a": [listener(81)], "default/b": [listener(82)]},
    "clients": {
        "config": [
            {"node": {"id": name}, "xdsConfig": [{"listenerConfig": section(dynamic(one))}]}
            for name, one in (("a", listener(81)), ("b", listener(82)))
        ]
    },
}


@pytest.mark.parametrize(
    ("shape", "label"),
    [
        ("pods", "default/b"),
        ("pods", "b"),
        ("lists", "#2"),
        ("lists by name", "default/b"),
        ("clients", "config#2/xdsConfig/listenerConfig"),
    ],
)
def test_of_several_envoys_with_different_sockets_one_is_to_be_named(
    drafted, cli, tmp_path, shape, label
):
    (tmp_path / "dump.json").write_text(json.dumps(SEVERAL[shape]))
    code, out, err = cli("draft", "dump.json")
    assert (code, out) == (4, "")
    assert "dump.json:1:1: error: the dump is of 2 Envoys with different sockets: " in err
    assert "envoyassert draft --pod " in err
    assert drafted(SEVERAL[shape], "--pod", label).ports == [82]


def test_envoy_that_is_not_in_a_dump_is_refused(cli, tmp_path):
    (tmp_path / "dump.json").write_text(json.dumps(SEVERAL["pods"]))
    code, _, err = cli("draft", "dump.json", "--pod", "c")
    assert (code, "no Envoy of this name: c" in err, "default/a, default/b" in err) == (
        4,
        True,
        True,
    )
    (tmp_path / "envoy.yaml").write_text("static_resources: {}\n")
    code, _, err = cli("draft", "envoy.yaml", "--pod", "c")
    assert (code, "--pod goes with a dump" in err) == (4, True)


def test_envoys_with_the_same_sockets_are_drafted_as_one(drafted):
    pods = {name: section(dynamic(listener(version=name))) for name in ("a", "b")}
    found = drafted({"default": pods})
    assert found.ports == [8080]
    assert found.notes[0] == "Envoys with the same sockets: default/a, default/b."


def test_responses_in_a_row_are_what_holds_after_the_last(drafted):
    def response(**more: Any) -> dict[str, Any]:
        return {"type_url": LISTENER, **more}

    first = [listener(81, "a"), listener(82, "b")]
    request = {"node": {"id": "x"}, "type_url": LISTENER, "response_nonce": "1"}
    of_clusters = {"type_url": CLUSTER["@type"], "resources": [CLUSTER]}
    full = [request, response(resources=first), of_clusters, response(resources=[listener()])]
    found = drafted("\n".join(map(json.dumps, full)))
    assert found.ports == [8080]
    assert "2 responses in a row: what holds after the last is drafted." in found.notes
    delta = [
        response(system_version_info="1", resources=[{"name": one["name"], "resource": one}
                                                     for one in first]),
        response(removed_resources=["a"], resources=[{"name": "b", "resource": listener(83, "b")},
                                                     {"name": "c", "resource": listener(84, "c")}]),
    ]  # fmt: skip
    found = drafted(delta)
    assert found.ports == [83, 84]
    assert any("what was there before is not known" in note for note in found.notes)


def test_state_of_each_dynamic_listener_is_said(drafted):
    def state(port: int, name: str) -> dict[str, Any]:
        return {"listener": typed(listener(port, name))}

    refused = {"failed_configuration": typed(listener(99, "bad")), "details": "cannot bind\nmore"}
    found = drafted(
        {
            "configs": [
                bootstrap_dump(),
                section(
                    {"name": "both", "active_state": state(81, "both"),
                     "warming_state": state(91, "both")},
                    {"name": "soon", "warming_state": state(82, "soon")},
                    {"name": "old", "draining_state": state(92, "old")},
                    {"name": "moved", "active_state": state(83, "moved"),
                     "draining_state": state(93, "moved")},
                    {"name": "kept", "active_state": state(84, "kept"),
                     "error_state": {"details": "no such filter"}},
                    {"name": "bad", "error_state": refused},
                    {"error_state": refused},
                    {"name": "masked"},
                ),
            ]
        }
    )  # fmt: skip
    assert found.ports == [15000, 81, 82, 83, 84]
    assert found.notes[:-1] == [
        "also warming, of which the active one is drafted: both.",
        "warming (bound, and not yet listening), drafted as one that serves: soon.",
        "draining, left out: old.",
        "a change that Envoy refused, left out: kept (no such filter).",
        "refused by Envoy, left out: bad (cannot bind).",
        "only named, a mask left out the config: masked.",
    ]


@pytest.mark.parametrize("configs", [{}, {"configs": None}, {"configs": 1}])
def test_dump_of_nothing_says_so(cli, tmp_path, configs):
    (tmp_path / "dump.json").write_text(json.dumps({"@type": f"{ADMIN}ConfigDump", **configs}))
    code, _, err = cli("draft", "dump.json")
    assert code == 4
    assert err.startswith("dump.json:1:1: error: the dump has no listener")


def test_dump_in_which_a_mask_left_nothing_says_so(cli, tmp_path):
    masked = {"configs": [{"@type": f"{ADMIN}ListenersConfigDump.DynamicListener", "name": "in"}]}
    (tmp_path / "dump.json").write_text(json.dumps(masked))
    code, _, err = cli("draft", "dump.json")
    assert code == 4
    assert (
        "no listener with a socket of its own (only named, a mask left out the config: in)" in err
    )


def test_address_that_envoy_does_not_take_is_said(drafted, cli, tmp_path):
    named = listener(81, "web")
    named["address"]["socket_address"]["address"] = "web.test"
    assert drafted([named, listener()]).notes[0] == (
        "an address that Envoy does not take, left out: web (web.test:81)."
    )
    (tmp_path / "dump.json").write_text(json.dumps([named, listener(82, "v", bind_to_port=False)]))
    said = cli("draft", "dump.json").err
    assert "(an address that Envoy does not take, left out: web (web.test:81); 1 listener " in said


@pytest.mark.parametrize("port", [65536, 2**31, -1, 1e300])
def test_port_that_there_is_not_is_said(drafted, port):
    found = drafted([listener(port, "web"), listener(82)])
    assert found.ports == [82]
    assert found.notes[0].startswith("an address that Envoy does not take, left out: web (0.0.0.0:")


@pytest.mark.parametrize("value", ["x", [1], 1e300, float("inf"), 10**30, "9" * 5000])
def test_number_that_envoy_does_not_take_is_an_error_of_the_dump(cli, tmp_path, value):
    (tmp_path / "dump.json").write_text(json.dumps([listener(tcp_backlog_size=value)]))
    code, out, err = cli("draft", "dump.json")
    assert (code, out) == (4, "")
    assert err.startswith("dump.json:1:1: error: static_resources.listeners.0.tcp_backlog_size")
    assert len(err) < 500


def test_number_of_5000_digits_in_a_dump_is_text(drafted):
    text = json.dumps([listener(name="<digits>")]).replace('"<digits>"', "9" * 5000)
    assert drafted(text).ports == [8080]


def test_part_of_a_bootstrap_that_is_no_mapping_is_an_error_of_the_bootstrap(cli, tmp_path):
    text = json.dumps({"static_resources": {"listeners": [listener()]}, "dynamic_resources": 1})
    (tmp_path / "bootstrap.json").write_text(text)
    (tmp_path / "dump.json").write_text(json.dumps([listener(81, "web")]))
    code, out, err = cli("draft", "bootstrap.json", "--with", "dump.json")
    assert (code, out) == (4, "")
    assert err.startswith("bootstrap.json:1:1: error: dynamic_resources is no mapping")


def test_second_listener_of_an_address_is_left_out_as_envoy_refuses_it(drafted):
    udp = listener(81, "udp", udp_listener_config={})
    udp["address"]["socket_address"]["protocol"] = "UDP"
    chosen = [listener(0, "c"), listener(0, "d")]
    twice = listener(82, "twice", additional_addresses=[{"address": listener(81)["address"]}])
    found = drafted([listener(81, "first"), twice, udp, *chosen])
    assert found.ports == [81, 81, 0, 0]
    assert found.notes[0] == "the address of another, so Envoy refuses it: twice."


def test_dump_in_which_nothing_binds_expects_no_socket(drafted):
    held = [listener(port, f"l{port}", bind_to_port=False) for port in (81, 82)]
    found = drafted({"resources": [*map(typed, held)]})
    assert found.ports == []
    assert "2 of the listeners must have no socket: no_others says so." in found.notes
    assert found.notes[0] == "stand-ins: connections are echoed."
    kept = found.stand_in["static_resources"]["listeners"]
    assert [one["bind_to_port"] for one in kept] == [False, False]


def test_note_says_what_is_left_out_and_what_serves(drafted):
    def chain(name: str, socket: str = "", **config: Any) -> dict[str, Any]:
        filters = [{"name": name, "typed_config": config}]
        more = {"transport_socket": {"name": socket, "typed_config": {}}} if socket else {}
        return {"filters": filters, **more}

    http = "envoy.filters.network.http_connection_manager"
    served = listener(443, "tls", access_log=[{"name": "file"}])
    served["filter_chains"] = [chain(http, "envoy.transport_sockets.tls", rds={"route": "x"})]
    served["default_filter_chain"] = chain("istio.tcp")
    served["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector"}]
    udp = listener(53, "dns", udp_listener_config={})
    udp["address"]["socket_address"]["protocol"] = "UDP"
    clusters = {"@type": f"{ADMIN}ClustersConfigDump", "static_clusters": [{}]}
    secrets = {"@type": f"{ADMIN}SecretsConfigDump"}
    found = drafted({"configs": [section(dynamic(served), dynamic(udp)), clusters, secrets]})
    stand_ins, *others = found.notes
    assert stand_ins == (
        "stand-ins: connections are echoed, datagrams go to a cluster without members; left out, "
        "for no socket depends on it: filters (http_connection_manager, istio.tcp), listener "
        "filters (tls_inspector), transport sockets (tls), access logs, routes by RDS, clusters."
    )
    assert others == [
        "there is no bootstrap in it, so nothing is known of an admin endpoint.",
    ]


EXACT: dict[str, Any] = {"connection_balance_config": {"exact_balance": {}}}
ACCEPT_ONE: dict[str, Any] = {"max_connections_to_accept_per_socket_event": 1}


@pytest.mark.parametrize(
    "given, kept",
    [
        (EXACT, EXACT),
        ({"connectionBalanceConfig": {"exactBalance": {}}}, EXACT),
        ({"connectionBalanceConfig": None}, {}),
        (ACCEPT_ONE, ACCEPT_ONE),
        ({"maxConnectionsToAcceptPerSocketEvent": 1}, ACCEPT_ONE),
    ],
)
def test_how_connections_are_accepted_is_kept(drafted, given, kept):
    found = drafted([listener(**given)])
    (one,) = found.stand_in["static_resources"]["listeners"]
    own = {"name", "address", "filter_chains"}
    assert {key: value for key, value in one.items() if key not in own} == kept
    assert not any("balancer" in note for note in found.notes)


def test_balancer_that_is_an_extension_is_left_out_and_said(drafted):
    extension = {"name": "envoy.network.connection_balance.dlb", "typed_config": {}}
    found = drafted([listener(connection_balance_config={"extend_balance": extension})])
    (one,) = found.stand_in["static_resources"]["listeners"]
    assert "connection_balance_config" not in one
    assert "connection balancers that are extensions, left out: dlb." in found.notes


@pytest.mark.parametrize("affinity", [True, False])
def test_balancer_by_cpu_is_kept_with_the_pinned_workers_that_it_needs(drafted, affinity):
    own = listener(connection_balance_config={"cpu_locality_balance": {}})
    bootstrap = {"bootstrap": {"enable_worker_cpu_affinity": affinity}}
    found = drafted({"configs": [{"@type": f"{ADMIN}BootstrapConfigDump", **bootstrap},
                                 section(dynamic(own), dynamic(listener(81, "b")))]})  # fmt: skip
    assert found.stand_in.get("enable_worker_cpu_affinity") == (True if affinity else None)
    one, two = found.stand_in["static_resources"]["listeners"]
    assert one["connection_balance_config"] == {"cpu_locality_balance": {}}
    assert "connection_balance_config" not in two


def test_quic_is_stood_in_for_with_a_made_certificate(drafted):
    quic = listener(443, "web", udp_listener_config={"quicOptions": {"version": "secret"}})
    quic["address"]["socket_address"]["protocol"] = "UDP"
    secret = {"name": "cert", "sds_config": {"ads": {}}}
    quic["filter_chains"] = [{"transport_socket": {"name": "quic", "typed_config": {"a": secret}}}]
    found = drafted([quic])
    assert "QUIC has a made certificate (web)" in found.notes[0]
    assert "transport sockets (quic), secrets by SDS" in found.notes[0]
    (one,) = found.stand_in["static_resources"]["listeners"]
    assert one["udp_listener_config"] == {"quic_options": {}}
    assert "BEGIN CERTIFICATE" in json.dumps(one["filter_chains"])
    assert "sds_config" not in json.dumps(one)


def test_unix_listener_is_kept_whatever_bind_to_port_says(drafted):
    held = {"name": "a", "address": {"pipe": {"path": "@a"}}, "bind_to_port": False}
    virtual = listener(80, "v", bind_to_port=False)
    found = drafted([listener(), held, virtual, {"name": "i", "internal_listener": {}}])
    kept = found.stand_in["static_resources"]["listeners"]
    assert [one["name"] for one in kept] == ["in", "a"]
    assert "2 listeners without a socket of their own are left out." in found.notes


def test_static_listeners_of_bootstrap_and_dump_are_one(drafted):
    unnamed = {"address": listener(81)["address"], "filter_chains": [{}]}
    named = listener(82, "named")
    bootstrap = bootstrap_dump(static_resources={"listeners": [unnamed, named]})
    static = [{"listener": typed(unnamed)}, {"listener": typed(named)}]
    whole = {"configs": [bootstrap, section(dynamic(listener()), static_listeners=static)]}
    assert sorted(drafted(whole).ports) == [81, 82, 8080, 15000]
    # name_regex= leaves out what has another name, or none; the bootstrap is whole.
    by_name = {"configs": [bootstrap, section(static_listeners=static[1:])]}
    assert sorted(drafted(by_name).ports) == [81, 82, 15000]


def test_bootstrap_alone_says_that_its_control_planes_listeners_are_not_there(drafted):
    asking = bootstrap_dump(dynamic_resources={"lds_config": {"ads": {}}})
    for shape in ({"configs": [asking]}, {"bootstrap": asking["bootstrap"], "lastUpdated": "x"}):
        found = drafted(shape)
        assert found.ports == [15000]
        assert found.notes == [
            "there are no listeners of a control plane in it, and the bootstrap asks one."
        ]


BOOTSTRAP = {
    "node": {"id": "a", "cluster": "a"},
    "dynamic_resources": {"lds_config": {"ads": {}}},
    "static_resources": {"listeners": [{"address": listener(81)["address"]}]},
}


@pytest.mark.parametrize(
    "shape", sorted({*SHAPES} - {"resource=static_listeners", "static entry", "typed bootstrap"})
)
def test_bootstrap_with_any_dump_serves_its_listeners(drafted, tmp_path, shape):
    (tmp_path / "more.json").write_text(json.dumps(SHAPES[shape]))
    found = drafted(yaml.safe_dump(BOOTSTRAP), "--with", "more.json", file="envoy.yaml")
    assert found.ports == [81, 8080]
    assert [one["name"] for one in found.envoy["xds"]["listeners"]] == ["in"]
    assert found.stand_in is None


def test_listeners_of_a_list_that_are_the_bootstraps_own_are_not_served(drafted, tmp_path):
    listed = [
        {"address": camel(81)["address"]},
        {"address": camel()["address"], "bindToPort": True},
    ]
    (tmp_path / "more.json").write_text(json.dumps({"listeners": listed}))
    found = drafted(yaml.safe_dump(BOOTSTRAP), "--with", "more.json", file="envoy.yaml")
    assert found.ports == [81, 8080]
    assert [one["name"] for one in found.envoy["xds"]["listeners"]] == ["0.0.0.0:8080"]


def test_dump_of_a_bootstrap_with_a_list_is_one_stand_in(drafted, tmp_path):
    (tmp_path / "more.json").write_text(json.dumps([camel(81, ""), camel()]))
    dumped = bootstrap_dump(**BOOTSTRAP)
    found = drafted({"default": {"eg": dumped}}, "--with", "more.json")
    assert sorted(found.ports) == [81, 8080, 15000]
    assert len(found.stand_in["static_resources"]["listeners"]) == 2


def test_dump_in_yaml_may_be_larger_than_a_scenario(drafted):
    many = [{"name": str(number)} for number in range(70_000)]
    text = yaml.dump(
        {"configs": [section(dynamic(listener())), {"@type": "x.Cluster", "c": many}]},
        Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper),
    )
    assert drafted(text, file="dump.yaml").ports == [8080]
