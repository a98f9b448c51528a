"""Traces made to fool the judge: what does not serve must not pass, what is right must not fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from envoyassert.accounts import Witness, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.kernel_account import compare
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import Trace
from envoyassert.words.registry import Expectation

PLACE = "0.0.0.0:15006"
ADDRESS = Address.inet("0.0.0.0", 15006)
PORT: dict[str, Any] = {"listener": {"port": 15006}}
SERVED = {**PORT, "served_by": "workers"}
NOT_SERVED = {**PORT, "served_by": "none"}
ITEMS = TypeAdapter(list[Expectation])
PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE


def verdict(trace: TraceBuilder | Trace, *items: dict[str, Any], **options: Any) -> Verdict:
    built = trace.build() if isinstance(trace, TraceBuilder) else trace
    options = {"workers": built.header.concurrency, **options}
    return judge(built, list(enumerate(ITEMS.validate_python(items))), **options)


def status(trace: TraceBuilder | Trace, *items: dict[str, Any], **options: Any) -> Status:
    return verdict(trace, *items, **options).status


def reuse_port(workers: int = 2, **options: Any) -> tuple[TraceBuilder, list[int]]:
    trace = TraceBuilder(workers, **options)
    return trace, trace.reuse_port_listener(PLACE)


def shared(workers: int = 2, **options: Any) -> tuple[TraceBuilder, list[int]]:
    trace = TraceBuilder(workers, **options)
    return trace, trace.shared_listener(PLACE)


def modify(trace: TraceBuilder, tid: int, fd: int, events: list[str]) -> None:
    epfd = trace.epoll(tid)
    trace.call(tid, "epoll_ctl", 0, epfd=epfd, op="EPOLL_CTL_MOD", fd=fd, events=events)


def fork(trace: TraceBuilder, child: int) -> None:
    trace.call(trace.main, "fork", None, child_pid=child, child_tid=child, thread=False)


def by_child(trace: TraceBuilder, child: int, call: str, ret: int | None, /, **args: Any) -> None:
    trace.call(child, call, ret, **args).pid = child


# serving


@pytest.mark.parametrize("events", [[], ["EPOLLOUT"], ["EPOLLRDHUP", "EPOLLET"]])
def test_registration_that_asks_for_no_input_serves_no_client(events: list[str]) -> None:
    trace, fds = reuse_port()
    assert status(trace, SERVED) is PASS
    modify(trace, trace.worker(1), fds[1], events)
    assert status(trace, SERVED) is FAIL
    modify(trace, trace.worker(1), fds[1], ["EPOLLIN", "EPOLLET"])
    assert status(trace, SERVED) is PASS


def test_worker_that_exited_serves_no_more() -> None:
    trace, _ = reuse_port()
    trace.call(trace.worker(1), "exit", None, status=0, last=False)
    assert status(trace, SERVED) is FAIL
    assert status(trace, {**PORT, "listened": {"by": "workers", "via": "reuse_port"}}) is FAIL


@pytest.mark.parametrize("how", ["close", "dup2", "close_range"])
def test_descriptor_that_is_gone_serves_no_client_though_its_registration_stays(how: str) -> None:
    trace, fds = shared()
    if how == "close":
        trace.close(trace.worker(1), fds[1])
    elif how == "dup2":
        trace.call(trace.main, "dup2", fds[1], fd=2, newfd=fds[1], flags=[])
    else:
        trace.call(trace.main, "close_range", 0, first=fds[1], last=fds[1], flags=0)
    assert status(trace, SERVED) is FAIL


@pytest.mark.parametrize("address", [PLACE, "/run/envoy.sock"])
def test_listening_socket_that_was_shut_down_serves_no_client(address: str) -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(address)
    item = SERVED if address == PLACE else {"listener": {"path": address}, "served_by": "workers"}
    trace.call(trace.main, "shutdown", 0, fd=fd, how="SHUT_WR")
    assert status(trace, item) is PASS
    trace.call(trace.main, "shutdown", 0, fd=fd, how="SHUT_RDWR")
    assert status(trace, item) is FAIL
    trace.listen(trace.main, fd)
    assert status(trace, item) is PASS


def test_deletion_by_a_number_made_again_ends_the_old_registration() -> None:
    trace, fds = shared()
    trace.close(trace.main, fds[1])
    trace.call(trace.main, "dup", fds[1], fd=fds[0])
    trace.epoll_delete(trace.worker(1), fds[1])
    assert [r.is_live for r in fold(trace.build()).registrations] == [True, False]


def test_end_of_a_forked_child_takes_no_registration_of_its_parent_along() -> None:
    trace, _ = reuse_port()
    child = trace.main + 500
    fork(trace, child)
    by_child(trace, child, "exit", None, status=0, last=True)
    assert status(trace, SERVED) is PASS


def test_program_started_by_a_child_keeps_no_descriptor_that_closes_on_exec() -> None:
    trace = TraceBuilder(1)
    main, child = trace.main, trace.main + 500
    flags = ["SOCK_NONBLOCK", "SOCK_CLOEXEC"]
    trace.call(main, "socket", 90, family="AF_INET", type="SOCK_STREAM", flags=flags, protocol=0)
    trace.bind(main, 90, PLACE)
    trace.listen(main, 90)
    fork(trace, child)
    by_child(trace, child, "exec", 0, filename="/bin/true", argv=["true"], name="true")
    trace.close(main, 90)
    assert status(trace, {**PORT, "sockets": {"live": 0}}) is PASS


@pytest.mark.parametrize("shown_by", ["listen", "tcp_state"])
def test_socket_at_the_kernel_address_of_a_closed_one_is_no_contradiction(shown_by: str) -> None:
    trace = TraceBuilder(1)
    states = {"sk": "ffff1", "port": 15006}
    for again in (True, False):
        fd = trace.socket(trace.main)
        trace.bind(trace.main, fd, PLACE)
        if shown_by == "tcp_state":
            trace.call(trace.main, shown_by, None, old="TCP_CLOSE", new="TCP_LISTEN", **states)
        sk = {"sk": states["sk"]} if shown_by == "listen" else {}
        trace.call(trace.main, "listen", 0, fd=fd, backlog=-1, **sk)
        if again:
            trace.close(trace.main, fd)
            trace.call(trace.main, "tcp_state", None, old="TCP_LISTEN", new="TCP_CLOSE", **states)
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, SERVED) is PASS


# who the workers are


def test_workers_of_the_same_name_are_not_the_workers_of_one_envoy() -> None:
    trace, _ = reuse_port()
    trace.call(trace.main, "rename", None, tid=trace.worker(1), name="wrk:worker_0")
    assert status(trace, SERVED) is FAIL


def test_workers_of_two_processes_are_not_the_workers_of_one_envoy() -> None:
    trace = TraceBuilder(1, concurrency=2)
    main, child = trace.main, trace.main + 500
    fd = trace.socket(main)
    trace.bind(main, fd, PLACE)
    trace.listen(main, fd)
    trace.epoll_add(trace.worker(0), fd)
    fork(trace, child)
    made = {"child_pid": child, "child_tid": child + 1, "thread": True}
    by_child(trace, child, "fork", None, **made)
    by_child(trace, child, "rename", None, tid=child + 1, name="wrk:worker_1")
    trace.call(child + 1, "epoll_wait", None, epfd=trace.epoll(trace.worker(0))).pid = child
    assert status(trace, SERVED) is FAIL


@pytest.mark.parametrize(
    "item",
    [
        {**PORT, "bound": {"times": "workers"}},
        {**PORT, "sockets": {"workers": 1}},
        {**PORT, "listen_calls": {"exactly": "workers"}},
        {"calls": {"call": "bind", "times": {"at_most": {"workers": 2}}}},
        {**PORT, "descriptors": {"live": {"at_least": {"workers": 1, "plus": -1}}}},
    ],
)
def test_count_that_grows_with_an_unknown_number_of_workers_is_no_answer(
    item: dict[str, Any],
) -> None:
    assert status(TraceBuilder(1), item, workers=0) is INCONCLUSIVE


# via


@pytest.mark.parametrize("via", ["dup", "reuse_port"])
def test_via_alone_means_every_worker(via: str) -> None:
    trace = TraceBuilder(2)
    fd = trace.socket(trace.main)
    if via == "reuse_port":
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, {**PORT, "via": via}) is FAIL
    # A scenario that says who serves is taken at its word.
    assert status(trace, {**PORT, "served_by": "worker_0", "via": via}) is PASS


def test_reuse_port_is_on_for_any_number_but_zero() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEPORT", value=2)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, {**PORT, "via": "dup"}) is FAIL
    assert status(trace, {**PORT, "via": "reuse_port"}) is PASS


def test_reuse_port_that_was_unset_before_bind_is_off() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
    trace.setsockopt(trace.main, fd, "SO_REUSEPORT", value=0)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, {**PORT, "via": "reuse_port"}) is FAIL
    assert status(trace, {**PORT, "options": {"SO_REUSEPORT": 1}}) is FAIL


# what could not be read


def test_option_whose_value_could_not_be_read_leaves_the_verdict_open() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    option = {"level": "SOL_SOCKET", "name": "SO_REUSEPORT", "length": 4, "value": None}
    trace.call(trace.main, "setsockopt", 0, fd=fd, **option).fault = True
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, {**PORT, "via": "dup"}) is INCONCLUSIVE
    assert status(trace, {**PORT, "options": {"SO_REUSEPORT": 1}}) is INCONCLUSIVE


def test_mask_that_could_not_be_read_leaves_the_verdict_open() -> None:
    trace, _ = reuse_port()
    trace.events[-1].args["events"] = []
    trace.events[-1].fault = True
    assert status(trace, SERVED) is INCONCLUSIVE


@pytest.mark.parametrize("ret", [0, -98])
def test_address_that_could_not_be_read_may_be_any(ret: int) -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.call(trace.main, "bind", ret, fd=fd, address=None).fault = True
    assert status(trace, {**PORT, "bound": {"times": 0}}) is INCONCLUSIVE
    assert status(trace, {**PORT, "bind_failed": {"times": 0}}) is INCONCLUSIVE


def test_argument_that_could_not_be_read_may_be_any() -> None:
    trace = TraceBuilder(1)
    item = {"never": {"call": "unlink", "args": {"path": "/run/envoy.sock"}}}
    trace.call(trace.main, "unlink", 0, path="/run/other")
    assert status(trace, item) is PASS
    trace.call(trace.main, "unlink", 0, path=None).fault = True
    assert status(trace, item) is INCONCLUSIVE


# calls that failed, or went elsewhere


def test_failed_bind_to_another_address_is_not_counted() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE, ret=-98)
    trace.bind(trace.main, fd, "0.0.0.0:15007", ret=-98)
    assert status(trace, {**PORT, "bind_failed": {"times": 1}}) is PASS
    assert status(trace, {**PORT, "bind_failed": {"times": 2}}) is FAIL


@pytest.mark.parametrize(
    "item",
    [
        {**PORT, "bound": {"times": 1}},
        {"calls": {"call": "bind", "times": 1}},
        {"listener": {"port": 1}, "bound": {"times": 1}},
    ],
)
def test_call_that_io_uring_may_have_made_is_not_missing_for_sure(item: dict[str, Any]) -> None:
    trace = TraceBuilder(1)
    trace.call(trace.main, "io_uring_setup", 9)
    assert status(trace, item) is INCONCLUSIVE


def test_excess_on_a_listener_is_no_plain_fact_in_a_graph_that_contradicts_itself() -> None:
    trace, _ = shared()
    trace.call(trace.main, "io_uring_setup", 9)
    item = {"calls": {"call": "listen", **PORT, "times": 1}}
    assert status(trace, item) is INCONCLUSIVE
    assert status(trace, {"calls": {"call": "listen", "times": 1}}) is FAIL


def test_second_bind_of_a_bound_descriptor_is_a_contradiction_without_losses() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15007")
    trace.bind(trace.main, fd, PLACE)
    assert status(trace, {**PORT, "bound": {"times": 1}}) is INCONCLUSIVE


def test_bind_after_a_lost_close_and_socket_counts_for_its_own_address_alone() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "0.0.0.0:15007")
    lost = (len(trace.events), len(trace.events) + 1)
    trace.close(trace.main, fd)
    trace._fd -= 1
    assert trace.socket(trace.main) == fd
    trace.bind(trace.main, fd, PLACE)
    item = {**PORT, "bound": {"times": 1}}
    assert status(trace, item) is PASS
    assert status(trace.build(lost), item) is INCONCLUSIVE


def test_datagram_socket_whose_birth_was_lost_is_not_taken_for_a_stream() -> None:
    trace = TraceBuilder(1)
    trace.reuse_port_listener(PLACE)
    lost = len(trace.events)
    datagram = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, datagram, PLACE)
    item = {"listener": {"port": 15006, "protocol": "TCP"}, "bound": {"times": 1}}
    assert status(trace, item) is PASS
    assert status(trace.build((lost,)), item) is INCONCLUSIVE
    assert status(trace.build((lost,)), {**PORT, "bound": {"times": 1}}) is INCONCLUSIVE


# order


def test_calls_of_two_cpus_at_the_same_nanosecond_have_no_order() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    item = {"in_order": [{"call": "bind"}, {"call": "listen"}]}
    bind, listen = trace.events[-2:]
    assert status(trace, item) is PASS
    listen.ts_ns = bind.ts_ns
    assert status(trace, item) is INCONCLUSIVE
    # The records of one CPU are numbered.
    trace = TraceBuilder(1, cpus=1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.events[-1].ts_ns = trace.events[-2].ts_ns
    assert status(trace, item) is PASS
    assert status(trace, {"in_order": [{"call": "listen"}, {"call": "bind"}]}) is FAIL


def test_events_out_of_their_order_in_time_are_a_contradiction() -> None:
    trace, _ = reuse_port()
    trace.events[-1].ts_ns, trace.events[-2].ts_ns = (
        trace.events[-2].ts_ns,
        trace.events[-1].ts_ns,
    )
    assert status(trace, SERVED) is INCONCLUSIVE


# losses


@pytest.mark.parametrize("broken", [{"misses": 1}, {"drained": False}, {"marked": False}])
@pytest.mark.parametrize("live", [0, {"at_least": 1}])
def test_unnumbered_losses_leave_nothing_certain(broken: dict[str, Any], live: Any) -> None:
    trace, _ = reuse_port(1)
    built = trace.build()
    built.end = replace(built.end, **broken)
    # The close may be what was lost.
    assert status(built, {**PORT, "sockets": {"live": live}}) is INCONCLUSIVE
    assert status(built, NOT_SERVED) is INCONCLUSIVE


def test_counters_that_dropped_more_than_is_missing_contradict_themselves() -> None:
    trace, _ = reuse_port()
    built = trace.build()
    first = replace(built.end.cpus[0], dropped=3)
    built.end = replace(built.end, cpus=(first, *built.end.cpus[1:]))
    assert status(built, {**PORT, "sockets": {"live": {"at_least": 1}}}) is INCONCLUSIVE


def test_trace_that_claims_to_be_whole_without_counters_is_not_believed() -> None:
    trace, _ = reuse_port()
    built = trace.build()
    built.end = replace(built.end, cpus=(), marked=False)
    assert status(built, SERVED) is INCONCLUSIVE


def test_loss_before_a_close_lasts_until_a_record_with_the_time_of_its_return() -> None:
    trace = TraceBuilder(1, cpus=1)
    lost = len(trace.events)
    trace.call(trace.main, "close", 0, fd=99)
    early = trace.call(trace.main, "close", 0, fd=98)
    late = trace.call(trace.main, "getsockname", -9, fd=97)
    (gap,) = fold(trace.build((lost,))).gaps
    assert early.ts_ns < late.ts_ns == gap.end_ns


def test_foreign_socket_that_is_doubted_is_not_made_certain_by_others_that_are_not() -> None:
    trace = TraceBuilder(1, cpus=1)
    foreign = trace.socket(trace.main)
    trace.bind(trace.main, foreign, PLACE)
    trace.listen(trace.main, foreign)
    lost = len(trace.events)
    trace.close(trace.main, foreign)
    trace._fd -= 1
    trace.socket(trace.main)
    trace.epoll_add(trace.main, foreign)
    # A worker whose epoll, descriptor and registration are all younger than the loss.
    trace.call(trace.main, "epoll_create1", 70, flags=0)
    trace.call(trace.worker(0), "epoll_wait", None, epfd=70)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    added = {"op": "EPOLL_CTL_ADD", "fd": fd, "events": ["EPOLLIN"]}
    trace.call(trace.worker(0), "epoll_ctl", 0, epfd=70, **added)
    assert status(trace, SERVED) is PASS
    assert status(trace.build((lost, lost + 1)), SERVED) is INCONCLUSIVE


def test_thread_whose_name_was_lost_may_be_a_worker_after_all() -> None:
    trace = TraceBuilder(1)
    rename = next(i for i, event in enumerate(trace.events) if event.call == "rename")
    fd = trace.socket(trace.worker(0))
    trace.bind(trace.worker(0), fd, PLACE)
    item = {"never": {"call": "bind", "by": "other"}}
    assert status(trace, item) is PASS
    assert status(trace.build((rename,)), item) is INCONCLUSIVE


# passing descriptors


def test_descriptor_received_before_it_was_sent_leaves_the_verdict_open() -> None:
    trace, fds = reuse_port()
    child = trace.main + 500
    by_child(trace, child, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    trace.socket(trace.main)
    trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fds[0]], truncated=False)
    assert status(trace, SERVED) is INCONCLUSIVE


def test_two_different_descriptors_on_their_way_leave_the_verdict_open() -> None:
    trace, fds = reuse_port()
    child = trace.main + 500
    for fd in fds:
        trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    by_child(trace, child, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    assert status(trace, SERVED) is INCONCLUSIVE


def test_socket_from_outside_the_trace_leaves_the_closed_world_open() -> None:
    trace, _ = reuse_port()
    named = {**PORT, "bound": {"by": "main"}}
    assert status(trace, named, {"no_others": True}) is PASS
    trace.call(trace.main, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    assert status(trace, named, {"no_others": True}) is INCONCLUSIVE


# imported logs


def test_nothing_is_said_of_epoll_where_it_was_not_observed() -> None:
    trace, _ = reuse_port(unobserved=("epoll",))
    for item in (
        {"never": {"call": "epoll_ctl"}},
        {"calls": {"call": "epoll_wait", "times": 0}},
        {"in_order": [{"call": "bind"}, {"call": "epoll_ctl"}]},
        {**PORT, "sockets": {"serving": 2}},
        {**PORT, "descriptors": {"spare": 0}},
    ):
        assert status(trace, item) is INCONCLUSIVE, item


def test_nothing_passes_where_a_channel_was_not_observed_that_is_not_known() -> None:
    trace, _ = reuse_port(unobserved=("light",))
    certificate = certify(trace.build(), fold(trace.build()))
    assert "light was not observed" in [text(check.found) for check in certificate.checks]
    assert status(trace, {**PORT, "bound": {"times": 2}}) is INCONCLUSIVE


def test_result_that_is_taken_for_success_succeeds() -> None:
    trace = TraceBuilder(1, unobserved=("results",))
    fd = trace.socket(trace.main)
    trace.call(trace.main, "bind", None, fd=fd, address=ADDRESS)
    item = {"never": {"call": "bind", "succeeds": True}}
    assert status(trace, item, assume=("calls_succeeded",)) is FAIL


# the kernel's account


def _unbound(socket: WitnessSocket) -> list[WitnessSocket]:
    return [replace(socket, address=None)]


def _gone(_: WitnessSocket) -> list[WitnessSocket]:
    return []


@pytest.mark.parametrize("change", [_unbound, _gone])
def test_kernel_that_knows_less_than_the_trace_disagrees(
    change: Callable[[WitnessSocket], list[WitnessSocket]],
) -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    built = trace.build()
    agreed = WitnessSocket(trace.main, fd, 7000, 1, ADDRESS, False, True)
    now = built.events[-1].ts_ns + 1
    assert compare(built, Witness(now, (agreed,)), fold(built)).disagreements == []
    built.witness = Witness(now, tuple(change(agreed)))
    checks = {check.name: check.ok for check in certify(built, fold(built)).checks}
    assert checks[KERNEL_CHECK] is False


# anything at all

_CALLS = st.tuples(
    st.sampled_from(
        [
            "socket",
            "dgram",
            "bind",
            "bind_failed",
            "listen",
            "dup",
            "dup2",
            "close",
            "close_range",
            "epoll_add",
            "epoll_mod",
            "epoll_delete",
            "shutdown",
            "setsockopt",
            "fork",
            "exec",
            "exit",
            "rename",
            "sendmsg",
            "recvmsg",
            "accept4",
            "getsockname",
            "tcp_state",
            "epoll_create1",
            "epoll_wait",
            "unlink",
            "io_uring_setup",
        ]
    ),
    st.integers(0, 7),
    st.integers(0, 3),
    st.integers(0, 2),
)
_ASKED: list[dict[str, Any]] = [
    {
        **PORT,
        "bound": {"times": "workers", "by": "main"},
        "bind_failed": {"times": 0},
        "listened": {"by": "workers", "via": "reuse_port"},
        "served_by": "workers",
        "listen_by": "main",
        "via": "dup",
        "sockets": {"ever": 1, "live": 1, "serving": 1, "spare": 0},
        "descriptors": {"ever": 1, "live": 1, "serving": 1, "spare": 0},
        "listen_calls": {"times": 1, "by": "main"},
        "options": {"SO_REUSEPORT": {"value": 1, "phase": "before_bind"}},
        "backlog": -1,
        "in_order": ["socket", "bind", "listen"],
    },
    {"never": {"call": "bind", **PORT}},
    {"in_order": [{"call": "bind"}, {"call": "listen", "by": "main"}]},
    {"in_order": ["start", {**PORT, "becomes": "served", "by": "workers"}, "live", "end"]},
    {
        "moment": {"call": "bind", **PORT},
        "before": {"call": "listen", "which": "last"},
        "within": "1ms",
        "each": "socket",
    },
    {
        "between": [{"call": "epoll_ctl", "which": "first"}, {"call": "close"}],
        "lasts": {"at_least": "1ms"},
        "each": "worker",
    },
    {"always": {**PORT, "served": True, "by": "workers"}, "except_for": "1ms"},
    {"always": {**PORT, "listening": False}, "until": {"call": "listen", "which": "first"}},
    {"calls": {"call": "epoll_ctl", "each": "worker", "times": "workers"}},
    {"calls": {"call": "dup", **PORT, "each": "socket", "times": "none"}},
    {
        **PORT,
        "sockets": {"live": 1, "spare": 0, "live_at": {"call": "listen", "which": "first"}},
        "descriptors": {"ever": 1, "serving": 1, "spare": 1, "each": "socket"},
        "listen_calls": {"each": "worker"},
    },
    {**PORT, "take": "total", "sockets": {"serving": 1, "each": "worker"}},
    {
        "startup": {
            "first_listen": {"at_most": "1s"},
            "bind_to_listen": {"at_most": "1s"},
            "listen_to_served": {"at_most": "1s"},
            "served_to_live": {"at_most": "1s"},
        }
    },
    {**PORT, "let": {"s": "socket", "d": "descriptor", "t": "thread", "p": "port"}},
    {"calls": {"call": "listen", "let": {"s": "socket", "d": "descriptor", "t": "thread"}}},
    {"calls": {"call": ["bind", "close"], "let": {"p": "port"}}},
    {"always": {**PORT, "bound": False}, "since": {"call": "bind"}},
    {"calls": {"call": ["listen", "close"], "by": "workers"}},
    {"no_others": {"allow": ["hot_restart", "admin"]}},
]


def _apply(trace: TraceBuilder, call: str, number: int, who: int, pid: int) -> None:
    fd = 20 + number
    tid = trace.main + who
    some: dict[str, tuple[str, int | None, dict[str, Any]]] = {
        "dgram": ("socket", fd, {"type": "SOCK_DGRAM"}),
        "socket": ("socket", fd, {"type": "SOCK_STREAM"}),
        "bind": ("bind", 0, {"fd": fd, "address": ADDRESS}),
        "bind_failed": ("bind", -98, {"fd": fd, "address": ADDRESS if who else None}),
        "listen": ("listen", 0, {"fd": fd, "backlog": -1}),
        "dup": ("dup", fd + 1, {"fd": fd}),
        "dup2": ("dup2", fd + 2, {"fd": fd, "newfd": fd + 2, "flags": []}),
        "close": ("close", 0, {"fd": fd}),
        "close_range": ("close_range", 0, {"first": fd, "last": fd + who, "flags": 0}),
        "shutdown": ("shutdown", 0, {"fd": fd, "how": "SHUT_RDWR"}),
        "fork": ("fork", None, {"child_pid": tid, "child_tid": tid + 9, "thread": not pid}),
        "exec": ("exec", 0, {"filename": "/e", "argv": [], "name": "envoy"}),
        "exit": ("exit", None, {"status": 0, "last": pid == 0}),
        "rename": ("rename", None, {"tid": tid, "name": f"wrk:worker_{number}"}),
        "sendmsg": ("sendmsg", 1, {"fd": 3, "fds": [fd], "truncated": False}),
        "recvmsg": ("recvmsg", 1, {"fd": 3, "fds": [fd + 1], "truncated": False}),
        "accept4": ("accept4", fd + 1, {"fd": fd, "address": None, "flags": []}),
        "getsockname": ("getsockname", 0, {"fd": fd, "address": ADDRESS}),
        "epoll_create1": ("epoll_create1", fd, {"flags": []}),
        "epoll_wait": ("epoll_wait", None, {"epfd": fd if pid else 5}),
        "unlink": ("unlink", 0, {"path": "/x"}),
        "io_uring_setup": ("io_uring_setup", 4, {}),
    }
    if call == "setsockopt":
        trace.setsockopt(tid, fd, "SO_REUSEPORT", value=number)
    elif call == "tcp_state":
        new = "TCP_LISTEN" if who else "TCP_CLOSE"
        old = "TCP_CLOSE" if who else "TCP_LISTEN"
        trace.call(tid, call, None, sk=f"{number}", old=old, new=new, port=15006)
    elif call.startswith("epoll_") and call not in some:
        op = {"epoll_add": "ADD", "epoll_mod": "MOD", "epoll_delete": "DEL"}[call]
        args = {"epfd": 5 + who, "op": f"EPOLL_CTL_{op}", "fd": fd, "events": ["EPOLLIN"]}
        trace.call(tid, "epoll_ctl", 0, **args)
    else:
        name, ret, args = some[call]
        if name == "socket":
            args |= {"family": "AF_INET", "flags": ["SOCK_NONBLOCK"], "protocol": 0}
        trace.call(tid, name, ret, **args)
    if pid == 1:
        trace.events[-1].pid += 100


# Hypothesis times each example, and the first judgement loads what judges.
verdict(TraceBuilder(2).build(), *_ASKED, workers=1)


@given(st.lists(_CALLS, max_size=40), st.sets(st.integers(0, 50)), st.integers(0, 3))
def test_any_program_is_folded_and_judged_without_raising(
    program: list[tuple[str, int, int, int]], lost: set[int], workers: int
) -> None:
    trace = TraceBuilder(2)
    for step in program:
        _apply(trace, *step)
    built = trace.build(tuple(index for index in lost if index < len(trace.events)))
    found = verdict(built, *_ASKED, workers=workers)
    assert found.status is not PASS
    assert {finding.path[1] for finding in found.findings} == set(range(len(_ASKED)))
