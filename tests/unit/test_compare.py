"""Two runs against each other: what is a difference, what never is, and what is not known."""

import dataclasses
import random
from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.compare import profile
from envoyassert.compare.comparison import DIFFERENT, SAME, UNKNOWN, Comparison, compare_profiles
from envoyassert.compare.measure import Workers
from envoyassert.compare.profile import profile_of
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Outcome, Trace
from envoyassert.trace_file import read_trace

TRACES = Path(__file__).parents[1] / "traces"
PLACE = "0.0.0.0:15006"


def against(before: Trace, after: Trace) -> Comparison:
    return compare_profiles(profile_of(before), profile_of(after))


def words(comparison: Comparison) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for difference in comparison.differences:
        found.setdefault(difference.subject, []).append(difference.words)
    return found


def shared(workers: int = 2, **how) -> Trace:
    trace = TraceBuilder(workers, **how)
    trace.shared_listener(PLACE)
    return trace.build()


def reuse_port(workers: int = 2, **how) -> Trace:
    trace = TraceBuilder(workers, **how)
    trace.reuse_port_listener(PLACE)
    return trace.build()


def port_zero(learned: int) -> Trace:
    any_port = Address.inet("127.0.0.1", 0)
    trace = TraceBuilder(2, listeners=(ListenerRecord("ingress", "TCP", (any_port,)),))
    for index in range(2):
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, f"127.0.0.1:{learned if index else 0}")
        if not index:
            address = Address.inet("127.0.0.1", learned)
            trace.call(trace.main, "getsockname", 0, fd=fd, address=address)
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(index), fd)
    return trace.build()


def in_rundir(rundir: str) -> Trace:
    trace = TraceBuilder(2)
    trace.call(trace.main, "unlink", 0, path=f"{rundir}/in.sock")
    trace.shared_listener(f"{rundir}/in.sock")
    trace.header = dataclasses.replace(trace.header, rundir=rundir)
    return trace.build()


def two_on_port_zero(first: int, second: int, *, second_listens: bool = True) -> Trace:
    any_port = Address.inet("127.0.0.1", 0)
    listeners = tuple(ListenerRecord(name, "TCP", (any_port,)) for name in ("a", "b"))
    trace = TraceBuilder(1, listeners=listeners)
    for learned in (first, second):
        fd = trace.socket(trace.main)
        trace.bind(trace.main, fd, "127.0.0.1:0")
        address = Address.inet("127.0.0.1", learned)
        trace.call(trace.main, "getsockname", 0, fd=fd, address=address)
        if learned == first or second_listens:
            trace.listen(trace.main, fd)
            trace.epoll_add(trace.worker(0), fd)
    return trace.build()


def packet_filter(pointer: str) -> Trace:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    option = {"level": "SOL_SOCKET", "name": "SO_ATTACH_REUSEPORT_CBPF", "length": 16}
    trace.call(trace.main, "setsockopt", 0, fd=fd, **option, value=pointer)
    return trace.build()


def hot_restart(base_id: int) -> Trace:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, "AF_UNIX", "SOCK_DGRAM")
    trace.bind(trace.main, fd, f"@envoy_domain_socket_parent_{base_id}\0\0\0")
    return trace.build()


def workers_in_reverse() -> Trace:
    trace = TraceBuilder(2)
    fds = []
    for _ in range(2):
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, PLACE)
        fds.append(fd)
    for fd in fds:
        trace.listen(trace.main, fd)
    for index in (1, 0):
        trace.epoll_add(trace.worker(index), fds[1 - index])
    return trace.build()


def with_clients() -> Trace:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(PLACE)
    for number in range(3):
        trace.call(trace.worker(0), "accept4", 90 + number, fd=fds[0], address=None, flags=[])
        trace.close(trace.worker(0), 90 + number)
    trace.socket(trace.main, "AF_INET", "SOCK_DGRAM")
    upstream = trace.socket(trace.worker(0))
    trace.bind(trace.worker(0), upstream, "127.0.0.1:0")
    trace.call(trace.worker(0), "connect", 0, fd=upstream, address=Address.inet("10.0.0.1", 80))
    return trace.build()


