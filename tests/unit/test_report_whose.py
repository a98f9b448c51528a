"""What a finding is about, by the names of Envoy's config."""

from dataclasses import replace

import pytest

from envoyassert.addresses import Address
from envoyassert.judge.values import Topic
from envoyassert.naming import ListenerRecord
from envoyassert.report.headline import about, whose
from envoyassert.scenario.selector import Selector
from tests.unit.said import a_finding

HTTP = ListenerRecord("http", "TCP", (Address.inet("0.0.0.0", 8080),))
DNS = ListenerRecord("dns", "UDP", (Address.inet("0.0.0.0", 8080),))
BOTH = ListenerRecord(
    "both", "TCP", (Address.inet("0.0.0.0", 90), Address.inet("::", 90), Address.unix("/a"))
)
ZERO = ListenerRecord("zero", "TCP", (Address.inet("127.0.0.1", 0),))
ADMIN = ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), "admin")
INTERNAL = ListenerRecord("internal", "TCP", ())


def finding_on(judged: str = "", /, **selector):
    topic = Topic("listener", listener=Selector(**selector), address=judged)
    return replace(a_finding(), subject=topic)


@pytest.mark.parametrize(
    ("selector", "listeners", "words"),
    [
        ({"port": 8080}, (HTTP,), "listener http (0.0.0.0:8080)"),
        ({"name": "http"}, (HTTP, DNS), "listener http (0.0.0.0:8080)"),
        ({"port": 8080, "protocol": "UDP"}, (HTTP, DNS), "listener dns (0.0.0.0:8080)"),
        ({"name": "both"}, (BOTH,), "listener both (0.0.0.0:90 and 2 more)"),
        ({"port": 90, "address": "::"}, (BOTH,), "listener both ([::]:90)"),
        ({"path": "/a"}, (BOTH,), "listener both (/a)"),
        ({"name": "admin"}, (HTTP, ADMIN), "admin endpoint (127.0.0.1:9901)"),
        ({"name": "zero"}, (ZERO,), "listener zero (127.0.0.1:0)"),
        # What the scenario says stands for what the config does not settle.
        ({"port": 8080}, (HTTP, DNS), "port 8080"),
        ({"port": 8080}, (), "port 8080"),
        ({"port": 81}, (HTTP,), "port 81"),
        ({"port": "$its_port"}, (HTTP,), "port $its_port"),
        ({"socket": "$its_sockets"}, (HTTP,), "socket $its_sockets"),
        ({"name": "http"}, (HTTP, replace(DNS, name="http")), "listener http"),
        ({"name": "internal"}, (INTERNAL,), "listener internal"),
    ],
)
def test_listener_has_the_name_and_the_address_of_the_config(selector, listeners, words):
    finding = finding_on(**selector)
    assert whose(finding, listeners) == words
    assert about(finding, listeners) == f"{words} bound.times"


def test_one_address_of_several_is_the_one_that_was_judged():
    finding = finding_on("[::]:90", name="both")
    assert whose(finding, (BOTH,)) == "listener both ([::]:90)"


def test_what_is_about_the_run_is_called_by_its_atom():
    finding = replace(a_finding(), subject=Topic("process"), path=("expect", 0, "process", "live"))
    assert whose(finding, (HTTP,)) == about(finding, (HTTP,)) == "process.live"
