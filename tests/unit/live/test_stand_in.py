"""A config instead of one that is not at hand."""

from __future__ import annotations

from envoyassert.addresses import Address
from envoyassert.live.traces import config_of_trace
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.trace import Header, ListenerRecord

LISTENERS = (
    ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin"),
    ListenerRecord("one", "TCP", (Address.inet("0.0.0.0", 80), Address.inet("::", 80))),
    ListenerRecord("dns", "UDP", (Address.inet("127.0.0.1", 53).within("/run/netns/a"),)),
    ListenerRecord("pipe", "UNIX", (Address.unix("@abstract"),)),
    ListenerRecord("internal", "TCP", ()),
)


def test_config_of_a_trace_has_its_listeners():
    config = config_of_trace(Header(listeners=LISTENERS))
    assert configured_listeners(config) == LISTENERS


def test_config_of_a_trace_without_listeners_has_none():
    assert configured_listeners(config_of_trace(Header())) == ()
