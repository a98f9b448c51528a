"""One example of every key of the language: members of the mapping that the key stands in."""

from __future__ import annotations

from collections.abc import Mapping

_CONDITIONAL = {
    "when": 'when: {concurrency: [2, 4], envoy: ">=1.20"}',
    "why": "why: one socket for all workers is what makes them share connections",
    "known_defect": 'known_defect: {versions: "<1.40", owner: edge team, upstream: unreported}',
    "during": "during: drain",
    "at_end_of": "at_end_of: drain",
}
_STEP = {"name": "name: first_update", "deadline": "deadline: 30s"}
_CALL_SOURCE = {
    "call": "call: bind",
    "listener": "call: bind, listener: {port: 15006}",
    "by": "call: listen, by: main",
    "errno": "call: bind, errno: EADDRINUSE",
    "succeeds": "call: bind, succeeds: true",
}
_PATTERN = {
    "call": "call: [bind, listen]",
    "listener": "call: setsockopt, listener: {port: 15006}",
    "by": "call: bind, by: workers",
    "errno": "call: bind, errno: EADDRINUSE",
    "succeeds": "call: connect, succeeds: false",
    "args": "call: setsockopt, args: {name: SO_REUSEPORT, value: 1}",
    "stack": 'call: bind, stack: {contains: "ListenSocketFactoryImpl"}',
}

_TALLY = {
    "ever": "ever: {at_most: 3}",
    "live": "live: workers",
    "serving": "serving: workers",
    "spare": "spare: none",
    "live_at": "live: workers, live_at: live",
}

