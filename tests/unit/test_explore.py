"""Configs made at random: what is said of them, searched for and cut down, without an Envoy."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.stand_in import serving
from envoyassert.errors import MachineError
from envoyassert.events import Event
from envoyassert.explore import trial
from envoyassert.explore.case import PRESSURE, Case, Step, is_possible
from envoyassert.explore.configs import cases
from envoyassert.explore.difference import (
    CRASH,
    Difference,
    Known,
    KnownError,
    changes_of,
    known_differences,
    parse_known,
)
from envoyassert.explore.features import fields_of
from envoyassert.explore.running import Running
from envoyassert.explore.scenario import scenario_text
from envoyassert.explore.search import Search
from envoyassert.explore.smaller import cut_down, smaller_cases
from envoyassert.explore.text import difference_lines, file_name, summary_lines
from envoyassert.explore.trial import Outcome, Tried
from envoyassert.predict.effects import Fate, Kind
from envoyassert.predict.start import predict_start
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.overload import overload_manager
from envoyassert.trace import End, Header, Member, Phase, Trace
from envoyassert.trace import Outcome as Outcome_
from tests.unit.cli_words import run_cli

VERSION = "1.40.0"
BACKLOG = Difference("start", "backlog", "port 10000", "backlog 64", "backlog -1")
REUSE_PORT = "Listener listener_0: reuse port cannot be changed during an update"
OPTIONS = Difference("start", "only_options", "port 10000", "none", "SO_KEEPALIVE")


def listener(**fields):
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 10000}}
    return {"name": "listener_0", "address": place, **serving("TCP"), **fields}


def case_of(*listeners, **fields):
    return Case(fields.pop("concurrency", 1), tuple(listeners), **fields)


def search(attempt, known=(), seconds=60.0, **more):
    return Search(attempt, known, VERSION, time.monotonic() + seconds, **more)


def tried(*differences):
    came = Outcome.DIFFERS if differences else Outcome.AGREES
    return Tried(came, 10, 0, differences)


@settings(max_examples=30, deadline=None)
@given(cases("1.40.0"))
def test_each_config_that_is_made_is_a_valid_scenario_with_its_prediction(case):
    loaded = parse_scenario(scenario_text(case), Path("explored.yaml"))
    assert loaded.scenario.expect
    assert draft_of_config(case.config, case.concurrency).concurrency == case.concurrency


def test_an_older_envoy_is_given_no_field_that_it_lacks():
    fields: set[str] = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(cases("1.36.4"))
    def collect(case):
        fields.update(field for one in case.listeners for field in fields_of(one))

    collect()
    assert any(field.startswith("socket_options") for field in fields)
    assert not any("tcp_keepalive" in field or "cpu_locality" in field for field in fields)


def test_what_any_listener_has_is_not_particular_about_one():
    assert fields_of(listener()) == {}


def test_a_number_is_particular_by_being_there_and_a_word_by_what_it_is():
    found = fields_of(listener(tcp_backlog_size=64, enable_reuse_port=False))
    assert found == {"tcp_backlog_size": {"any"}, "enable_reuse_port": {False}}


def test_a_path_is_distinguished_from_an_abstract_name_and_no_more():
    paths = {
        path: fields_of(listener(address={"pipe": {"path": path}})) for path in ("/a", "/b", "@a")
    }
    assert paths["/a"] == paths["/b"] != paths["@a"]


@pytest.mark.parametrize(
    "known, explains",
    [
        (Known("a", facts=("backlog",)), True),
        (Known("a", facts=("back*",), listeners=({"tcp_backlog_size": "any"},)), True),
        (Known("a", facts=("backlog",), listeners=({"freebind": True},)), False),
        (Known("a", facts=("backlog",), listeners=({"enable_reuse_port": [True, False]},)), True),
        (Known("a", facts=("backlog",), listeners=({"enable_reuse_port": True},)), False),
        (Known("a", facts=("backlog",), listeners=({"tcp_backlog_size": 1},)), False),
        (Known("a", facts=("only_options",)), False),
        (Known("a", way=("push",), facts=("backlog",)), False),
        (Known("a", way=("push", "start"), facts=("backlog",)), True),
        (Known("a", facts=("backlog",), versions="<1.40"), False),
        (Known("a", facts=("backlog",), versions=">=1.40"), True),
        (Known("a", facts=("backlog",), seen=("*64",)), False),
        (Known("a", facts=("backlog",), seen=("*64", "* -1")), True),
        (Known("a", facts=("backlog",), envoy={"concurrency": "any"}), True),
        (Known("a", facts=("backlog",), changed=("tcp_backlog_size",)), False),
    ],
)
def test_an_entry_explains_a_difference_if_all_that_it_says_holds(known, explains):
    case = case_of(listener(tcp_backlog_size=64, enable_reuse_port=False), concurrency=2)
    assert known.explains(BACKLOG, case, VERSION) is explains


def test_an_entry_for_any_fact_explains_no_crash():
    crash = Difference("start", CRASH, "Envoy", "Envoy stays up", "Envoy was killed by SIGABRT")
    case = case_of(listener())
    assert Known("any", facts=("*",)).explains(OPTIONS, case, VERSION)
    assert not Known("any", facts=("*",)).explains(crash, case, VERSION)
    assert Known("crash", facts=(CRASH,)).explains(crash, case, VERSION)


def test_an_entry_may_ask_what_a_push_changed():
    pushed = Step("push", (listener(socket_options=[{"level": 1, "name": 9}]),))
    case = case_of(listener(), served=True, steps=(pushed,))
    assert Known("a", facts=("backlog",), changed=("socket_options",)).explains(
        BACKLOG, case, VERSION
    )
    assert not Known("a", facts=("backlog",), changed=("freebind",)).explains(
        BACKLOG, case, VERSION
    )


def test_the_list_that_is_shipped_is_valid_and_no_crash_of_it_says_how():
    found = known_differences()
    assert found
    assert len({one.kind for one in found}) == len(found)
    crashes = [one for one in found if CRASH in one.facts]
    assert [one for one in crashes if one.listeners or one.changed or one.envoy] == []


@pytest.mark.parametrize("row", ["- 1", "- {kind: a}", "- {kind: a, facts: [b], what: c, wat: d}"])
def test_a_list_that_is_not_valid_is_one_error(row):
    with pytest.raises(KnownError, match="known difference 1"):
        parse_known(row)


def differs_by_backlog(case):
    """A model that knows nothing of the backlog, and of listeners with options."""
    found = [BACKLOG for one in case.listeners if "tcp_backlog_size" in one]
    return tried(*found, *(OPTIONS for one in case.listeners if one.get("socket_options")))


def test_a_search_cuts_each_difference_down_and_goes_on_to_the_next():
    searched = search(differs_by_backlog)
    smallest: dict[str, Case] = {}
    for found in searched.rounds(cases(VERSION), 1):
        smallest.setdefault(found.differences[0].fact, found.case)
        if len(smallest) > 1:
            break
    assert sorted(smallest) == ["backlog", "only_options"]
    for fact, field in (("backlog", "tcp_backlog_size"), ("only_options", "socket_options")):
        (one,) = smallest[fact].listeners
        particular = set(one) - {"name", "address", "filter_chains", "listener_filters"}
        assert particular - {"udp_listener_config"} == {field}
        assert smallest[fact].concurrency == 1


def test_a_search_is_quiet_about_what_is_known_and_counts_it():
    known = [Known("of_backlog", facts=("backlog",)), Known("of_options", facts=("only_options",))]
    searched = search(differs_by_backlog, known)
    assert searched.round(cases(VERSION), 1, 60) is None
    assert searched.counts.found == []
    assert set(searched.counts.met) == {"of_backlog", "of_options"}


def test_a_search_that_cuts_nothing_down_goes_on_and_notes_each_kind_once():
    searched = search(differs_by_backlog, shrink=False)
    assert searched.round(cases(VERSION), 1, 50) is None
    assert searched.counts.runs >= 40
    facts = [{one.fact for one in found.differences} for found in searched.counts.found]
    assert set.union(*facts) == {"backlog", "only_options"}
    assert 1 <= len(facts) <= 2
    assert searched.counts.shrinking == 0


def test_the_same_seed_makes_the_same_cases():
    seen: tuple[list[str], list[str]] = ([], [])
    for keys in seen:

        def attempt(case, keys=keys):
            keys.append(case.key)
            return tried()

        search(attempt).round(cases(VERSION), 7, 40)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 30


def test_crashes_at_one_place_are_one_kind_whatever_led_there():
    crash = Difference("start", CRASH, "Envoy", "up", "Envoy was killed by SIGSEGV at 0x10")

    def attempt(case):
        return tried(crash) if case.concurrency > 1 or case.listeners else tried()

    searched = search(attempt, shrink=False)
    searched.round(cases(VERSION), 1, 50)
    assert [one.kind for one in searched.counts.found] == ["crash: killed by SIGSEGV at 0x10"]
    assert searched.counts.found[0].crashed


@pytest.mark.parametrize("error", [MachineError("no probe"), SystemExit(143), KeyboardInterrupt()])
def test_what_is_no_difference_ends_a_search(error):
    calls = []

    def attempt(case):
        calls.append(case)
        raise error

    with pytest.raises(type(error)):
        search(attempt).round(cases(VERSION), 1, 50)
    assert len(calls) == 1


def test_a_search_ends_when_the_time_is_over():
    calls = []

    def attempt(case):
        calls.append(case)
        return tried()

    searched = search(attempt, seconds=-1.0)
    assert list(searched.rounds(cases(VERSION), 1)) == []
    assert calls == []


def test_the_place_of_a_crash_is_that_in_the_program():
    log = """\
