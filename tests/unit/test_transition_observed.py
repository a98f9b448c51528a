"""What a change did, read from traces: sockets, clients; in words, held against a model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.naming import ListenerRecord
from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Change, Fate, Kind, ListenerChange, Side, Way
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ConnectionAttempt, Outcome, Trace, UpdateResult
from envoyassert.transition.clients import Clients, Gap, clients_of, gap_of
from envoyassert.transition.difference import Difference, differences
from envoyassert.transition.observed import Observed, ObservedListener
from envoyassert.transition.outcome import Report, result_of
from envoyassert.transition.reading import observed_of
from envoyassert.transition.scenario import Transition
from envoyassert.transition.sides import Place
from envoyassert.transition.text import markdown_lines, report_lines, summary, transitions_json

AT = "127.0.0.1:15006"
ADDRESS = Address.inet("127.0.0.1", 15006)
RECORD = ListenerRecord("ingress", "TCP", (ADDRESS,))
PLACE = Place("ingress", "TCP", ADDRESS, old=True, new=True)
MS = 1_000_000


def attempt(began_ms: float, took_ms: float = 1, **more: Any) -> ConnectionAttempt:
    """One that is answered, unless more is said."""
    began, ended = int(began_ms * MS), int((began_ms + took_ms) * MS)
    facts = {"ok": True, "first_byte": True, "end": "closed", **more}
    return ConnectionAttempt("TCP", ADDRESS, began_ns=began, ended_ns=ended, **facts)


REFUSED: dict[str, Any] = {"ok": False, "errno": "ECONNREFUSED", "first_byte": False, "end": ""}
SILENT: dict[str, Any] = {"errno": "ETIMEDOUT", "first_byte": False}
RESET: dict[str, Any] = {"errno": "ECONNRESET", "first_byte": False, "end": "reset"}
EOF: dict[str, Any] = {"first_byte": False, "end": "eof"}


def transition(way: Way = Way.PUSH, **more: Any) -> Transition:
    nothing: Any = None
    facts = {"old": (RECORD,), "new": (RECORD,), **more}
    return Transition(way, (PLACE,), facts.pop("old"), facts.pop("new"), nothing, None, (), **facts)


class Push:
    """A push of two workers' sockets, of which each test says what main does in it."""

    def __init__(self, result: str = "ack", message: str = "") -> None:
        self.trace = TraceBuilder(2, listeners=(RECORD,))
        self.first = self.trace.reuse_port_listener(AT)
        self.trace.end_phase("startup", "startup")
        self.trace.end_phase("held_0", attempts=(attempt(1),))
        self._answer = UpdateResult(result, "2", message)

    def done(self, *came: ConnectionAttempt, lost: tuple[int, ...] = (), **asked: Any) -> Trace:
        self.trace.end_phase("change", "update_listeners", update=self._answer, attempts=came)
        for name, attempts in asked.items():
            self.trace.end_phase(f"{name}_0", attempts=attempts)
        return self.trace.build(lost=lost)


def only(observed: Observed) -> ObservedListener:
    (listener,) = observed.listeners
    return listener


def test_new_sockets_are_made_and_the_old_ones_closed() -> None:
    push = Push()
    push.trace.reuse_port_listener(AT)
    for index, fd in enumerate(push.first):
        push.trace.epoll_delete(push.trace.worker(index), fd)
        push.trace.close(push.trace.main, fd)
    run = push.done(attempt(1), meanwhile=(attempt(2),), late=(attempt(3, **EOF),))
    queue = Push()
    waited = queue.done(answered=(attempt(1, **RESET), attempt(2, **RESET)))
    listener = only(observed_of(transition(), run, waited))
    assert listener.kind is Kind.FULL_NEW
    assert (listener.kept, listener.closed, listener.made) == (0, 2, 2)
    assert listener.unread == 0
    assert (listener.queued, listener.held) == (Fate.RESET, Fate.DRAINED)
    assert (listener.reset, listener.lost, listener.refused) == (2, 0, 0)
    assert listener.loses


def test_update_in_place_duplicates_and_keeps_everything() -> None:
    push = Push()
    for fd in push.first:
        push.trace.dup(push.trace.main, fd)
    run = push.done(attempt(1), meanwhile=(attempt(2),), late=(attempt(3),), after=(attempt(4),))
    listener = only(observed_of(transition(), run, Push().done(answered=(attempt(1),))))
    assert listener.kind is Kind.IN_PLACE
    assert (listener.kept, listener.closed, listener.made) == (2, 0, 0)
    assert (listener.queued, listener.held) == (Fate.KEPT, Fate.KEPT)
    assert not listener.loses


