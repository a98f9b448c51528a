"""The files that a config names: which they are, where they are in a run, what stands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.errors import ScenarioError
from envoyassert.report.advice import lacking
from envoyassert.scenario.absent import KINDS, MADE_UP, with_empty_clusters
from envoyassert.scenario.config_files import directory_names, named_files, with_own_files
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.unit.cli_words import run_cli

_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_MONITOR = (
    "type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3."
    "InjectedResourceConfig"
)


def at(path: str) -> dict[str, Any]:
    return {"pipe": {"path": path}}


def static(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"static_resources": {"listeners": [*listeners], **more}}


def tls(*certificates: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A listener whose filter chain has these certificates."""
    context = {"tls_certificates": [*certificates], **more}
    config = {"@type": "…DownstreamTlsContext", "common_tls_context": context}
    chain = {"transport_socket": {"name": "tls", "typed_config": config}}
    return {"name": "tls", "address": at("@tls"), "filter_chains": [chain]}


def pair(chain: str, key: str) -> dict[str, Any]:
    return {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"admin": {"access_log_path": "/var/log/a"}}, ("made", "/var/log/a", "directory")),
        ({"admin": {"address": at("/run/a")}}, ("made", "/run/a", "directory")),
        (static({"address": at("/run/l")}), ("made", "/run/l", "directory")),
        (static({"additionalAddresses": [{"address": at("/l")}]}), ("made", "/l", "directory")),
        (
            static({"access_log": [{"typed_config": {"@type": _LOG, "path": "/var/l"}}]}),
            ("made", "/var/l", "directory"),
        ),
        (
            static(clusters=[{"endpoints": [{"endpoint": {"address": at("/run/c")}}]}]),
            ("upstream", "/run/c", "text"),
        ),
        ({"ldsConfig": {"pathConfigSource": {"path": "l.yaml"}}}, ("source", "l.yaml", "nothing")),
        ({"cds_config": {"path": "c.yaml"}}, ("source", "c.yaml", "nothing")),
        ({"sds_config": {"path": "s.yaml"}}, ("source", "s.yaml", "nothing")),
        ({"watched_directory": {"path": "/certs"}}, ("watched", "/certs", "directory")),
        ({"disk_layer": {"symlink_root": "/srv/rt"}}, ("tree", "/srv/rt", "directory")),
        ({"trusted_ca": {"filename": "ca"}}, ("data", "ca", "certificate")),
        ({"crl": {"filename": "crl"}}, ("data", "crl", "crl")),
        ({"default_source_code": {"filename": "a.lua"}}, ("data", "a.lua", "empty")),
        ({"source_codes": {"mine": {"filename": "a.lua"}}}, ("data", "a.lua", "empty")),
        ({"code": {"local": {"filename": "a.wasm"}}}, ("data", "a.wasm", "wasm")),
        ({"local_jwks": {"filename": "jwks"}}, ("data", "jwks", "empty")),
        ({"session_ticket_keys": {"keys": [{"filename": "k"}]}}, ("data", "k", "ticket_key")),
        ({"pkcs12": {"filename": "p"}}, ("data", "p", "")),
        ({"secret": {"filename": "t"}}, ("data", "t", "text")),
        ({"typed_config": {"@type": _MONITOR, "filename": "p"}}, ("data", "p", "number")),
    ],
)
def test_file_that_a_config_names_is_known_by_its_field(
    config: dict[str, Any], found: tuple[str, str, str]
) -> None:
    ((use, _, text, made),) = named_files(config)
    assert (use, text, "text" if use == "upstream" else made) == found


@pytest.mark.parametrize(
    "config",
    [
        {"match": {"path": "/x"}},
        {"body": {"inline_string": "/etc/passwd"}},
        {"path_separated_prefix": "/x"},
        {"http_health_check": {"path": "/ready"}},
    ],
)
def test_what_names_no_file_is_none(config: dict[str, Any]) -> None:
    assert named_files(config) == []


def test_every_kind_has_something_that_takes_the_place() -> None:
    assert set(KINDS) == set(MADE_UP)


def test_files_beside_the_config_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "c").write_text("c")
    config = static(tls(pair("./certs/c", "certs/absent")))
    found = with_own_files(config, {}, {}, tmp_path)
    assert found.config == config
    assert found.files == {"certs/c": tmp_path / "certs" / "c"}
    assert not found.stood_in


