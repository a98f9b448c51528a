"""Two configs and a way, as runs: what is started, which clients go where, how NEW is applied."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from envoyassert.cli.configs import plan_of_file
from envoyassert.predict.effects import Way
from envoyassert.scenario.overlay import merge, overlay_between
from envoyassert.scenario.plan import RunPlan
from envoyassert.steps.another import Another
from envoyassert.transition.answering import answering
from envoyassert.transition.scenario import Transition, transition_of

ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}
HTTP = {"name": "http", "typed_config": {"@type": "type.googleapis.com/http", "cluster": "shop"}}


def place(port: int, host: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port, **more}}


def listener(name: str = "ingress", port: int = 15006, **more: Any) -> dict[str, Any]:
    chains = [{"filters": [ECHO]}]
    return {"name": name, "address": place(port), "filter_chains": chains, **more}


def bootstrap(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    admin = {"address": place(9901)}
    return {"admin": admin, "static_resources": {"listeners": [*listeners]}, **more}


@pytest.fixture
def plan(tmp_path: Path):
    def plan_of(config: dict[str, Any], **changed: Any) -> RunPlan:
        file = tmp_path / "envoy.json"
        file.write_text(json.dumps(config))
        return dataclasses.replace(plan_of_file(file), **changed)

    return plan_of


@pytest.fixture
def change(plan):
    def change_of(
        old: dict[str, Any],
        new: dict[str, Any],
        way: Way,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> Transition:
        return transition_of(plan(old, **(before or {})), plan(new, **(after or {})), way)

    return change_of


def phases(run: RunPlan | None) -> list[str]:
    assert run is not None
    return [step.phase for step in run.steps]


def test_push_sends_clients_before_through_and_after_the_update(change) -> None:
    made = change(bootstrap(listener()), bootstrap(listener(freebind=True)), Way.PUSH)
    assert phases(made.run) == [
        *("held_0", "change", "meanwhile_0", "after_0"),
        *("drained_listeners", "drained_filter_chains", "late_0"),
    ]
    update = next(step for step in made.run.steps if step.phase == "change")
    assert update.update_listeners.set == (listener(freebind=True),)
    (load,) = update.loads
    assert (load.listener.address, load.listener.port) == ("127.0.0.1", 15006)
    assert made.run.xds is not None
    assert made.run.xds.via == "file"
    assert "listeners" not in made.run.config.get("static_resources", {})
    assert any("static listeners are served by LDS" in note for note in made.notes)


def test_clients_wait_in_queues_while_an_overload_manager_keeps_workers_from_accepting(change):
    made = change(bootstrap(listener()), bootstrap(listener(freebind=True)), Way.PUSH)
    assert phases(made.queue) == ["pressure_0", "queued_0", "change", "relief", "answered_0"]
    actions = made.queue.config["overload_manager"]["actions"]
    assert [one["name"] for one in actions] == ["envoy.overload_actions.stop_accepting_connections"]
    assert made.queue.files["pressure"] == "1"
    made = change(bootstrap(listener()), bootstrap(listener()), Way.HOT_RESTART)
    restart = made.queue.steps[2].hot_restart
    (monitor,) = merge(made.queue.config, restart.overlay)["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["filename"] == "${rundir}/calm"


def test_own_overload_manager_with_the_same_monitor_leaves_queues_out_and_says_so(change) -> None:
    monitor = {"name": "envoy.resource_monitors.injected_resource"}
    old = bootstrap(listener(), overload_manager={"resource_monitors": [monitor]})
    made = change(old, old, Way.PUSH)
    assert made.queue is None
    assert any("no client waits in a queue" in note for note in made.notes)


def test_no_listener_bypasses_the_overload_manager_by_which_clients_wait(change) -> None:
    bypasses = listener(bypass_overload_manager=True)
    made = change(bootstrap(bypasses), bootstrap(listener()), Way.PUSH)
    assert made.queue is not None
    (served,) = made.queue.xds.listeners
    (update,) = [one.update_listeners.set for one in made.queue.steps if one.phase == "change"]
    assert "bypass_overload_manager" not in served
    # A push of it stays one.
    assert update == (listener(),)
    assert served["metadata"] != update[0].get("metadata")
    notes = [note for note in made.notes if "overload" in note or "filters" in note]
    assert notes == ["no listener bypasses the overload manager: clients wait in queues by one"]
    assert change(bootstrap(listener()), bootstrap(listener()), Way.PUSH).queue is not None


def test_restart_stops_the_old_one_and_starts_the_new_one_under_clients(change) -> None:
    new = bootstrap(listener(enable_reuse_port=False), admin={"address": place(9902)})
    made = change(bootstrap(listener()), new, Way.RESTART, after={"concurrency": 4})
    assert phases(made.run) == ["held_0", "stop", "change", "meanwhile_0", "after_0"]
    stop, start = made.run.steps[1], made.run.steps[2]
    assert stop.loads
    assert start.loads
    assert start.start.concurrency == 4
    started = merge(made.run.config, start.start.overlay)
    assert started["admin"] == {"address": place(9902)}
    assert started["static_resources"]["listeners"] == [listener(enable_reuse_port=False)]


def test_what_no_push_changes_is_said(change) -> None:
    old, new = bootstrap(listener()), bootstrap(listener(), admin={"address": place(9902)})
    made = change(old, new, Way.PUSH, after={"concurrency": 4, "args": ("--socket-path", "@x")})
    (note,) = [note for note in made.notes if note.startswith("not pushed")]
    assert note.endswith(": admin, --concurrency, arguments")


def test_times_of_the_command_line_are_those_that_can_be_waited_for(change) -> None:
    args = ("--drain-time-s", "600", "--parent-shutdown-time-s=900", "--base-id", "3")
    made = change(bootstrap(listener()), bootstrap(listener()), Way.PUSH, before={"args": args})
    times = ("--drain-time-s", "2", "--parent-shutdown-time-s", "2")
    assert made.run.args == ("--base-id", "3", *times)


def test_addresses_of_both_have_clients_and_of_new_ones_only_afterwards(change) -> None:
    more = [{"address": place(15007)}]
    made = change(bootstrap(listener()), bootstrap(listener(additional_addresses=more)), Way.PUSH)
    ports = [(one.address.port, one.old, one.new) for one in made.places]
    assert ports == [(15006, True, True), (15007, False, True)]
    assert {"held_0", "after_0", "after_1"} <= set(phases(made.run))
    assert "held_1" not in phases(made.run)
    made = change(bootstrap(listener()), bootstrap(listener(port=15008)), Way.PUSH)
    assert [(one.address.port, one.old, one.new) for one in made.places] == [
        *((15006, True, False), (15008, False, True)),
    ]
    assert "after_0" in phases(made.run)  # that no one answers there any more is to be seen


def test_clients_afterwards_have_as_long_as_those_before_but_for_datagrams(change) -> None:
    udp = {"name": "u", "address": place(15006, protocol="UDP")}
    made = change(bootstrap(listener(), udp), bootstrap(listener(), udp), Way.PUSH)
    deadlines = {step.phase: step.deadline for step in made.run.steps}
    assert deadlines["after_0"] == deadlines["held_0"]
    # One that is dropped is never answered.
    assert deadlines["after_1"] == deadlines["meanwhile_1"] != deadlines["held_1"]


def test_listener_without_a_socket_has_no_clients_but_where_it_had_one(change) -> None:
    without = listener(bind_to_port=False)
    made = change(bootstrap(listener()), bootstrap(without), Way.PUSH)
    assert [(one.old, one.new) for one in made.places] == [(True, False)]
    assert change(bootstrap(without), bootstrap(without), Way.PUSH).places == ()


def test_config_without_an_admin_endpoint_is_given_one_that_says_what_it_makes_of_it(change):
    config = {"static_resources": {"listeners": [listener()]}}
    made = change(config, config, Way.PUSH)
    assert made.run.admin is not None
    assert made.run.admin.path == "${rundir}/admin.sock"


def test_port_that_the_kernel_chose_is_not_asked_for_afterwards(change) -> None:
    made = change(bootstrap(listener(port=0)), bootstrap(listener(port=0)), Way.RESTART)
    assert "held_0" in phases(made.run)
    assert "after_0" not in phases(made.run)
    assert any("port 0" in note for note in made.notes)


def test_each_listener_whose_port_the_kernel_chooses_has_clients_of_its_own(change) -> None:
    both = bootstrap(listener("first", 0), listener("second", 0))
    places = change(both, both, Way.PUSH).places
    assert [place.selector["name"] for place in places] == ["first", "second"]


def test_filters_are_replaced_and_a_change_of_them_stays_one() -> None:
    first = answering(listener(filter_chains=[{"filters": [HTTP]}]), "ingress")
    other = {**HTTP, "name": "https"}
    second = answering(listener(filter_chains=[{"filters": [other]}]), "ingress")
    assert [one["name"] for one in first["filter_chains"][0]["filters"]] == [ECHO["name"]]
    differ = [key for key in first if first[key] != second[key]]
    assert differ == ["filter_chains"]  # what Envoy updates in place
    assert first == answering(listener(filter_chains=[{"filters": [HTTP]}]), "ingress")


def test_change_of_listener_filters_stays_one_outside_of_the_chains() -> None:
    first = answering(listener(), "ingress")
    second = answering(listener(listener_filters=[{"name": "proxy_protocol"}]), "ingress")
    assert "listener_filters" not in second
    assert first["filter_chains"] == second["filter_chains"]
    assert first.get("metadata") != second["metadata"]


def test_echo_stays_as_it_is_written() -> None:
    assert answering(listener(), "ingress") == listener()


@pytest.mark.parametrize(
    "more, wanted",
    [
        ({"address": place(53, protocol="UDP")}, "envoy.filters.udp.dns_filter"),
        (
            {
                "address": place(443, protocol="UDP"),
                "udp_listener_config": {"quic_options": {}},
            },
            "envoy.transport_sockets.quic",
        ),
    ],
)
def test_datagrams_are_answered_too(more: dict[str, Any], wanted: str) -> None:
    assert wanted in json.dumps(answering({**listener(), **more}, "ingress"))


def test_listener_that_has_no_address_is_left_alone() -> None:
    internal = {"name": "inner", "internal_listener": {}, "filter_chains": [{"filters": [HTTP]}]}
    assert answering(internal, "inner") == internal


@pytest.mark.parametrize(
    "old, new",
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "e": {"f": {"g": 1}}}),
        ({"a": {"b": 1}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": [1, {"b": 2}]}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({}, {"a": "x"}),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_overlay_between_two_configs_makes_one_of_the_other(old: Any, new: Any) -> None:
    assert merge(old, overlay_between(old, new)) == new


def test_argument_of_another_envoy_takes_the_place_of_one_of_the_same_name(plan) -> None:
    first = plan(bootstrap(listener()), args=("--socket-path", "@a", "--base-id=3", "-l", "info"))
    another = Another(args=("--socket-path", "@b", "--base-id", "4"))
    args = first.for_another(another, "/run").args
    assert args == ("-l", "info", "--socket-path", "@b", "--base-id", "4")
