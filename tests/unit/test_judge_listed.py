"""`listed_without_socket`: an address that Envoy lists though no kernel socket is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from envoyassert.accounts import EnvoyAccount, EnvoyListener, Witness
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, ListenerRecord, Member, Outcome, Trace
from envoyassert.words.listener import ListenerExpectation
from tests.unit.test_judge_envoy_account import ADDRESS, RIGHT, WRONG, agreed, built, with_envoy

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
GHOST, OTHER = Address.inet("127.0.0.1", 81), Address.inet("127.0.0.1", 82)
STATED = {"listener": {"port": 81}, "listed_without_socket": True}


def verdict(trace: Trace, *items: dict[str, Any]) -> Verdict:
    return judge(trace, [(n, parse_expectation(item)) for n, item in enumerate(items)], workers=2)


def statuses(trace: Trace, *items: dict[str, Any]) -> list[Status]:
    return [finding.status for finding in verdict(trace, *items).findings]


def listing(*ghosts: Address) -> Trace:
    """Return a trace whose Envoy lists its listener at further addresses too."""
    return with_envoy(agreed(built()), listeners=(EnvoyListener("web", (ADDRESS, *ghosts)),))


def test_stated_address_takes_no_pass_and_the_certificate_says_so() -> None:
    assert statuses(listing(GHOST), RIGHT) == [INCONCLUSIVE]
    found = verdict(listing(GHOST), RIGHT, STATED)
    assert [finding.status for finding in found.findings] == [PASS, PASS]
    assert words_of(found.findings[1]).seen == "Envoy lists 127.0.0.1:81, where no socket is"
    (check,) = (check for check in found.certificate.checks if check.name == "Envoy agrees")
    assert text(check.found).endswith("; 1 listed place without a socket, as stated")
    assert statuses(listing(GHOST), WRONG, STATED) == [FAIL, PASS]


@pytest.mark.parametrize(
    "changes",
    [
        {"listeners": (EnvoyListener("web", (ADDRESS, GHOST, OTHER)),)},
        {"listeners": (EnvoyListener("web", (ADDRESS, GHOST)),), "stats": {"server.state": 3}},
        {"listeners": (EnvoyListener("web", (GHOST,)),)},
    ],
    ids=["a second address", "the state", "a socket that is not listed"],
)
def test_every_other_difference_still_leaves_no_pass(changes: dict[str, Any]) -> None:
    trace = with_envoy(agreed(built()), **changes)
    assert statuses(trace, RIGHT, STATED) == [INCONCLUSIVE, INCONCLUSIVE]


@pytest.mark.parametrize(
    "item",
    [
        {**STATED, "listed_without_socket": False},
        {**STATED, "when": {"envoy": ">=9.0"}},
        {**STATED, "listener": {"port": 82}},
        {**STATED, "listener": {"name": "other"}},
        {**STATED, "envoy": "second"},
        {**STATED, "at_end_of": "never"},
    ],
    ids=["false", "another version", "another port", "another name", "another Envoy", "no phase"],
)
def test_what_is_not_stated_of_this_address_is_not_expected(item: dict[str, Any]) -> None:
    assert statuses(listing(GHOST), RIGHT, item)[0] is INCONCLUSIVE


@pytest.mark.parametrize(
    "selector, status, seen",
    [
        ({"port": 81}, PASS, "Envoy lists 127.0.0.1:81, where no socket is"),
        ({"port": 81, "address": "127.0.0.1"}, PASS, "Envoy lists 127.0.0.1:81, where no"),
        ({"port": 80}, FAIL, "Envoy lists 127.0.0.1:80, where it has a socket"),
        ({"name": "web"}, FAIL, "Envoy lists 127.0.0.1:80, where it has a socket"),
        ({"port": 83}, FAIL, "Envoy does not list it"),
        ({"path": "/x"}, FAIL, "Envoy does not list it"),
    ],
)
def test_judged_by_envoys_list_and_the_sockets(
    selector: dict[str, Any], status: Status, seen: str
) -> None:
    wanted, unwanted = (
        {"listener": selector, "listed_without_socket": word} for word in (True, False)
    )
    # With the second item, all that differs is stated.
    (found, *_) = verdict(listing(GHOST), wanted, STATED).findings
    assert (found.status, words_of(found).expected) == (
        status,
        "listed by Envoy without a kernel socket",
    )
    assert words_of(found).seen.startswith(seen)
    (opposite, *_) = verdict(listing(GHOST), unwanted, STATED).findings
    assert opposite.status is (FAIL if status is PASS else PASS)


def test_without_envoys_account_it_is_open() -> None:
    trace = listing(GHOST)
    assert trace.witness is not None
    trace.witness = replace(trace.witness, envoy=None)
    (found,) = verdict(trace, STATED).findings
    assert (found.status, words_of(found).reason) == (INCONCLUSIVE, "Envoy was not asked")
    (found,) = verdict(with_envoy(listing(GHOST), error="it timed out"), STATED).findings
    assert (found.status, words_of(found).reason) == (INCONCLUSIVE, "it timed out")


def test_after_a_loss_and_beside_a_socket_from_outside_absence_is_open() -> None:
    trace = listing(GHOST)
    trace.events = [event for event in trace.events if event.seq != 3]
    assert statuses(trace, STATED, {**STATED, "listed_without_socket": False}) == [
        INCONCLUSIVE,
        INCONCLUSIVE,
    ]
    builder = TraceBuilder(1)
    builder.call(builder.main, "recvmsg", 9, fd=9, fds=[50], truncated=False)
    whole = builder.build()
    listener = EnvoyListener("web", (GHOST,))
    whole.witness = Witness(1, envoy=EnvoyAccount(1, 1, (listener,)))
    (found,) = verdict(whole, STATED).findings
    assert words_of(found).reason == "a socket was received from a process that is not traced"


def ghost(at: Address = GHOST) -> Witness:
    account = EnvoyAccount(1, 1, (EnvoyListener("web", (at,)),))
    # Before the first event, so that nothing of the process itself is compared.
    return Witness(1, envoy=account)


def phased(*witnesses: Witness) -> Trace:
    """Return a run of steps `one`, `two` …, each with an account at its end."""
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", (GHOST, OTHER)),))
    trace.shared_listener("127.0.0.1:80")
    trace.end_phase(STARTUP, STARTUP)
    for name, witness in zip(("one", "two"), witnesses, strict=False):
        trace.call(trace.main, "epoll_wait", None, epfd=5)
        trace.end_phase(name, witness=witness)
    return trace.build()


def test_it_is_expected_from_its_phase_on_and_not_before() -> None:
    bound = {"listener": {"port": 80}, "bound": {"times": 1}}
    both = phased(ghost(), ghost())
    assert statuses(both, bound, {**STATED, "at_end_of": "one"}) == [PASS, PASS]
    assert statuses(both, bound, {**STATED, "at_end_of": "two"}) == [INCONCLUSIVE] * 2
    later = phased(ghost(), ghost(OTHER))
    assert statuses(later, bound, {**STATED, "at_end_of": "one"}) == [INCONCLUSIVE] * 2


def test_of_several_envoys_it_is_stated_of_one() -> None:
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", (GHOST,)),))
    trace.shared_listener("127.0.0.1:80")
    outcome = Outcome(live=True, live_after_s=0.1)
    members = (
        Member("first", trace.main, 1, outcome, ghost()),
        Member("another", trace.main + 99, 1, outcome, None),
    )
    trace.end_phase(STARTUP, STARTUP, envoys=members)
    whole = trace.build()
    bound = {"listener": {"port": 80}, "bound": {"times": 1}}
    assert statuses(whole, bound, {**STATED, "envoy": "first"}) == [PASS, PASS]
    assert statuses(whole, bound, {**STATED, "envoy": "another"}) == [INCONCLUSIVE] * 2
    assert statuses(whole, bound, STATED) == [INCONCLUSIVE] * 2


def closing() -> Trace:
    """Return a trace in which the socket of the listed address was closed, Envoy asked before."""
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", (GHOST, OTHER)),))
    (fd,) = trace.shared_listener(str(GHOST))
    trace.epoll_delete(trace.worker(0), fd)
    trace.close(trace.main, fd)
    whole = trace.build()
    whole.witness = ghost()
    return whole


def test_socket_that_was_closed_after_envoy_was_asked_leaves_it_open() -> None:
    trace = closing()
    (found,) = verdict(trace, STATED).findings
    assert (found.status, words_of(found).reason) == (
        INCONCLUSIVE,
        "its last socket was closed after Envoy was asked",
    )
    late = trace.events[-1].ts_ns + 1
    account = EnvoyAccount(late, late + 1, (EnvoyListener("web", (GHOST,)),))
    trace.witness = Witness(1, envoy=account)
    assert statuses(trace, STATED) == [PASS]


def test_each_address_is_judged_by_itself() -> None:
    trace = TraceBuilder(1, listeners=(ListenerRecord("web", "TCP", (GHOST, OTHER)),))
    trace.shared_listener(str(OTHER))
    whole = trace.build()
    account = EnvoyAccount(1, 1, (EnvoyListener("web", (GHOST, OTHER)),))
    whole.witness = Witness(1, envoy=account)
    item = {"listener": {"name": "web"}, "take": "each_address", "listed_without_socket": True}
    assert statuses(whole, item) == [PASS, FAIL]


def test_namespace_that_envoy_does_not_show_leaves_it_open() -> None:
    item = {**STATED, "listener": {"port": 81, "netns": "/run/netns/blue"}}
    assert statuses(listing(GHOST), item) == [INCONCLUSIVE]
    own = {**STATED, "listener": {"port": 81, "netns": "own"}}
    assert statuses(listing(GHOST), own) == [PASS]
    elsewhere = with_envoy(
        agreed(built()),
        listeners=(EnvoyListener("web", (ADDRESS, GHOST.within("/run/netns/blue"))),),
    )
    assert statuses(elsewhere, item) == [PASS]


def test_sockets_of_a_variable_have_no_address_to_be_listed() -> None:
    item = {"listener": {"socket": "$sockets"}, "listed_without_socket": True}
    with pytest.raises(ValidationError, match="listed_without_socket is about an address"):
        ListenerExpectation.model_validate(item)