VOLATILE = {
    "process and thread ids": (reuse_port(), reuse_port(pid=77)),
    "ports that the kernel chose": (port_zero(31001), port_zero(42002)),
    "ports of several listeners": (two_on_port_zero(31, 32), two_on_port_zero(42, 41)),
    "addresses of packet filters": (packet_filter("0700aa"), packet_filter("0700bb")),
    "run directories": (in_rundir("/tmp/a"), in_rundir("/run/b-2")),
    "base ids of hot restart": (hot_restart(0), hot_restart(1270)),
    "order of the workers": (reuse_port(), workers_in_reverse()),
    "who connected": (reuse_port(), with_clients()),
    "cpus that recorded": (shared(cpus=1), shared(cpus=4)),
}


@pytest.mark.parametrize("before, after", VOLATILE.values(), ids=VOLATILE.keys())
def test_volatile_things_are_no_differences(before, after):
    for comparison in (against(before, after), against(after, before)):
        assert (words(comparison), comparison.result) == ({}, SAME)


def test_listeners_on_port_zero_are_distinguished_by_their_order():
    after = two_on_port_zero(31, 32, second_listens=False)
    assert list(words(against(two_on_port_zero(31, 32), after))) == ["127.0.0.1:0 #2 (b)"]


def test_port_zero_is_one_listener_with_all_its_sockets():
    comparison = against(port_zero(31001), port_zero(42002))
    assert [pair.title for pair in comparison.pairs] == ["127.0.0.1:0 (ingress)"]
    (pair,) = comparison.pairs
    assert pair.after is not None
    assert pair.after.facts["sockets"][""].seen == 2


def changed(change: str) -> Trace:
    return changing(change).build()


def changing(change: str) -> TraceBuilder:
    """A shared listener that is other than usual in one way."""
    trace = TraceBuilder(2)
    main, backlog, listener = trace.main, -1, trace.main
    if change == "blocking":
        kind = {"family": "AF_INET", "type": "SOCK_STREAM", "flags": [], "protocol": 0}
        trace.call(main, "socket", fd := 18, **kind)
    else:
        fd = trace.socket(main)
    if change == "order":
        trace.setsockopt(main, fd, "IP_TRANSPARENT", level="IPPROTO_IP")
    trace.setsockopt(main, fd, "SO_REUSEADDR")
    if change in ("option", "kept alive"):
        trace.setsockopt(main, fd, "SO_KEEPALIVE", 5)
    if change == "ordinary order":
        trace.setsockopt(main, fd, "IP_TRANSPARENT", level="IPPROTO_IP")
    trace.bind(main, fd, "127.0.0.1:15006" if change == "address" else PLACE)
    if change == "late option":
        trace.setsockopt(main, fd, "IP_FREEBIND", 1, level="IPPROTO_IP")
    fds = [fd, trace.dup(main, fd)]
    if change == "backlog":
        backlog = 64
    if change == "listen":
        listener = trace.worker(0)
    for one in fds:
        trace.listen(listener, one, backlog)
    if change == "relisten":
        trace.listen(main, fd, 64)
    if change == "listening option":
        trace.setsockopt(main, fd, "TCP_FASTOPEN", 7, level="IPPROTO_TCP")
    if change == "listen refused":
        trace.listen(main, fd, ret=-98)
    for index, one in enumerate(fds):
        if not (change == "unserved" and index):
            mask = ("EPOLLIN", "EPOLLET") if change == "mask" else ("EPOLLIN",)
            trace.epoll_add(trace.worker(index), one, mask)
    if change == "another":
        trace.shared_listener("[::]:8080")
    if change == "refused":
        extra = trace.socket(main)
        trace.bind(main, extra, PLACE, ret=-98)
    if change == "closed":
        for one in fds:
            trace.close(main, one)
    if change == "exit":
        trace.outcome = dataclasses.replace(trace.outcome, live=False, exit_code=1)
    return trace


ONE = "workers share one kernel socket, each by a descriptor of its own (dup)"

