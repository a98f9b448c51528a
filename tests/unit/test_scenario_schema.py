"""The JSON Schema is current, and says of a document's structure what the loader says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert.errors import ScenarioError
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.schema import SCHEMA_FILE, scenario_schema, schema_text
from envoyassert.scenario.source import parse_yaml
from envoyassert.steps.registry import KINDS
from envoyassert.words.listener import WORDS

VALIDATOR = jsonschema_rs.Draft202012Validator(scenario_schema(), validate_formats=True)

#: Uses every word of the language, many of them in each of their forms.
EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "description": "Every word once.",
    "requires": {"envoy": ">=1.20, <2.0", "kernel": ">=5.15", "launcher": "process"},
    "marks": ["slow"],
    "timeout": "2m",
    "assume": ["complete", "comm_is_role"],
    "matrix": {
        "concurrency": [1, 2],
        "static_resources.listeners.0.freebind": [True, False],
        "reuse": {"default": {}, "off": {"admin": {"x": 1}}},
    },
    "envoy": {
        "version": "1.40.0",
        "pull": "never",
        "concurrency": 2,
        "config": {"admin": {"profile_path": None}},
        "overlay": {"admin": {"profile_path": None}},
        "files": {"lds.yaml": {"resources": []}, "certs/key.pem": "text"},
        "xds": {
            "via": "ads",
            "listeners": [{"name": "served"}],
            "resources": [{"@type": "x/envoy.config.route.v3.RouteConfiguration", "name": "later"}],
            "withheld": ["later"],
        },
        "control_plane": "empty",
        "args": ["--log-level", "info"],
        "agent": ["/bin/sh", "-c", "x"],
        "netns": ["blue", {"name": "red", "file": "/run/netns/red", "addresses": ["10.1.2.4"]}],
        "addresses": ["10.1.2.3", "fd00::1%eth0", "%eth1"],
        "stand_in": {"/etc/tls.crt": "certificate", "/etc/lds.yaml": {"file": "lds.yaml"}},
        "empty_clusters": ["backend"],
        "env": {"A": "b"},
        "deadline": 7.5,
    },
    "steps": [
        {
            "fault": {"call": "bind", "nth": 2, "onwards": True, "error": "EACCES"},
            "before": "startup",
        },
        {"fault": {"call": "listen", "delay": "1ms"}, "before": "startup"},
        {
            "limit": {"uid": 1, "capabilities": ["CAP_CHOWN"], "ip_unprivileged_port_start": 80},
            "before": "startup",
        },
        {"limit": {"seccomp": "none", "no_new_privs": False}, "before": "startup"},
        {"wait_for": {"call": {"call": "close"}}, "name": "first", "deadline": "30s"},
        {"wait_for": {"stat": {"name": "x", "equals": 1, "at_least": 1, "at_most": 1}}},
        {"wait_for": {"ready": True}, "name": "second"},
        {"wait_for": {"exit": True}, "name": "third"},
        {"update_listeners": {"add": [{"name": "more"}], "change": {"served": {"x": None}}}},
        {"update_listeners": {"remove": ["more"]}, "name": "fewer"},
        {"update_listeners": {"set": [], "release": ["later"]}, "name": "none"},
        {
            "wait_for": {"state": {"listener": {"port": 1}, "served": False}},
            "name": "fourth",
        },
        {"signal": "SIGTERM"},
        {"quit": True},
        {"connect": {"listener": {"port": 1}, "times": 2, "held": True, "send": "x"}},
        {"talk": {"over": "connect", "send": "x", "batch": 2}},
        {"drain": {"graceful": True, "inbound_only": True, "skip_exit": True}},
        {
            "healthcheck": "fail",
            "load": {
                "listener": {"port": 1},
                "send": "x",
                "clients": 1,
                "per_second": 1,
                "around": 1,
                "answer_within": "1s",
            },
        },
        {"start": {"concurrency": 1, "overlay": {"admin": {"x": 1}}, "args": ["-l", "info"]}},
        {"hot_restart": {}},
        {"occupy": {"port": 1, "address": "::1", "protocol": "tcp", "listening": False}},
        {"name": "late", "occupy": {"port": 2, "reuse_port": True, "reuse_address": True}},
        {"redirect": {"address": "10.96.0.1", "port": 443, "to": 15001}, "name": "caught"},
        {"replace_file": {"path": "${rundir}/x", "content": ""}},
        {"limit": {"nofile": 64}},
        {"name": "fewer_files", "limit": {"spare_files": 1}},
    ],
    "expect": [
        {"never": {"call": "bind"}, "during": "first"},
        {"never": {"call": "bind"}, "at_end_of": "first"},
        {"update": {"result": "nack", "message_contains": "x"}, "at_end_of": "fewer"},
        {"listener": {"port": 1}, "reachable_by_address": True, "envoy": "start"},
        {
            "attempts": {
                **dict.fromkeys(("made", "refused", "answered", "held"), 1),
                **dict.fromkeys(("eof", "reset", "silent"), "none"),
            },
            "during": "connect",
        },
        {
            "listener": {"port": 1},
            "connections": {
                "total": 1,
                "accepted_by": "workers",
                "handled_by": "workers",
                "spread": {"of": "accepted", "even": {"false_alarm": 0.01}},
                "errors": {"EAGAIN": 1},
            },
        },
        {"listener": {"port": 1}, "connections": {"spread": {"differ_by": 1}}},
        {"listener": {"port": 1}, "listed_without_socket": True},
        {
            "listener": {"address": "::1", "port": 80, "protocol": "TCP"},
            "bound": {"times": 1, "by": "main"},
            "bind_failed": {"errno": "EADDRINUSE", "times": {"at_least": 1, "at_most": 3}},
            "listened": {"by": "workers", "via": "dup"},
            "served_by": "none",
            "listen_by": "worker_1",
            "via": "reuse_port",
            "sockets": {"ever": 1, "live": {"workers": 1, "plus": -1}, "serving": "workers"},
            "descriptors": {"exactly": {"workers": 2}},
            "listen_calls": {"times": 1, "by": "other"},
            "options": {
                "SO_REUSEPORT": "absent",
                "1/15": 1,
                "SOL_SOCKET/SO_REUSEADDR": {"value": "01", "phase": "STATE_PREBIND"},
                "SO_LINGER": {"value": {"onoff": 1, "linger_s": 5}},
                "SO_ATTACH_FILTER": {"value": {"instructions": 1, "sha256": "0123abcd"}},
            },
            "only_options": {
                "before_bind": {"SO_REUSEADDR": 1, "SO_RCVBUF": [4096, "set"]},
                "bound": {"SO_LINGER": {"onoff": 1, "linger_s": 5}},
                "listening": {"SO_ATTACH_FILTER": {"instructions": 1}, "1/15": "01"},
            },
            "backlog": {"requested": -1, "effective": "somaxconn"},
            "in_order": ["bind", {"call": ["listen", "dup"], "succeeds": True}],
            "when": {"concurrency": [1, 2], "envoy": ">=1.20, <2.0"},
            "why": "It matters.",
            "known_defect": {
                "versions": "<1.40",
                "owner": "me",
                "upstream": "unreported",
                "what": "It waits.",
            },
        },
        {"listener": {"name": "admin", "address": "0.0.0.0"}, "backlog": 5, "sockets": 1},
        {"listener": {"path": "/x"}, "descriptors": {"at_least": 1}, "listen_calls": 1},
        {"listener": {"abstract": "x"}, "listen_calls": {"at_most": "workers"}},
        {
            "listener": {"path": "/x"},
            "origin": {"created": 1, "inherited": "none"},
            "registered": {"events": ["EPOLLIN", "EPOLLET"], "trigger": "edge"},
            "socket_file": {
                "unlinked_before_bind": True,
                "mode": "0660",
                "exists_after_exit": True,
            },
        },
        {"listener": {"path": "/x"}, "registered": ["EPOLLIN"]},
        {
            "listener": {"name": "x"},
            "take": "each_address",
            "sockets": {"live": "none", "live_at": "live"},
            "descriptors": {"live": {"between": [1, "workers"]}, "each": "socket"},
            "listen_calls": {"times": {"between": [1, {"workers": 2}]}, "each": "socket"},
        },
        {
            "listener": {"name": "x"},
            "take": "total",
            "sockets": {"serving": 1, "each": "worker", "live_at": {"call": "listen"}},
            "descriptors": {"serving": 1, "each": "worker"},
            "listen_calls": "none",
        },
        {"calls": {"call": "dup", "times": "none", "each": "worker"}},
        {"calls": {"call": "dup", "listener": {"port": 80}, "each": "socket"}},
        {"process": {"live": True, "within": "5s", "stays_up": False, "exits": "nonzero"}},
        {"process": {"exits": 1}, "when": {"reuse": "off"}},
        {"in_order": [{"call": "bind"}, {"call": "listen", "by": "workers"}]},
        {"in_order": ["start", {"listener": {"port": 80}, "becomes": "bound"}, "live", "end"]},
        {
            "moment": {"call": "bind", "which": "last"},
            "before": {"listener": {"name": "x"}, "becomes": "served", "by": "workers"},
            "within": "5s",
            "each": "socket",
        },
        {"moment": "live", "after": "start", "before": {"call": "listen"}},
        {
            "between": [{"call": ["bind"]}, {"call": "listen", "which": "first"}],
            "lasts": {"at_least": "1s", "at_most": 5, "tolerance": 0.5},
            "each": "worker",
        },
        {
            "always": {"listener": {"port": 80}, "served": True, "by": "workers"},
            "since": {"call": "listen"},
            "until": "end",
            "except_for": "10ms",
        },
        {"always": {"listener": {"port": 80}, "listening": False}},
        {
            "startup": {
                "listener": {"port": 80},
                "first_listen": {"at_most": 1},
                "bind_to_listen": {"at_most": 1},
                "listen_to_served": {"at_least": 1},
                "served_to_live": {"at_most": 1, "tolerance": 1},
            }
        },
        {"listener": {"name": "x"}, "let": {"one": "socket", "two": "port"}},
        {"calls": {"call": "listen", "let": {"one": "socket", "two": "port"}}},
        {"always": {"listener": {"port": 80}, "bound": True}},
        {"never": {"call": "setsockopt", "args": {"name": "SO_MARK"}, "errno": "EPERM"}},
        {"never": {"call": "bind", "stack": {"contains": "a"}}},
        {"calls": {"call": "bind", "stack": {"same_as": {"call": "bind", "by": "main"}}}},
        {"calls": {"call": "dup", "stack": {"call_site": {"0" * 40: ["1" * 12]}}}},
        {"no_others": True},
        {"invariants": "all"},
        {"invariants": ["accepts_succeed"], "why": "No spin."},
        {"no_others": {"allow": ["hot_restart", "admin"]}},
        {"matches_config": True, "except": ["in.backlog"]},
        {"calls": {"call": "bind", "listener": {"port": 80}, "times": {"exactly": 1}}},
    ],
}
#: A kind of step that is not above is there by its own example.
EVERYTHING["steps"] += [
    parse_yaml(f"{{{kind.examples[name]}}}", "example").data
    for name, kind in KINDS.items()
    if not any(name in step for step in EVERYTHING["steps"])
]

#: So is a word of a listener.
EVERYTHING["expect"] += [
    {"listener": {"port": 80}, **parse_yaml(f"{{{word.example.members}}}", "example").data}
    for name, word in WORDS.items()
    if not any(name in item for item in EVERYTHING["expect"])
]

#: What the loader checks beyond the schema (see `envoyassert.scenario.schema`), by its messages.
BEYOND = (
    "before Envoy starts there is no network namespace",
    "in a container the image's entry point starts Envoy",
    "in a container Envoy may not enter another network namespace",
    "the network of a container begins with its Envoy",
    "the start comes before all steps",
    "is not the name of an error",
    "is another name of",
    "has no argument",
    "is not a value of",
    "an address has no",
    "no number is at least",
    "no duration is at least",
    "the name is `",
    "`when` asks for",
    "is never `",
    "is given once and joins nothing",
    "no step is called",
    "no step before this one",
    "an axis cannot be called",
    "is neither a plain field of",
    "no step starts an Envoy",
    "whose attempts are meant",
    "there is a phase",
    "is a state and not",
    "is about start-up",
    "either during or at_end_of",
    " here and a ",
)


def schema_accepts(document: Any) -> bool:
    return VALIDATOR.is_valid(document)


def loader_accepts(document: Any) -> bool:
    """Return whether the loader accepts a document's structure. JSON is YAML too."""
    try:
        parse_scenario(json.dumps(document, indent=1), Path("everything.yaml"))
    except ScenarioError as error:
        messages = [problem.message for problem in error.problems]
        return all(any(text in message for text in BEYOND) for message in messages)
    return True


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, value
    members = value.items() if isinstance(value, dict) else ()
    elements = enumerate(value) if isinstance(value, list) else ()
    for key, member in [*members, *elements]:
        yield from nodes(member, (*path, key))