[critical][backtrace] Address mapping: 564869cb5000-56486de1b000 /bin/envoy
[critical][backtrace] [./source/server/backtrace.h:167] #0: [0x7ff7cb3ec050]
[critical][backtrace] [./source/server/backtrace.h:167] #1: [0x56486d72dc03]
"""
    assert trial.place_of_crash(log) == " at 0x3a78c03 of its program"
    assert trial.place_of_crash("exited") == ""


def test_a_summary_has_runs_agreement_facts_and_what_is_known():
    searched = search(
        differs_by_backlog, [Known("of_options", facts=("only_options",))], shrink=False
    )
    searched.round(cases(VERSION), 1, 40)
    text = "\n".join(summary_lines(searched.counts))
    assert "configs run" in text
    assert "facts compared" in text
    assert "known difference met" in text
    assert "1 new difference" in text
    (found,) = searched.counts.found
    lines = list(difference_lines(found))
    assert "    predicted: backlog 64" in lines
    assert "    Envoy did: backlog -1" in lines


def test_without_hypothesis_there_is_one_error_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "envoyassert.explore.configs")
    with pytest.raises(MachineError, match="Hypothesis, which is not installed") as raised:
        __import__("envoyassert.explore.configs")
    assert raised.value.remedy == "pip install 'envoyassert[explore]'"


# Sequences


def pushed_case(before, after, **more):
    steps = (Step("push", tuple(after)), *more.pop("then", ()))
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
    bootstrap = {"admin": admin}
    return Case(more.pop("concurrency", 2), tuple(before), bootstrap, served=True, steps=steps)


def items_of(case, version=VERSION):
    text = scenario_text(case, version)
    parse_scenario(text, Path("explored.yaml"))
    return [one for one in yaml.safe_load(text)["expect"] if "push" in one.get("at_end_of", "")]


def test_a_push_is_held_against_the_model_of_change_and_against_a_fresh_start():
    options = [{"level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}]
    case = pushed_case([listener()], [listener(socket_options=options)])
    text = scenario_text(case, VERSION)
    parse_scenario(text, Path("explored.yaml"))
    data = yaml.safe_load(text)
    assert [step["name"] for step in data["steps"]] == ["push_1"]
    assert {"update": {"result": "ack"}, "at_end_of": "push_1"} in data["expect"]
    made = [one["bound"] for one in data["expect"] if one.get("during") == "push_1"]
    assert made == [{"times": 2}]
    live = [
        one["sockets"] for one in items_of(case) if one.get("listener", {}).get("port") == 10000
    ]
    assert live == [{"live": 2}]


def test_what_is_refused_stays_as_it_was():
    case = pushed_case([listener()], [listener(enable_reuse_port=False)])
    items = items_of(case)
    refused = {"result": "nack", "message_contains": REUSE_PORT}
    assert {"update": refused, "at_end_of": "push_1"} in items
    (there,) = [one for one in items if one.get("listener", {}).get("port") == 10000]
    assert there["listened"] == {"by": "workers", "via": "reuse_port"}


def test_options_are_asked_of_sockets_that_were_not_replaced():
    case = pushed_case([listener()], [listener(stat_prefix="a")])
    (kept,) = [one for one in items_of(case) if one.get("listener", {}).get("port") == 10000]
    assert kept["options"]["SO_REUSEPORT"] == {"value": 1}
    case = pushed_case([listener()], [listener(freebind=True)])
    (new,) = [one for one in items_of(case) if one.get("listener", {}).get("port") == 10000]
    assert "options" not in new


@pytest.mark.parametrize("port", [10000, 0])
def test_listener_that_a_push_binds_again_is_asked_about_whoever_chose_its_port(port):
    """Which of several sockets of port 0 is whose, Envoy's list shows at the end of each step."""
    place = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    forms = ({**listener(**fields), **place} for fields in ({}, {"freebind": True}, {}))
    first, *later = ([form] for form in forms)
    case = replace(pushed_case(first, []), steps=tuple(Step("push", tuple(one)) for one in later))
    text = scenario_text(case, VERSION)
    parse_scenario(text, Path("explored.yaml"))
    mine = [one for one in yaml.safe_load(text)["expect"] if "listener" in one]
    for phase in ("push_1", "push_2"):
        made = [one["bound"] for one in mine if one.get("during") == phase]
        assert made == [{"times": 2}]
        at_end = [one for one in mine if one.get("at_end_of") == phase]
        (live,) = [one["sockets"] for one in at_end if one["listener"].get("port") == port]
        assert live == {"live": 2}


