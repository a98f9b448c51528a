"""Steps on an Envoy that is played: when each is over, and what it shows."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from envoyassert.addresses import Address
from envoyassert.driver.drivers import Drivers, driver_of
from envoyassert.driver.replace_file import ReplaceFileDriver
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.base import Exit
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.steps.another import epoch_of, with_epoch
from envoyassert.steps.base import Step, StepProblem, StepResult
from envoyassert.steps.registry import KINDS, AnyStep
from envoyassert.steps.replace_file import ReplaceFile, ReplaceFileStep
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace

PLACE = "127.0.0.1:15006"
LISTENER = {"port": 15006}
ADMIN = "{address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}"

Reply = tuple[int, str] | None
Act = Callable[["PlayedEnvoy"], None]


def plan_of(admin: str = f"admin: {ADMIN}") -> RunPlan:
    text = f"name: x\nenvoy: {{concurrency: 2, config: {{{admin}}}}}\n"
    return expand(parse_scenario(f"{text}expect: [{{process: {{live: true}}}}]\n", Path("x.yaml")))[
        0
    ]


class PlayedEnvoy:
    """An Envoy whose next acts are given: one for each time it is waited for."""

    pid = 1000

    def __init__(
        self, acts: Iterable[Act] = (), replies: Iterable[Reply] = (), plan: RunPlan | None = None
    ) -> None:
        self.plan = plan or plan_of()
        self.trace = TraceBuilder(2)
        self.acted_ns = 0
        self.drivers = Drivers(cast(Any, self), ())
        self.control_plane = None
        self.listeners: tuple[ListenerRecord, ...] = ()
        self.end: Exit | None = None
        self.asked: list[str] = []
        self.starts = 1
        self._acts = list(acts)
        self._replies = list(replies)

    def driver(self, driver: type[Any]) -> Any:
        return self.drivers.of(driver)

    def started(self) -> int:
        return self.starts

    def emitted(self) -> int:
        return len(self.trace.events)

    def observed(self) -> Trace:
        return self.trace.build()

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        if timeout_s and self._acts:
            self._acts.pop(0)(self)
        return self.end

    def admin_get(self, path: str, method: str = "GET") -> tuple[int, str]:
        self.asked.append(f"{method} {path}")
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply is None:
            raise AdminUnreachableError("played")
        return reply

    def in_netns(self, call: Callable[[], Any], netns: str = "", /) -> Any:
        return call()

    def log(self) -> str:
        return ""

    def hold(self, resource: Any) -> None:
        raise AssertionError("nothing is held by these steps")


def run(envoy: PlayedEnvoy, step: dict[str, Any]) -> StepResult:
    parsed = TypeAdapter(AnyStep).validate_python({"deadline": "50ms", **step})
    return envoy.drivers.carry_out(parsed)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_kind_has_a_driver_of_its_own(kind: type[Step]) -> None:
    assert driver_of(kind).step is kind


def serve(envoy: PlayedEnvoy) -> None:
    envoy.trace.reuse_port_listener(PLACE)


def end(envoy: PlayedEnvoy) -> None:
    envoy.end = Exit(0, None)


def idle(envoy: PlayedEnvoy) -> None:
    """Nothing happens."""


@pytest.mark.parametrize(
    "item, acts",
    [
        ({"call": {"call": "listen", "listener": LISTENER}}, [idle, serve]),
        ({"state": {"listener": LISTENER, "served": True, "by": "workers"}}, [idle, serve]),
        ({"exit": True}, [idle, end]),
    ],
)
def test_wait_for_is_over_when_its_condition_holds(item: dict[str, Any], acts: list[Act]) -> None:
    assert run(PlayedEnvoy(acts), {"wait_for": item}).missed == ""
    assert "within 0.05 s" in run(PlayedEnvoy(acts[:1]), {"wait_for": item}).missed


def test_wait_for_a_call_that_was_made_before_the_step_that_should_cause_it_waits() -> None:
    envoy = PlayedEnvoy()
    serve(envoy)
    assert run(envoy, {"wait_for": {"call": {"call": "listen"}}}).missed == ""
    envoy.acted_ns = envoy.trace.events[-1].ts_ns + 1
    assert run(envoy, {"wait_for": {"call": {"call": "listen"}}}).missed != ""


def test_wait_for_a_state_holds_only_when_every_worker_has_left() -> None:
    envoy = PlayedEnvoy()
    trace = envoy.trace
    first, second = trace.reuse_port_listener(PLACE)
    item = {"wait_for": {"state": {"listener": LISTENER, "served": False}}}
    trace.epoll_delete(trace.worker(0), first)
    assert run(envoy, item).missed == "port 15006 to be not served within 0.05 s"
    trace.epoll_delete(trace.worker(1), second)
    assert run(envoy, item).missed == ""
    item = {"wait_for": {"state": {"listener": LISTENER, "bound": False}}}
    trace.close(trace.main, first)
    assert run(envoy, item).missed != ""
    trace.close(trace.main, second)
    assert run(envoy, item).missed == ""


@pytest.mark.parametrize(
    "item, reply, met",
    [
        ({"stat": {"name": "a.b", "at_least": 2}}, (200, "a.b: 2\n"), True),
        ({"stat": {"name": "a.b", "at_least": 2}}, (200, "a.b: 1\n"), False),
        ({"stat": {"name": "a.b", "at_most": 2}}, (200, "a.bc: 1\n"), False),
        ({"stat": {"name": "a.b", "equals": 0}}, (200, ""), False),
        ({"stat": {"name": "a.b", "at_least": 0}}, (200, "a.b: \u00b2\n"), False),
        ({"stat": {"name": "a.b", "at_least": 0}}, (200, f"a.b: {'9' * 5000}\n"), False),
        ({"stat": {"name": "a.b", "equals": 0}}, None, False),
        ({"ready": True}, (200, "LIVE\n"), True),
        ({"ready": True}, (503, "PRE_INITIALIZING\n"), False),
        ({"ready": False}, (503, "DRAINING\n"), True),
        # Someone who does not answer at all says nothing.
        ({"ready": False}, None, False),
    ],
)
def test_wait_for_the_admin_endpoint_reads_its_answer(
    item: dict[str, Any], reply: Reply, met: bool
) -> None:
    assert (run(PlayedEnvoy(replies=[reply]), {"wait_for": item}).missed == "") is met


@pytest.mark.parametrize(
    "item, reason",
    [
        ({"call": {"call": "listen", "listener": {"name": "gone"}}}, "gone"),
        ({"state": {"listener": {"name": "gone"}, "served": False}}, "gone"),
    ],
)
def test_wait_for_an_unknown_listener_is_not_carried_out(item: dict[str, Any], reason: str) -> None:
    with pytest.raises(StepProblem, match=reason):
        run(PlayedEnvoy(), {"wait_for": item})


def test_wait_for_a_listener_that_came_with_a_step_before_knows_its_name() -> None:
    envoy = PlayedEnvoy([serve])
    envoy.listeners = (ListenerRecord("new", "TCP", (Address.inet("127.0.0.1", 15006),)),)
    state = {"listener": {"name": "new"}, "served": True}
    assert run(envoy, {"wait_for": {"state": state}}).missed == ""


def test_connect_to_an_address_that_no_listener_has_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no one else gets the port
        item = {"listener": {"address": "127.0.0.1", "port": taken.getsockname()[1]}}
        (attempt,) = run(PlayedEnvoy(), {"connect": item}).attempts
    assert (attempt.ok, attempt.errno) == (False, "ECONNREFUSED")


def test_connect_to_a_port_that_no_listener_has_is_not_carried_out() -> None:
    with pytest.raises(StepProblem, match="no listener has port 15007"):
        run(PlayedEnvoy(), {"connect": {"listener": {"port": 15007}}})


class Waiting(PlayedEnvoy):
    """An Envoy that no one may wait for any longer once its acts are over."""

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        assert not timeout_s or self._acts, "waited for what was there already"
        return super().exited(timeout_s)


def server_on(stack: contextlib.ExitStack, host: str) -> tuple[socket.socket, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = stack.enter_context(socket.socket(family))
    server.bind((host, 0))
    server.listen()
    server.settimeout(10)
    return server, server.getsockname()[1]


@pytest.mark.parametrize(
    "bound, asked, mapped",
    [("0.0.0.0", "127.0.0.2", False), ("::", "127.0.0.1", True), ("127.0.0.1", "127.0.0.1", False)],
)
def test_client_of_one_address_of_a_wildcard_is_over_when_it_was_accepted(
    bound: str, asked: str, mapped: bool
) -> None:
    with contextlib.ExitStack() as stack:
        server, port = server_on(stack, bound)

        def accept(envoy: PlayedEnvoy) -> None:
            taken, (host, peer, *_) = server.accept()
            taken.close()
            assert host.startswith("::ffff:") is mapped
            trace, address = envoy.trace, Address.inet(host, peer)
            trace.pass_time(time.monotonic_ns())  # after the step began
            trace.call(trace.main, "accept4", 90, fd=fd, address=address, flags=[])
            trace.epoll_add(trace.main, 90)

        envoy = Waiting([idle, accept, idle])
        fd = envoy.trace.socket(envoy.trace.main, Address.inet(bound, port).family)
        envoy.trace.bind(envoy.trace.main, fd, f"[{bound}]:{port}" if mapped else f"{bound}:{port}")
        envoy.trace.listen(envoy.trace.main, fd)
        item = {"listener": {"address": asked, "port": port}}
        (attempt,) = run(envoy, {"connect": item, "deadline": "60s"}).attempts
    assert (attempt.ok, attempt.address) == (True, Address.inet(asked, port))


def test_client_that_was_answered_is_waited_for_no_longer() -> None:
    with contextlib.ExitStack() as stack:
        server, port = server_on(stack, "127.0.0.1")

        def answer() -> None:
            taken, _ = server.accept()
            with taken:
                taken.sendall(taken.recv(100))
                taken.recv(100)

        thread = threading.Thread(target=answer)
        thread.start()
        stack.callback(thread.join)
        item = {"listener": {"address": "127.0.0.1", "port": port}, "send": "hello"}
        (attempt,) = run(Waiting(), {"connect": item, "deadline": "60s"}).attempts
    assert attempt.first_byte


def test_name_is_that_of_a_listener_of_the_envoy_that_was_started_last() -> None:
    with contextlib.ExitStack() as stack:
        _, port = server_on(stack, "127.0.0.1")
        envoy = PlayedEnvoy()
        here, there = (Address.inet("127.0.0.1", number) for number in (port, 1))
        envoy.listeners = (ListenerRecord("web", "TCP", (there,)),)
        envoy.plan = replace(envoy.plan, listeners=(ListenerRecord("web", "TCP", (here,)),))
        envoy.starts = 2
        (attempt,) = run(envoy, {"connect": {"listener": {"name": "web"}}}).attempts
    assert attempt.address == here


def test_port_that_is_not_known_yet_is_not_asked() -> None:
    envoy = PlayedEnvoy()
    envoy.listeners = (ListenerRecord("any", "TCP", (Address.inet("127.0.0.1", 0),)),)
    with pytest.raises(StepProblem, match="its port is not known"):
        run(envoy, {"connect": {"listener": {"name": "any"}}})


def test_listener_that_is_gone_is_asked_where_it_was() -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))  # bound and not listening: no one else gets the port
        port = taken.getsockname()[1]
        envoy = PlayedEnvoy()
        for fd in envoy.trace.reuse_port_listener(f"127.0.0.1:{port}"):
            envoy.trace.close(envoy.trace.main, fd)
        (attempt,) = run(envoy, {"connect": {"listener": {"port": port}}}).attempts
    assert attempt.errno == "ECONNREFUSED"


def test_replaced_file_has_the_new_content_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    envoy = PlayedEnvoy()
    envoy.pid = os.getpid()
    (tmp_path / "pressure").write_text("0", "utf-8")
    parsed = ReplaceFile.model_construct(path=f"{tmp_path}/pressure", content="1")
    step = ReplaceFileStep.model_construct(replace_file=parsed)
    driver = ReplaceFileDriver(cast(Any, envoy))
    assert driver.carry_out(step, 1.0) == StepResult()
    assert [file.name for file in tmp_path.iterdir()] == ["pressure"]
    assert (tmp_path / "pressure").read_text("utf-8") == "1"


def test_file_that_cannot_be_replaced_is_not_carried_out(tmp_path: Path) -> None:
    envoy = PlayedEnvoy()
    envoy.pid = os.getpid()
    parsed = ReplaceFile.model_construct(path=f"{tmp_path}/none/pressure", content="1")
    step = ReplaceFileStep.model_construct(replace_file=parsed)
    with pytest.raises(StepProblem, match="No such file"):
        ReplaceFileDriver(cast(Any, envoy)).carry_out(step, 1.0)


def test_talk_needs_connections_that_are_held() -> None:
    with pytest.raises(StepProblem, match="the step before made no connection"):
        run(PlayedEnvoy(), {"talk": {"over": "before", "send": "x"}})


@pytest.mark.parametrize(
    "step",
    [
        {"quit": True},
        {"wait_for": {"ready": True}},
        {"wait_for": {"stat": {"name": "a", "equals": 1}}},
    ],
)
def test_step_that_asks_the_admin_endpoint_needs_one(step: dict[str, Any]) -> None:
    with pytest.raises(StepProblem, match="no admin endpoint"):
        run(PlayedEnvoy(plan=plan_of(admin="")), step)


@pytest.mark.parametrize("item", [{"ready": False}, {"stat": {"name": "a", "at_most": 1}}])
def test_wait_for_what_envoy_forbids_to_ask_is_not_carried_out(item: dict[str, Any]) -> None:
    forbidden = (403, "request to path /x not allowed")
    with pytest.raises(StepProblem, match="answered with 403: request to path /x not allowed"):
        run(PlayedEnvoy(replies=[forbidden]), {"wait_for": item})


@pytest.mark.parametrize("step", [{"drain": {}}, {"drain": {"graceful": True}}])
def test_drain_is_over_when_no_thread_has_work_left(
    monkeypatch: pytest.MonkeyPatch, step: dict[str, Any]
) -> None:
    asleep = [False, False, True]
    monkeypatch.setattr("envoyassert.driver.admin.all_asleep", lambda pid: asleep.pop(0))
    envoy = PlayedEnvoy(replies=[(200, "OK")])
    run(envoy, step)
    assert envoy.asked[0].startswith("POST /drain_listeners")
    assert asleep == []


def test_drain_after_which_envoy_has_no_rest_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("envoyassert.driver.admin.all_asleep", lambda pid: False)
    with pytest.raises(StepProblem, match=r"did not come to rest within 0\.05 s"):
        run(PlayedEnvoy(replies=[(200, "OK")]), {"drain": {}})


def test_quit_is_over_when_envoy_has_ended() -> None:
    envoy = PlayedEnvoy([idle, end], [(200, "OK\n")])
    # It ends as soon as it is asked to.
    envoy.exited = lambda timeout_s=0.0: Exit(0, None)  # type: ignore[method-assign]
    assert run(envoy, {"quit": True}) == StepResult()
    assert envoy.asked == ["POST /quitquitquit"]
    assert run(PlayedEnvoy(replies=[None]), {"quit": True}).missed == "Envoy ends within 0.05 s"


def test_quit_that_is_refused_is_not_carried_out() -> None:
    with pytest.raises(StepProblem, match="answered with 400: only by POST"):
        run(PlayedEnvoy(replies=[(400, "only by POST\n")]), {"quit": True})


@pytest.mark.parametrize("name, waits", [("SIGTERM", True), ("SIGINT", True), ("SIGUSR1", False)])
def test_signal_waits_for_the_end_if_it_is_one_that_ends_envoy(
    name: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(os, "kill", lambda pid, signal: sent.append((pid, signal.name)))
    assert (run(PlayedEnvoy(), {"signal": name}).missed != "") is waits
    assert sent == [(1000, name)]


def test_signal_to_an_envoy_that_has_ended_is_not_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(pid: int, signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    with pytest.raises(StepProblem, match="ended before"):
        run(PlayedEnvoy(), {"signal": "SIGTERM"})


@pytest.mark.parametrize(
    ("args", "epoch", "after"),
    [
        ((), 0, ("--restart-epoch", "2")),
        (("--base-id", "7"), 0, ("--base-id", "7", "--restart-epoch", "2")),
        (("--restart-epoch", "0"), 0, ("--restart-epoch", "0")),
        (("--restart-epoch=1", "--base-id", "7"), 1, ("--restart-epoch=1", "--base-id", "7")),
    ],
)
def test_epoch_is_said_once(args: tuple[str, ...], epoch: int, after: tuple[str, ...]) -> None:
    """Envoy refuses an argument that it is given twice."""
    assert epoch_of(args) == epoch
    assert with_epoch(args, 2) == after
