"""The corpus command on a small corpus, with a real Envoy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION, bootstrap, echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
FILES = {
    "good/envoy.yaml": bootstrap(echo_listener()),
    "good/deep/without_a_suffix": bootstrap(echo_listener(10001)),
    "mixed/refused.yaml": "static_resources: {listeners: [{name: nowhere}]}\n",
    "mixed/not_a_config.yaml": "kind: ConfigMap\ndata: {a: b}\n",
    "mixed/broken.yaml": "static_resources: {\n",
    # No tracer sees what is done by io_uring.
    "mixed/unseen.yaml": bootstrap(echo_listener())
    + """
bootstrap_extensions:
- name: envoy.extensions.network.socket_interface.default_socket_interface
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.socket_interface.v3.DefaultSocketInterface
    io_uring_options: {}
default_socket_interface: envoy.extensions.network.socket_interface.default_socket_interface
""",
}


def test_the_command_counts_by_project_and_says_why(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_text(text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.corpus", str(tmp_path / "corpus"), "--envoy", VERSION),
            *("--json", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "out.md")),
            *("--keep", str(tmp_path / "kept")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr  # one is inconclusive
    data = json.loads((tmp_path / "out.json").read_text())
    found = {f"{one['project']}/{one['file']}": one for one in data["files"]}
    assert {name: one["outcome"] for name, one in found.items()} == {
        "good/envoy.yaml": "passed",
        "good/deep/without_a_suffix": "passed",
        "mixed/refused.yaml": "refused by Envoy",
        "mixed/not_a_config.yaml": "not a config",
        "mixed/broken.yaml": "refused by Envoy",
        "mixed/unseen.yaml": "inconclusive",
    }
    assert "address is necessary" in found["mixed/refused.yaml"]["reason"]
    assert "io_uring" in found["mixed/unseen.yaml"]["reason"]
    assert [one["same"] for one in found.values()].count(True) == 2
    assert data["projects"]["good"]["passed"] == 2
    assert "| good | 2 | 2 | 0 | 2 | 2 |" in (tmp_path / "out.md").read_text()
    assert (tmp_path / "kept" / "mixed" / "unseen.yaml" / "trace.ndjson").is_file()
    assert "2 of 3 bootstraps (66.7 %)" in done.stdout