def test_schema_file_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m envoyassert.scenario.schema"
    )


def test_schema_is_a_schema() -> None:
    jsonschema_rs.meta.validate(scenario_schema())


def test_every_word_of_the_schema_has_a_description() -> None:
    bare = [
        f"{name}.{key}"
        for name, model in {"": scenario_schema(), **scenario_schema()["$defs"]}.items()
        for key, field in model.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert bare == []


def test_document_with_every_word_is_accepted_by_both() -> None:
    text = json.dumps(EVERYTHING)
    parse_scenario(text, Path("everything.yaml"))
    VALIDATOR.validate(EVERYTHING)


def test_document_with_every_word_leaves_none_out() -> None:
    defined = {
        key
        for model in [scenario_schema(), *scenario_schema()["$defs"].values()]
        for key in model.get("properties", {})
        if not key.isupper()
    }
    used = {key for path, value in nodes(EVERYTHING) if isinstance(value, dict) for key in value}
    assert defined - used - {"image", "binary", "spare", "socket"} - OPTIONS == set()


OPTIONS = set(
    scenario_schema()["$defs"]["ListenerExpectation"]["properties"]["options"]["properties"]
)

#: One document for each step, one for each item of `expect`, and one for the rest: small ones are
#: checked fast.
HEAD = {**EVERYTHING, "steps": [], "expect": [{"no_others": True}]}
OF_STEPS = [
    {
        "name": "everything",
        "requires": EVERYTHING["requires"],
        "envoy": {"config": {}, "xds": EVERYTHING["envoy"]["xds"]},
        "steps": [step],
        "expect": [{"no_others": True}],
    }
    for step in EVERYTHING["steps"]
]
OF_ITEMS = [
    {
        "name": "everything",
        "matrix": EVERYTHING["matrix"],
        "envoy": {"config": {}},
        "expect": [item],
    }
    for item in EVERYTHING["expect"]
]
DOCUMENTS = [HEAD, *OF_STEPS, *OF_ITEMS]
PLACES = [(HEAD, path) for path, _ in nodes(HEAD) if path] + [
    (document, path)
    for documents, part in ((OF_STEPS, "steps"), (OF_ITEMS, "expect"))
    for document in documents
    for path, _ in nodes(document)
    if path[1:] and path[0] == part
]
KEYS = sorted(
    {str(key) for path, value in nodes(EVERYTHING) if isinstance(value, dict) for key in value}
    | {"image", "binary", "spare", "SO_REUSEPORT", "by", "x"}
)
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 70000, "", "x", "main", "workers", "worker_3", "set",
    "absent", "dup", "5s", "0s", "UDP", "1.40.0", "bind", "::1", "1.2.3", "1/15", "TCP", "nonzero",
    "/x", "../x", "--concurrency=2", "-c", [], [1], [1, 1], ["bind"], ["bind", "listen"], [None],
    {}, {"x": 1}, {"x": {}}, {"x": [1]}, {"port": 80}, {"name": "x"}, {"at_least": 1},
    {"at_least": 1, "exactly": 1}, {"workers": 1}, {"plus": 1}, {"live": True}, {"live": 1},
    {"call": "bind"}, {"call": []}, {"times": 1}, {"by": "main"}, {"requested": 5}, {"value": 1},
    {"allow": []}, {"exits": 0}, {"exits": 0, "stays_up": True}, {"within": 5, "live": True},
    {"within": 5}, "live", "end", "every", "socket", ["start", "live"], {"at_most": "5s"},
    {"at_least": "5s", "at_most": "5s"}, {"moment": "live", "after": "start"}, {"served": True},
    {"listener": {"port": 1}, "becomes": "served"}, {"call": "bind", "which": "first"},
    {"listener": {"port": 1}, "becomes": "bound", "by": "main"}, {"between": ["start", "live"]},
    {"listener": {"port": 1}, "served": True, "by": "main"},
    {"listener": {"port": 1}, "bound": True, "by": "main"}, "none", "worker", "total",
    {"between": [1, 2]}, {"between": [1]}, {"between": [1, 2], "at_least": 1}, {"envoy": ">=1.20"},
    {"envoy": "1.20"}, {"envoy": [1]}, {"serving": 1, "each": "worker"},
    {"ever": 1, "each": "worker"},
    {"each": "socket"}, {"live_at": "live", "ever": 1}, {"live_at": "live", "live": 1},
    {"let": {"one": "socket"}}, {"one": "socket"}, {"One": "socket"}, {"one": "sockets"},
    {"startup": {"first_listen": {"at_most": 1}}}, {"first_listen": {"at_most": 1}},
    {"call": "dup", "each": "socket"}, {"call": "dup", "each": "worker"},
    {"listener": {"port": 1}}, {"listener": {"port": 1}, "via": "dup"},
    {"process": {"live": True}}, {"no_others": True}, {"no_others": False},
    {"process": {"live": True}, "never": {"call": "bind"}},
    {"events": ["EPOLLIN"], "trigger": "edge"}, {"events": ["EPOLLET"], "trigger": "edge"},
    {"trigger": "level"}, ["EPOLLIN"], ["EPOLLIX"], {"mode": "0660"}, {"mode": "0990"},
    {"listener": {"port": 1}, "socket_file": {"mode": "0660"}}, {"created": 1},
]  # fmt: skip


