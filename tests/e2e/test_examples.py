"""Examples of tests in Python: the fixtures, and the assertions in the words of the scenarios.

The first two say what `scenarios/reuse_port_off.yaml` and `reuse_port_on.yaml` say in YAML.
"""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.asserts import (
    ExpectationFailed,
    assert_calls,
    assert_in_order,
    assert_listener,
    assert_never,
    assert_no_others,
    assert_process,
)
from envoyassert.pytest_plugin import fixtures

pytestmark = [pytest.mark.bpf]

#: The plugin's: conftest.py has another of that name for the tests beside this one.
envoy = fixtures.envoy


def listening_on(port: int, **listener: Any) -> dict[str, Any]:
    """Return a bootstrap with one TCP listener that echoes."""
    echo = {
        "name": "envoy.filters.network.echo",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
        },
    }
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
    ingress = {"name": "ingress", "address": address, "filter_chains": [{"filters": [echo]}]}
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
    return {
        "admin": {"address": admin},
        "static_resources": {"listeners": [{**ingress, **listener}]},
    }


@pytest.mark.envoy(config=listening_on(15006, enable_reuse_port=False), concurrency=2)
def test_listener_without_reuse_port_is_one_socket_with_a_dup_for_each_worker(socket_trace):
    assert_listener(
        socket_trace,
        port=15006,
        bound={"times": 1, "by": "main"},
        listened={"by": "workers", "via": "dup"},
        options={"SO_REUSEPORT": "absent"},
    )
    assert_calls(socket_trace, "dup", listener={"port": 15006}, times=1, by="main")
    assert_no_others(socket_trace, {"port": 15006}, {"name": "admin"}, allow=("hot_restart",))


@pytest.mark.envoy(config=listening_on(15006, enable_reuse_port=True), concurrency=2)
def test_listener_with_reuse_port_is_a_socket_for_each_worker(socket_trace):
    assert_listener(
        socket_trace,
        port=15006,
        bound={"times": "workers", "by": "main"},
        listened={"by": "workers", "via": "reuse_port"},
        sockets={"serving": "workers", "spare": 0},
        options={"SO_REUSEPORT": {"value": 1, "phase": "STATE_PREBIND"}},
    )
    assert_never(socket_trace, "dup", listener={"port": 15006})
    assert_in_order(
        socket_trace,
        {"call": "bind", "listener": {"port": 15006}},
        {"call": "listen", "listener": {"port": 15006}},
    )


@pytest.mark.envoy(config=listening_on(15006, enable_reuse_port=True), concurrency=2)
def test_expectation_that_is_not_met_names_the_atom_and_what_was_seen(socket_trace):
    with pytest.raises(ExpectationFailed) as failed:
        assert_listener(socket_trace, port=15006, bound={"times": 1, "by": "main"})
    assert str(failed.value).startswith("FAIL: listener ingress (0.0.0.0:15006): expected 1 ")
    assert "enable_reuse_port: false" in str(failed.value)


@pytest.mark.envoy
def test_number_of_workers_changes_the_number_of_sockets_and_nothing_else(envoy_factory):
    for concurrency in (1, 3):
        envoy = envoy_factory(config=listening_on(15006), concurrency=concurrency)
        assert_listener(
            envoy.trace(),
            port=15006,
            bound={"times": concurrency, "by": "main"},
            listened={"by": "workers"},
        )
        assert envoy.admin_get("/ready")[0] == 200


@pytest.mark.envoy
def test_envoy_that_is_stopped_closes_its_listener_and_exits_with_0(envoy_factory):
    envoy = envoy_factory(config=listening_on(15006), concurrency=2)
    assert_process(envoy.trace(), stays_up=True, live=True, within="10s")
    envoy.stop()
    trace = envoy.trace()
    assert_process(trace, exits=0)
    assert_listener(trace, port=15006, sockets={"ever": 2, "live": 0})


@pytest.mark.envoy
def test_port_that_is_taken_ends_the_start_with_an_error(envoy_factory):
    taken = listening_on(9901)
    envoy = envoy_factory(config=taken, concurrency=2)
    trace = envoy.trace()
    assert_process(trace, exits="nonzero")
    assert_listener(trace, address="0.0.0.0", port=9901, bind_failed={"errno": "EADDRINUSE"})
