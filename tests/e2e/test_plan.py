"""plan: a real Envoy with a config and with a change of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launching import VERSION, bootstrap, echo_listener
from tests.e2e.test_draft_matrix import GROUPS, QUIC, one, place
from tests.e2e.test_draft_matrix import bootstrap as config_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


def test_plan_of_switching_reuse_port_off_runs_both_and_judges_the_new_one(tmp_path: Path) -> None:
    config = tmp_path / "my-envoy.yaml"
    config.write_text(bootstrap(echo_listener()))
    item = tmp_path / "wanted.yaml"
    item.write_text("expect: [{listener: {name: l10000}, listened: {by: workers, via: dup}}]\n")
    command = [sys.executable, "-m", "envoyassert", "plan", str(config), "--envoy", VERSION]
    command += ["--launcher", "process", "--concurrency", "3", "--set", "enable_reuse_port=false"]
    command += ["--expect", str(item), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    push = data["model"]["ways"]["push"]["listeners"][0]
    assert (push["listener"], push["kind"]) == ("l10000", "refused")
    ran = data["run"]
    (listener,) = [one for one in ran["listeners"] if one["listener"].endswith("(l10000)")]
    shapes = [listener[when]["shape"] for when in ("before", "after")]
    assert shapes == [[{"count": 1, "value": "reuse_port"}], [{"count": 1, "value": "dup"}]]
    assert listener["picture"] == {
        "before": [
            "socket 1 --- descriptor --- worker_0",
            "socket 2 --- descriptor --- worker_1",
            "socket 3 --- descriptor --- worker_2",
        ],
        "after": [
            "socket 1 -+- descriptor       --- worker_0",
            "          +- descriptor (dup) --- worker_1",
            "          '- descriptor (dup) --- worker_2",
        ],
    }
    assert {one["subject"] for one in ran["differences"]} == {listener["listener"]}
    assert data["verdict"]["status"] == "PASS"


def asking() -> dict[str, Any]:
    """A bootstrap that asks servers which are not there, at a name that is not found."""
    config = config_of([one("tcp", place("tcp", "10.1.2.3"))])
    source = {"ads": {}, "resource_api_version": "V3"}
    config["dynamic_resources"] = {"lds_config": source, "cds_config": source}
    place_of_server = {"endpoint": {"address": place("tcp", "control.example", 15010)}}
    config["static_resources"]["clusters"].append(
        {
            "name": "server",
            "type": "STRICT_DNS",
            "load_assignment": {
                "cluster_name": "server",
                "endpoints": [{"lb_endpoints": [place_of_server]}],
            },
        }
    )
    return config


def dump() -> dict[str, Any]:
    listeners = [one("tcp", place("tcp", "10.9.8.7", 0)), one("quic"), one("udp")]
    states = [{"active_state": {"listener": listener}} for listener in listeners]
    section = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"
    return {"configs": [{"@type": section, "dynamic_listeners": states}]}


def without_admin(listeners: list[Any]) -> dict[str, Any]:
    return {key: value for key, value in config_of(listeners).items() if key != "admin"}


ITSELF: dict[str, dict[str, Any]] = {
    "chosen ports": config_of(GROUPS["equal_addresses"]),
    "names": config_of(GROUPS["names"]),
    "unix": config_of(GROUPS["unix"]),
    "given up": config_of(GROUPS["given_up"]),
    "elsewhere": config_of(GROUPS["elsewhere"]),
    "asking": asking(),
    "one worker": config_of([one("udp", enable_reuse_port=False)]),
    "nothing binds": without_admin([one("tcp", bind_to_port=False)]),
    "dump": dump(),
}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory with files that Envoy's user may read."""
    with tempfile.TemporaryDirectory(prefix="ea-plan-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("name", ITSELF)
def test_plan_of_a_config_and_itself_reports_nothing(name: str, open_directory: Path) -> None:
    config = open_directory / "envoy.json"
    text = json.dumps(ITSELF[name])
    for file in ("key.pem", "certificate.pem"):
        (open_directory / file).write_text(QUIC["files"][file])
        text = text.replace(f"${{rundir}}/{file}", str(open_directory / file))
    config.write_text(text)
    command = [sys.executable, "-m", "envoyassert", "plan", str(config), str(config)]
    command += ["--envoy", VERSION, "--launcher", "process", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    data = json.loads(done.stdout)
    assert data["model"]["result"] == "none"
    shown = data["run"]
    assert (shown["result"], shown["differences"]) == ("same", [])
    assert bool(shown["listeners"]) is (name != "nothing binds")