def changed(document: Any, path: tuple[Any, ...], how: str, key: str, value: Any) -> Any:
    """Return a copy with the node at `path` deleted, renamed, replaced, or given a new member."""
    document = copy.deepcopy(document)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    last = path[-1]
    if how == "delete":
        del holder[last]
    elif how == "replace":
        holder[last] = value
    elif how == "rename" and isinstance(holder, dict):
        holder[key] = holder.pop(last)
    elif how == "add" and isinstance(holder[last], dict):
        holder[last][key] = value
    elif how == "add" and isinstance(holder[last], list):
        holder[last].append(value)
    return document


@pytest.mark.parametrize(
    "number", range(len(PLACES)), ids=lambda number: ".".join(map(str, PLACES[number][1]))
)
def test_schema_and_loader_agree_on_one_change(number: int) -> None:
    document, path = PLACES[number]
    variants: list[tuple[str, str, Any]] = [("delete", "", None), ("rename", "x", None)]
    # Every eighth value at each place: the places are many more than these.
    variants += [("replace", "", value) for value in VALUES[number % 8 :: 8]]
    variants += [("add", key, "main") for key in KEYS[number % 32 :: 32]]
    for how, key, value in variants:
        other = changed(document, path, how, key, value)
        assert schema_accepts(other) == loader_accepts(other), (how, key, value)


