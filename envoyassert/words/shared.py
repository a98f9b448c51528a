"""What several words share: which listener, how many, which calls, at which instants."""

from __future__ import annotations

from envoyassert.scenario.pattern import CallPattern, CallSource, StackPattern
from envoyassert.scenario.quantity import Linear, Range
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.timing import CallMoment, StateMoment
from envoyassert.words.word import Example, Part

#: The models, with examples.
PARTS = (
    Part(
        Selector,
        "Selector: which listener",
        "[{listener: {%}, bound: {times: 1}}]",
        {
            "name": Example("name: ingress", "shared", "reuse"),
            "address": Example(
                'address: "::1", port: 15006', "ipv6_and_ipv4", "ipv6_twice_and_ipv4"
            ),
            "port": Example("port: 15006", "shared", "reuse"),
            "protocol": Example("port: 53, protocol: UDP", "udp_and_tcp", "udp_twice_and_tcp"),
            "netns": Example(
                "port: 8080, netns: /run/netns/blue", "two_networks", "two_networks_twice"
            ),
            "path": Example('path: "${rundir}/ingress.sock"', "unix", "unix_bound_twice"),
            "abstract": Example("abstract: ingress", "abstract", "abstract_twice"),
            "socket": Example(
                "socket: $ingress_sockets",
                "shared",
                "reuse",
                inside=(
                    "[{listener: {port: 15006}, let: {ingress_sockets: socket}}, "
                    "{listener: {%}, bound: {times: 1}}]"
                ),
            ),
        },
    ),
    Part(
        Range,
        "Counts",
        "[{listener: {port: 15006}, sockets: {%}}]",
        {
            "exactly": Example("exactly: 2", "reuse", "shared"),
            "at_least": Example("at_least: 1", "shared", "nothing"),
            "at_most": Example(
                "at_least: 1, at_most: {workers: 1, plus: 1}", "reuse", "four_binds"
            ),
            "between": Example("between: [1, workers]", "shared", "nothing"),
        },
    ),
    Part(
        Linear,
        "Numbers that grow with the workers",
        "[{listener: {port: 15006}, descriptors: {%}}]",
        {
            "workers": Example("workers: 1, plus: -1", "listens_once", "shared"),
            "plus": Example("workers: 2, plus: 1", "four_dups", "three_dups"),
        },
    ),
    Part(
        CallPattern,
        "Pattern of a call",
        "[{never: {%}}]",
        {
            "call": Example("call: [bind, listen]", "nothing", "shared"),
            "listener": Example(
                "call: setsockopt, listener: {port: 15006}", "option_elsewhere", "shared"
            ),
            "by": Example("call: bind, by: workers", "shared", "bound_by_worker"),
            "errno": Example("call: bind, errno: EADDRINUSE", "shared", "port_taken"),
            "succeeds": Example("call: connect, succeeds: false", "connected", "refused"),
            "args": Example(
                "call: setsockopt, args: {name: SO_REUSEPORT, value: 1}", "shared", "reuse"
            ),
            "stack": Example(
                'call: bind, stack: {contains: "ListenSocketFactoryImpl"}',
                "bound_elsewhere",
                "bound_in_the_factory",
            ),
        },
    ),
    Part(
        StackPattern,
        "`stack`",
        "[{calls: {call: bind, stack: {%}, times: 1}}]",
        {
            "contains": Example(
                'contains: ["ListenSocketFactoryImpl", "ListenerManagerImpl"]',
                "bound_in_the_factory",
                "bound_elsewhere",
            ),
            "same_as": Example(
                "same_as: {call: bind, listener: {port: 15006}}",
                "both_in_the_factory",
                "one_in_the_factory",
                inside="[{calls: {call: bind, listener: {port: 15007}, stack: {%}, times: 1}}]",
            ),
            "call_site": Example(
                "call_site: {9e5580933739775e8bce696a57a2e1bc99368f23: ae8223834ab6}",
                "bound_in_the_factory",
                "bound_elsewhere",
            ),
        },
    ),
    Part(
        CallSource,
        "Calls whose call sites are meant",
        "[{calls: {call: bind, listener: {port: 15007}, stack: {same_as: {%}}, times: 1}}]",
        {
            "call": Example("call: bind", "both_in_the_factory", "bound_in_the_factory"),
            "listener": Example(
                "call: bind, listener: {port: 15006}", "both_in_the_factory", "one_in_the_factory"
            ),
            "by": Example(
                "call: listen, by: main",
                "worker_listens_in_the_factory",
                "worker_listens_elsewhere",
                inside=(
                    "[{calls: {call: listen, listener: {port: 15007}, "
                    "stack: {same_as: {%}}, times: 1}}]"
                ),
            ),
            "errno": Example(
                "call: bind, errno: EADDRINUSE", "refused_in_the_factory", "refused_elsewhere"
            ),
            "succeeds": Example(
                "call: bind, succeeds: true",
                "refused_in_the_factory",
                "refused_elsewhere",
                inside=(
                    "[{calls: {call: bind, errno: EADDRINUSE, stack: {same_as: {%}}, times: 1}}]"
                ),
            ),
        },
    ),
    Part(
        CallMoment,
        "Moments of calls",
        "[{moment: {%}, before: live}]",
        {
            "call": Example("call: [bind, listen]", "shared", "shared_late"),
            "listener": Example(
                "call: setsockopt, listener: {port: 15006}",
                "option_then_elsewhere",
                "elsewhere_then_option",
            ),
            "by": Example(
                "call: bind, by: workers", "worker_binds_then_main", "main_binds_then_worker"
            ),
            "errno": Example(
                "call: bind, errno: EADDRINUSE", "taken_then_bound", "bound_then_taken"
            ),
            "succeeds": Example(
                "call: connect, succeeds: false", "refused_then_connected", "connected_then_refused"
            ),
            "args": Example(
                "call: setsockopt, args: {name: SO_REUSEPORT, value: 1}",
                "reuse_port_then_another",
                "another_then_reuse_port",
            ),
            "stack": Example(
                'call: bind, stack: {contains: "ListenSocketFactoryImpl"}',
                "factory_then_elsewhere",
                "elsewhere_then_factory",
            ),
            "which": Example(
                "call: listen, which: first", "listens_before_and_after", "listens_after"
            ),
        },
    ),
    Part(
        StateMoment,
        "Moments of states",
        "[{moment: {%}, before: live}]",
        {
            "listener": Example(
                "listener: {port: 15006}, becomes: served",
                "shared",
                "another_before_and_shared_late",
            ),
            "becomes": Example(
                "listener: {port: 15006}, becomes: listening", "shared", "shared_late"
            ),
            "by": Example(
                "listener: {port: 15006}, becomes: served, by: workers", "shared", "worker_late"
            ),
        },
    ),
)