def test_full_update_on_the_same_sockets_listens_again() -> None:
    push = Push()
    for fd in push.first:
        push.trace.listen(push.trace.main, push.trace.dup(push.trace.main, fd))
    assert only(observed_of(transition(), push.done(), None)).kind is Kind.FULL_KEPT


def test_nothing_happens_to_a_listener_of_another_change() -> None:
    observed = observed_of(transition(), Push().done(attempt(1)), None)
    assert only(observed).kind is Kind.SAME
    assert Report(observed).result == "none"


def test_clients_at_the_address_of_a_listener_that_was_given_up_are_those_of_the_wildcard() -> None:
    wild = ListenerRecord("wild", "TCP", (Address.inet("0.0.0.0", 15006),))
    places = (PLACE, dataclasses.replace(PLACE, listener="wild", address=wild.addresses[0]))
    trace = TraceBuilder(2, listeners=(wild, RECORD))
    trace.reuse_port_listener("0.0.0.0:15006")
    trace.end_phase("startup", "startup")
    trace.end_phase("change", "update_listeners", update=UpdateResult("ack", "2", ""))
    trace.end_phase("meanwhile_0", attempts=(attempt(1),))
    trace.end_phase("after_0", attempts=(attempt(2), attempt(3)))
    trace.end_phase("meanwhile_1", attempts=(attempt(4),))
    both = (wild, RECORD)
    made = dataclasses.replace(transition(old=both, new=both), places=places)
    found = {one.name: one.places for one in observed_of(made, trace.build(), None).listeners}
    assert found["ingress"] == ()
    assert [(one.place, one.held.tried) for one in found["wild"]] == [
        (place, 1) for place in places
    ]
    assert [one.after.tried for one in found["wild"]] == [2, 0]


def test_clients_are_those_of_the_listener_itself_where_it_listens_beside_a_wildcard() -> None:
    wild = ListenerRecord("wild", "TCP", (Address.inet("0.0.0.0", 15006),))
    push = Push()
    push.trace.reuse_port_listener("0.0.0.0:15006")
    run = push.done(attempt(1), after=(attempt(2),))
    made = transition(old=(RECORD, wild), new=(RECORD, wild))
    found = {one.name: one.places for one in observed_of(made, run, None).listeners}
    assert ([one.after.tried for one in found["ingress"]], found["wild"]) == ([1], ())


def test_refused_listener_has_envoys_words() -> None:
    said = "Error adding/updating listener(s) ingress: reuse port cannot be changed\nother: no"
    observed = observed_of(transition(), Push("nack", said).done(attempt(1)), None)
    listener = only(observed)
    assert (listener.kind, listener.words) == (Kind.REFUSED, "reuse port cannot be changed")
    assert observed.is_refused
    assert Report(observed).result == "loses"


def test_envoy_that_ends_of_a_change_is_no_socket_fact_alone() -> None:
    push = Push()
    push.trace.outcome = Outcome(exit_code=1, log_tail=("[critical] no such listener",))
    observed = observed_of(transition(Way.RESTART), push.done(), None)
    assert observed.answer == "ended"
    assert only(observed).kind is Kind.ENDS_ENVOY
    assert Report(observed).result == "loses"


def test_address_where_no_one_is_answered_afterwards_is_a_loss() -> None:
    push = Push()
    run = push.done(attempt(1), after=(attempt(9, **SILENT), attempt(9, **SILENT)))
    listener = only(observed_of(transition(), run, None))
    assert listener.unanswered
    assert listener.lost == 2
    assert listener.loses


def test_address_that_new_has_no_more_may_refuse() -> None:
    push = Push()
    run = push.done(attempt(1), attempt(3, **REFUSED), after=(attempt(9, **REFUSED),))
    gone = dataclasses.replace(PLACE, new=False)
    made = dataclasses.replace(transition(new=()), places=(gone,))
    report = Report(observed_of(made, run, None))
    listener = only(report.observed)
    assert listener.kind is Kind.REMOVED
    assert not listener.loses
    assert summary(report) == "2 connections refused where NEW has no listener any more"
    (row,) = [one for one in markdown_lines([report], "a", "b") if one.startswith("| push")]
    assert row.split(" | ")[6] == "0, and 2 where it is gone"
    assert transitions_json([report], "a", "b")["transitions"][0]["listeners"][0]["gone"] == 2


