"""Examples of the keys of a scenario but those of `expect`, whose words have their own."""

from __future__ import annotations

from collections.abc import Mapping

from envoyassert.steps.registry import documented

#: What every expectation may carry.
CARRIED = {
    "when": 'when: {concurrency: [2, 4], envoy: ">=1.20"}',
    "why": "why: one socket for all workers is what makes them share connections",
    "known_defect": 'known_defect: {versions: "<1.40", owner: edge team, upstream: unreported}',
    "during": "during: drain",
    "envoy": "envoy: hot_restart, at_end_of: hot_restart",
    "at_end_of": "at_end_of: drain",
}
_OWN_NETNS = "name: blue, file: /run/netns/blue, addresses: [10.1.2.3]"

#: For each model and key, members in YAML's flow form, without the braces.
OF_SCENARIOS: Mapping[str, Mapping[str, str]] = {
    "Scenario": {
        "name": "name: reuse_port_off",
        "description": "description: Workers share one socket.",
        "requires": 'requires: {envoy: ">=1.20"}',
        "marks": "marks: [slow]",
        "timeout": "timeout: 60s",
        "assume": "assume: [complete, calls_succeeded, comm_is_role]",
        "matrix": "matrix: {concurrency: [1, 2, 4], enable_reuse_port: [true, false]}",
        "envoy": "envoy: {config: bootstrap.yaml}",
        "steps": "steps: [{signal: SIGTERM}]",
        "expect": "expect: [{process: {live: true}}]",
    },
    "Requires": {
        "envoy": 'envoy: ">=1.20, <1.40"',
        "kernel": 'kernel: ">=5.15"',
        "launcher": "launcher: process",
    },
    "KnownDefect": {
        "versions": 'versions: ">=1.36, <1.40"',
        "owner": "owner: edge team",
        "upstream": "upstream: envoyproxy/envoy#43659",
        "what": "what: the sockets keep the backlog that they had",
    },
    "Envoy": {
        "version": "version: 1.40.0",
        "image": "image: envoyproxy/envoy:v1.40.0",
        "binary": "binary: ./envoy",
        "pull": "pull: never",
        "concurrency": "concurrency: 4",
        "config": "config: bootstrap.yaml",
        "overlay": "overlay: {static_resources: {listeners: {ingress: {freebind: true}}}}",
        "files": "files: {lds.yaml: {resources: []}}",
        "stand_in": "stand_in: {/var/run/foo: directory, /etc/tls.crt: certificate}",
        "xds": "xds: {via: ads, listeners: []}",
        "control_plane": "control_plane: empty",
        "args": "args: [--log-level, debug]",
        "agent": """agent: [/bin/sh, -c, '"$@" --concurrency 2 & wait', agent]""",
        "netns": "netns: [blue]",
        "addresses": 'addresses: [10.1.2.3, "2001:db8::1"]',
        "env": 'env: {ENVOY_UID: "0"}',
        "deadline": "deadline: 5s",
    },
    "OwnNetns": dict.fromkeys(("name", "file", "addresses"), _OWN_NETNS),
    "OtherFile": {"file": "file: certs/test.crt"},
    "Xds": {
        "via": "via: delta_ads",
        "listeners": 'listeners: [{name: ingress, address: {pipe: {path: "${rundir}/in"}}}]',
        "resources": 'resources: [{"@type": '
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: later}]",
        "withheld": "withheld: [later]",
    },
    **{part.__name__: part.examples for part in documented()},
}
