"""What a reader is advised to do."""

from dataclasses import replace

import pytest

from envoyassert.events import Event
from envoyassert.judge.context import UNKNOWN_WORKERS
from envoyassert.judge.near import OptionsThere
from envoyassert.judge.values import Certified, Option, fault
from envoyassert.judge.verdict import Status
from envoyassert.report.advice import advice
from envoyassert.trace import Outcome
from tests.unit.said import ELSEWHERE, a_finding

UP = Outcome(live=True, live_after_s=1)


def advised(*atom, outcome=UP, status=Status.FAIL, reason=None, **fields):
    finding = a_finding(status, atom, **fields)
    return advice(replace(finding, reason=reason), outcome)


def a_bind(errno: int) -> Event:
    return Event(1, 1, 1, "bind", -errno, {"fd": 3, "address": None})


def test_hint_of_the_finding_comes_before_anything_general():
    assert advised("backlog", hint="do this") == "do this"


@pytest.mark.parametrize(
    "errno, words",
    [(98, "SO_REUSEPORT"), (99, "freebind"), (13, "CAP_NET_BIND_SERVICE"), (1, "CAP_NET_ADMIN")],
)
def test_failed_call_is_explained_by_its_error(errno, words):
    assert words in advised("bound", "times", evidence=(a_bind(errno),))


@pytest.mark.parametrize(
    "outcome, words",
    [
        (Outcome(exit_code=1), "gave up by itself"),
        (Outcome(signal=11), "crashed"),
        (Outcome(signal=9), "dmesg"),
        (Outcome(live=False), "envoy.deadline"),
    ],
)
def test_process_is_explained_by_its_outcome(outcome, words):
    assert words in advised("process", "live", outcome=outcome)


def test_envoy_that_became_live_too_late_does_not_wait_for_anything():
    assert "did become live" in advised("process", "within")
    assert advised("process", "exits") == ""


@pytest.mark.parametrize(
    "atom, words",
    [
        (("bound", "by"), "1.19"),
        (("listen_by",), "before the workers start"),
        (("backlog",), "tcp_backlog_size"),
        (("options", "IP_TRANSPARENT"), "`transparent: true`"),
        (("options", "SO_MARK"), "`socket_options`"),
        (("options", "IPV6_V6ONLY"), "`ipv4_compat` of the listener's socket_address"),
    ],
)
def test_atom_is_explained_by_what_brings_it_about(atom, words):
    there = (OptionsThere((Option("SO_REUSEADDR", 1, "before_bind"),)),)
    assert words in advised(*atom, near=there if atom[0] == "options" else ())


def test_listener_that_is_not_there_is_explained_as_that_alone():
    assert "selector" not in advised("bound", "by", near=(ELSEWHERE,))
    assert "`listener`" in advised("bound", "by", near=(ELSEWHERE,))


@pytest.mark.parametrize(
    "check, words",
    [
        ("received", "run it again"),
        ("every channel", "`assume`"),
        ("consistent", "report it with the trace"),
    ],
)
def test_inconclusive_is_explained_by_the_check_that_failed(check, words):
    failed = Certified(((check, fault("the reason")),))
    assert words in advised("via", status=Status.INCONCLUSIVE, reason=failed)
    assert advised("via", status=Status.INCONCLUSIVE, reason=UNKNOWN_WORKERS) == ""