@pytest.mark.parametrize("removed", [True, False])
def test_what_a_push_acknowledges_and_takes_no_heed_of_is_said(removed: bool) -> None:
    push = Push()
    for fd in push.first:
        push.trace.dup(push.trace.main, fd)
    listener = {
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 15006}},
        "filter_chains": [{"filters": []}],
    }
    exact = {**listener, "connection_balance_config": {"exact_balance": {}}}
    old, new = (exact, listener) if removed else (listener, exact)
    before, after = (
        Side({"static_resources": {"listeners": [one]}}, None, 2) for one in (old, new)
    )
    change = predict_change(before, after, Way.PUSH, version="1.40.0")
    report = Report(observed_of(transition(), push.done(attempt(1)), None), change)
    assert report.differences == ()
    text = " ".join(" ".join(report_lines(report, "old", "new")).split())
    assert "updated in place: main copies descriptors, the workers keep theirs" in text
    assert "nothing happens" not in text
    assert (
        "by the model connection_balance_config.exact_balance: acknowledged, and without effect: "
        "main calls dup() on every socket"
    ) in text
    # Where the run shows something else, the model is held against it and not quoted.
    (wrong,) = change.listeners
    other = dataclasses.replace(change, listeners=(dataclasses.replace(wrong, kept=1),))
    lines = report_lines(Report(report.observed, other), "old", "new")
    assert any("differs from the model" in line for line in lines)
    assert not any("by the model" in line for line in lines)


def test_lost_events_are_said_and_never_taken_for_no_loss() -> None:
    push = Push()
    run = push.done(attempt(1), lost=(len(push.trace.events) - 1,))
    report = Report(observed_of(transition(), run, None))
    assert report.observed.missing
    assert report.result == "trouble"
    lines = "\n".join(report_lines(report, "old", "new"))
    assert "incomplete: " in lines
    assert "no client lost anything" not in lines
    # What clients saw themselves is certain anyway.
    push = Push()
    run = push.done(attempt(1, **RESET), lost=(len(push.trace.events) - 1,))
    assert Report(observed_of(transition(), run, None)).result == "loses"


def test_envoy_that_ends_with_full_queues_alone_is_no_change_without_loss() -> None:
    """Its clients were not asked any more, and so counted as if there had been none."""
    waited = Push()
    waited.trace.outcome = Outcome(exit_code=1, log_tail=("[critical] no such listener",))
    observed = observed_of(transition(), Push().done(attempt(1)), waited.done())
    (missing,) = observed.missing
    assert missing.startswith("in the run with full queues: clients were not asked: ")
    assert "no such listener" in missing
    report = Report(observed)
    assert report.result == "trouble"
    assert "what was lost is not known" in " ".join(report_lines(report, "a", "b"))


def test_step_that_could_not_be_made_is_trouble() -> None:
    push = Push()
    push.trace.end_phase("held_1", problem="a client cannot connect")
    report = Report(observed_of(transition(), push.done(), None))
    assert report.result == "trouble"
    assert "not tried: held_1: a client cannot connect" in "\n".join(report_lines(report, "a", "b"))


def test_old_that_listens_nowhere_is_trouble_by_its_address() -> None:
    trace = TraceBuilder(2, listeners=(RECORD,))
    trace.end_phase("startup", "startup")
    trace.end_phase("held_0", attempts=(attempt(1, **REFUSED),))
    trace.end_phase("change", problem="it made no connection that it could hold")
    problem = observed_of(transition(), trace.build(), None).problem
    assert problem == f"OLD has no client at {AT}: nothing listens there before the change"


@pytest.mark.parametrize(
    "attempts, wanted",
    [
        ([attempt(1)], Clients(1, answered=1)),
        ([attempt(1, **REFUSED)], Clients(1, refused=1)),
        ([attempt(1, **SILENT)], Clients(1, silent=1)),
        ([attempt(1, **RESET)], Clients(1, reset=1)),
        ([attempt(1, **EOF)], Clients(1, closed=1)),
        ([attempt(1, end="closed", first_byte=False)], Clients(1, closed=1)),
    ],
)
def test_each_client_ends_in_one_way(attempts: list[ConnectionAttempt], wanted: Clients) -> None:
    assert clients_of(attempts) == wanted


def test_gap_is_the_longest_time_between_two_answers() -> None:
    came = [attempt(0), attempt(5), attempt(10), attempt(20, **REFUSED), attempt(40), attempt(45)]
    assert gap_of(came) == Gap(ms=30.0, pace_ms=5.0)


