"""What every inner session would do again at first: models are built, imports done.

The fork server imports this once; each inner session begins with it. It must not load what pytest
loads as a plugin by name.
"""

from __future__ import annotations

import gc
from pathlib import Path

from envoyassert.judge.judge import judge
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.testing import TraceBuilder

_SCENARIO = """\
name: warmed
envoy:
  config:
    static_resources:
      listeners:
      - name: ingress
        address: {socket_address: {address: 0.0.0.0, port_value: 15006}}
expect:
  - listener: {port: 15006}
    bound: {times: 1, by: main}
    listened: {by: workers, via: dup}
"""

for _plan in expand(parse_scenario(_SCENARIO, Path("warmed.yaml"))):
    _trace = TraceBuilder(_plan.workers)
    _trace.shared_listener("0.0.0.0:15006")
    judge(_trace.build(), _plan.expectations, workers=_plan.workers)

# Else each inner session would look through all of it whenever it collects its garbage.
gc.collect()
gc.freeze()