def test_what_is_removed_has_no_socket_any_more():
    items = items_of(pushed_case([listener()], []))
    assert {
        "listener": {"name": "listener_0"},
        "take": "total",
        "at_end_of": "push_1",
        "sockets": {"live": 0},
    } in items


def test_after_a_hot_restart_the_next_epoch_is_meant():
    then = (Step("hot_restart", concurrency=3),)
    case = pushed_case([listener()], [listener(tcp_backlog_size=5)], then=then)
    text = scenario_text(case, VERSION)
    parse_scenario(text, Path("explored.yaml"))
    expected = yaml.safe_load(text)["expect"]
    mine = [one for one in expected if one.get("envoy") == "hot_restart_2"]
    assert {"created": 1, "inherited": 2} in [one.get("origin") for one in mine]
    assert {"live": 3} in [one.get("sockets") for one in mine]
    assert {"process": {"exits": 0}, "envoy": "first", "at_end_of": "hot_restart_2"} in expected


def test_after_a_hot_restart_each_of_several_addresses_of_port_0_has_its_own_sockets():
    def any_port(port=0):
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

    both = listener(additional_addresses=[any_port(), any_port()])
    case = replace(pushed_case([both], []), steps=(Step("hot_restart", concurrency=3),))
    expected = yaml.safe_load(scenario_text(case, VERSION))["expect"]
    live = {
        one["listener"]["port"]: (one.get("take"), one["sockets"]["live"])
        for one in expected
        if one.get("at_end_of") == "hot_restart_1" and "port" in one.get("listener", {})
    }
    del live[9901]
    assert live == {10000: (None, 3), 0: ("each_address", 3)}


