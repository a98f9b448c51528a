"""Untrusted scenarios on a real Envoy: harmless ones run, what others would do never happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ROOT = Path(__file__).parents[2]
TYPES = "type.googleapis.com/envoy.extensions"
HCM = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"


def envoyassert(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envoyassert", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def write(directory: Path, envoy: dict[str, Any]) -> None:
    scenario = {
        "name": "one",
        "requires": {"launcher": "process"},
        "envoy": {"version": VERSION, "config": {}, **envoy},
        "expect": [{"process": {"stays_up": True}}],
    }
    (directory / "one.yaml").write_text(json.dumps(scenario))


def http(**more: Any) -> dict[str, Any]:
    """Return a bootstrap with one listener for HTTP."""
    manager = {
        "@type": HCM,
        "stat_prefix": "a",
        "route_config": {"name": "r", "virtual_hosts": []},
        "http_filters": [
            *more.pop("filters", []),
            {"name": "r", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}},
        ],
        **more,
    }
    listener = {
        "name": "a",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


def script(marker: Path) -> dict[str, Any]:
    lua = {
        "@type": f"{TYPES}.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": f"os.execute('touch {marker}')"},
    }
    return http(filters=[{"name": "lua", "typed_config": lua}])


def log(marker: Path) -> dict[str, Any]:
    file = {"@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": str(marker)}
    return http(access_log=[{"name": "f", "typed_config": file}])


def test_validation_executes_scripts_unless_untrusted(tmp_path: Path, marker: Path) -> None:
    write(tmp_path, {"config": script(marker)})
    refused = envoyassert(tmp_path, "check", "one.yaml", "--validate", "--untrusted")
    assert refused.returncode == 4
    assert refused.stdout.startswith("one.yaml:1:")
    assert "lua.v3.Lua` is not known to be harmless" in refused.stdout
    assert not marker.exists()
    assert envoyassert(tmp_path, "check", "one.yaml", "--validate").returncode == 0
    assert marker.exists()


MORE = {
    "a script": lambda marker: {"config": script(marker)},
    "an access log": lambda marker: {"config": log(marker)},
    "an argument": lambda marker: {"args": ["--log-path", str(marker)]},
    "an agent": lambda marker: {"agent": ["/bin/sh", "-c", f'touch {marker}; exec "$@"', "a"]},
}


@pytest.mark.parametrize("envoy_of", MORE.values(), ids=MORE)
def test_run_of_what_does_more_leaves_nothing_behind(
    tmp_path: Path, marker: Path, envoy_of: Any
) -> None:
    write(tmp_path, envoy_of(marker))
    refused = envoyassert(tmp_path, "run", "one.yaml", "--untrusted")
    assert refused.returncode == 4, refused.stdout
    assert ": error: the scenario is untrusted, and " in refused.stdout
    assert not marker.exists()
    assert envoyassert(tmp_path, "run", "one.yaml").returncode == 0
    assert marker.exists()


def test_harmless_scenarios_run_untrusted(tmp_path: Path) -> None:
    for name in ("reuse_port_on", "lds_add_remove", "unix_path"):
        shutil.copy(ROOT / "scenarios" / f"{name}.yaml", tmp_path)
    done = envoyassert(tmp_path, "run", ".", "--untrusted", "--launcher", "process")
    assert done.returncode == 0, done.stdout
    assert " failed" not in done.stdout