#: For each model and key, members in YAML's flow form, without the braces.
EXAMPLES: Mapping[str, Mapping[str, str]] = {
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
        "xds": "xds: {via: ads, listeners: []}",
        "args": "args: [--log-level, debug]",
        "env": 'env: {ENVOY_UID: "0"}',
        "deadline": "deadline: 5s",
    },
    "Xds": {
        "via": "via: delta_ads",
        "listeners": 'listeners: [{name: ingress, address: {pipe: {path: "${rundir}/in"}}}]',
        "resources": 'resources: [{"@type": '
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: later}]",
        "withheld": "withheld: [later]",
    },
    "ListenerExpectation": {
        **_CONDITIONAL,
        "listener": "listener: {port: 15006}",
        "take": "listener: {name: ingress}, take: each_address",
        "let": "let: {ingress_port: port, ingress_sockets: socket}",
        "bound": "bound: {times: 1, by: main}",
        "bind_failed": "bind_failed: {errno: EADDRINUSE}",
        "listened": "listened: {by: workers, via: dup}",
        "served_by": "served_by: workers",
        "listen_by": "listen_by: main",
        "via": "via: reuse_port",
        "origin": "origin: {created: 1, inherited: none}",
        "registered": "registered: [EPOLLIN]",
        "sockets": "sockets: 1",
        "descriptors": "descriptors: workers",
        "listen_calls": "listen_calls: workers",
        "options": "options: {SO_REUSEPORT: absent, SO_REUSEADDR: 1}",
        "backlog": "backlog: -1",
        "socket_file": 'socket_file: {unlinked_before_bind: true, mode: "0660"}',
        "in_order": "in_order: [socket, setsockopt, bind, listen]",
    },
    "ProcessExpectation": {**_CONDITIONAL, "process": "process: {exits: 1}"},
    "CallsExpectation": {
        **_CONDITIONAL,
        "calls": "calls: {call: dup, listener: {port: 15006}, times: {workers: 1, plus: -1}}",
    },
    "MomentExpectation": {
        **_CONDITIONAL,
        "moment": "moment: {call: bind}, before: {call: listen}",
        "before": "moment: {call: bind, listener: {port: 15006}}, before: {call: listen}",
        "after": "moment: live, after: {listener: {port: 15006}, becomes: listening}",
        "within": "moment: {listener: {port: 15006}, becomes: served}, after: start, within: 5s",
        "each": "moment: {call: bind}, before: {call: listen}, each: socket",
    },
    "BetweenExpectation": {
        **_CONDITIONAL,
        "between": "between: [start, {listener: {port: 15006}, becomes: listening}]",
        "lasts": "lasts: {at_most: 5s}",
        "each": "each: socket",
    },
    "AlwaysExpectation": {
        **_CONDITIONAL,
        "always": "always: {listener: {port: 15006}, served: true}",
        "since": "since: {listener: {port: 15006}, becomes: served}",
        "until": "until: end",
        "except_for": "except_for: 50ms",
    },
    "StartupExpectation": {
        **_CONDITIONAL,
        "startup": "startup: {first_listen: {at_most: 5s}, served_to_live: {at_most: 1s}}",
    },
    "NeverExpectation": {**_CONDITIONAL, "never": "never: {call: bind, errno: EADDRINUSE}"},
    "InOrderExpectation": {
        **_CONDITIONAL,
        "in_order": "in_order: [{call: bind, by: main}, {call: epoll_wait, by: workers}]",
    },
    "InvariantsExpectation": {
        **_CONDITIONAL,
        "invariants": "invariants: [accepts_succeed, live_means_served]",
    },
    "NoOthersExpectation": {**_CONDITIONAL, "no_others": "no_others: true"},
    "Selector": {
        "name": "name: ingress",
        "address": 'address: "::1", port: 15006',
        "port": "port: 15006",
        "protocol": "port: 53, protocol: UDP",
        "path": 'path: "${rundir}/ingress.sock"',
        "abstract": "abstract: ingress",
        "socket": "socket: $ingress_sockets",
    },
    "Bound": {"times": "times: 1", "by": "by: main"},
    "BindFailed": {
        "errno": "errno: EADDRINUSE",
        "times": "times: {at_least: 1}",
        "by": "by: main",
    },
    "Listened": {"by": "by: workers", "via": "by: workers, via: reuse_port"},
    "ListenCalls": {
        "times": "times: workers",
        "by": "by: main",
        "each": "times: 1, each: socket",
    },
    "Origin": {"created": "created: 1", "inherited": "inherited: workers"},
    "Registered": {
        "events": "events: [EPOLLIN, EPOLLOUT, EPOLLET]",
        "trigger": "trigger: level",
    },
    "SocketFile": {
        "unlinked_before_bind": "unlinked_before_bind: true",
        "mode": 'mode: "0660"',
        "exists_after_exit": "exists_after_exit: true",
    },
    "Tally": {**_TALLY, "each": "serving: 1, each: worker"},
    "DescriptorTally": {**_TALLY, "each": "live: 1, each: socket"},
    "Option": {"value": "value: 1", "phase": "value: 1, phase: before_bind"},
    "Linger": {"onoff": "onoff: 1, linger_s: 5", "linger_s": "onoff: 0, linger_s: 0"},
    "PacketFilter": {
        "instructions": "instructions: 14",
        "sha256": "instructions: 14, sha256: 0123456789abcdef",
    },
    "Backlog": {"requested": "requested: 128"},
    "Range": {
        "exactly": "exactly: 2",
        "at_least": "at_least: 1",
        "at_most": "at_least: 1, at_most: {workers: 1, plus: 1}",
        "between": "between: [1, workers]",
    },
    "Linear": {"workers": "workers: 1, plus: -1", "plus": "workers: 2, plus: 1"},
    "Process": {
        "exits": "exits: nonzero",
        "stays_up": "stays_up: true",
        "live": "live: true",
        "within": "live: true, within: 5s",
    },
    "CallPattern": _PATTERN,
    "StackPattern": {
        "contains": 'contains: ["ListenSocketFactoryImpl", "ListenerManagerImpl"]',
        "same_as": "same_as: {call: bind, listener: {port: 15006}}",
        "call_site": "call_site: {9e5580933739775e8bce696a57a2e1bc99368f23: 0123456789ab}",
    },
    "CallSource": _CALL_SOURCE,
    "CountedPattern": {
        **_PATTERN,
        "times": "call: dup, times: 3",
        "each": "call: epoll_ctl, listener: {port: 15006}, each: worker, times: 1",
        "let": "call: listen, listener: {port: 15006}, let: {ingress_sockets: socket}",
    },
    "CallMoment": {**_PATTERN, "which": "call: listen, which: first"},
    "StateMoment": {
        "listener": "listener: {port: 15006}",
        "becomes": "becomes: served",
        "by": "becomes: served, by: workers",
    },
    "Lasts": {
        "at_least": "at_least: 2s",
        "at_most": "at_least: 2s, at_most: 5s",
        "tolerance": "at_most: 100ms, tolerance: 20ms",
    },
    "Startup": {
        "listener": "listener: {port: 15006}, first_listen: {at_most: 5s}",
        "first_listen": "first_listen: {at_most: 5s}",
        "bind_to_listen": "bind_to_listen: {at_most: 100ms, tolerance: 50ms}",
        "listen_to_served": "listen_to_served: {at_most: 1s}",
        "served_to_live": "served_to_live: {at_most: 1s}",
    },
    "State": {
        "listener": "listener: {port: 15006}, served: true",
        "served": "served: true",
        "listening": "listening: false",
        "bound": "bound: true",
        "by": "served: true, by: workers",
    },
    "WaitForStep": {**_STEP, "wait_for": "wait_for: {exit: true}"},
    "SignalStep": {**_STEP, "signal": "signal: SIGTERM"},
    "QuitStep": {**_STEP, "quit": "quit: true"},
    "WaitFor": {
        "call": "call: {call: epoll_ctl, listener: {port: 15006}}",
        "stat": "stat: {name: listener_manager.total_listeners_draining, equals: 0}",
        "ready": "ready: true",
        "exit": "exit: true",
    },
    "Stat": {
        "name": "name: listener_manager.lds.version, at_least: 1",
        "equals": "equals: 0",
        "at_least": "at_least: 1",
        "at_most": "at_most: 4",
    },
    "OthersAllowed": {"allow": "allow: [hot_restart, admin]"},
}