CHANGES = {
    "option": {PLACE: ["SO_KEEPALIVE now set to 5 before bind"]},
    "late option": {PLACE: ["IP_FREEBIND now set after bind"]},
    "listening option": {PLACE: ["TCP_FASTOPEN now set to 7 after listen"]},
    "blocking": {PLACE: ["kind: AF_INET SOCK_STREAM instead of AF_INET SOCK_STREAM|SOCK_NONBLOCK"]},
    "listen refused": {PLACE: ["failed listen: 1 x EADDRINUSE by main instead of none"]},
    "closed": {
        PLACE: [
            "-2 open descriptors: 0 instead of 2",
            f"now no known way to reach the workers; before, {ONE}",
            "served by no one instead of 2 workers",
            "-1 open socket: 0 instead of 1",
        ]
    },
    "backlog": {PLACE: ["backlog of listen() is 64 instead of -1"]},
    "relisten": {
        PLACE: [
            "listen() called 3 times instead of 2 by main",
            "backlog of listen() is -1, then 64 instead of -1",
        ]
    },
    "listen": {PLACE: ["listen() moved from main to worker threads"]},
    "unserved": {PLACE: ["served by 1 worker instead of 2 workers"]},
    "mask": {
        PLACE: [
            "epoll registrations: 2 x EPOLLIN|EPOLLET by workers instead of 2 x EPOLLIN by workers"
        ]
    },
    "another": {"[::]:8080": ["new: 1 socket, listen() 2 by main"]},
    "refused": {PLACE: ["failed bind: 1 x EADDRINUSE by main instead of none"]},
    "exit": {"the run": ["Envoy exited with 1; before, it became live"]},
    "address": {PLACE: ["gone; it was 1 socket, listen() 2 by main"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_reported_in_words_and_alone(change):
    comparison = against(changed(""), changed(change))
    assert comparison.result == DIFFERENT
    found = words(comparison)
    assert found.pop("127.0.0.1:15006", None) == (
        ["new: 1 socket, listen() 2 by main"] if change == "address" else None
    )
    assert found == CHANGES[change]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_a_difference_in_both_directions(change):
    assert against(changed(change), changed("")).result == DIFFERENT
    assert against(changed(change), changed(change)).result == SAME


def with_option(name, value):
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    if value is not None:
        trace.setsockopt(trace.main, fd, name, value)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    return trace.build()


# A value is no text to be taken apart: one has commas, and one is a device that is named `1`.
SET = [
    ("SO_LINGER", {"onoff": 1, "linger_s": 5}, "set to {onoff: 1, linger_s: 5} before bind"),
    ("SO_BINDTODEVICE", "1", "set to 1 before bind"),
    ("SO_KEEPALIVE", 1, "set before bind"),
]


@pytest.mark.parametrize("name, value, said", SET)
def test_option_that_is_set_or_no_longer_set_is_said_by_its_value(name, value, said):
    old, new = with_option(name, None), with_option(name, value)
    assert f"{name} now {said}" in words(against(old, new))[PLACE]
    assert f"{name} no longer {said}" in words(against(new, old))[PLACE]


ENDS = [
    (Outcome(signal=11), "killed by SIGSEGV", "was {}"),
    (Outcome(exit_code=1), "exited with 1", "{}"),
    (Outcome(live=True), "live", "became live"),
    (Outcome(live=False), "up, but not live", "was {}"),
    (Outcome(), "up", "was {}"),
]


@pytest.mark.parametrize("outcome, said, past", ENDS)
@pytest.mark.parametrize("reworded", [False, True])
def test_end_of_envoy_has_its_verb_by_how_it_ended(monkeypatch, outcome, said, past, reworded):
    if reworded:
        monkeypatch.setattr(profile, "outcome_text", lambda end: f"token {end.exit_code}")
    said, other = ("token None", "token 77") if reworded else (said, "exited with 77")
    said = "token 1" if reworded and outcome.exit_code else said
    before, after = changing(""), changing("")
    before.outcome, after.outcome = Outcome(exit_code=77), outcome
    differences = against(before.build(), after.build()).differences
    (found,) = (one for one in differences if one.aspect == "outcome")
    assert (found.after, found.words) == (
        said,
        f"Envoy {past.format(said)}; before, it {other}",
    )


@pytest.mark.parametrize("end", [{"exit_code": 1}, {"signal": 6}])
def test_whether_an_envoy_that_ended_had_been_live_is_no_difference(end):
    traces = []
    for live in (True, False):
        trace = changing("")
        trace.outcome = Outcome(live=live, **end)
        traces.append(trace.build())
    assert against(*traces).result == SAME


def test_order_in_which_main_prepares_a_socket_is_a_difference():
    comparison = against(changed("ordinary order"), changed("order"))
    before = "socket, SO_REUSEADDR, IP_TRANSPARENT, bind, listen"
    after = "socket, IP_TRANSPARENT, SO_REUSEADDR, bind, listen"
    assert words(comparison) == {PLACE: [f"order of calls: {after} instead of {before}"]}
    assert comparison.result == DIFFERENT


def unix_socket(mode: int) -> Trace:
    trace = TraceBuilder(1)
    trace.shared_listener("/run/in.sock")
    trace.call(trace.main, "chmod", 0, path="/run/in.sock", mode=mode)
    return trace.build()


def test_mode_of_a_unix_socket_is_a_difference():
    assert words(against(unix_socket(0o660), unix_socket(0o600))) == {
        "/run/in.sock": ["file calls: 1 x chmod 0600 instead of 1 x chmod 0660"]
    }


def exited(*, seen: bool) -> Trace:
    trace = changing("exit")
    if seen:
        trace.call(trace.main, "exit", None, status=1, last=True)
    return trace.build()


def test_what_is_open_after_the_end_of_envoy_is_not_compared():
    assert against(exited(seen=True), exited(seen=False)).result == SAME


def test_reuse_port_is_described_by_what_it_does_to_the_sockets():
    one_each = "every worker has a kernel socket of its own (reuse_port)"
    assert words(against(shared(), reuse_port())) == {
        PLACE: [
            "+1 socket: 2 instead of 1",
            "dup() no longer called; it was 1 time by main",
            f"now {one_each}; before, {ONE}",
            "SO_REUSEPORT now set before bind",
        ]
    }


def named(address: str, lost: tuple[int, ...] = ()) -> Trace:
    host, port = address.split(":")
    record = ListenerRecord("ingress", "TCP", (Address.inet(host, int(port)),))
    trace = TraceBuilder(2, listeners=(record,))
    trace.shared_listener(address)
    return trace.build(lost=lost)


def test_listener_with_the_same_name_at_another_address_is_reported_as_moved():
    comparison = against(named("0.0.0.0:80"), named("127.0.0.1:81"))
    assert words(comparison) == {
        "0.0.0.0:80 (ingress)": ["bound to TCP 127.0.0.1:81 instead of TCP 0.0.0.0:80"]
    }
    assert comparison.result == DIFFERENT


def test_listener_that_moved_is_not_sure_after_a_loss():
    comparison = against(named("0.0.0.0:80"), named("127.0.0.1:81", lost=(2,)))
    assert [d.sure for d in comparison.differences if d.aspect == "address"] == [False]


@pytest.mark.parametrize(
    "workers, counts, grows",
    [
        ((2, 4), (2, 4), True),
        ((2, 4), (1, 3), True),
        ((2, 4), (3, 5), True),
        ((1, 4), (0, 3), True),
        ((2, 4), (4, 8), True),
        ((2, 4), (2, 3), False),
        ((2, 4), (4, 2), False),
        ((2, 4), (2, 8), False),
        ((1, 2), (1, 3), False),
        ((2, 2), (2, 4), False),
        ((0, 4), (2, 4), False),
    ],
)
def test_count_grows_with_the_workers_if_it_is_a_number_per_worker(workers, counts, grows):
    assert Workers(*workers).grow(*counts) is grows


@pytest.mark.parametrize("make", [shared, reuse_port], ids=["shared", "reuse_port"])
@pytest.mark.parametrize("before, after", [(1, 2), (2, 4), (4, 1)])
def test_other_number_of_workers_is_one_difference(make, before, after):
    comparison = against(make(before), make(after))
    noun = "worker" if after == 1 else "workers"
    assert words(comparison) == {"the run": [f"{after} {noun} instead of {before}"]}
    assert comparison.result == DIFFERENT
    assert {"descriptors", "listen", "served by"} <= set(comparison.growing)


def test_sockets_that_do_not_grow_with_the_workers_are_a_difference():
    trace = TraceBuilder(4)
    trace.workers = 2  # builds sockets for two of them only
    trace.reuse_port_listener(PLACE)
    found = words(against(reuse_port(4), trace.build()))
    assert found[PLACE] == [
        "-2 sockets: 2 instead of 4",
        "listen() called 2 times instead of 4 by main",
        "-2 open descriptors: 2 instead of 4",
        "served by 2 workers instead of 4 workers",
    ]


def builder(kind: str) -> TraceBuilder:
    if kind in CHANGES:
        return changing(kind)
    trace = TraceBuilder(2)
    getattr(trace, f"{kind}_listener")(PLACE)
    return trace


@pytest.mark.parametrize("kind", ["shared", "reuse_port", *CHANGES])
def test_loss_alone_is_never_the_same_and_never_a_difference(kind):
    whole = builder(kind).build()
    chance = random.Random(20)
    events = len(whole.events)
    losses: list[tuple[int, ...]] = [(index,) for index in range(events)]
    losses += [tuple(chance.sample(range(events), k)) for k in range(2, 12) for _ in range(4)]
    for lost in losses:
        lossy = builder(kind).build(lost=lost)
        for comparison in (against(whole, lossy), against(lossy, whole), against(lossy, lossy)):
            assert comparison.result == UNKNOWN, (lost, words(comparison))


def test_loss_never_hides_a_difference_behind_the_same():
    whole = builder("shared").build()
    answers = set()
    for index in range(len(builder("reuse_port").events)):
        lossy = builder("reuse_port").build(lost=(index,))
        answers |= {against(whole, lossy).result, against(lossy, whole).result}
    assert SAME not in answers
    assert DIFFERENT in answers  # what was seen for certain still counts


def test_contradicted_trace_proves_no_difference():
    trace = builder("shared")
    trace.call(trace.main, "io_uring_setup", 9)
    comparison = against(reuse_port(), trace.build())
    assert comparison.result == UNKNOWN
    assert comparison.differences
    assert "io_uring_setup can act on sockets where no probe looks" in comparison.after.missing


def origin(assume: tuple[str, ...] = ()):
    log = TRACES / "istio-1.11-envoy-1.19.1.bpftrace.txt"
    trace = parse_bpftrace_log(log.read_text().splitlines(), envoy_version="1.19.1", concurrency=2)
    return profile_of(trace, assume=assume)


def test_envoy_1_19_against_1_40_says_that_listen_and_dup_moved_to_main():
    new = profile_of(read_trace(TRACES / "pairs" / "istio_sidecar_shared-1.40.0.ndjson"))
    comparison = compare_profiles(origin(), new)
    moved = [
        "listen() moved from worker threads to main",
        "dup() moved from worker threads to main, 1 time instead of 2",
        "-1 descriptor: 2 instead of 3",
    ]
    assert words(comparison) == {
        "0.0.0.0:15090 (metrics)": moved,
        "0.0.0.0:15021 (health)": moved,
        "0.0.0.0:15001 (virtualOutbound)": moved,
        "0.0.0.0:15006 (virtualInbound)": moved,
    }
    assert comparison.result == DIFFERENT
    assert len(comparison.not_compared) == 4


def test_envoy_1_19_against_the_defaults_of_1_40_says_that_reuse_port_came():
    new = profile_of(read_trace(TRACES / "istio_sidecar-1.40.0.ndjson"))
    found = words(compare_profiles(origin(), new))["0.0.0.0:15006 (virtualInbound)"]
    assert "listen() moved from worker threads to main" in found
    assert "dup() no longer called; it was 2 times by worker threads" in found
    assert "SO_REUSEPORT now set before bind" in found


def test_imported_log_against_itself_is_the_same_only_if_that_is_assumed():
    assert compare_profiles(origin(), origin()).result == UNKNOWN
    assume = ("complete", "calls_succeeded", "comm_is_role")
    assert compare_profiles(origin(assume), origin(assume)).result == SAME


def delayed(call: str) -> Trace:
    """A run in which everything from the first such call on comes 40 ms later."""
    trace = builder("shared")
    first = next(event.ts_ns for event in trace.events if event.call == call)
    for event in trace.events:
        event.ts_ns += 40_000_000 if event.ts_ns >= first else 0
    return trace.build()


@pytest.mark.parametrize("call", ["bind", "listen"])
def test_time_beyond_the_tolerance_is_reported_once_and_is_no_difference(call):
    comparison = against(shared(), delayed(call))
    assert comparison.result == SAME
    assert [time.words for time in comparison.times] == [f"first {call} 40 ms later"]
    back = compare_profiles(comparison.after, comparison.before)
    assert [time.words for time in back.times] == [f"first {call} 40 ms earlier"]
    assert compare_profiles(comparison.before, comparison.after, tolerance_ms=41).times == ()


def test_backlog_by_lds_differs_between_1_39_3_and_1_40_0_and_nothing_else_does():
    old, new = (
        profile_of(read_trace(TRACES / "pairs" / f"lds_backlog_update-{version}.ndjson"))
        for version in ("1.39.3", "1.40.0")
    )
    assert old.whole
    assert new.whole
    comparison = compare_profiles(old, new)
    assert comparison.result == DIFFERENT
    assert words(comparison) == {
        "127.0.0.1:15006 (ingress)": ["backlog of listen() is -1, then 64 instead of -1"]
    }
