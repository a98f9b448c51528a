"""Losing events may only ever turn an answer into INCONCLUSIVE."""

import random
from collections import Counter
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import Trace

LISTENER = {"listener": {"port": 15006}}
RIGHT: list[dict[str, Any]] = [
    {
        **LISTENER,
        "bound": {"times": 1, "by": "main"},
        "listened": {"by": "workers", "via": "dup"},
        "sockets": {"ever": 1, "live": 1, "serving": 1, "spare": 0},
        "descriptors": {"live": 3, "serving": 3},
        "listen_calls": {"times": 3, "by": "main"},
        "options": {"SO_REUSEADDR": {"value": 1, "phase": "before_bind"}, "SO_REUSEPORT": "absent"},
        "backlog": -1,
        "in_order": ["socket", "bind", "listen"],
    },
    {"never": {"call": "bind", "errno": "EADDRINUSE"}},
    {"calls": {"call": "listen", "times": 3}},
    {"calls": {"call": "bind", "args": {"address": "0.0.0.0:15006"}}},
    {"in_order": [{"call": "bind"}, {"call": "listen"}]},
    {"in_order": ["start", {"call": "bind"}, {"call": "listen", "which": "first"}, "live"]},
    {"moment": {"call": "epoll_ctl", **LISTENER, "by": "workers"}, "after": {"call": "listen"}},
    {"moment": {"call": "listen", "which": "last"}, "before": "live", "within": "1s"},
    {"moment": {"call": "listen", **LISTENER}, "after": {"call": "bind"}, "each": "socket"},
    {
        "between": ["start", {**LISTENER, "becomes": "served", "by": "workers"}],
        "lasts": {"at_most": "1s"},
    },
    {"between": [{"call": "bind"}, {"call": "listen"}], "lasts": {"at_least": "1ms"}},
    {"always": {**LISTENER, "served": True, "by": "workers"}},
    {"always": {**LISTENER, "listening": False}, "until": {**LISTENER, "becomes": "listening"}},
    {"always": {**LISTENER, "bound": True}, "since": {"call": "listen", "which": "first"}},
    {"calls": {"call": "epoll_ctl", "each": "worker", "times": 1}},
    {"calls": {"call": "listen", **LISTENER, "each": "socket", "times": {"between": [3, 4]}}},
    {**LISTENER, "descriptors": {"live": 3, "each": "socket"}},
    {**LISTENER, "descriptors": {"serving": "workers", "spare": "none", "live_at": "live"}},
    {**LISTENER, "listen_calls": {"times": "none", "each": "worker"}},
    {
        "startup": {
            "first_listen": {"at_most": "1s"},
            "bind_to_listen": {"at_least": "2ms", "at_most": "1s"},
            "listen_to_served": {"at_most": "1s"},
            "served_to_live": {"at_most": "1s"},
        }
    },
    {"calls": {"call": "bind", **LISTENER, "let": {"a_socket": "socket"}}},
    {**LISTENER, "let": {"a_socket": "socket"}},
    {"no_others": True},
]
WRONG: list[dict[str, Any]] = [
    {**LISTENER, "bound": {"times": 2}},
    {**LISTENER, "bound": {"by": "workers"}},
    {**LISTENER, "listened": {"by": "main"}},
    {**LISTENER, "listened": {"by": "workers", "via": "reuse_port"}},
    {**LISTENER, "sockets": 2},
    {**LISTENER, "descriptors": 2},
    {**LISTENER, "listen_calls": 1},
    {**LISTENER, "options": {"SO_REUSEPORT": 1}},
    {**LISTENER, "options": {"SO_REUSEADDR": "absent"}},
    {**LISTENER, "backlog": 64},
    {**LISTENER, "in_order": ["listen", "bind"]},
    {**LISTENER, "served_by": "none"},
    {"never": {"call": "bind"}},
    {"calls": {"call": "listen", "times": 2}},
    {"in_order": [{"call": "listen"}, {"call": "bind"}]},
    {"listener": {"port": 1}, "bound": {"times": 1}},
    {"in_order": ["live", {"call": "bind"}]},
    {"moment": {"call": "listen"}, "before": {"call": "bind"}},
    {"moment": {"call": "listen", "which": "last"}, "after": {"call": "bind"}, "within": "1ms"},
    {"moment": {"call": "listen"}, "after": {"call": "bind"}, "each": "worker"},
    {"between": [{"call": "bind"}, {"call": "listen"}], "lasts": {"at_least": "5ms"}},
    {"between": [{"call": "bind"}, {"call": "listen"}], "lasts": {"at_most": "1ms"}},
    {"between": [{"call": "bind"}, {"call": "shutdown"}], "lasts": {"at_most": "1s"}},
    {
        "between": ["start", {**LISTENER, "becomes": "served", "by": "main"}],
        "lasts": {"at_most": "1s"},
    },
    {"always": {**LISTENER, "served": False}, "since": "start"},
    {"always": {**LISTENER, "served": True, "by": "main"}},
    {"always": {**LISTENER, "bound": True}, "since": "start"},
    {"calls": {"call": "epoll_ctl", "each": "worker", "times": 2}},
    {"startup": {"first_listen": {"at_most": "1ms"}}},
    {"startup": {"bind_to_listen": {"at_least": "1s"}}},
    {"listener": {"port": 1}, "let": {"a_port": "port"}},
    {"calls": {"call": "listen", **LISTENER, "each": "socket", "times": {"between": [1, 2]}}},
    {**LISTENER, "descriptors": {"live": 2, "each": "socket"}},
    {**LISTENER, "descriptors": {"spare": {"at_least": 1}, "live_at": "live"}},
    {**LISTENER, "listen_calls": {"times": 1, "each": "worker"}},
    {"no_others": True},
]


