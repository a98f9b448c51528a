"""The pure model of a run's picture: the map of sockets, the timeline, the steps, connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envoyassert.accounts import Network, NetworkSocket, Witness, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.picture.connections import connections
from envoyassert.picture.map_parts import Mark
from envoyassert.picture.map_words import ALONE, answer
from envoyassert.picture.socket_map import socket_map
from envoyassert.picture.steps import start_steps
from envoyassert.picture.timeline import KINDS, timeline
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ConnectionAttempt, ListenerRecord
from tests.recorded_trace import TRACES, recorded

PORT = Address.inet("0.0.0.0", 15006)
INGRESS = ListenerRecord("ingress", "TCP", (PORT,))


def drawn(builder, **parts):
    trace = replace(builder.build(), **parts)
    return socket_map(trace, fold(trace))


def judged(trace, **item):
    return judge(trace, [(0, parse_expectation(item))], workers=2)


def built(start, workers=2, listeners=(INGRESS,)):
    builder = TraceBuilder(workers, listeners=listeners)
    start(builder)
    return builder


def holders(picture, listener):
    """Return which thread holds which socket by which descriptor."""
    return [
        (socket.number, descriptor.fd, [picture.threads[one].label for one in descriptor.threads])
        for socket in listener.sockets
        for descriptor in socket.descriptors
    ]


def test_one_worker_is_dealt_no_clients_out_of_several_sockets():
    alone = drawn(built(lambda b: b.reuse_port_listener("0.0.0.0:15006"), workers=1))
    several = drawn(built(lambda b: b.reuse_port_listener("0.0.0.0:15006")))
    assert answer(alone.listeners[0], alone).endswith("; " + ALONE)
    assert "deals clients out" in answer(several.listeners[0], several)


def test_map_of_reuse_port_has_a_socket_of_each_worker():
    picture = drawn(built(lambda b: b.reuse_port_listener("0.0.0.0:15006", backlog=128)))
    (ingress,) = picture.listeners
    assert (ingress.name, ingress.address, ingress.way) == (
        "ingress",
        "0.0.0.0:15006",
        "reuse_port",
    )
    assert holders(picture, ingress) == [(0, 21, ["worker_0"]), (1, 22, ["worker_1"])]
    assert [socket.backlog for socket in ingress.serving] == [128, 128]
    assert all(Mark.REUSE_PORT in socket.marks for socket in ingress.sockets)
    option = ingress.sockets[0].options[1]
    assert (option.name, option.value, option.phase) == ("SO_REUSEPORT", "1", "before_bind")


def test_map_of_copies_has_one_socket_and_says_what_was_copied():
    picture = drawn(built(lambda b: b.shared_listener("0.0.0.0:15006")))
    (ingress,) = picture.listeners
    assert ingress.way == "dup"
    assert holders(picture, ingress) == [(0, 21, ["worker_0"]), (0, 22, ["worker_1"])]
    first, second = ingress.sockets[0].descriptors
    assert (second.copy_of, second.copy_of_fd, second.marks) == (first.id, 21, {Mark.DUP})
    assert first.marks == frozenset()


def test_map_of_one_worker_is_single():
    picture = drawn(built(lambda b: b.shared_listener("0.0.0.0:15006"), workers=1))
    assert picture.listeners[0].way == "single"


def test_map_of_a_descriptor_on_which_several_threads_wait_says_shared():
    def start(builder):
        (fd,) = [builder.socket(builder.main)]
        builder.bind(builder.main, fd, "0.0.0.0:15006")
        builder.listen(builder.main, fd)
        for index in range(2):
            builder.epoll_add(builder.worker(index), fd)

    picture = drawn(built(start))
    (ingress,) = picture.listeners
    assert ingress.way == "shared_fd"
    assert Mark.SHARED in ingress.marks
    assert holders(picture, ingress) == [(0, 21, ["worker_0", "worker_1"])]


def test_map_marks_a_listener_without_socket_and_a_socket_without_thread_as_lost():
    def start(builder):
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, "0.0.0.0:15006")
        builder.listen(builder.main, fd)

    other = ListenerRecord("other", "TCP", (Address.inet("0.0.0.0", 80),))
    ingress, absent = drawn(built(start, listeners=(INGRESS, other))).listeners
    assert Mark.LOST in ingress.sockets[0].marks
    assert Mark.LOST not in ingress.marks
    assert (absent.sockets, absent.marks) == ((), {Mark.LOST})


def test_map_marks_what_failed_what_was_closed_and_what_may_be_otherwise():
    def start(builder):
        fd = builder.socket(builder.main)
        builder.bind(builder.main, fd, "0.0.0.0:15006", ret=-98)
        builder.close(builder.main, fd)

    (ingress,) = drawn(built(start)).listeners
    assert ingress.failed == ("bind(21, 0.0.0.0:15006) = -1 EADDRINUSE",)
    assert ingress.marks == {Mark.FAILED, Mark.LOST}

    builder = built(lambda b: [b.close(b.main, fd) for fd in b.shared_listener("0.0.0.0:15006")])
    (ingress,) = drawn(builder).listeners
    assert (ingress.sockets[0].state, ingress.serving) == ("CLOSED", ())

    builder = built(lambda b: b.shared_listener("0.0.0.0:15006"))
    trace = builder.build(lost=(len(builder.events) - 1,))
    assert Mark.DOUBT in socket_map(trace, fold(trace)).listeners[0].marks


def test_map_shows_the_sockets_of_others_at_the_port_and_what_waits():
    builder = built(lambda b: b.shared_listener("0.0.0.0:15006"))
    witness = Witness(
        1,
        (WitnessSocket(builder.main, 21, 7), WitnessSocket(builder.main, 22, 7)),
        network=Network(
            (
                NetworkSocket("TCP", PORT, 7, queue=3, backlog=511),
                NetworkSocket("TCP", Address.inet("127.0.0.1", 15006), 8, queue=0, backlog=1),
                NetworkSocket("TCP", Address.inet("127.0.0.1", 22), 9, queue=0, backlog=1),
                NetworkSocket("UDP", PORT, 10),
            ),
            somaxconn=4096,
        ),
    )
    (ingress,) = drawn(builder, witness=witness).listeners
    own, foreign = ingress.sockets
    assert (own.queue, own.somaxconn) == (3, 4096)
    assert (foreign.address, foreign.owner) == ("127.0.0.1:15006", "another process")
    assert foreign.marks == {Mark.FOREIGN}
    assert Mark.FOREIGN in ingress.marks
    assert ingress.serving == (own,)


def test_map_has_sockets_that_no_listener_of_the_config_has():
    picture = drawn(built(lambda b: b.shared_listener("0.0.0.0:99")))
    assert [(one.name, one.kind, one.address) for one in picture.listeners] == [
        ("ingress", "static", "0.0.0.0:15006"),
        ("", "unlisted", "0.0.0.0:99"),
    ]
    assert Mark.FOREIGN in picture.listeners[1].marks


def test_map_has_the_worst_status_of_the_findings_about_a_listener(tmp_path):
    trace = built(lambda b: b.shared_listener("0.0.0.0:15006")).build()
    verdict = judged(trace, listener={"name": "ingress"}, sockets=1, via="reuse_port")
    graph = fold(trace)
    assert socket_map(trace, graph, verdict).listeners[0].status is Status.FAIL
    verdict = judged(trace, listener={"port": 15006}, sockets=1)
    assert socket_map(trace, graph, verdict).listeners[0].status is Status.PASS
    assert socket_map(trace, graph).listeners[0].status is None


def test_map_of_a_hot_restart_names_the_processes_and_what_was_inherited():
    trace = recorded("regressions/hot_restart.ndjson.gz")
    picture = socket_map(trace, fold(trace))
    ingress = next(
        one for one in picture.listeners if one.protocol == "TCP" and one.name == "ingress"
    )
    assert Mark.INHERITED in ingress.marks
    assert [(d.origin, d.open) for s in ingress.sockets for d in s.descriptors] == [
        ("socket", False),
        ("scm_rights", True),
        ("socket", False),
        ("scm_rights", True),
    ]
    processes = {d.process for s in ingress.sockets for d in s.descriptors}
    assert len(processes) == 2
    own = [one for one in picture.listeners if one.kind == "hot_restart"]
    assert [len(one.sockets) for one in own] == [8]


def test_timeline_has_every_call_on_the_lane_of_its_thread():
    trace = recorded("reuse_port_off-1.40.0.ndjson")
    line = timeline(trace, fold(trace))
    assert [mark.index for mark in line.marks] == list(range(len(trace.events)))
    assert [lane.label for lane in line.lanes[:3]] == ["main", "worker_0", "worker_1"]
    assert sum(lane.calls for lane in line.lanes) == len(trace.events)
    lanes = {lane.id for lane in line.lanes}
    assert {mark.lane for mark in line.marks} <= lanes
    assert {mark.kind for mark in line.marks} <= set(KINDS)


def test_timeline_leads_from_bind_over_copy_and_listen_to_the_epoll():
    trace = built(lambda b: b.shared_listener("0.0.0.0:15006")).build()
    line = timeline(trace, fold(trace))
    text = {mark.index: mark.text.split(" = ")[0] for mark in line.marks}
    assert [(text[one.source], text[one.target]) for one in line.arrows] == [
        ("bind(21, 0.0.0.0:15006)", "dup(21)"),
        ("bind(21, 0.0.0.0:15006)", "listen(21, -1)"),
        ("dup(21)", "listen(22, -1)"),
        ("listen(21, -1)", "epoll_ctl(6, EPOLL_CTL_ADD, 21, EPOLLIN)"),
        ("listen(22, -1)", "epoll_ctl(7, EPOLL_CTL_ADD, 22, EPOLLIN)"),
    ]


def test_timeline_knows_the_calls_that_show_a_finding():
    trace = built(lambda b: b.shared_listener("0.0.0.0:15006")).build()
    verdict = judged(trace, listener={"port": 15006}, bound={"times": 2})
    line = timeline(trace, fold(trace), verdict)
    (failed,) = [finding for finding in verdict.findings if finding.path[:1] == ("expect",)]
    shown = [line.marks[place] for place in line.evidence[failed.path]]
    assert [mark.text for mark in shown] == ["bind(21, 0.0.0.0:15006) = 0"]


def test_timeline_has_a_band_for_each_phase():
    builder = built(lambda b: b.shared_listener("0.0.0.0:15006"))
    builder.end_phase("startup", "startup")
    builder.end_phase("knock", "connect", missed="nothing came")
    trace = builder.build()
    bands = timeline(trace, fold(trace)).bands
    assert [(one.name, one.failed) for one in bands] == [("startup", False), ("knock", True)]
    assert "nothing came" in bands[1].words


def test_steps_are_made_set_bound_copied_listening_served():
    trace = built(lambda b: b.shared_listener("0.0.0.0:15006")).build()
    steps = start_steps(trace, fold(trace))
    assert [(step.kind, step.number, step.threads) for step in steps] == [
        ("made", 1, ("main",)),
        ("options", 1, ("main",)),
        ("bound", 1, ("main",)),
        ("copied", 1, ("main",)),
        ("listening", 2, ("main",)),
        ("served", 2, ("worker_0", "worker_1")),
    ]
    assert steps[4].words == "2 listen() calls of 1 kernel socket, by main"


def test_steps_say_so_where_nothing_was_copied_and_end_with_start_up():
    builder = built(lambda b: b.reuse_port_listener("0.0.0.0:15006"))
    builder.end_phase("startup", "startup")
    builder.shared_listener("0.0.0.0:80")
    trace = builder.build()
    steps = {step.kind: step for step in start_steps(trace, fold(trace))}
    assert steps["copied"].words == "no descriptor was copied: each socket has one"
    assert steps["made"].number == 2


def test_steps_of_a_trace_without_sockets_say_that_there_are_none():
    trace = TraceBuilder().build()
    assert {step.number for step in start_steps(trace, fold(trace))} == {0}


def test_connections_are_counted_for_the_thread_that_handles_them():
    builder = built(lambda b: b.shared_listener("0.0.0.0:15006"))
    worker, peer = builder.worker(0), Address.inet("127.0.0.1", 4000)
    for fd in (40, 41):
        builder.call(worker, "accept4", fd, fd=21, address=peer, flags=[])
        builder.epoll_add(worker, fd)
    builder.close(worker, 40)
    builder.end_phase(
        "knock",
        "connect",
        attempts=(
            ConnectionAttempt("TCP", PORT, True, end="held", first_byte=True),
            ConnectionAttempt("TCP", PORT, False, "ECONNREFUSED"),
        ),
    )
    trace = builder.build()
    found = connections(trace, fold(trace))
    (held,) = found.held
    assert (held.label, [number for _, number in held.changes]) == ("worker_0", [1, 2, 1])
    assert (held.most, held.total) == (2, 2)
    assert [one.fate for one in found.clients] == ["answered, held", "failed: ECONNREFUSED"]


def test_connections_that_waited_are_as_the_kernel_said():
    trace = built(lambda b: b.shared_listener("0.0.0.0:15006")).build()
    network = Network((NetworkSocket("TCP", PORT, 7, queue=3, backlog=511),))
    trace = replace(trace, witness=Witness(5, (WitnessSocket(1, 21, 7),), network=network))
    (waited,) = connections(trace, fold(trace)).queued
    assert (waited.queue, waited.backlog, waited.when) == (3, 511, "at the end")


@pytest.mark.parametrize("name", sorted(p.name for p in (TRACES / "regressions").glob("*.gz")))
def test_every_recorded_run_has_a_picture(name):
    trace = recorded(f"regressions/{name}")
    graph = fold(trace)
    picture = socket_map(trace, graph)
    assert len(timeline(trace, graph).marks) == len(trace.events)
    named = [d for one in picture.listeners for s in one.sockets for d in s.descriptors]
    assert {thread for d in named for thread in d.threads} <= picture.threads.keys()
    assert {epoll for d in named for epoll in d.epolls} <= picture.epolls.keys()
    assert len({one.id for one in picture.listeners}) == len(picture.listeners)
