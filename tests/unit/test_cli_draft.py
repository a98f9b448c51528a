"""draft: what it writes from a config, a dump and a trace, without root or an Envoy."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.draft.from_config import draft_of_config
from envoyassert.trace_file import read_trace, write_trace
from tests.unit.cli_words import run_cli

TRACES = Path(__file__).parents[2] / "tests" / "traces"
RECORDED = sorted(path.name for path in TRACES.glob("*-1.40.0.ndjson"))


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_cli(capsys, *arguments)


def listener(name: str, port: int, **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
    return {"name": name, "address": address, **more}


def dump(*listeners: dict[str, Any]) -> str:
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}
    kind = "type.googleapis.com/envoy.admin.v3."
    return json.dumps(
        {
            "configs": [
                {
                    "@type": f"{kind}BootstrapConfigDump",
                    "bootstrap": {"admin": {"address": place}, "static_resources": {}},
                },
                {
                    "@type": f"{kind}ListenersConfigDump",
                    "static_listeners": [{"listener": listener("metrics", 15090)}],
                    "dynamic_listeners": [
                        {"name": one["name"], "active_state": {"listener": one}}
                        for one in listeners
                    ],
                },
            ]
        },
        indent=1,
    )


def test_dump_that_is_nested_too_deep_is_refused_with_its_place(cli, tmp_path):
    (tmp_path / "dump.json").write_text('{"configs": ' + "[" * 50_000)
    code, out, err = cli("draft", "dump.json")
    assert (code, out) == (4, "")
    assert err.startswith("dump.json:1:")
    assert "error: nested more than 100 levels deep" in err


@pytest.mark.parametrize("text", ["1e3", "true", "[a]", "# first\nlistener\n", "2026-01-01"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("draft", "bad.yaml"), 4),
        (("plan", "--model", "bad.yaml", "good.yaml"), 2),
        (("plan", "--model", "good.yaml", "bad.yaml"), 2),
    ],
    ids=["draft", "old", "new"],
)
def test_file_that_has_no_fields_is_refused_with_its_place(cli, tmp_path, text, words, code):
    (tmp_path / "bad.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text("static_resources: {listeners: []}")
    row = 2 if text.startswith("#") else 1
    said = (
        f"bad.yaml:{row}:1: error: this is a single value or a list, and an Envoy config is a "
        "mapping (name the file that Envoy is started with (-c), a dump or a trace)\n"
    )
    assert cli(*words) == (code, "", said)


def test_draft_of_a_config_refers_to_it_and_is_valid(cli, tmp_path):
    (tmp_path / "envoy.yaml").write_text(
        yaml.safe_dump({"static_resources": {"listeners": [listener("in", 10000)]}})
    )
    (tmp_path / "tests").mkdir()
    assert cli("draft", "envoy.yaml", "-o", "tests/edge.yaml")[0] == 0
    written = yaml.safe_load((tmp_path / "tests" / "edge.yaml").read_text())
    assert written["envoy"] == {"concurrency": 2, "config": "../envoy.yaml"}
    assert written["expect"][0]["bound"] == {"times": 2, "by": "main"}
    assert written["expect"][-1] == {"process": {"stays_up": True}}
    assert cli("check", "tests")[0] == 0


@pytest.mark.parametrize("name", RECORDED)
def test_draft_of_a_trace_passes_on_that_trace(cli, name, tmp_path):
    assert cli("draft", str(TRACES / name), "-o", "seen.yaml")[0] == 0
    assert cli("check", "seen.yaml")[0] == 0
    code, printed, _ = cli("replay", str(TRACES / name), "--scenario", "seen.yaml")
    assert (code, printed.splitlines()[0]) == (0, "PASS seen")


def test_draft_of_a_trace_says_the_same_as_that_of_its_stand_in(cli, tmp_path):
    """The two ways to a draft, by what was seen and by what Envoy does, hold each other."""
    for name in RECORDED:
        cli("draft", str(TRACES / name), "-o", "seen.yaml", "--force")
        cli("draft", "seen.envoy.yaml", "-o", "named.yaml", "--force")
        seen, shown = (
            yaml.safe_load((tmp_path / f"{n}.yaml").read_text()) for n in ("seen", "named")
        )
        assert seen["expect"] == shown["expect"], name


def test_draft_that_is_printed_holds_its_stand_in(cli, tmp_path):
    trace = TRACES / "reuse_port_on-1.40.0.ndjson"
    _, printed, _ = cli("draft", trace)
    (tmp_path / "reuse_port_on_1.yaml").write_text(printed)
    assert cli("check", "reuse_port_on_1.yaml")[0] == 0
    assert cli("replay", trace, "--scenario", "reuse_port_on_1.yaml")[0] == 0


def test_draft_of_one_trace_fails_on_another(cli):
    cli("draft", str(TRACES / "reuse_port_off-1.40.0.ndjson"), "-o", "seen.yaml")
    other = str(TRACES / "reuse_port_on-1.40.0.ndjson")
    assert cli("replay", other, "--scenario", "seen.yaml")[0] == 1


def test_draft_of_a_trace_with_its_config_refers_to_that(cli, tmp_path):
    shutil.copy(TRACES / "reuse_port_off-1.40.0.ndjson", tmp_path / "run.ndjson")
    (tmp_path / "mine.yaml").write_text("static_resources: {}\n")
    code, printed, _ = cli("draft", "run.ndjson", "--config", "mine.yaml")
    assert code == 0
    assert yaml.safe_load(printed)["envoy"]["config"] == "mine.yaml"


def test_draft_of_a_sidecars_dump_keeps_what_makes_sockets(cli, tmp_path):
    inbound = listener("inbound", 15006, tcp_backlog_size=64, traffic_direction="INBOUND")
    inbound["filter_chains"] = [{"filters": [{"name": "wasm"}], "transport_socket": {"name": "x"}}]
    virtual = listener("10.0.0.1_80", 80, bindToPort=False)
    (tmp_path / "dump.json").write_text(dump(inbound, virtual))
    assert cli("draft", "dump.json", "-o", "sidecar.yaml")[0] == 0
    text = (tmp_path / "sidecar.yaml").read_text()
    assert "# Note: 1 listener without a socket of its own is left out." in text
    ports = [item["listener"]["port"] for item in yaml.safe_load(text)["expect"][:-2]]
    assert ports == [15000, 15090, 15006]
    stand_in = yaml.safe_load((tmp_path / "sidecar.envoy.yaml").read_text())
    kept = stand_in["static_resources"]["listeners"][1]
    assert kept["tcp_backlog_size"] == 64
    assert [f["name"] for c in kept["filter_chains"] for f in c["filters"]] == [
        "envoy.filters.network.echo"
    ]
    assert "transport_socket" not in kept["filter_chains"][0]
    assert cli("check", "sidecar.yaml")[0] == 0


def test_the_form_of_a_draft_does_not_depend_on_the_number_of_addresses(cli, tmp_path):
    def drafted(ports):
        listeners = [listener(f"l{port}", port) for port in ports]
        config = {"static_resources": {"listeners": listeners}}
        (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
        return cli("draft", "envoy.yaml")[1].splitlines()

    one, two, forty = (drafted(range(10000, 10000 + number)) for number in (1, 2, 40))
    each = len(two) - len(one)
    assert each > 1
    assert two[: len(one) - 2] == one[:-2]
    assert len(forty) == len(one) + 39 * each


@pytest.mark.parametrize("file", ["a.yaml", "a.envoy.yaml"])
def test_a_draft_replaces_no_file_without_force(cli, tmp_path, file):
    (tmp_path / "dump.json").write_text(dump(listener("in", 80)))
    (tmp_path / file).write_text("mine\n")
    code, _, errors = cli("draft", "dump.json", "-o", "a.yaml")
    assert code == 4
    assert errors.splitlines()[-1] == f"Error: {file} is there already; --force replaces it"
    assert (tmp_path / file).read_text() == "mine\n"
    assert not (tmp_path / ({"a.yaml", "a.envoy.yaml"} - {file}).pop()).exists()
    assert cli("draft", "dump.json", "-o", "a.yaml", "--force")[0] == 0
    assert (tmp_path / file).read_text() != "mine\n"


@pytest.mark.parametrize(
    ("content", "arguments", "code", "shown"),
    [
        ("[]\n", (), 4, "an Envoy config is a mapping"),
        ("foo: {}\n", (), 4, "this is no Envoy bootstrap: it has none of static_resources, "),
        ('{"configs": []}', ("-o", "a.yaml"), 4, "the dump has no listener with a socket"),
        ("a: [\n", (), 4, "in.yaml:"),
        ("static_resources: {}\n", ("--config", "in.yaml"), 4, "--config goes with a trace"),
        ("static_resources: {listeners: [{address: {pipe: {path: '@a'}}}]}\n",
         ("-o", "in.yaml"), 4, "is the file to draft from"),
        ("static_resources: {listeners: [{address: {pipe: {path: '@a'}}}]}\n",
         ("-o", "My-Draft.yaml"), 4, "say -o my_draft.yaml"),
    ],
)  # fmt: skip
def test_draft_of_what_cannot_be_drafted_says_why(cli, tmp_path, content, arguments, code, shown):
    (tmp_path / "in.yaml").write_text(content)
    got, printed, errors = cli("draft", "in.yaml", *arguments)
    assert got == code
    assert shown in printed + errors
    assert (tmp_path / "in.yaml").read_text() == content


def test_draft_of_a_lossy_trace_is_refused(cli, tmp_path):
    trace = read_trace(TRACES / "reuse_port_on-1.40.0.ndjson")
    first, *others = trace.end.cpus
    lossy = replace(first, dropped=first.dropped + 3, emitted=first.emitted + 3)
    trace.end = replace(trace.end, cpus=(lossy, *others))
    write_trace(trace, tmp_path / "run.ndjson")
    code, _, errors = cli("draft", "run.ndjson", "-o", "a.yaml")
    assert code == 4
    assert "the trace lost records" in errors


def test_draft_of_a_dump_stands_in_for_udp_and_quic(cli, tmp_path):
    def udp(name: str, port: int, **config: Any) -> dict[str, Any]:
        one = listener(name, port, udp_listener_config=config)
        one["address"]["socket_address"]["protocol"] = "UDP"
        return one

    tunnel = {"address": "rc://a:b:c@up:1", "resolver_name": "envoy.resolvers.reverse_connection"}
    dialer = {"name": "dialer", "address": {"socket_address": {**tunnel, "port_value": 0}}}
    content = dump(udp("dns", 5353), udp("web", 443, quicOptions={}), dialer)
    (tmp_path / "dump.json").write_text(content)
    assert cli("draft", "dump.json", "-o", "sidecar.yaml")[0] == 0
    text = (tmp_path / "sidecar.yaml").read_text()
    assert "datagrams go to a cluster without members, QUIC has a made certificate (web)" in text
    assert "# Note: 1 listener without a socket of its own is left out." in text
    items = yaml.safe_load(text)["expect"]
    assert [i["listener"]["port"] for i in items if "listener" in i] == [15000, 15090, 5353, 443]
    static = yaml.safe_load((tmp_path / "sidecar.envoy.yaml").read_text())["static_resources"]
    assert "filter_chains" not in static["listeners"][1]
    (sink,) = static["listeners"][1]["listener_filters"]
    assert static["clusters"][0]["name"] in json.dumps(sink)
    assert cli("check", "sidecar.yaml")[0] == 0


def test_draft_of_udp_without_reuse_port_asks_for_the_one_worker_that_envoy_takes():
    place = {"protocol": "UDP", "address": "127.0.0.1", "port_value": 53}
    udp = {"address": {"socket_address": place}, "enableReusePort": False}
    assert draft_of_config({"static_resources": {"listeners": [udp]}}).concurrency == 1


ASKING = {
    "node": {"id": "pod", "cluster": "front"},
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}},
    "dynamic_resources": {"lds_config": {"ads": {}}, "cds_config": {"ads": {}}},
    "static_resources": {"listeners": [listener("metrics", 15090)]},
}


def test_draft_of_a_config_that_asks_a_server_says_that_nothing_answers(cli, tmp_path):
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(ASKING, sort_keys=False))
    code, printed, shown = cli("draft", "envoy.yaml", "-o", "asking.yaml")
    assert (code, printed) == (0, "wrote asking.yaml\n")
    why = (
        "no server: lds_config, cds_config answered with nothing "
        "(--with DUMP serves a dump's listeners)"
    )
    assert shown == f"envoy.control_plane: {why}\n"
    text = (tmp_path / "asking.yaml").read_text()
    assert f"  control_plane: empty  # {why}\n" in text
    assert "- no_others: true" in text
    assert "LDS" not in text
    assert cli("check", "asking.yaml")[0] == 0


def test_draft_with_a_dump_serves_its_listeners(cli, tmp_path):
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(ASKING, sort_keys=False))
    (tmp_path / "dump.json").write_text(dump(listener("in", 15006, enable_reuse_port=False)))
    code, _, shown = cli("draft", "envoy.yaml", "--with", "dump.json", "-o", "both.yaml")
    assert code == 0, shown
    text = (tmp_path / "both.yaml").read_text()
    envoy = yaml.safe_load(text)["envoy"]
    (served,) = envoy["xds"].pop("listeners")
    assert (served["name"], served["enable_reuse_port"]) == ("in", False)
    assert envoy == {
        "concurrency": 2,
        "config": "envoy.yaml",
        "xds": {"via": "file"},
        "control_plane": "empty",
    }
    assert "no server: cds_config answered with nothing\n" in shown
    for port in (9901, 15090, 15006):
        assert f"port: {port}" in text
    assert "- no_others: true" in text
    assert cli("check", "both.yaml")[0] == 0


def test_draft_with_a_dump_needs_a_bootstrap_and_a_dump(cli, tmp_path):
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(ASKING, sort_keys=False))
    (tmp_path / "dump.json").write_text(dump(listener("in", 15006)))
    (tmp_path / "static.json").write_text(dump())
    code, _, shown = cli("draft", "dump.json", "--with", "dump.json")
    assert (code, "--with goes with a bootstrap" in shown) == (4, True)
    code, printed, shown = cli("draft", "envoy.yaml", "--with", "envoy.yaml")
    assert (code, "envoy.yaml:1:1: error: this is no dump" in printed + shown) == (4, True)
    code, printed, shown = cli("draft", "envoy.yaml", "--with", "static.json")
    assert (code, "no listener from a control plane" in printed + shown) == (4, True)


def test_draft_names_the_addresses_that_its_sockets_need(cli, tmp_path):
    def at(host: str, port: int = 80, **more: Any) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": host, "port_value": port}}, **more}

    device = {"level": 1, "name": 25, "state": "STATE_PREBIND"}
    listeners = [
        at("0.0.0.0", name="any"),
        at("127.0.0.9", name="loopback"),
        at("::1", name="loopback6"),
        at("10.0.0.1", name="pod", additional_addresses=[at("2001:db8::1"), at("10.0.0.1")]),
        at("10.0.0.2", name="free", freebind=True),
        at("10.0.0.3", name="transparent", transparent=True),
        at("10.0.0.4", name="on", socket_options=[{**device, "buf_value": "ZXRoMAA="}]),
        at("0.0.0.0", 81, name="all_of", socket_options=[{**device, "buf_value": "ZXRoMQ=="}]),
    ]
    (tmp_path / "envoy.json").write_text(json.dumps({"static_resources": {"listeners": listeners}}))
    code, _, shown = cli("draft", "envoy.json", "-o", "placed.yaml")
    written = yaml.safe_load((tmp_path / "placed.yaml").read_text())
    assert written["requires"] == {"launcher": "process"}
    envoy = written["envoy"]
    assert envoy["addresses"] == ["10.0.0.1", "2001:db8::1", "10.0.0.4%eth0", "%eth1"]
    assert (code, shown) == (0, "envoy.addresses: of elsewhere: given to the run's own network\n")


@pytest.mark.parametrize("more", [(), ("--stand-in",)])
def test_draft_into_a_directory_behind_a_link_names_the_config_where_it_is(cli, tmp_path, more):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away")
    (tmp_path / "envoy.yaml").write_text(json.dumps({"static_resources": {}, **ADMIN}))
    assert cli("draft", "envoy.yaml", "-o", "link/envoy.envoyassert.yaml", *more)[0] == 0
    drafted = yaml.safe_load((tmp_path / "link/envoy.envoyassert.yaml").read_text())
    assert drafted["envoy"]["config"] == "../../envoy.yaml"
    assert cli("check", "link/envoy.envoyassert.yaml")[0] == 0


def test_draft_into_a_directory_that_is_made_for_it_is_valid(cli, tmp_path):
    (tmp_path / "envoy.yaml").write_text(json.dumps({"static_resources": {}, **ADMIN}))
    assert cli("draft", "envoy.yaml", "-o", "new/envoy.envoyassert.yaml")[0] == 0
    assert cli("check", "new/envoy.envoyassert.yaml")[0] == 0


def test_draft_names_no_config_that_is_not_a_file(cli, tmp_path):
    shutil.copy(TRACES / RECORDED[0], tmp_path / "run.ndjson")
    code, out, err = cli("draft", "run.ndjson", "--config", "/dev/null")
    assert (code, out) == (4, "")
    assert "/dev/null is no file that a scenario can name; copy it into one" in err


ADMIN = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}}