def test_sequences_are_searched_for_and_cut_down():
    def attempt(case):
        changed = "stat_prefix" in changes_of(case)
        return tried(Difference("push", "sockets.live", "x", "2", "4")) if changed else tried()

    searched = search(attempt)
    found = None
    for number in range(10):
        found = found or searched.round_of_sequences(VERSION, number, 40)
    assert found is not None
    assert len(found.case.steps) == 1
    assert set(changes_of(found.case)) == {"stat_prefix"}
    assert searched.counts.runs > 0


def test_steps_of_every_kind_are_made():
    kinds: set[str] = set()

    def attempt(case):
        scenario = parse_scenario(scenario_text(case, VERSION), Path("explored.yaml")).scenario
        assert len(scenario.steps) >= len(case.steps)
        kinds.update(step.kind for step in case.steps)
        return tried()

    searched = search(attempt)
    searched.round_of_sequences(VERSION, 3, 25)
    others = {"hot_restart", "restart", "drain", "plain_drain"}
    assert kinds == {"push", "overload", "relief", *others}


# Overload

OVERLOADED, RELIEVED = Step("overload"), Step("relief")
BYPASS: dict[str, Any] = {"bypass_overload_manager": True}


def overloaded_case(before, *steps):
    made = tuple(one if isinstance(one, Step) else Step("push", tuple(one)) for one in steps)
    bootstrap = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}},
        "overload_manager": overload_manager(PRESSURE),
    }
    return Case(2, tuple(before), bootstrap, served=True, steps=made)


def served_at(case, phase):
    """By whom each port is to be served at the end of a phase."""
    text = scenario_text(case, VERSION)
    parse_scenario(text, Path("explored.yaml"))
    found = {}
    for one in yaml.safe_load(text)["expect"]:
        port = one.get("listener", {}).get("port")
        if one.get("at_end_of") == phase and port is not None:
            found[port] = one.get("served_by") or one.get("listened", {}).get("by")
    return found


def datagrams(kind, port, **more):
    place = {"socket_address": {"address": "127.0.0.1", "port_value": port, "protocol": "UDP"}}
    return {"name": f"{kind}_{port}", "address": place, **serving(kind), **more}


def test_under_overload_workers_serve_what_bypasses_it_and_quic():
    other = {**listener(**BYPASS), "name": "listener_1"}
    other["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": 10001}}
    before = [
        listener(),
        other,
        datagrams("UDP", 10002),
        datagrams("UDP", 10003, **BYPASS),
        datagrams("QUIC", 10004),
    ]
    case = overloaded_case(before, OVERLOADED, RELIEVED)
    closed = {10000: "none", 10002: "none", 10003: "none"}
    admin = {9901: "main"}
    under = {**closed, 10001: "workers", 10004: "workers"}
    assert served_at(case, "overload_1_2") == admin | under
    assert served_at(case, "relief_2_2") == admin | dict.fromkeys(under, "workers")


def test_overload_is_waited_for_by_its_gauge_and_by_what_workers_wait_for():
    case = overloaded_case([listener()], OVERLOADED, RELIEVED)
    gauge = "overload.envoy.overload_actions.stop_accepting_connections.active"
    place = {"address": "127.0.0.1", "port": 10000, "protocol": "TCP"}
    data = yaml.safe_load(scenario_text(case, VERSION))
    assert data["envoy"]["files"] == {"pressure": "0"}
    assert [one.get("replace_file", one.get("wait_for")) for one in data["steps"]] == [
        {"path": PRESSURE, "content": "1"},
        {"stat": {"name": gauge, "equals": 1}},
        {"state": {"listener": place, "served": False}},
        {"path": PRESSURE, "content": "0"},
        {"stat": {"name": gauge, "equals": 0}},
        {"state": {"listener": place, "served": True, "by": "workers"}},
    ]


def test_relief_waits_for_no_listener_of_which_the_model_says_that_no_worker_has_it():
    case = overloaded_case(
        [listener()],
        [listener(bind_to_port=False)],
        [listener(bind_to_port=False, stat_prefix="a")],
        [listener(stat_prefix="a")],
        OVERLOADED,
        RELIEVED,
    )
    steps = yaml.safe_load(scenario_text(case, VERSION))["steps"]
    assert [one for one in steps if "state" in one.get("wait_for", {})] == []


def test_what_a_push_starts_under_overload_is_to_be_served_as_a_start_would_have_it():
    plain, bypasses = listener(stat_prefix="a"), listener(**BYPASS, stat_prefix="a")
    for form, under in ((plain, "none"), (bypasses, "workers")):
        case = overloaded_case([listener(**BYPASS)], OVERLOADED, [form], RELIEVED)
        assert served_at(case, "push_2")[10000] == under
        last = "relief_3_0" if under == "none" else "relief_3_active"
        assert served_at(case, last)[10000] == "workers"


