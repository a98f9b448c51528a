"""Listeners that a control plane gives to a real Envoy: by file, and by gRPC in both variants."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from envoyassert.launch.base import Launcher, RunningEnvoy
from envoyassert.launch.choose import choose_launcher
from envoyassert.scenario.xds import FILE, SOCKET, Via, Xds, discovery_response, with_control_plane
from envoyassert.xds.control_plane import (
    AdsControlPlane,
    ControlPlane,
    FileControlPlane,
)
from tests.e2e.launching import ADMIN, thread_names

pytestmark = [pytest.mark.envoy]

ADMIN_CONFIG = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}


def echo(name: str, port: int, **more: Any) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "echo", "typed_config": {"@type": kind}}]}],
        **more,
    }


def routed(name: str, port: int, route: str) -> dict[str, Any]:
    """A listener that warms until it has its routes."""
    prefix = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{prefix}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "rds": {
            "route_config_name": route,
            "config_source": {
                "ads": {},
                "resource_api_version": "V3",
                "initial_fetch_timeout": "0s",
            },
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{prefix}.http.router.v3.Router"}}
        ],
    }
    return echo(name, port, filter_chains=[{"filters": [{"name": "h", "typed_config": manager}]}])


@contextlib.contextmanager
def served(
    launcher: Launcher,
    via: Via,
    make_spec: Any,
    listeners: list[dict[str, Any]],
    args: tuple[str, ...] = (),
    **more: Any,
) -> Iterator[tuple[ControlPlane, RunningEnvoy]]:
    rundir = launcher.rundir()
    config = with_control_plane({"admin": ADMIN_CONFIG}, Xds(via=via))
    text = json.dumps(config).replace("${rundir}", rundir)
    files = {FILE: json.dumps(discovery_response(listeners))}
    plane: ControlPlane
    if via == "file":
        plane = FileControlPlane(f"{rundir}/{FILE}", listeners)
    else:
        place = launcher.shared_dir() / SOCKET
        plane = AdsControlPlane(place, delta=via == "delta_ads", listeners=listeners, **more)
    spec = make_spec(text, files=files, admin=ADMIN, args=args)
    with plane, launcher.start(spec) as envoy:
        outcome = envoy.wait_ready()
        assert outcome.live, outcome
        yield plane, envoy


def accepts(envoy: RunningEnvoy, port: int) -> bool:
    def connect() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    return envoy.in_netns(connect)


LAUNCHERS = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.mark.parametrize("via", ["file", "ads", "delta_ads"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_update_adds_changes_removes_and_reports_what_envoy_says(launcher, via, make_spec) -> None:
    one, two = echo("one", 15001), echo("two", 15002)
    with (
        choose_launcher(launcher, make_spec().source) as place,
        served(place, via, make_spec, [one]) as (plane, envoy),
    ):
        assert plane.started(envoy).result == "ack"
        assert accepts(envoy, 15001)

        added = plane.update(envoy, [one, two], (), 5)
        assert (added.result, added.message, added.warming, added.settled) == ("ack", "", 0, True)
        assert added.answered_ns is not None
        assert added.sent_ns < added.answered_ns
        assert accepts(envoy, 15002)

        # The last one takes the address of the first, which stays as it is.
        clash = echo("three", 15001, enable_reuse_port=False)
        refused = plane.update(envoy, [one, echo("two", 15003), clash], (), 5)
        assert refused.result == "nack"
        assert "three" in refused.message
        assert "duplicate address" in refused.message
        assert [accepts(envoy, port) for port in (15001, 15002, 15003)] == [True, False, True]

        removed = plane.update(envoy, [two], (), 5)
        assert removed.result == "ack"
        assert [accepts(envoy, port) for port in (15001, 15002, 15003)] == [False, True, False]
    assert thread_names() == set()


@pytest.mark.timeout(60)
def test_refusal_that_the_log_level_hides_does_not_use_up_the_deadline(make_spec) -> None:
    args = ("--log-level", "error")
    with (
        choose_launcher("process", make_spec().source) as place,
        served(place, "file", make_spec, [echo("one", 15001)], args) as (plane, envoy),
    ):
        clash = echo("two", 15001, enable_reuse_port=False)
        refused = plane.update(envoy, [echo("one", 15001), clash], (), 600)
        assert (refused.result, refused.message, refused.settled) == ("nack", "", True)


@pytest.mark.parametrize("via", ["ads", "delta_ads"])
def test_withheld_resource_holds_a_listener_warming_until_it_is_released(via, make_spec) -> None:
    routes = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "later",
        "virtual_hosts": [],
    }
    one, two = echo("one", 15001), routed("two", 15002, "later")
    with (
        choose_launcher("process", make_spec().source) as place,
        served(place, via, make_spec, [one], resources=[routes], withheld=["later"]) as (
            plane,
            envoy,
        ),
    ):
        held = plane.update(envoy, [one, two], (), 5)
        assert (held.result, held.warming) == ("ack", 1)
        assert not accepts(envoy, 15002)

        released = plane.update(envoy, [one, two], ["later"], 5)
        assert (released.result, released.warming, released.settled) == ("ack", 0, True)
        assert accepts(envoy, 15002)


@pytest.mark.parametrize(
    "field, said",
    [({"tcp_backlog_size": "many"}, "tcp_backlog_size"), ({"no_such_field": 1}, "")],
    ids=["value of another type", "unknown field"],
)
def test_file_that_envoy_cannot_read_is_refused_and_an_unknown_field_is_not(
    make_spec, field: dict[str, Any], said: str
) -> None:
    one, two = echo("one", 15001), echo("two", 15002, **field)
    with (
        choose_launcher("process", make_spec().source) as place,
        served(place, "file", make_spec, [one]) as (plane, envoy),
    ):
        update = plane.update(envoy, [one, two], (), 5)
        assert update.result == ("nack" if said else "ack")
        assert said in update.message
        assert "15002" not in update.message  # the reason alone, not the text of the file
        assert accepts(envoy, 15002) is not bool(said)
        assert plane.update(envoy, [one], (), 5).result == "ack"


@pytest.mark.parametrize("via", ["file", "ads"])
def test_update_of_an_envoy_that_ended_has_no_answer(via, make_spec) -> None:
    one = echo("one", 15001)
    with (
        choose_launcher("process", make_spec().source) as place,
        served(place, via, make_spec, [one]) as (plane, envoy),
    ):
        envoy.stop()
        update = plane.update(envoy, [one, echo("two", 15002)], (), 5)
        assert (update.result, update.settled, update.answered_ns) == ("none", False, None)
