"""Data to packed messages, and the place of what does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from envoyassert.scenario.xds import LISTENER_URL
from envoyassert.xds.resources import ResourceError, packed

ECHO = "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
LISTENER = {
    "name": "one",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 15001}},
    "filter_chains": [{"filters": [{"name": "echo", "typed_config": {"@type": ECHO}}]}],
}


def test_listener_is_packed_with_its_type_and_its_content():
    message = packed({"@type": LISTENER_URL, **LISTENER, "tcp_backlog_size": 77})
    assert message.type_url == "type.googleapis.com/envoy.config.listener.v3.Listener"
    from envoy.config.listener.v3.listener_pb2 import Listener

    listener = Listener()
    assert message.Unpack(listener)
    assert (listener.name, listener.tcp_backlog_size.value) == ("one", 77)
    assert listener.filter_chains[0].filters[0].typed_config.type_url == ECHO


def unknown_field(listener: Any) -> None:
    listener["filter_chains"][0]["nonsense"] = 1


def unknown_top_field(listener: Any) -> None:
    listener["nonsense"] = 1


def unknown_field_of_a_filter(listener: Any) -> None:
    listener["filter_chains"][0]["filters"][0]["typed_config"]["nonsense"] = 1


def unknown_type(listener: Any) -> None:
    listener["filter_chains"][0]["filters"][0]["typed_config"]["@type"] = "x/envoy.nonsense.v3.No"


def wrong_number(listener: Any) -> None:
    listener["address"]["socket_address"]["port_value"] = "x"


def wrong_enum(listener: Any) -> None:
    listener["address"]["socket_address"]["protocol"] = "SCTP"


FILTER = ("filter_chains", 0, "filters", 0, "typed_config")


@pytest.mark.parametrize(
    "spoil, path, words",
    [
        (unknown_field, ("filter_chains", 0, "nonsense"), "no field `nonsense`"),
        (unknown_top_field, ("nonsense",), "no field `nonsense`"),
        (unknown_field_of_a_filter, (*FILTER, "nonsense"), "no field `nonsense`"),
        (unknown_type, (*FILTER, "@type"), "no type `envoy.nonsense.v3.No`"),
        (wrong_number, ("address", "port_value"), "invalid literal"),
        (wrong_enum, ("address", "socket_address", "protocol"), "Invalid enum value SCTP"),
    ],
)
def test_listener_that_does_not_fit_is_refused_at_its_place(
    spoil: Callable[[Any], None], path: tuple[str | int, ...], words: str
):
    listener = copy.deepcopy(LISTENER)
    spoil(listener)
    with pytest.raises(ResourceError) as caught:
        packed({"@type": LISTENER_URL, **listener})
    assert caught.value.path == path
    assert words in caught.value.message
    assert caught.value.remedy