#: Names the listener, and holds whatever is lost.
NAMED = {**LISTENER, "bound": {"times": {"at_least": 0}}}


def builder() -> TraceBuilder:
    trace = TraceBuilder(3)
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
    trace.bind(trace.main, fd, "0.0.0.0:15006")
    fds = [fd, trace.dup(trace.main, fd), trace.dup(trace.main, fd)]
    trace.pass_time(3_000_000)
    for fd in fds:
        trace.listen(trace.main, fd)
    for index, fd in enumerate(fds):
        trace.epoll_add(trace.worker(index), fd)
    trace.reply_live()
    return trace


def status(trace: Trace, items: list[dict[str, Any]], graph: SocketGraph | None = None) -> Status:
    parsed = map(parse_expectation, items)
    return judge(trace, list(enumerate(parsed)), workers=3, graph=graph).status


def test_whole_trace_passes_what_is_right_and_fails_what_is_wrong() -> None:
    trace = builder().build()
    assert status(trace, RIGHT) is Status.PASS
    assert [status(trace, [item]) for item in WRONG] == [Status.FAIL] * len(WRONG)


@pytest.mark.parametrize("seed", range(20))
def test_random_losses_never_turn_an_answer_into_its_opposite(seed: int) -> None:
    chance = random.Random(seed)
    source = builder()
    lost = tuple(chance.sample(range(len(source.events)), chance.randint(1, 12)))
    trace = source.build(lost)
    graph = fold(trace)
    for item in RIGHT:
        assert status(trace, [NAMED, item], graph) is not Status.FAIL, (item, lost)
    for item in WRONG:
        assert status(trace, [item], graph) is not Status.PASS, (item, lost)


