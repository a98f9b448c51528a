"""Values of another type than Envoy reads: `envoy --mode validate` of 1.36.4 and 1.40.0 refuses."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert.draft.from_config import draft_of_config
from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Side, Way
from envoyassert.predict.prediction import PredictError
from envoyassert.predict.start import predict_start

OPTION = {"level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}
CONFIG: dict[str, Any] = {
    "admin": {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}},
        "socket_options": [OPTION],
    },
    "static_resources": {
        "listeners": [
            {
                "name": "a",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
                "additional_addresses": [
                    {
                        "address": {"pipe": {"path": "/run/a.sock", "mode": 384}},
                        "socket_options": {"socket_options": [OPTION]},
                    }
                ],
                "socket_options": [OPTION],
                "tcp_backlog_size": 64,
                "tcp_keepalive": {"keepalive_probes": 3},
                "enable_reuse_port": True,
                "connection_balance_config": {"exact_balance": {}},
                "filter_chains": [{}],
            },
            {
                "name": "b",
                "address": {"socket_address": {"address": "::1", "port_value": 1, "protocol": 1}},
                "udp_listener_config": {"quic_options": {}},
                "filter_chains": [{}],
            },
            {"name": "c", "internal_listener": {}, "filter_chains": [{}]},
        ]
    },
    "bootstrap_extensions": [{"name": "envoy.bootstrap.internal_listener"}],
    "layered_runtime": {"layers": [{"name": "static", "static_layer": {"a": {"b": 1}}}]},
}
FIRST = "static_resources.listeners.0"


def replaced(path: str, value: Any, config: Any = CONFIG) -> Any:
    """Return a config with another value at a path."""
    config = json.loads(json.dumps(config))
    *above, last = path.split(".")
    place: Any = config
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[int(last) if isinstance(place, list) else last] = value
    return config


PREDICTIONS: tuple[Callable[[Any], object], ...] = (
    lambda config: predict_start(config, version="1.36.4"),
    lambda config: predict_change(Side(CONFIG), Side(config), Way.PUSH, version="1.40.0"),
    lambda config: predict_change(Side(config), Side(CONFIG), Way.HOT_RESTART),
    draft_of_config,
)
NO_MAPPING: tuple[Any, ...] = (7, "x", True, [], [{}])
NO_LIST: tuple[Any, ...] = (7, "x", True)
NO_TEXT: tuple[Any, ...] = (7, 1.5, True, {}, [], ["x"])
NO_FLAG: tuple[Any, ...] = (0, 1, "x", [])
NO_NUMBER: tuple[Any, ...] = (
    "x",
    "5_0",
    "\u0665",
    "\u00b2",
    1.5,
    -1,
    2**32,
    True,
    [],
    float("inf"),
)
#: Text that says nothing of sockets. YAML 1.1 takes `n` for false, so `node: {id: n}` has none.
TEXTS = (
    *(f"node.{name}" for name in ("id", "cluster", "user_agent_name", "locality.zone")),
    *(f"{FIRST}.{name}" for name in ("stat_prefix", "socket_options.0.description")),
    *("admin.profile_path", "layered_runtime.layers.0.name", "flags_path", "header_prefix"),
)
REFUSED: dict[str, tuple[Any, ...]] = {
    "static_resources": NO_MAPPING,
    "static_resources.listeners": NO_LIST,
    FIRST: (7, "x"),
    f"{FIRST}.name": NO_TEXT,
    f"{FIRST}.address": NO_MAPPING,
    f"{FIRST}.address.socket_address": NO_MAPPING,
    f"{FIRST}.address.socket_address.address": NO_TEXT,
    f"{FIRST}.address.socket_address.port_value": (*NO_NUMBER, {}),
    f"{FIRST}.address.socket_address.protocol": ("UDPX", True, 1.5, {}, []),
    f"{FIRST}.address.socket_address.ipv4_compat": (*NO_FLAG, {}),
    f"{FIRST}.address.socket_address.network_namespace_filepath": NO_TEXT,
    f"{FIRST}.address.pipe": ({"path": "/run/both.sock"},),
    f"{FIRST}.socket_options.0.buf_value": (7, "!", "A", True, "Bw=="),
    f"{FIRST}.additional_addresses": NO_LIST,
    f"{FIRST}.additional_addresses.0.address.pipe.path": NO_TEXT,
    f"{FIRST}.additional_addresses.0.address.pipe.mode": (*NO_NUMBER, {}),
    f"{FIRST}.additional_addresses.0.socket_options": NO_MAPPING,
    f"{FIRST}.socket_options": NO_LIST,
    f"{FIRST}.socket_options.0.level": ("x", True, 1.5, {}),
    f"{FIRST}.socket_options.0.int_value": ("x", True, 2**63),
    f"{FIRST}.socket_options.0.state": ("x", True, 1.5, {}),
    f"{FIRST}.socket_options.0.type": NO_MAPPING,
    f"{FIRST}.tcp_backlog_size": NO_NUMBER,
    f"{FIRST}.tcp_keepalive": NO_MAPPING,
    f"{FIRST}.tcp_keepalive.keepalive_probes": NO_NUMBER,
    f"{FIRST}.enable_reuse_port": NO_FLAG,
    f"{FIRST}.bind_to_port": NO_FLAG,
    f"{FIRST}.enable_mptcp": (*NO_FLAG, {}),
    f"{FIRST}.deprecated_v1": NO_MAPPING,
    f"{FIRST}.connection_balance_config": NO_MAPPING,
    f"{FIRST}.connection_balance_config.exact_balance": NO_MAPPING,
    f"{FIRST}.filter_chains": NO_LIST,
    f"{FIRST}.default_filter_chain": NO_MAPPING,
    f"{FIRST}.internal_listener": NO_MAPPING,
    f"{FIRST}.api_listener": NO_MAPPING,
    f"{FIRST}.udp_listener_config": NO_MAPPING,
    "admin": NO_MAPPING,
    "admin.address": NO_MAPPING,
    "admin.socket_options": NO_LIST,
    "dynamic_resources": NO_MAPPING,
    "dynamic_resources.lds_config": NO_MAPPING,
    "bootstrap_extensions": NO_LIST,
    "enable_worker_cpu_affinity": (*NO_FLAG, {}),
    "layered_runtime": NO_MAPPING,
    "layered_runtime.layers": NO_LIST,
    "layered_runtime.layers.0.static_layer": NO_MAPPING,
    "node": NO_MAPPING,
    **dict.fromkeys(TEXTS, NO_TEXT),
}


@pytest.mark.parametrize("path", REFUSED)
def test_value_of_another_type_is_one_error_that_names_its_field(path: str) -> None:
    for value in REFUSED[path]:
        for predict in PREDICTIONS:
            with pytest.raises(PredictError) as error:
                predict(replaced(path, value))
            # Of two members of which there may be one, the message is named.
            named = path.rpartition(".")[0] if " has " in error.value.message else path
            assert error.value.message.startswith(named), (value, error.value.message)
            assert error.value.remedy == "Envoy refuses this config"


@pytest.mark.parametrize("path", [path for path in REFUSED if path.startswith(f"{FIRST}.")])
def test_value_of_another_type_in_a_listener_of_a_control_plane_is_the_same_error(
    path: str,
) -> None:
    config: dict[str, Any] = {"dynamic_resources": {"lds_config": {"ads": {}}}}
    listener = replaced(path, REFUSED[path][0])["static_resources"]["listeners"][0]
    with pytest.raises(PredictError, match=r"^resources\.0"):
        predict_start(config, served=[listener])
    with pytest.raises(PredictError, match=r"^resources\.0"):
        predict_change(Side(config, ()), Side(config, (listener,)), Way.PUSH)


#: Other ways to write what CONFIG has, each of which Envoy takes.
SAME: dict[str, tuple[Any, ...]] = {
    f"{FIRST}.address.socket_address.port_value": ("10000", "+10000", "010000", 10000.0),
    f"{FIRST}.address.socket_address.protocol": ("tcp", 0, "0", None),
    f"{FIRST}.address.socket_address.ipv4_compat": (False, "no", "False", None),
    f"{FIRST}.enable_reuse_port": ("true", "yes", {"value": True}, None),
    f"{FIRST}.bind_to_port": ("true", {"value": "t"}),
    f"{FIRST}.freebind": ({}, {"value": False}, "false"),
    f"{FIRST}.tcp_backlog_size": ("64", 64.0, {"value": 64}),
    f"{FIRST}.tcp_fast_open_queue_length": (None,),
    f"{FIRST}.socket_options": (OPTION, [[OPTION]], [{**OPTION, "state": "state_prebind"}]),
    f"{FIRST}.socket_options.0": ({**OPTION, "level": "1", "state": "0"},),
    f"{FIRST}.filter_chains": ({}, [None]),
    "static_resources.listeners.1.address.socket_address.protocol": ("UDP", "udp", "1", 1.0),
    "layered_runtime": (None,),
}


@pytest.mark.parametrize("path", SAME)
def test_other_ways_to_write_a_value_mean_the_same(path: str) -> None:
    expected = predict_start(CONFIG)
    assert len(expected.sets) == 4
    for value in SAME[path]:
        assert predict_start(replaced(path, value)) == expected, value


@pytest.mark.parametrize("value", ["1e4", "1.0", "0x10", "1.5"])
def test_text_for_a_number_that_versions_take_apart_is_an_error_of_its_own(value: str) -> None:
    with pytest.raises(PredictError, match="some versions of Envoy refuse") as error:
        predict_start(replaced(f"{FIRST}.tcp_backlog_size", value))
    assert error.value.remedy == "write it in digits"


def test_bytes_are_taken_without_padding() -> None:
    path = f"{FIRST}.socket_options.0"
    one = {"level": 1, "name": 9, "buf_value": "AQAAAA=="}
    bare = {**one, "buf_value": "AQAAAA"}
    assert predict_start(replaced(path, bare)) == predict_start(replaced(path, one))


def test_a_wrapped_number_without_a_value_is_zero() -> None:
    path = f"{FIRST}.tcp_backlog_size"
    assert predict_start(replaced(path, {})) == predict_start(replaced(path, 0))


def _paths(value: Any, path: str = "") -> list[str]:
    members = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, member in members:
        below = f"{path}.{key}".lstrip(".")
        found += _paths(member, below) if isinstance(member, (dict, list)) else [below]
    return found


_KEYS = ("value", "name", "address", "socket_address", "path", "pipe", "x", "@type")
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["UDP", "1", "::", "127.0.0.1", "@x", 0, 1, 65536, 2**31]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted({*_paths(CONFIG), *REFUSED})),
    _JSON,
    st.sampled_from(PREDICTIONS),
)
def test_whatever_a_config_holds_it_is_predicted_or_one_error(
    path: str, value: Any, predict: Callable[[Any], object]
) -> None:
    config = replaced(path, value)
    with contextlib.suppress(PredictError):
        assert predict(config) is not None