def test_file_above_the_config_gets_a_name_inside_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "ca").write_text("c")
    found = with_own_files({"trusted_ca": {"filename": "../ca"}}, {}, {}, tmp_path / "conf")
    assert found.config == {"trusted_ca": {"filename": "${rundir}/up/ca"}}
    assert found.files == {"up/ca": tmp_path / "conf" / ".." / "ca"}


def test_file_of_the_scenario_comes_before_one_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("beside")
    taken = {"a": "the scenario's"}
    assert with_own_files({"body": {"filename": "a"}}, taken, {}, tmp_path).files == {}


def test_no_file_is_looked_for_where_it_is_not_known_where() -> None:
    config = {"body": {"filename": __file__}, "crl": {"filename": "x"}}
    found = with_own_files(config, {}, {}, None)
    assert (found.config, found.files) == (config, {})


def test_file_of_the_machine_that_is_not_for_every_user_is_copied(tmp_path: Path) -> None:
    """Root may read a key, and Envoy is another user."""
    tmp_path.chmod(0o755)
    key = tmp_path / "key.pem"
    key.write_text("k")
    key.chmod(0o600)
    config = {"private_key": {"filename": str(key)}, "trusted_ca": {"filename": "/dev/null"}}
    found = with_own_files(config, {}, {}, None)
    own = str(key)[1:]
    assert found.files == {own: key}
    assert found.config["private_key"] == {"filename": f"${{rundir}}/{own}"}
    # Not where files may lie in one folder alone.
    assert with_own_files(config, {}, {}, None, folder=tmp_path).files == {}


def test_file_of_the_machine_that_is_for_every_user_stays_where_it_is(marker: Path) -> None:
    marker.write_text("c")
    marker.chmod(0o644)
    config = {"trusted_ca": {"filename": str(marker)}}
    assert with_own_files(config, {}, {}, None).config == config
    # Unless its directory lets none in.
    marker.parent.chmod(0o700)
    assert with_own_files(config, {}, {}, None).files == {str(marker)[1:]: marker}


def test_sockets_and_logs_are_made_in_the_run_directory() -> None:
    config = {
        "admin": {"access_log_path": "/var/log/edge/admin.log", "address": at("/run/edge/a")},
        **static(
            {"address": at("/run/edge/in/l")},
            clusters=[
                {"endpoints": [{"endpoint": {"address": at("/run/edge/a")}}]},
                {"endpoints": [{"endpoint": {"address": at("/run/edge/agent")}}]},
            ],
        ),
    }
    directories = {"/run/edge": "directory", "/var/log/edge/": "directory"}
    found = with_own_files(config, {}, directories, None)
    assert [one.text for one in named_files(found.config)] == [
        "${rundir}/log_edge/admin.log",
        "${rundir}/run_edge/a",
        "${rundir}/run_edge/in/l",
        "${rundir}/run_edge/a",  # what Envoy itself made
        "/run/edge/agent",
    ]
    assert found.files == {"log_edge": None, "run_edge": None, "run_edge/in": None}
    assert list(found.stood_in) == [
        "/var/log/edge: ${rundir}/log_edge in its place",
        "/run/edge: ${rundir}/run_edge in its place",
    ]


def test_names_of_directories_are_short_and_each_is_one_directorys() -> None:
    names = directory_names(iter(["/", "/logs", "/a/b", "/c/a/b", "/tmp", "/x/" + "y" * 90]))
    assert list(names.values()) == ["root", "logs_2", "a_b", "a_b_2", "tmp", "y" * 16]


def test_answers_of_a_file_are_read_and_what_they_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("k")
    answer = {
        "resources": [{"@type": "…/envoy.config.listener.v3.Listener", **tls(pair("c", "k"))}]
    }
    (tmp_path / "lds.yaml").write_text(yaml.safe_dump(answer))
    config = {"lds_config": {"path_config_source": {"path": "./lds.yaml"}}}
    found = with_own_files(config, {}, {"c": "certificate"}, tmp_path)
    assert found.config == config
    assert found.files["k"] == tmp_path / "k"
    assert found.files["stand_in/c"] == MADE_UP["certificate"]
    (named,) = [one for one in named_files(found.files["lds.yaml"]) if one.text.endswith("/c")]
    assert named.text == "${rundir}/stand_in/c"
    assert [one.name for one in configured_listeners({}, found.files)] == ["tls"]
    (tmp_path / "lds.yaml").write_text("a: [")
    assert "lds.yaml:" in next(iter(with_own_files(config, {}, {}, tmp_path).faults))