def test_of_what_drains_nothing_is_said_under_overload():
    moved = {**datagrams("UDP", 10000), "name": "QUIC_10000"}
    case = overloaded_case([datagrams("QUIC", 10000)], OVERLOADED, [], [moved])
    assert served_at(case, "push_3").get(10000) is None


def test_which_steps_may_follow_one_another():
    push_, ends = Step("push", ()), [Step(one) for one in ("restart", "hot_restart", "plain_drain")]
    assert is_possible((OVERLOADED, push_, Step("drain"), RELIEVED, *ends[:2], OVERLOADED))
    for one in (*ends, OVERLOADED):
        assert not is_possible((OVERLOADED, push_, one))
    for one in (RELIEVED, OVERLOADED, push_):
        assert not is_possible((ends[2], one))
    assert not is_possible((RELIEVED,))


def test_a_sequence_is_cut_down_to_one_without_overload_or_keeps_its_overload_manager():
    case = overloaded_case([listener()], OVERLOADED, [listener(**BYPASS)], RELIEVED)
    cut = [*smaller_cases(case)]
    assert all(is_possible(one.steps) for one in cut)
    assert case.steps[1:2] in [one.steps for one in cut]
    assert case.steps[:2] in [one.steps for one in cut]
    assert all("overload_manager" in one.bootstrap for one in cut)
    calm = [*smaller_cases(replace(case, steps=case.steps[1:2]))]
    assert any("overload_manager" not in one.bootstrap for one in calm)


def test_a_case_is_cut_down_to_one_in_which_chains_and_address_do_not_change():
    moved = {"socket_address": {"address": "127.0.0.2", "port_value": 10000}}
    first = listener()
    pushed = listener(address=moved, filter_chains=[{"name": "x"}], stat_prefix="a")
    cut = cut_down(
        case_of(first, served=True, steps=(Step("push", (pushed,)),)),
        lambda case: "stat_prefix" in changes_of(case),
    )
    assert cut.steps == (Step("push", ({**first, "stat_prefix": "a"},)),)


def test_an_entry_may_ask_for_a_push_under_overload_that_more_than_filter_chains_are_of():
    seen = Difference("relief", "listened.by", "x", "y", "listened by no thread", "listener_0")
    known = Known("a", facts=("listened.by",), changed=("replaced",), under="overload")
    again, plain = listener(**BYPASS, stat_prefix="a"), listener(**BYPASS)
    chains = listener(**BYPASS, filter_chains=[{"name": "x"}])
    cases_ = [
        (overloaded_case([plain], OVERLOADED, [again], RELIEVED), True),
        (overloaded_case([], OVERLOADED, [again], RELIEVED), True),
        (overloaded_case([plain], OVERLOADED, [chains], RELIEVED), False),
        (overloaded_case([plain], OVERLOADED, [], RELIEVED), False),
        (overloaded_case([plain], OVERLOADED, RELIEVED, [again]), False),
        (overloaded_case([plain], [again], OVERLOADED, RELIEVED), False),
    ]
    for case, explains in cases_:
        assert known.explains(seen, case, VERSION) is explains


def test_a_part_of_the_sequences_pushes_under_overload_what_bypasses_it():
    found: list[Case] = []

    def attempt(case):
        found.append(case)
        return tried()

    search(attempt).round_of_sequences(VERSION, 3, 60)
    kinds = [[step.kind for step in case.steps] for case in found]
    overloaded = [one for one in kinds if "overload" in one]
    assert len(overloaded) > len(kinds) / 10
    # What was shut is to be open again at the end.
    assert all("relief" in one[one.index("overload") :] for one in overloaded)
    pushed = [
        case
        for case in found
        if any("bypass_overload_manager" in one for one in case.all_listeners)
        and changes_of(case, under="overload")
    ]
    assert pushed


# The command


@pytest.fixture
def explored(monkeypatch, capsys):
    """Run the command with a made-up Envoy."""

    def run(attempt, *arguments):
        monkeypatch.setattr("envoyassert.explore.trial.try_case", attempt)
        monkeypatch.setattr("envoyassert.probe.Probe.load", contextlib.nullcontext)
        monkeypatch.setattr("envoyassert.launch.sweep.sweep", lambda: None)
        # However slow the machine is, so many cases are tried.
        asked = itertools.count()
        clock = SimpleNamespace(monotonic=lambda: 0.1 * next(asked))
        for module in ("cli.explore", "explore.search"):
            monkeypatch.setattr(f"envoyassert.{module}.time", clock)
        return run_cli(capsys, "explore", "--minutes", "0.03", "--seed", "1", *arguments)

    return run


def agrees(case, version, probe):
    return tried()


def test_nothing_new_is_code_0_with_a_summary(explored):
    done = explored(agrees)
    assert done.code == 0
    assert done.out.startswith("Envoy 1.40.0, 0.03 minutes, seed 1\n")
    assert done.out.endswith("no new differences\n")