CHANGES = st.tuples(
    st.sampled_from(["delete", "rename", "replace", "add"]),
    st.sampled_from(KEYS),
    st.sampled_from(VALUES),
)


@given(st.data(), st.sampled_from(DOCUMENTS), st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_schema_and_loader_agree_on_several_changes(
    data: st.DataObject, document: Any, changes: list[tuple[str, str, Any]]
) -> None:
    for how, key, value in changes:
        paths = [path for path, _ in nodes(document) if path]
        if paths:
            document = changed(document, data.draw(st.sampled_from(paths)), how, key, value)
    assert schema_accepts(document) == loader_accepts(document)


RUNNABLE = {
    "name": "runnable",
    "matrix": {
        "concurrency": [1, 2],
        "freebind": [True, False],
        "static_resources.listeners.a.transparent": [True],
        "which": {"one": {"static_resources": {"listeners": {"0": {"x": 1}}}}, "none": {}},
    },
    "envoy": {
        "config": {
            "admin": {"address": {"pipe": {"path": "${rundir}/admin"}}},
            "static_resources": {"listeners": [{"name": "a"}, {"name": "b", "x": None}]},
        },
        "overlay": {"static_resources": {"listeners": {"b": {"x": None}}}},
        "files": {"lds.yaml": {"resources": []}},
    },
    "expect": [
        {"listener": {"name": "a"}, "bound": {"times": 1}, "when": {"which": "one"}},
        {"listener": {"path": "${rundir}/admin"}, "in_order": ["bind", {"call": "listen"}]},
    ],
}


@given(st.data(), st.lists(CHANGES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_document_gives_runs_or_problems(
    data: st.DataObject, changes: list[tuple[str, str, Any]]
) -> None:
    document: Any = RUNNABLE
    for how, key, value in changes:
        paths = [path for path, _ in nodes(document) if path]
        document = changed(document, data.draw(st.sampled_from(paths)), how, key, value)
    text = json.dumps(document)
    try:
        plans = expand(parse_scenario(text, Path("runnable.yaml"), read_config=lambda _: "a: 1"))
    except ScenarioError as error:
        problems = error.problems
        assert all(problem.line and problem.message for problem in problems)
    else:
        assert len({plan.id for plan in plans}) == len(plans) > 0
        assert all("${rundir}" not in plan.in_rundir("/r").config_text() for plan in plans)


def test_runnable_document_has_runs() -> None:
    plans = expand(parse_scenario(json.dumps(RUNNABLE), Path("runnable.yaml")))
    assert len(plans) == 8


BROKEN = Path(__file__).parent / "broken"
#: Broken scenarios whose structure is at fault: the schema refuses them too.
STRUCTURAL = (
    "bad_duration", "expects_nothing", "file_outside", "list_at_top", "list_for_mapping",
    "misplaced_key", "missing_key", "no_subject", "no_value", "number_for_text", "out_of_range",
    "own_argument", "repeated_value", "text_for_number", "two_selectors", "two_sources",
    "two_subjects", "unknown_call", "unknown_key", "unknown_option", "wrong_form", "wrong_moment",
    "wrong_role", "wrong_word",
)  # fmt: skip


@pytest.mark.parametrize(
    "content, fits",
    [
        ({"from": "other.yaml"}, True),
        ({"from": "other.yaml", "mode": 7}, False),
        ({"resources": []}, True),
        ("text", True),
    ],
)
def test_schema_knows_what_stands_beside_the_name_of_a_file(content: Any, fits: bool) -> None:
    envoy = {"config": "envoy.yaml", "files": {"lds.yaml": content}}
    document = {"name": "x", "envoy": envoy, "expect": [{"no_others": True}]}
    assert schema_accepts(document) is fits
    assert loader_accepts(document) is fits


@pytest.mark.parametrize("name", STRUCTURAL)
def test_schema_refuses_what_the_loader_refuses_for_its_structure(name: str) -> None:
    text = (BROKEN / f"{name}.yaml").read_text(encoding="utf-8")
    assert not schema_accepts(yaml.safe_load(text))
    with pytest.raises(ScenarioError):
        parse_scenario(text, BROKEN / f"{name}.yaml")