def test_scenario_resolves_files_where_its_config_lies(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.lua").write_text("")
    (tmp_path / "conf" / "envoy.yaml").write_text(
        json.dumps({"x": {"source_code": {"filename": "a.lua"}, "crl": {"filename": "/nowhere/c"}}})
    )
    (tmp_path / "one.yaml").write_text(
        "name: one\nenvoy: {config: conf/envoy.yaml, stand_in: {/nowhere/c: {file: a.lua}}}\n"
        "expect: [{process: {live: true}}]\n"
    )
    (plan,) = expand(load_scenario(tmp_path / "one.yaml"))
    assert plan.own_files() == dict.fromkeys(
        ("a.lua", "stand_in/nowhere/c"), tmp_path / "conf" / "a.lua"
    )
    assert plan.stood_in == ("/nowhere/c: a.lua in its place",)


@pytest.fixture
def draft(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function that drafts a config, and returns `envoy` of the scenario and the notes."""
    monkeypatch.chdir(tmp_path)

    def run(config: Any, *options: str) -> tuple[Any, ...]:
        Path("envoy.json").write_text(json.dumps(config))
        code, printed, _ = run_cli(capsys, "draft", "envoy.json", *options)
        assert code == 0
        envoy = yaml.safe_load(printed)["envoy"]
        notes = [line for line in printed.splitlines() if line.startswith("# Note: ")]
        return {k: v for k, v in envoy.items() if k not in ("concurrency", "config")}, *notes

    return run


def test_draft_gives_the_run_its_own_directories_whatever_the_machine_has(draft: Any) -> None:
    config = static({"name": "l", "address": at("/tmp/l.sock")})
    config["admin"] = {"access_log_path": "/dev/stdout", "address": at("@admin")}
    assert draft(config) == ({"stand_in": {"/tmp": "directory"}},)


def test_draft_names_the_missing_file_and_the_option(draft: Any) -> None:
    config = static(tls(pair("/nowhere/c", "/nowhere/k")))
    envoy, note = draft(config)
    assert envoy == {}
    assert "/nowhere/c, /nowhere/k" in note
    assert "--stand-in" in note
    stood_in = {"/nowhere/c": "certificate", "/nowhere/k": "private_key"}
    assert draft(config, "--stand-in") == ({"stand_in": stood_in},)


def test_draft_says_what_it_stands_in_for_while_it_writes(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("envoy.json").write_text(json.dumps(static(tls(pair("/nowhere/c", "/nowhere/k")))))
    *_, said = run_cli(capsys, "draft", "envoy.json", "-o", "one.yaml")
    assert said.startswith("note: not on this machine, and Envoy reads it: /nowhere/c, /nowhere/k")
    *_, said = run_cli(capsys, "draft", "envoy.json", "-o", "two.yaml", "--stand-in")
    assert said.startswith("envoy.stand_in: in the run directory")
    assert "/nowhere/c (certificate), /nowhere/k (private_key)" in said


def test_draft_stands_in_for_a_certificate_and_its_key_together(draft: Any, tmp_path: Path) -> None:
    (tmp_path / "c").write_text("c")
    ((envoy),) = draft(static(tls(pair("c", "/nowhere/k"))), "--stand-in")
    assert envoy["stand_in"] == {"c": "certificate", "/nowhere/k": "private_key"}
    (tmp_path / "k").write_text("k")
    ((envoy),) = draft(static(tls(pair("c", "/nowhere/k"))), "--stand-in")
    assert envoy["stand_in"] == {"c": {"file": "c"}, "/nowhere/k": {"file": "k"}}


def test_draft_has_the_listeners_of_the_file_of_lds(draft: Any, tmp_path: Path) -> None:
    listener = {"@type": "…/envoy.config.listener.v3.Listener", "name": "l", "address": at("/r/l")}
    (tmp_path / "lds.json").write_text(json.dumps({"resources": [listener]}))
    config = {"dynamic_resources": {"lds_config": {"path": "/etc/edge/lds.json"}}}
    # It is the real one, so it is followed without --stand-in too.
    for more in ((), ("--stand-in",)):
        envoy, *notes = draft(config, *more)
        assert envoy["stand_in"] == {"/r": "directory", "/etc/edge/lds.json": {"file": "lds.json"}}
        assert not notes


def test_draft_says_which_file_is_taken_for_one_with_an_absolute_name(
    capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edge").mkdir()
    for place in ("lds.json", "edge/lds.json"):
        Path(place).write_text('{"resources": []}')
    source = {"lds_config": {"path": "/nowhere/edge/lds.json"}}
    node = {"id": "a", "cluster": "b"}
    Path("envoy.json").write_text(json.dumps({"node": node, "dynamic_resources": source}))
    code, _, said = run_cli(capsys, "draft", "envoy.json")
    assert code == 0
    # Of two that the end of the name fits, the one that more of it fits.
    assert said == (
        "envoy.stand_in: in the run directory, instead of what the config names: "
        "/nowhere/edge/lds.json (edge/lds.json)\n"
    )


@pytest.mark.parametrize(
    ("node", "arguments"),
    [
        ({}, ["--service-node", "envoyassert", "--service-cluster", "envoyassert"]),
        ({"id": "a"}, ["--service-cluster", "envoyassert"]),
        ({"id": "a", "cluster": "b"}, None),
    ],
)
def test_draft_gives_envoy_a_node_where_it_asks_for_one(
    draft: Any, node: dict[str, Any], arguments: list[str] | None
) -> None:
    cluster = {"cds_config": {"path_config_source": {"path": "/etc/passwd"}}}
    envoy, *_ = draft({"node": node, "dynamic_resources": cluster})
    assert envoy.get("args") == arguments
    ads = {"ads_config": {"api_type": "GRPC"}}
    envoy, *_ = draft({"node": node, "dynamic_resources": ads})
    assert envoy.get("args") == arguments
    envoy, *_ = draft({"node": node, "admin": {}})
    assert "args" not in envoy


def test_draft_has_the_arguments_of_production(draft: Any) -> None:
    config: dict[str, Any] = {"dynamic_resources": {"ads_config": {}}}
    envoy, *_ = draft(config, "--", "--service-node", "a", "--allow-unknown-static-fields")
    assert envoy["args"] == [
        *("--service-node", "a", "--allow-unknown-static-fields"),
        *("--service-cluster", "envoyassert"),
    ]


@pytest.mark.parametrize("argument", ["-c", "--concurrency=3", "more"])
def test_draft_refuses_arguments_that_are_its_own(draft: Any, capsys: Any, argument: str) -> None:
    Path("envoy.json").write_text('{"admin": {}}')
    code, printed, said = run_cli(capsys, "draft", "envoy.json", "--", argument)
    assert (code, printed) == (4, "")
    assert argument in said


def test_check_warns_of_a_file_that_is_not_beside_the_config(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("envoy.yaml").write_text(
        "static_resources:\n  x:\n  - {crl: {filename: there}}\n  - {crl: {filename: not/there}}\n"
    )
    Path("there").write_text("")
    Path("one.yaml").write_text(
        "name: one\nenvoy: {config: envoy.yaml}\nexpect: [{process: {live: true}}]\n"
    )
    code, printed, _ = run_cli(capsys, "check", "one.yaml")
    assert code == 0
    (line,) = printed.splitlines()
    assert line.startswith("envoy.yaml:4:12: warning: not/there is not in ")
    assert "envoy.stand_in" in line


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Invalid path: /etc/c", ("/etc/c is not in the run", "--stand-in")),
        ("file b.txt does not exist", ("b.txt is not", "--stand-in")),
        ("Failed to load incomplete private key from path: /k", ("/k is not", "--stand-in")),
        (
            "paths must refer to an existing path in the system: '/lds.yaml' does not exist",
            ("/lds.yaml is not", "--stand-in"),
        ),
        (
            "unable to add filesystem watch for file /srv/x/current: No such file or directory",
            ("/srv/x/current is not", "--stand-in"),
        ),
        (
            "unable to open file '/var/log/x/a.log': No such file or directory",
            ("/var/log/x is not", "stand_in: {/var/log/x: directory}"),
        ),
        (
            "cannot bind '/run/x/a.sock': No such file or directory",
            ("/run/x is not", "stand_in: {/run/x: directory}"),
        ),
        ("ads: node 'id' and 'cluster' are required. Set it", ("--service-node",)),
        ("cannot bind '127.0.0.1:80': Address already in use", ()),
    ],
)
def test_advice_names_what_envoy_lacked_and_what_gives_it(
    said: str, words: tuple[str, ...]
) -> None:
    advice = lacking(said)
    assert bool(advice) is bool(words)
    for word in words:
        assert word in advice


@pytest.mark.parametrize(
    "said",
    [
        "unable to open file '/etc/a': Permission denied",
        "cannot bind '/etc/a': Permission denied",
        "unable to read file: /etc/a",
    ],
)
def test_file_that_is_not_for_every_user_has_a_hint(said: str) -> None:
    advice = lacking(said)
    assert "may not get at /etc/a: " in advice
    assert "`limit: {uid: 0}`" in advice


def test_port_that_is_not_for_every_user_is_no_file() -> None:
    assert lacking("cannot bind '0.0.0.0:80': Permission denied") == ""


def test_file_beside_the_config_with_a_name_of_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "envoy.yaml").write_text("resources: []")
    (tmp_path / "one.yaml").write_text(
        "name: one\n"
        "envoy:\n"
        "  config:\n"
        "    dynamic_resources: {lds_config: {path_config_source: {path: envoy.yaml}}}\n"
        "expect:\n- process: {live: true}\n"
    )
    with pytest.raises(ScenarioError) as caught:
        expand(load_scenario(tmp_path / "one.yaml"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (3, 3)
    assert problem.message == "its file envoy.yaml has a name that is the run's own"


_HCM = "type.googleapis.com/…HttpConnectionManager"


def routed(*routes: dict[str, Any]) -> dict[str, Any]:
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"route": one} for one in routes]}]
    manager = {"@type": _HCM, "route_config": {"virtual_hosts": hosts}}
    filters = [{"name": "http", "typed_config": manager}]
    return {"name": "l", "address": at("/r/l"), "filter_chains": [{"filters": filters}]}


def test_draft_has_empty_clusters_on_request(draft: Any, tmp_path: Path) -> None:
    several = {"weighted_clusters": {"clusters": [{"name": "b"}, {"name": "known"}]}}
    static = {
        "clusters": [{"name": "known"}],
        "listeners": [routed({"cluster": "a"}, several, {"cluster": "of_cds"})],
    }
    kind = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    (tmp_path / "cds.yaml").write_text(
        yaml.safe_dump({"resources": [{"@type": kind, "name": "of_cds"}]})
    )
    config = {
        "node": {"id": "a", "cluster": "n"},
        "dynamic_resources": {"cds_config": {"path_config_source": {"path": "cds.yaml"}}},
        "static_resources": static,
    }
    envoy, *_ = draft(config)
    assert "empty_clusters" not in envoy
    envoy, *_ = draft(config, "--stand-in")
    assert envoy["empty_clusters"] == ["a", "b"]


def test_an_empty_cluster_is_made_where_the_config_has_none() -> None:
    config = {"staticResources": {"clusters": [{"name": "own", "type": "EDS"}], "listeners": []}}
    assert with_empty_clusters(config, ("own",)) == config
    found = with_empty_clusters(config, ("own", "gone"))
    own, made = found["staticResources"]["clusters"]
    assert own == {"name": "own", "type": "EDS"}
    assert (made["name"], made["type"]) == ("gone", "STATIC")
    assert [*with_empty_clusters({}, ("gone",))] == ["static_resources"]


@pytest.mark.parametrize("said", ["route: unknown cluster 'a'", "Unknown gRPC client cluster 'a'"])
def test_what_envoy_says_of_a_cluster_that_is_not_there_has_advice(said: str) -> None:
    assert "`envoy.empty_clusters: [a]`" in lacking(said)
