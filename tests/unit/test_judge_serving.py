"""Where served sockets come from, how they stand in the epolls, and the file of a Unix socket."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.testing import TraceBuilder
from envoyassert.words.registry import Expectation
from tests.unit.words.traces import handed_over

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE, PATH = "127.0.0.1:15006", "/run/ingress.sock"
ITEMS = TypeAdapter(list[Expectation])


def statuses(
    trace: TraceBuilder, word: dict[str, Any], path: str = "", lost: tuple[int, ...] = ()
) -> set[Status]:
    selector = {"path": path} if path else {"port": 15006}
    (item,) = ITEMS.validate_python([{"listener": selector, **word}])
    findings = judge(trace.build(lost), [(0, item)], workers=2).findings
    assert lost or {finding.path[2] for finding in findings} == set(word)
    return {finding.status for finding in findings}


def inherited(kept: int = 2) -> TraceBuilder:
    """The first sockets come from another process, which made and bound them."""
    trace = TraceBuilder(2)
    handed_over(trace, kept)
    return trace


@pytest.mark.parametrize(
    "kept, origin, expected",
    [
        (2, {"created": "none", "inherited": "workers"}, {PASS}),
        (1, {"created": 1, "inherited": 1}, {PASS}),
        (0, {"created": "workers", "inherited": "none"}, {PASS}),
        (1, {"inherited": "workers"}, {FAIL}),
        (0, {"created": 1}, {FAIL}),
    ],
)
def test_origin_distinguishes_made_from_inherited_sockets(
    kept: int, origin: dict[str, Any], expected: set[Status]
) -> None:
    assert statuses(inherited(kept), {"origin": origin}) == expected


def test_origin_of_a_dup_is_that_of_its_root() -> None:
    trace = TraceBuilder(2)
    trace.shared_listener(PLACE)
    assert statuses(trace, {"origin": {"created": 1, "inherited": 0}}) == {PASS}


def test_origin_without_epoll_is_inconclusive() -> None:
    trace = TraceBuilder(2, unobserved=("epoll",))
    trace.shared_listener(PLACE)
    assert statuses(trace, {"origin": {"created": 1}}) == {INCONCLUSIVE}


def registered(*masks: tuple[str, ...]) -> TraceBuilder:
    trace = TraceBuilder(2)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    for index, mask in enumerate(masks):
        mine = fd if index == 0 else trace.dup(trace.main, fd)
        trace.listen(trace.main, mine)
        trace.epoll_add(trace.worker(index), mine, mask)
    return trace


LEVEL, EDGE = ("EPOLLIN",), ("EPOLLOUT", "EPOLLIN", "EPOLLET")


@pytest.mark.parametrize(
    "masks, word, expected",
    [
        ((LEVEL, LEVEL), ["EPOLLIN"], {PASS}),
        ((LEVEL, LEVEL), {"events": ["EPOLLIN"], "trigger": "level"}, {PASS}),
        ((EDGE,), ["EPOLLIN", "EPOLLOUT", "EPOLLET"], {PASS}),
        ((EDGE,), {"trigger": "edge"}, {PASS}),
        ((LEVEL, EDGE), ["EPOLLIN"], {FAIL}),
        ((LEVEL, EDGE), {"trigger": "level"}, {FAIL}),
        ((LEVEL, EDGE), {"trigger": "edge"}, {FAIL}),
        ((), {"trigger": "level"}, {FAIL}),
    ],
)
def test_every_serving_registration_has_the_mask(
    masks: tuple[tuple[str, ...], ...], word: Any, expected: set[Status]
) -> None:
    assert statuses(registered(*masks), {"registered": word}) == expected


def test_mask_that_was_changed_counts_as_it_is_in_the_end() -> None:
    trace = registered(LEVEL)
    fd = trace.events[-1].args["fd"]
    epfd, events = trace.epoll(trace.worker(0)), list(EDGE)
    trace.call(trace.worker(0), "epoll_ctl", 0, epfd=epfd, op="EPOLL_CTL_MOD", fd=fd, events=events)
    assert statuses(trace, {"registered": {"trigger": "level"}}) == {FAIL}
    assert statuses(trace, {"registered": {"trigger": "edge"}}) == {PASS}


def with_file(
    *, unlink: int | None = -2, mode: int | None = 0o660, removed: bool = False, exits: bool = True
) -> TraceBuilder:
    trace = TraceBuilder(1)
    if unlink is not None:
        trace.call(trace.main, "unlink", unlink, path=PATH)
    fd = trace.socket(trace.main, "AF_UNIX")
    trace.bind(trace.main, fd, PATH)
    if mode is not None:
        trace.call(trace.main, "chmod", 0, path=PATH, mode=mode)
    trace.listen(trace.main, fd)
    if removed:
        trace.call(trace.main, "unlink", 0, path=PATH)
    if exits:
        trace.call(trace.main, "exit", None, status=0, last=True)
    return trace


@pytest.mark.parametrize(
    "trace, word, expected",
    [
        (with_file(), {"unlinked_before_bind": True}, PASS),
        (with_file(unlink=0), {"unlinked_before_bind": True}, PASS),
        (with_file(unlink=-13), {"unlinked_before_bind": True}, FAIL),
        (with_file(unlink=None), {"unlinked_before_bind": True}, FAIL),
        (with_file(unlink=None), {"unlinked_before_bind": False}, PASS),
        (with_file(), {"unlinked_before_bind": False}, FAIL),
        (with_file(), {"mode": "0660"}, PASS),
        (with_file(), {"mode": "660"}, PASS),
        (with_file(mode=0o600), {"mode": "0660"}, FAIL),
        (with_file(mode=None), {"mode": "0660"}, FAIL),
        (with_file(mode=None), {"mode": "umask"}, PASS),
        (with_file(), {"mode": "umask"}, FAIL),
        (with_file(), {"exists_after_exit": True}, PASS),
        (with_file(), {"exists_after_exit": False}, FAIL),
        (with_file(removed=True), {"exists_after_exit": True}, FAIL),
        (with_file(removed=True), {"exists_after_exit": False}, PASS),
        (with_file(exits=False), {"exists_after_exit": True}, INCONCLUSIVE),
    ],
)
def test_file_of_a_socket(trace: TraceBuilder, word: dict[str, Any], expected: Status) -> None:
    assert statuses(trace, {"socket_file": word}, PATH) == {expected}


@pytest.mark.parametrize(
    "word", [{"unlinked_before_bind": False}, {"mode": "0660"}, {"exists_after_exit": True}]
)
def test_path_that_could_not_be_read_may_be_that_of_the_socket(word: dict[str, Any]) -> None:
    trace = with_file(unlink=None, exits=False)
    assert statuses(trace, {"socket_file": word}, PATH) <= {PASS, INCONCLUSIVE}
    trace.call(trace.main, "unlink", 0, path=None)
    trace.call(trace.main, "exit", None, status=0, last=True)
    assert statuses(trace, {"socket_file": word}, PATH) == {INCONCLUSIVE}


def test_file_of_a_socket_that_was_never_bound_fails() -> None:
    assert statuses(TraceBuilder(1), {"socket_file": {"mode": "0660"}}, PATH) == {FAIL}


@pytest.mark.parametrize(
    "trace, word, path",
    [
        (inherited(), {"origin": {"created": 0, "inherited": 2}}, ""),
        (inherited(1), {"origin": {"created": 0, "inherited": 2}}, ""),
        (registered(LEVEL, LEVEL), {"registered": ["EPOLLIN"]}, ""),
        (registered(LEVEL, EDGE), {"registered": ["EPOLLIN"]}, ""),
        (with_file(), {"socket_file": {"unlinked_before_bind": True, "mode": "0660"}}, PATH),
        (with_file(unlink=None), {"socket_file": {"unlinked_before_bind": True}}, PATH),
        (with_file(unlink=0), {"socket_file": {"unlinked_before_bind": False}}, PATH),
        (with_file(mode=0o600), {"socket_file": {"mode": "0660"}}, PATH),
        (with_file(removed=True), {"socket_file": {"exists_after_exit": True}}, PATH),
    ],
)
def test_loss_of_any_event_never_makes_it_pass(
    trace: TraceBuilder, word: dict[str, Any], path: str
) -> None:
    whole = statuses(trace, word, path)
    for index in range(len(trace.events)):
        left = statuses(trace, word, path, lost=(index,))
        assert PASS not in left or whole == {PASS}, trace.events[index]