def test_a_difference_is_code_1_and_a_scenario_with_both_sides(explored, tmp_path):
    def attempt(case, version, probe):
        if not case.listeners:
            return tried()
        text = scenario_text(case, version)
        return Tried(Outcome.DIFFERS, 10, 0, (OPTIONS,), text=text)

    done = explored(attempt, "-o", tmp_path)
    assert done.code == 1
    written = sorted(tmp_path.iterdir())
    assert written
    text = written[0].read_text()
    assert parse_scenario(text, written[0]).scenario.name == written[0].stem
    assert "#     predicted: none" in text
    assert "#     Envoy did: SO_KEEPALIVE" in text
    assert "--seed 1`" in text


def crashes(case, version, probe):
    crash = Difference("start", CRASH, "Envoy", "Envoy stays up", "Envoy was killed by SIGABRT")
    return Tried(Outcome.CRASHED, 1, 0, (crash,), text=scenario_text(case), log=("panic: x",))


def test_a_crash_is_reported_in_words_and_written_only_when_asked(explored, tmp_path):
    done = explored(crashes, "-o", tmp_path / "without")
    assert done.code == 1
    assert "Envoy 1.40.0 crashed; what it was given is not shown" in done.out
    assert "log: panic: x" in done.out
    assert "socket_address" not in done.out
    assert not (tmp_path / "without").exists()
    explored(crashes, "-o", tmp_path / "with", "--with-crashes")
    assert len(list((tmp_path / "with").iterdir())) == 1


def test_trouble_is_code_2(explored):
    def attempt(case, version, probe):
        raise MachineError("no namespaces", "use another kernel")

    done = explored(attempt)
    assert (done.code, "no namespaces" in done.err) == (2, True)


def test_an_interrupt_is_code_2_with_what_was_found_until_then(explored):
    def attempt(case, version, probe):
        raise KeyboardInterrupt

    done = explored(attempt)
    assert done.code == 2
    assert "no configs run" in done.out
    assert done.err == "interrupted\n"


def test_an_interrupt_that_is_swallowed_ends_the_search_at_the_next_config(explored):
    """Hypothesis has a callback of the garbage collector: what is raised in it goes nowhere."""
    asked = []

    def attempt(case, version, probe):
        asked.append(case)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return tried()

    before = signal.getsignal(signal.SIGINT)
    done = explored(attempt)
    assert (done.code, len(asked)) == (2, 1)
    assert done.err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.OPEN])
def test_a_search_that_compared_nothing_is_trouble(explored, outcome):
    """With `0 nothing new` it said that nothing differs."""
    done = explored(lambda case, version, probe: Tried(outcome, said="x"))
    assert done.code == 2
    assert done.err == "no config was compared\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--envoy", "/bin/true"), "the model needs a version"),
        (("--with-crashes",), "goes with -o DIR"),
        (("--minutes", "0"), "--minutes"),
    ],
)
def test_wrong_usage_is_code_2(explored, arguments, said):
    done = explored(agrees, *arguments)
    assert (done.code, said in done.err) == (2, True)


def test_known_differences_that_were_not_met_are_listed_on_request(explored):
    first = known_differences()[0]
    assert first.kind not in explored(agrees).out
    assert (
        f"known difference not met: {first.kind}: {first.what}"
        in explored(agrees, "--all-known").out
    )


# What was found by exploring, of the model


def test_a_mode_is_refused_of_an_abstract_name_and_not_beside_one():
    def pipes(first, second):
        return listener(
            address={"pipe": first}, additional_addresses=[{"address": {"pipe": second}}]
        )

    path, name = {"path": "/a.sock"}, {"path": "@a"}
    kinds = [
        change_by(Running(case_of(), VERSION), Step("push", (one,))).listeners[0].kind
        for one in (
            pipes({**path, "mode": 0o600}, name),
            pipes(path, {**name, "mode": 0o600}),
            pipes({**name, "mode": 0o600}, path),
        )
    ]
    assert kinds == [Kind.ADDED, Kind.REFUSED, Kind.REFUSED]


@pytest.mark.parametrize(
    "states", [("STATE_BOUND", "STATE_PREBIND"), ("STATE_PREBIND", "STATE_BOUND")]
)
def test_an_option_before_bind_comes_first_whatever_the_order_in_the_config(states):
    values = {"STATE_PREBIND": 1, "STATE_BOUND": 0}
    options = [
        {"level": 1, "name": 15, "int_value": values[state], "state": state} for state in states
    ]
    (found,) = predict_start(case_of(listener(socket_options=options)).config, concurrency=2).sets
    assert (found.listens, found.role) == (1, "none")


def test_an_entry_is_about_the_listener_that_differs():
    other = {**listener(), "name": "listener_1"}
    pushed = Step("push", (listener(), {**other, "tcp_backlog_size": 64}))
    case = case_of(listener(), other, served=True, steps=(pushed,))
    known = Known("a", facts=("backlog",), changed=("tcp_backlog_size",))
    held = Known("a", facts=("backlog",), listeners=({"tcp_backlog_size": "any"},))
    for name, explains in (("listener_0", False), ("listener_1", True), ("", True)):
        found = replace(BACKLOG, listener=name)
        assert known.explains(found, case, VERSION) is explains
        assert held.explains(found, case, VERSION) is explains