def test_each_single_loss_leaves_what_is_proven_and_doubts_the_rest() -> None:
    source = builder()
    seen: Counter[tuple[str, Status]] = Counter()
    for index in range(len(source.events)):
        trace = source.build((index,))
        graph = fold(trace)
        for item in RIGHT:
            seen["right", status(trace, [NAMED, item], graph)] += 1
        for item in WRONG:
            seen["wrong", status(trace, [item], graph)] += 1
    assert seen["right", Status.FAIL] == seen["wrong", Status.PASS] == 0
    # Both kinds of certain answers survive somewhere: the rule is not "any loss, no answer".
    assert seen["right", Status.PASS] > 0
    assert seen["wrong", Status.FAIL] > 0
    assert seen["right", Status.INCONCLUSIVE] > seen["right", Status.PASS]


@pytest.mark.parametrize(
    "item, expected",
    [
        # The bind's own arguments say it: proven, whatever else is missing.
        ({"calls": {"call": "bind", "args": {"address": "0.0.0.0:15006"}}}, Status.PASS),
        ({**LISTENER, "bound": {"times": {"at_least": 1}}}, Status.PASS),
        # A second one may have been lost.
        ({**LISTENER, "bound": {"times": 1}}, Status.INCONCLUSIVE),
        ({"never": {"call": "bind", "errno": "EADDRINUSE"}}, Status.INCONCLUSIVE),
        ({"no_others": True}, Status.FAIL),
        # A violation that was seen stays one.
        ({"never": {"call": "bind"}}, Status.FAIL),
        ({**LISTENER, "bound": {"times": 0}}, Status.FAIL),
        ({**LISTENER, "bound": {"by": "workers"}}, Status.FAIL),
    ],
)
def test_loss_of_the_last_event_keeps_what_one_event_proves(
    item: dict[str, Any], expected: Status
) -> None:
    source = builder()
    assert status(source.build((len(source.events) - 1,)), [item]) is expected


def test_repeated_record_is_a_contradiction() -> None:
    trace = builder().build()
    trace.events.insert(20, trace.events[19])
    assert status(trace, RIGHT) is Status.INCONCLUSIVE


def test_unread_ring_unmarked_target_and_skipped_probe_are_inconclusive() -> None:
    from dataclasses import replace

    for broken in ({"drained": False}, {"marked": False}, {"misses": 1}):
        trace = builder().build()
        trace.end = replace(trace.end, **broken)
        assert status(trace, RIGHT) is Status.INCONCLUSIVE, broken


def test_run_that_ended_at_its_limit_of_records_says_so() -> None:
    from dataclasses import replace

    trace = builder().build((20,))
    cpus = tuple(replace(cpu, capped=cpu.dropped) for cpu in trace.end.cpus)
    trace.end = replace(trace.end, cpus=cpus)
    check = certify(trace, fold(trace)).checks[1]
    assert check.ok is False
    assert text(check.found).endswith(
        "(0 found the ring full, 1 past the limit of records, after which nothing was recorded)"
    )


def test_tripwire_leaves_nothing_of_the_graph_trusted() -> None:
    source = builder()
    source.call(source.main, "io_uring_setup", 9)
    assert status(source.build(), RIGHT) is Status.INCONCLUSIVE
    assert status(source.build(), [{**LISTENER, "sockets": 2}]) is Status.INCONCLUSIVE
    assert status(source.build(), [{"never": {"call": "bind"}}]) is Status.FAIL


def test_other_network_namespace_leaves_nothing_of_the_graph_trusted() -> None:
    for call, args, verdict in [
        ("setns", {"fd": 9, "nstype": 0}, Status.INCONCLUSIVE),
        ("setns", {"fd": 9, "nstype": 0x40000000}, Status.INCONCLUSIVE),
        ("setns", {"fd": 9, "nstype": 0x20000}, Status.PASS),
        ("unshare", {"flags": 0x40000000}, Status.INCONCLUSIVE),
        ("unshare", {"flags": 0x200}, Status.PASS),
    ]:
        source = builder()
        source.call(source.main, call, 0, **args)
        assert status(source.build(), RIGHT) is verdict, (call, args)
