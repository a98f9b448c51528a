"""Configs that name files, sockets and logs of elsewhere, drafted and run as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from envoyassert.cli.check import check
from envoyassert.cli.draft import draft
from envoyassert.cli.plan import plan
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import Preference
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.probe import Probe
from envoyassert.report.advice import advice
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.absent import CERTIFICATE, KEY
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.texts.findings import words_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

VERSIONS = ("1.36.4", "1.40.0")
#: A place that no machine has.
NOWHERE = "/var/lib/envoyassert-nowhere"

_TYPE = "type.googleapis.com/envoy.extensions"
_TLS = f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext"
_HTTP = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}}


def log(path: str) -> list[dict[str, Any]]:
    kind = f"{_TYPE}.access_loggers.file.v3.FileAccessLog"
    return [{"name": "log", "typed_config": {"@type": kind, "path": path}}]


def tcp(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def tls(chain: str, key: str, **more: Any) -> dict[str, Any]:
    certificate = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    context = {"tls_certificates": [certificate], **more}
    config = {"@type": _TLS, "common_tls_context": context}
    return {"transport_socket": {"name": "tls", "typed_config": config}}


def http(*filters: dict[str, Any], body: Any = None, **more: Any) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": body}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [route] if body else []}]
    manager = {
        "@type": _HTTP,
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [*filters, _ROUTER],
        **more,
    }
    return {"filters": [{"name": "http", "typed_config": manager}]}


def lua(filename: str) -> dict[str, Any]:
    kind = f"{_TYPE}.filters.http.lua.v3.Lua"
    return {
        "name": "lua",
        "typed_config": {"@type": kind, "default_source_code": {"filename": filename}},
    }


def wasm(filename: str) -> dict[str, Any]:
    vm = {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": filename}}}
    kind = f"{_TYPE}.filters.http.wasm.v3.Wasm"
    return {
        "name": "wasm",
        "typed_config": {"@type": kind, "config": {"name": "w", "vm_config": vm}},
    }


def listener(name: str, address: dict[str, Any], *chains: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "address": address, "filter_chains": list(chains or ({},))}


def secret_from(path: str) -> dict[str, Any]:
    source = {"path_config_source": {"path": path}}
    secrets = [{"name": "server", "sds_config": source}]
    config = {"@type": _TLS, "common_tls_context": {"tls_certificate_sds_secret_configs": secrets}}
    return {"transport_socket": {"name": "tls", "typed_config": config}}


#: Files that lie beside the config and above it, discovery files among them.
BESIDE: dict[str, Any] = {
    "dynamic_resources": {
        "lds_config": {"path_config_source": {"path": "./xds/lds.yaml"}},
        "cds_config": {
            "path_config_source": {"path": "xds/cds.json", "watched_directory": {"path": "xds"}}
        },
    },
    "layered_runtime": {
        "layers": [{"name": "disk", "disk_layer": {"symlink_root": "runtime/current"}}]
    },
    "static_resources": {
        "listeners": [
            listener("tls", tcp(10000), tls("certs/c.pem", "../key.pem")),
            listener("http", tcp(10001), http(lua("./a.lua"), body={"filename": "body.txt"})),
            listener("secret", tcp(10002), secret_from("./xds/sds.yaml")),
        ]
    },
}
_LISTENER = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}
LDS = {
    "resources": [{**_LISTENER, **listener("found", tcp(10003), tls("certs/c.pem", "../key.pem"))}]
}
SDS = {
    "resources": [
        {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.Secret",
            "name": "server",
            "tls_certificate": {
                "certificate_chain": {"filename": "certs/c.pem"},
                "private_key": {"filename": "../key.pem"},
            },
        }
    ]
}

#: Nothing that it names is anywhere.
ABSENT: dict[str, Any] = {
    "admin": {
        "access_log_path": f"{NOWHERE}/log/admin.log",
        "address": {"pipe": {"path": f"{NOWHERE}/run/admin.sock"}},
    },
    "dynamic_resources": {
        "cds_config": {"path_config_source": {"path": f"{NOWHERE}/cds.yaml"}},
    },
    "layered_runtime": {
        "layers": [{"name": "disk", "disk_layer": {"symlink_root": f"{NOWHERE}/runtime/current"}}]
    },
    "static_resources": {
        "listeners": [
            {
                **listener("pipe", {"pipe": {"path": f"{NOWHERE}/run/in.sock", "mode": 0o640}}),
                "access_log": log(f"{NOWHERE}/log/in.log"),
            },
            listener(
                "tls",
                tcp(10000),
                tls(
                    f"{NOWHERE}/c.pem",
                    f"{NOWHERE}/k.pem",
                    validation_context={
                        "trusted_ca": {"filename": f"{NOWHERE}/ca.pem"},
                        "crl": {"filename": f"{NOWHERE}/crl.pem"},
                        "watched_directory": {"path": NOWHERE},
                    },
                ),
            ),
            listener(
                "http",
                tcp(10001),
                http(
                    lua("absent.lua"),
                    wasm("absent.wasm"),
                    body={"filename": "absent.txt"},
                    access_log=log("logs/http/access.log"),
                ),
            ),
            listener("secret", tcp(10002), secret_from(f"{NOWHERE}/sds.yaml")),
        ]
    },
}


def drafted(directory: Path, config: dict[str, Any], *options: str) -> Path:
    """Draft a config that lies in `directory/conf`, into another directory; return the scenario."""
    conf, scenario = directory / "conf", directory / "made" / "drafted.yaml"
    conf.mkdir(exist_ok=True)
    scenario.parent.mkdir(exist_ok=True)
    (conf / "envoy.yaml").write_text(yaml.safe_dump(config))
    arguments = [str(conf / "envoy.yaml"), "-o", str(scenario), "--force", *options]
    done = CliRunner().invoke(draft, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return scenario


def with_files(directory: Path) -> Path:
    """Make the files that BESIDE names."""
    conf = directory / "conf"
    for name, content in {
        "certs/c.pem": CERTIFICATE,
        "../key.pem": KEY,
        "a.lua": "function envoy_on_request(handle) end\n",
        "body.txt": "hello",
        "xds/lds.yaml": yaml.safe_dump(LDS),
        "xds/cds.json": '{"resources": []}',
        "xds/sds.yaml": yaml.safe_dump(SDS),
        "runtime/current/limit": "1",
    }.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(content)
    return conf


def run(
    scenario: Path, probe: Probe, version: str, preference: Preference = "process"
) -> RunResult:
    (one,) = expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])
    return run_plan(one, probe, preference)


def judged(result: RunResult) -> Verdict:
    return judge(result.trace, result.plan.expectations, workers=result.plan.workers)


def passes(result: RunResult) -> None:
    verdict = judged(result)
    said = "\n".join(result.trace.end.outcome.log_tail)
    reasons = [
        words_of(finding).reason
        for finding in verdict.findings
        if finding.status is not Status.PASS
    ]
    assert verdict.status is Status.PASS, f"{reasons}\n{said}"


@pytest.mark.parametrize("version", VERSIONS)
def test_files_beside_the_config_are_found(
    version: str, tmp_path: Path, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files(tmp_path)
    scenario = drafted(tmp_path, BESIDE)
    assert "Note: not on this machine" not in scenario.read_text()
    assert "stand_in" not in scenario.read_text()
    monkeypatch.chdir("/")
    result = run(scenario, probe, version)
    passes(result)
    ports = {place.port for one in result.trace.header.listeners for place in one.addresses}
    assert ports == {10000, 10001, 10002, 10003}
    assert "no_others" in scenario.read_text()


@pytest.mark.docker
def test_files_beside_the_config_are_found_in_a_container(tmp_path: Path, probe: Probe) -> None:
    with_files(tmp_path)
    passes(run(drafted(tmp_path, BESIDE), probe, VERSIONS[-1], "docker"))


@pytest.mark.parametrize("version", VERSIONS)
def test_files_that_are_nowhere_are_stood_in_for(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, ABSENT, "--stand-in")
    text = scenario.read_text()
    result = run(scenario, probe, version)
    passes(result)
    said = "\n".join(result.trace.header.stood_in)
    for name in ("c.pem", "k.pem", "ca.pem", "crl.pem", "cds.yaml", "sds.yaml", "run", "log"):
        assert f"{NOWHERE}/{name}: " in text.replace("'", "")
        assert f"{NOWHERE}/{name}: " in said
    for name in ("absent.lua", "absent.wasm", "absent.txt"):
        assert f"{name}: " in said
    assert not Path(NOWHERE).exists()
    assert {path.name for path in (tmp_path / "conf").iterdir()} == {"envoy.yaml"}


@pytest.mark.docker
def test_files_that_are_nowhere_are_stood_in_for_in_a_container(
    tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, ABSENT, "--stand-in")
    passes(run(scenario, probe, VERSIONS[-1], "docker"))


def test_file_that_is_not_stood_in_for_is_named_with_the_option(
    tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, ABSENT)
    assert f"{NOWHERE}/c.pem" in scenario.read_text()
    result = run(scenario, probe, VERSIONS[-1])
    verdict = judged(result)
    assert verdict.status is Status.FAIL
    finding = next(one for one in verdict.findings if one.status is Status.FAIL)
    said = advice(finding, result.trace.end.outcome)
    assert NOWHERE in said
    assert "--stand-in" in said
    assert not Path(NOWHERE).exists()


def test_check_asks_envoy_with_the_files_of_the_run(tmp_path: Path) -> None:
    with_files(tmp_path)
    for config, options in ((BESIDE, ()), (ABSENT, ("--stand-in",))):
        scenario = drafted(tmp_path, config, *options)
        done = CliRunner().invoke(check, [str(scenario), "--validate", "--envoy", VERSIONS[-1]])
        assert "1 of 1 scenario files are valid" in done.output, done.output
    scenario = drafted(tmp_path, ABSENT)
    done = CliRunner().invoke(check, [str(scenario), "--validate", "--envoy", VERSIONS[-1]])
    assert "0 of 1 scenario files are valid" in done.output
    assert "--stand-in" in done.output


def test_plan_stands_in_for_files_by_the_same_option(tmp_path: Path) -> None:
    drafted(tmp_path, ABSENT)
    file = str(tmp_path / "conf" / "envoy.yaml")
    arguments = [file, file, "--launcher", "process", "--stand-in"]
    done = CliRunner().invoke(plan, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no start-up differences" in done.output


def test_draft_whose_config_is_gone_says_so(tmp_path: Path) -> None:
    scenario = drafted(tmp_path, ABSENT, "--stand-in")
    moved = tmp_path / "drafted.yaml"
    shutil.move(scenario, moved)
    done = CliRunner().invoke(check, [str(moved)])
    assert "0 of 1 scenario files are valid" in done.output
    assert "../conf/envoy.yaml" in done.output
    assert "the path is relative to" in done.output


@pytest.mark.parametrize("via", ["file", "xds"])
def test_listeners_of_a_file_beside_the_scenario_are_served(
    via: str, tmp_path: Path, probe: Probe
) -> None:
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    echo = {"@type": f"{_TYPE}.filters.network.echo.v3.Echo"}
    served = listener("ingress", tcp(10000), {"filters": [{"name": "echo", "typed_config": echo}]})
    (tmp_path / "production").mkdir()
    (tmp_path / "production" / "lds.yaml").write_text(
        yaml.safe_dump({"resources": [{"@type": kind, **served}]})
    )
    config: dict[str, Any] = {"admin": {"address": tcp(0)}}
    part = {"from": "production/lds.yaml"}
    envoy: dict[str, Any] = {"xds": {"listeners": part}}
    if via == "file":
        config["node"] = {"id": "a", "cluster": "b"}
        source = {"path_config_source": {"path": "${rundir}/lds.yaml"}}
        config["dynamic_resources"] = {"lds_config": source}
        envoy = {"files": {"lds.yaml": part}}
    scenario = tmp_path / "parts.yaml"
    expect = [{"listener": {"name": "ingress"}, "bound": {"times": "workers", "by": "main"}}]
    scenario.write_text(
        yaml.safe_dump({"name": "parts", "envoy": {"config": config, **envoy}, "expect": expect})
    )
    (planned,) = expand(load_scenario(scenario))
    result = run_plan(planned, probe, "process")
    found = judge(result.trace, result.plan.expectations, workers=result.plan.workers)
    assert found.status is Status.PASS, result.log_text


@pytest.mark.parametrize("version", VERSIONS)
def test_listeners_whose_clusters_are_not_there_are_drafted_on_request(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    """In production the clusters come before the listeners that route to them."""
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    manager = http()
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backend"}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
    manager["filters"][0]["typed_config"]["route_config"] = {
        "virtual_hosts": hosts,
        "validate_clusters": True,
    }
    answer = {"resources": [{"@type": kind, **listener("ingress", tcp(10000), manager)}]}
    (tmp_path / "lds.yaml").write_text(yaml.safe_dump(answer))
    sources = {
        f"{name}_config": {"path_config_source": {"path": f"/etc/edge/{name}.yaml"}}
        for name in ("lds", "cds")
    }
    config = {"admin": {"address": tcp(9901)}, "dynamic_resources": sources}
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    scenario = tmp_path / "edge.yaml"
    for more, passes in (((), False), (("--stand-in",), True)):
        words = [str(tmp_path / "envoy.yaml"), "-o", str(scenario), "--force", *more]
        assert CliRunner().invoke(draft, words).exit_code == 0
        assert ("empty_clusters: [backend]" in scenario.read_text()) is passes
        (planned,) = expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])
        result = run_plan(planned, probe, "process")
        found = judge(result.trace, result.plan.expectations, workers=result.plan.workers)
        assert (found.status is Status.PASS) is passes, result.log_text
