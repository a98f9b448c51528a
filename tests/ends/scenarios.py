"""The scenarios of these runs, as text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.e2e.launching import VERSION
from tests.ends.agent import LISTENER, UPSTREAM

AGENT = Path(__file__).with_name("agent.py")
#: Marks the processes of one scenario, whatever else is on the machine.
MARK = "ENDS_TOKEN"
_PLAIN = """\
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
    static_resources:
      listeners:
      - name: one
        address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
        filter_chains: [{}]
"""
_REPLIES = f"""\
    admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
    static_resources:
      listeners:
      - name: one
        address: {{socket_address: {{address: 127.0.0.1, port_value: {LISTENER}}}}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.tcp_proxy
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
              stat_prefix: replies
              cluster: replies
      clusters:
      - name: replies
        connect_timeout: 1s
        type: STATIC
        load_assignment:
          cluster_name: replies
          endpoints:
          - lb_endpoints:
            - endpoint:
                address: {{socket_address: {{address: 127.0.0.1, port_value: {UPSTREAM}}}}}
"""


def scenario(
    name: str, token: str, *, deadline_s: float, agent: str = "", bound: str = "workers"
) -> str:
    """Return a scenario.

    Args:
        name: its name.
        token: marks its processes.
        deadline_s: seconds until Envoy must be ready.
        agent: what `tests.ends.agent` does besides; "" for none.
        bound: how often the listener is to be bound.
    """
    own = ""
    if agent:
        words = json.dumps([sys.executable, str(AGENT), agent])
        own = f"  agent: {words}\n"
    return (
        f"name: {name}\n"
        + ("requires: {launcher: process}\n" if agent else "")
        + f"envoy:\n  version: {VERSION}\n  deadline: {deadline_s:g}s\n{own}"
        + f"  env: {{{MARK}: {token}}}\n"
        + f"  config:\n{_REPLIES if agent in ('drip', 'endless') else _PLAIN}"
        + f"expect:\n- listener: {{name: one}}\n  bound: {{times: {bound}}}\n"
        + "- process: {live: true}\n"
    )
