"""`envoyassert bisect` between two real Envoys: a field of a listener that one of them lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = """\
name: keepalive
envoy:
  config:
    admin:
      address: {socket_address: {address: 127.0.0.1, port_value: 9901}}
    static_resources:
      listeners:
      - name: ingress
        address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
        tcp_keepalive: {keepalive_time: 5}
        filter_chains:
        - filters:
          - name: envoy.filters.network.echo
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo
expect:
  - process: {live: true}
    known_defect: {versions: "<1.37", owner: edge, upstream: unreported}
"""


def test_version_that_learned_a_field_is_found(tmp_path: Path) -> None:
    path = tmp_path / "keepalive.yaml"
    path.write_text(SCENARIO)
    command = [sys.executable, "-m", "envoyassert", "bisect", str(path)]
    command += ["--good", "1.40.0", "--bad", "1.36.4", "--candidates", "1.36.4 1.40.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fixed in 1.40.0: 1.36.4 is the last bad one" in done.stdout
    assert "process.live: expected becomes live, saw exited with 1" in done.stdout
