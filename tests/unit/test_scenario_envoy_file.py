"""Envoy's own file, read as Envoy reads it (tests/e2e/test_envoy_file.py asks Envoy itself)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.draft.from_config import draft_of_config
from envoyassert.errors import ScenarioError
from envoyassert.scenario import source
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import configured_listeners, with_lists
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand


def data(text: str, name: str = "envoy.yaml") -> Any:
    return parse_envoy_file(text, name).data


def refusal(text: str, name: str = "envoy.yaml") -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_envoy_file(text, name)
    return str(caught.value)


@pytest.fixture(autouse=True, params=["fast", "pure"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What PyYAML has with libyaml, and without."""
    if request.param == "pure":
        monkeypatch.setattr(source, "_Loader", yaml.BaseLoader)
    return str(request.param)


@pytest.mark.parametrize(
    "text, value",
    [
        ("yes", True), ("Off", False), ("N", False), ("tRue", "tRue"), ('"yes"', "yes"),
        ("017", 15), ("-0x1f", -31), ("+64", 64), ("08", "08"), ("0o17", "0o17"),
        ("1.10", "1.10"), ("1e2", "1e2"), (".inf", ".inf"), ("12:30", "12:30"),
        ("2147483647", 2**31 - 1), ("0x80000000", "2147483648"),
        ("~", None), ("", None), ("nULL", "nULL"), ("!!str 64", 64), ('!!int "64"', 64),
        ("! 64", "64"), ("!any on", True), ("|\n  5\n", "5\n"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_envoys_reader(text: str, value: object) -> None:
    found = data(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text, value",
    [
        ('admin { address { pipe { path: "/a" mode: 384 } } }',
         {"admin": {"address": {"pipe": {"path": "/a", "mode": 384}}}}),
        ("node { metadata { fields { key: 'a' value { number_value: 1 } } } }",
         {"node": {"metadata": {"a": 1.0}}}),
        ("static_resources { clusters { connect_timeout { seconds: 2 } } }",
         {"static_resources": {"clusters": [{"connect_timeout": "2s"}]}}),
        ("static_resources { listeners { tcp_backlog_size { value: 0 } } }",
         {"static_resources": {"listeners": [{"tcp_backlog_size": 0}]}}),
        ('resources { [type.googleapis.com/envoy.config.listener.v3.Listener] { name: "a" } }',
         {"resources": [
             {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "a"}]}),
        ("", {}),
    ],
)  # fmt: skip
def test_text_protobuf_is_read_by_its_schema(text: str, value: Any) -> None:
    assert data(text, "envoy.pb_text") == value


@pytest.mark.parametrize(
    "text, said",
    [
        ("admin {\n  adress {}\n}", "a.pb_text:2:3: error: not text protobuf of Envoy: Mess"),
        ("node {", "a.pb_text:1:6: error: not text protobuf of Envoy: Expected"),
        (
            "node { extensions { typed {[type.googleapis.com/envoy.no_such.v3.Thing] {}}}}",
            "a.pb_text:1:",
        ),
    ],
)
def test_fault_in_text_protobuf_has_its_place(text: str, said: str) -> None:
    assert refusal(text, "a.pb_text").startswith(said)


def test_text_protobuf_without_the_packages_of_the_api_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "envoy.config.bootstrap.v3.bootstrap_pb2", None)
    assert refusal("", "a.pb_text") == (
        "a.pb_text: error: reading text protobuf takes the packages of Envoy's API "
        '(pip install "envoyassert[xds]", or write YAML or JSON)'
    )


def test_key_that_is_to_be_ignored_is_but_its_anchors_hold() -> None:
    text = "!ignore parts: {host: &host 127.0.0.1}\naddress: *host\nparts: 1\n"
    assert data(text) == {"address": "127.0.0.1", "parts": 1}


def test_last_of_two_keys_counts_but_not_in_json() -> None:
    assert data("a: {b: 1}\nc: 2\na: 3\n") == {"a": 3, "c": 2}
    assert "duplicate key `a`" in refusal('{"a": 1, "a": 2}', "envoy.json")


@pytest.mark.parametrize("rest", ["---\nb: [\n", "...\n{{\n"])
def test_first_document_counts_whatever_follows(rest: str) -> None:
    assert data(f"a: 1\n{rest}") == {"a": 1}


def test_mark_at_the_beginning_is_no_text() -> None:
    assert data("\ufeffa: 1\n") == {"a": 1}


def test_tab_in_an_empty_line_or_before_a_comment_is_white_space(loader: str) -> None:
    del loader
    assert data("a:\n\t\n \t# said\n  b: 1\n") == {"a": {"b": 1}}
    assert "a tab cannot indent YAML" in refusal("a:\n\tb: 1\n")


def test_place_of_a_value_is_that_of_the_one_that_counts() -> None:
    assert parse_envoy_file("a: 1\na: 2\n", "x.yaml").mark(("a",)) == (2, 1)


@pytest.mark.parametrize("text", ["<<: {a: 1}", "? [a]\n: b", "a: *none", "a: %b", ""])
def test_what_envoy_refuses_is_refused(text: str) -> None:
    assert refusal(text)


ONE = """
static_resources:
  listeners:
    name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0x2710}}
    enable_reuse_port: "no"
    tcp_backlog_size: 0x40
    additionalAddresses:
      address: {socket_address: {address: 127.0.0.1, port_value: 10001}}
      socket_options: {socket_options: {level: 1, name: 9, int_value: 1}}
    filter_chains: {filters: {name: echo}}
  clusters: {name: one}
"""


def test_one_message_is_a_list_of_one() -> None:
    static = with_lists(data(ONE))["static_resources"]
    (listener,) = static["listeners"]
    assert listener["filter_chains"] == [{"filters": [{"name": "echo"}]}]
    (more,) = listener["additionalAddresses"]
    assert more["socket_options"]["socket_options"] == [{"level": 1, "name": 9, "int_value": 1}]
    assert static["clusters"] == [{"name": "one"}]
    assert with_lists([1]) == [1]


def test_draft_and_scenario_find_what_the_file_has(tmp_path: Path) -> None:
    config = with_lists(data(ONE))
    first, second = draft_of_config(config).sets
    assert (first.sockets, first.via, first.backlog) == (1, "dup", 64)
    assert [option.name for option in second.options] == ["SO_REUSEADDR", "SO_KEEPALIVE"]
    (tmp_path / "envoy.yaml").write_text(ONE)
    scenario = tmp_path / "front.yaml"
    scenario.write_text(
        "name: front\nenvoy: {config: envoy.yaml}\nmatrix: {transparent: [true]}\n"
        "expect: [{listener: {name: front}, served_by: workers}]\n"
    )
    (plan,) = expand(load_scenario(scenario))
    assert plan.listeners == configured_listeners(config)
    assert plan.config["static_resources"]["listeners"][0]["transparent"] is True