def test_no_entry_of_the_list_is_about_anything_whatever():
    for one in known_differences():
        assert "*" not in one.facts
        assert one.seen
        assert "*" not in one.seen
        assert one.versions
        assert CRASH in one.facts or (one.way and one.changed)


# What earlier steps left


def change_by(running, step):
    change = running.done(step)
    assert change is not None
    return change


def running_after(*steps, **more):
    running = Running(case_of(listener(), served=True, concurrency=2, **more), VERSION)
    return running, [running.done(step) for step in steps]


def push(**fields):
    return Step("push", (listener(**fields),))


def test_a_push_carries_over_what_an_earlier_one_did_not_do():
    # The first is acknowledged and leaves the sockets open; the second takes them from the workers.
    running, (_, _, on) = running_after(
        push(bind_to_port=False),
        push(bind_to_port=False, stat_prefix="a"),
        push(stat_prefix="a"),
    )
    (one,) = on.listeners
    assert (one.kind, one.kept, one.served, one.queued) == (Kind.IN_PLACE, 2, False, Fate.UNSERVED)
    assert running.has == (listener(stat_prefix="a"),)


def test_what_was_refused_is_served_again_after_a_restart():
    running, (refused, _) = running_after(
        push(enable_reuse_port=False), Step("restart", concurrency=3)
    )
    assert [one.kind for one in refused.listeners] == [Kind.REFUSED]
    (found,) = [one for one in running.started.sets if one.name == "listener_0"]
    assert (found.sockets, found.via) == (1, "dup")
    assert running.has == (listener(enable_reuse_port=False),)


def test_a_listener_that_the_start_refuses_is_not_there_for_a_push():
    anywhere = {"socket_address": {"address": "0.0.0.0", "port_value": 10000, "protocol": "UDP"}}
    own = {"socket_address": {**anywhere["socket_address"], "address": "127.0.0.1"}}
    udp = {"address": own, **serving("UDP")}
    first = {"name": "listener_0", **udp, "enable_reuse_port": False}
    second = {"name": "listener_1", **udp, "address": anywhere}
    case = case_of(first, second, served=True)
    running = Running(case, VERSION)
    assert running.has == (first,)
    added = change_by(running, Step("push", (second,)))
    kinds = {one.name: one.kind for one in added.listeners}
    assert kinds["listener_0"] is Kind.REMOVED
    assert "update: {result: nack}" in scenario_text(case, VERSION).replace('"', "")


def test_what_a_hot_restart_inherits_stays_so_for_the_next_push():
    running, (_, moved) = running_after(Step("hot_restart", concurrency=3), push(stat_prefix="a"))
    (one,) = moved.listeners
    assert (one.kind, one.kept, one.made) == (Kind.FULL_KEPT, 3, 0)
    assert running.workers == 3


def test_after_a_plain_drain_nothing_is_there_but_what_is_left_open():
    udp = {"socket_address": {"address": "127.0.0.1", "port_value": 10001, "protocol": "UDP"}}
    other = {"name": "listener_1", "address": udp, **serving("UDP")}
    case = case_of(listener(), other, served=True, concurrency=2, steps=(Step("plain_drain"),))
    for version, left in ((VERSION, 2), ("1.36.4", "none")):
        text = scenario_text(case, version)
        data = yaml.safe_load(text)
        parse_scenario(text, Path("explored.yaml"))
        live = {
            one["listener"]["port"]: one["sockets"]["live"]
            for one in data["expect"]
            if one.get("at_end_of", "").startswith("plain_drain") and "sockets" in one
        }
        assert live == {10000: "none", 10001: left}


def test_a_restart_is_held_against_a_start():
    case = pushed_case([listener()], [listener(freebind=True)], then=(Step("restart"),))
    text = scenario_text(case, VERSION)
    parse_scenario(text, Path("explored.yaml"))
    expected = yaml.safe_load(text)["expect"]
    mine = [one for one in expected if one.get("envoy") == "restart_2"]
    (own,) = [one for one in mine if one.get("listener", {}).get("port") == 10000]
    assert own["bound"] == {"times": 2, "by": "main"}
    assert own["only_options"]["before_bind"]["IP_FREEBIND"] == 1
    assert {"process": {"exits": 0}, "envoy": "first", "at_end_of": "restart_2_end"} in expected


def test_nothing_but_a_restart_follows_a_plain_drain_when_a_case_is_cut_down():
    steps = (Step("plain_drain"), Step("restart"), push())
    shorter = [one.steps for one in smaller_cases(case_of(listener(), steps=steps))]
    assert (Step("plain_drain"), push()) not in shorter
    assert (Step("restart"), push()) in shorter


def test_a_crash_of_any_of_several_envoys_is_one():
    crash = Outcome_(signal=11, log_tail=("of the first",))
    first = Member("first", 1, 2, crash)
    trace = made_trace(
        phases=(Phase("hot_restart_1", "hot_restart", 0, 1, Outcome_(live=True), envoys=(first,)),)
    )
    assert trial.killed(trace) == crash
    assert trial.killed(made_trace()) is None