def test_gap_without_an_end_is_open_unless_those_who_come_later_are_answered() -> None:
    came = [attempt(0), attempt(5), attempt(10, 90, **SILENT)]
    assert gap_of(came) == Gap(ms=94.0, pace_ms=3.0, open=True)
    later = gap_of(came, after=[attempt(110)])
    assert (later.ms, later.idle_ms, later.open) == (105.0, 10.0, False)


def test_time_in_which_no_client_came_is_said() -> None:
    gap = gap_of([attempt(0), attempt(5), attempt(8, **REFUSED)], [attempt(29)])
    assert (gap.ms, gap.idle_ms) == (24.0, 20.0)


def observed(**facts: Any) -> Observed:
    clients = Clients(10, answered=10)
    listener = ObservedListener("ingress", Way.PUSH, (ADDRESS,), (ADDRESS,), Kind.FULL_NEW)
    listener = dataclasses.replace(listener, kept=0, closed=2, made=2)
    push = Push()
    push.trace.reuse_port_listener(AT)
    run = push.done(attempt(1), meanwhile=(attempt(2),), late=(attempt(3),), after=(attempt(4),))
    seen = observed_of(transition(), run, Push().done(answered=(attempt(1, **RESET),)))
    places = only(seen).places
    places = (dataclasses.replace(places[0], through=clients),)
    listener = dataclasses.replace(listener, places=places, **facts)
    return dataclasses.replace(seen, listeners=(listener,))


def model(**facts: Any) -> Change:
    known = {"kind": Kind.FULL_NEW, "closed": 2, "made": 2, "queued": Fate.RESET, **facts}
    known.setdefault("held", Fate.KEPT)
    listener = ListenerChange("ingress", (ADDRESS,), (ADDRESS,), "TCP", **known)
    return Change(Way.PUSH, "1.40.0", (2, 2), (listener,))


def test_model_that_says_the_same_differs_in_nothing() -> None:
    assert differences(model(), observed()) == ()


@pytest.mark.parametrize(
    "facts, wanted",
    [
        ({"kept": 1}, Difference("ingress", "kept", 1, 0)),
        ({"made": 0}, Difference("ingress", "made", 0, 2)),
        ({"queued": Fate.KEPT}, Difference("ingress", "queued", "kept", "reset")),
        ({"held": Fate.DRAINED}, Difference("ingress", "held", "drained", "kept")),
        ({"kind": Kind.REFUSED}, Difference("ingress", "kind", "refused", "full_new")),
        ({"served": False}, Difference("ingress", "served", False, True)),
    ],
)
def test_each_fact_in_which_the_model_differs_is_a_finding(facts: Any, wanted: Difference) -> None:
    assert differences(model(**facts), observed()) == (wanted,)


def test_fact_that_the_model_does_not_know_is_no_difference() -> None:
    assert differences(model(made=0, unknown={"made": "why"}), observed()) == ()
    assert differences(model(queued=Fate.UNKNOWN), observed()) == ()


def test_text_says_what_happened_to_sockets_and_clients() -> None:
    report = Report(observed(), model(kept=1))
    lines = "\n".join(report_lines(report, "old.yaml", "new.yaml"))
    assert "push: old.yaml -> new.yaml: Envoy 1.40.0, 2 workers" in lines
    assert f"ingress ({AT}): replaced, on new kernel sockets" in lines
    assert "kernel sockets     0 kept, 2 closed, 2 made" in lines
    assert "waited in a queue  1 connection, reset" in lines
    assert "differs from the model: ingress: kept: model 1, run 0" in lines
    assert "1 connection reset" in lines


def test_markdown_has_a_row_for_each_listener_that_changes() -> None:
    lines = markdown_lines([Report(observed(words="a|b"))], "old.yaml", "new.yaml")
    (row,) = [line for line in lines if line.startswith("| push")]
    assert "| ingress |" in row
    assert "a\\|b" in row
    assert "| 0 / 2 / 2 |" in row


def test_json_has_typed_values() -> None:
    report = Report(observed())
    data = json.loads(json.dumps(transitions_json([report], "old", "new")))
    assert data["result"] == result_of([report]) == "loses"
    (way,) = data["transitions"]
    (listener,) = way["listeners"]
    assert (way["way"], way["answer"], way["workers"]) == ("push", "ack", [2, 2])
    assert (listener["kind"], listener["queued"], listener["made"]) == ("full_new", "reset", 2)
    assert listener["places"][0]["through"]["answered"] == 10
    assert listener["after"] == [ADDRESS.to_json()]