@pytest.mark.parametrize("number, is_one", [(5000, True), (10, False)])
def test_workers_that_never_wait_are_a_difference(number, is_one):
    calls = [Event(100 + n, 1, 2, "accept4", -22, {"fd": 3}, 0, n + 1) for n in range(number)]
    unfinished = Phase("push_1", "update_listeners", 50, 9999, Outcome_(live=True), problem="late")
    assert trial.spins(made_trace(events=calls, phases=(unfinished,))) is is_one
    done = replace(unfinished, problem="")
    assert not trial.spins(made_trace(events=calls, phases=(done,)))


def made_trace(events=(), phases=()):
    return Trace(Header(), list(events), End(), phases=tuple(phases))


def test_a_removal_is_not_asked_about_where_an_earlier_form_drains_yet():
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 10000, "protocol": "UDP"}}
    udp = {"name": "listener_0", "address": place, **serving("UDP")}
    moved = {**udp, "freebind": True}

    def live_after(*pushes):
        steps = tuple(Step("push", one) for one in pushes)
        text = scenario_text(case_of(udp, served=True, steps=steps), VERSION)
        last = f"push_{len(steps)}"
        return [
            one["sockets"]
            for one in yaml.safe_load(text)["expect"]
            if one.get("at_end_of") == last and "name" in one.get("listener", {})
        ]

    assert live_after(()) == [{"live": 1}]
    assert live_after((moved,), ()) == []


def test_addresses_of_datagrams_that_overlap_in_one_listener_are_refused():
    def of(host, **more):
        place = {"address": host, "port_value": 10000, **more}
        return {"address": {"socket_address": place}}

    for more, refused in (({"protocol": "UDP"}, True), ({}, False)):
        entries = [of("127.0.0.1", **more), of("0.0.0.0", **more)]
        kind = "UDP" if more else "TCP"
        one = {"name": "listener_0", **entries[0], **serving(kind), "enable_reuse_port": False}
        both = {**one, "additional_addresses": entries[1:]}
        found = Running(case_of(both, served=True), VERSION).started
        assert bool(found.left_out) is refused
        pushed = change_by(Running(case_of(served=True), VERSION), Step("push", (both,)))
        assert (pushed.listeners[0].kind is Kind.REFUSED) is refused
        assert Running(case_of({**both, "enable_reuse_port": True}), VERSION).started.left_out == {}
        # SO_REUSEADDR, of each of the two.
        reuse = {"level": 1, "name": 2, "int_value": 1, "state": "STATE_PREBIND"}
        shared = {**both, "socket_options": [reuse]}
        assert Running(case_of(shared, served=True), VERSION).started.left_out == {}
        off = {**both, "socket_options": [{**reuse, "int_value": 0}]}
        found = Running(case_of(off, served=True), VERSION).started
        assert bool(found.left_out) is refused


def test_a_refusal_that_is_not_predicted_is_a_difference(monkeypatch):
    refused = Tried(Outcome.REFUSED, said="cannot bind")
    monkeypatch.setattr(trial, "try_text", lambda *_: refused)
    no_probe: Any = None
    found = trial.try_case(case_of(listener()), VERSION, no_probe)
    assert found.outcome is Outcome.DIFFERS
    assert [(one.fact, one.seen) for one in found.differences] == [("refused", "cannot bind")]
    worse = case_of(listener(address={"socket_address": {"address": "nowhere", "port_value": 1}}))
    assert trial.try_case(worse, VERSION, no_probe).outcome is Outcome.REFUSED


def test_the_scenarios_of_two_searches_have_names_of_their_own():
    found = search(differs_by_backlog).round(cases(VERSION), 1, 60)
    assert found is not None
    assert file_name(found, 1, 7) != file_name(found, 1, 8)


def test_a_refusal_of_a_path_is_known_by_what_comes_before_it():
    path = {"pipe": {"path": "${rundir}/0.sock"}}
    steps = (Step("push", (listener(address=path), {**listener(address=path), "name": "b"})),)
    case = case_of(listener(address=path), served=True, steps=steps)
    (update,) = [one["update"] for one in items_of(case) if "update" in one]
    assert update["result"] == "nack"
    assert update["message_contains"].endswith("duplicate address '")


def test_a_form_that_no_worker_serves_may_follow_one_that_drains():
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 10000, "protocol": "UDP"}}
    udp = {"name": "listener_0", "address": place, **serving("UDP")}
    path = listener(address={"pipe": {"path": "${rundir}/0.sock"}}, bind_to_port=False)
    steps = (Step("push", ()), Step("push", (path,)))
    assert items_of(case_of(udp, served=True, concurrency=2, steps=steps))


def test_an_address_of_ipv4_as_ipv6_is_bound_beside_one_for_ipv6_alone():
    def of(host, **more):
        place = {"address": host, "port_value": 10000, "protocol": "UDP", **more}
        return {"address": {"socket_address": place}}

    mapped = of("::ffff:127.0.0.1", ipv4_compat=True)
    for more, refused in (({}, False), ({"ipv4_compat": True}, True)):
        one = {"name": "listener_0", **mapped, **serving("UDP"), "enable_reuse_port": False}
        both = {**one, "additional_addresses": [of("::", **more)]}
        assert bool(Running(case_of(both, served=True), VERSION).started.left_out) is refused
