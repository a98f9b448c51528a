"""What `check` says of expectations that something is not there: over what, and of whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.cli import main
from envoyassert.scenario.load import LoadedScenario, parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.scope import of_no_listener, over_the_run

CONFIG = """\
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources:
      listeners:
      - name: web
        address: {socket_address: {address: 127.0.0.1, port_value: 80}}
        additional_addresses: [{address: {socket_address: {address: "::1", port_value: 81}}}]
      - name: silent
        bind_to_port: false
        address: {socket_address: {address: 0.0.0.0, port_value: 82}}
      - name: file
        address: {pipe: {path: "${rundir}/l.sock"}}
"""
HEAD = "name: x\nrequires: {launcher: process}\nenvoy:\n  config:\n" + CONFIG
WAIT = "steps:\n- wait_for: {ready: true}\n"


def scenario(item: str, steps: str = WAIT, head: str = HEAD) -> LoadedScenario:
    text = f"{head}{steps}expect:\n- {item}\n- process: {{live: true}}\n"
    return parse_scenario(text, Path("x.yaml"))


@pytest.mark.parametrize(
    "item, part",
    [
        ("never: {call: close}", "never"),
        ("calls: {call: close, times: 0}", "calls"),
        ("calls: {call: close, times: none}", "calls"),
        ("no_others: true", "no_others"),
        ("{never: {call: close}, envoy: first}", "never"),
    ],
)
def test_what_is_judged_over_the_whole_run_by_default_is_pointed_out(item: str, part: str) -> None:
    ((place, words),) = over_the_run(scenario(item).scenario)
    assert place == ("expect", 0, part)
    assert "over the whole run" in words
    assert "`at_end_of: startup`" in words
    before = "steps:\n- {before: startup, limit: {nofile: 100}}\n"
    assert over_the_run(scenario(item, "").scenario) == []
    assert over_the_run(scenario(item, before).scenario) == []


@pytest.mark.parametrize(
    "item",
    [
        "{never: {call: close}, at_end_of: startup}",
        "{never: {call: close}, during: wait_for}",
        "{no_others: true, at_end_of: wait_for}",
        "calls: {call: close, times: 1}",
        "calls: {call: close, times: {at_least: 0, at_most: 2}}",
        "{listener: {port: 80}, bound: {times: 0}}",
    ],
)
def test_what_says_its_scope_and_what_must_be_is_not_pointed_out(item: str) -> None:
    assert over_the_run(scenario(item).scenario) == []


@pytest.mark.parametrize(
    "selector, words",
    [
        ("port: 83", "port 83"),
        ("port: 80, address: 127.0.0.2", "address 127.0.0.2, port 80"),
        ("port: 80, protocol: UDP", "port 80, protocol UDP"),
        ("port: 80, netns: /run/netns/blue", "port 80, netns /run/netns/blue"),
        ("name: web, port: 82", "listener web, port 82"),
        ("path: /other.sock", "path /other.sock"),
        ("abstract: other", "abstract other"),
    ],
)
@pytest.mark.parametrize(
    "form", ["never: {{call: close, {}}}", "calls: {{call: close, times: 0, {}}}"]
)
def test_call_that_is_forbidden_at_an_address_of_no_listener_is_a_warning(
    form: str, selector: str, words: str
) -> None:
    item = form.format(f"listener: {{{selector}}}")
    ((place, reason),) = of_no_listener(expand(scenario(item)))
    assert place[2:] == (item.partition(":")[0], "listener")
    assert reason == (
        f"no listener is at {words}; there are 127.0.0.1:9901, 127.0.0.1:80, [::1]:81, "
        "0.0.0.0:82, ${rundir}/l.sock (if that is meant, `why` says so)"
    )


@pytest.mark.parametrize("word", ["bound: {times: 0}", "served_by: none", "sockets: 0"])
def test_statement_about_an_address_of_no_listener_is_a_warning_unless_it_says_why(
    word: str,
) -> None:
    item = f"{{listener: {{port: 83}}, {word}}}"
    ((place, _),) = of_no_listener(expand(scenario(item)))
    assert place == ("expect", 0, "listener")
    assert of_no_listener(expand(scenario(item.replace("port: 83", "port: 80")))) == []
    assert of_no_listener(expand(scenario(item.removesuffix("}") + ", why: it was moved}"))) == []


@pytest.mark.parametrize(
    "selector",
    [
        "port: 80",
        "port: 80, address: 127.0.0.1, protocol: TCP, netns: own",
        "port: 80, protocol: MPTCP",
        'port: 81, address: "0:0::1"',
        "port: 82",  # that it has no socket is worth to be said
        "port: 9901",
        "name: web",
        "name: web, port: 81",
        'path: "${rundir}/l.sock"',
    ],
)
def test_call_that_is_forbidden_on_a_listener_of_the_config_is_no_warning(selector: str) -> None:
    item = f"never: {{call: close, listener: {{{selector}}}}}"
    assert of_no_listener(expand(scenario(item))) == []


ECHO = "address: {socket_address: {address: 127.0.0.1, port_value: 83}}"


REPLACED = (
    'steps:\n- replace_file: {path: "${rundir}/lds.json", content: \'{resources: [{"@type": '
    f"type.googleapis.com/envoy.config.listener.v3.Listener, name: more, {ECHO}}}]}}'}}\n"
)


@pytest.mark.parametrize(
    "steps",
    [
        f"steps:\n- update_listeners: {{add: [{{name: more, {ECHO}}}]}}\n",
        f"steps:\n- update_listeners: {{change: {{served: {{{ECHO}}}}}}}\n",
        f"steps:\n- start: {{overlay: {{static_resources: {{listeners: {{web: {{{ECHO}}}}}}}}}}}\n",
        REPLACED,
    ],
)
def test_listeners_that_come_later_are_listeners_too(steps: str) -> None:
    head = HEAD
    if "update" in steps:
        head += f"  xds: {{via: file, listeners: [{{name: served, {ECHO.replace('83', '84')}}}]}}\n"
    item = "never: {call: listen, listener: {port: 83}}"
    assert of_no_listener(expand(scenario(item, steps, head))) == []
    assert len(of_no_listener(expand(scenario(item, WAIT, head)))) == 1


def test_listener_of_one_run_of_a_matrix_is_enough() -> None:
    axis = "static_resources.listeners.0.address.socket_address.port_value"
    head = HEAD.replace("envoy:", f"matrix: {{{axis}: [80, 83]}}\nenvoy:", 1)
    item = "never: {call: listen, listener: {port: 83}}"
    assert of_no_listener(expand(scenario(item, WAIT, head))) == []


def test_listeners_from_elsewhere_may_be_anywhere() -> None:
    ads = "    dynamic_resources: {lds_config: {ads: {}, resource_api_version: V3}}\n"
    item = "never: {call: listen, listener: {port: 83}}"
    assert of_no_listener(expand(scenario(item, WAIT, HEAD + ads))) == []


def test_variable_stands_for_what_another_expectation_found() -> None:
    text = HEAD + WAIT + "expect:\n- {listener: {name: web, port: 80}, let: {one: port}}\n"
    text += "- never: {call: close, listener: {port: $one}}\n"
    assert of_no_listener(expand(parse_scenario(text, Path("x.yaml")))) == []


def test_check_prints_both_with_their_places_and_takes_the_file_for_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    text = f"{HEAD}{WAIT}expect:\n- never: {{call: close, listener: {{port: 83}}}}\n"
    path.write_text(text, encoding="utf-8")
    line = text.count("\n")

    with pytest.raises(SystemExit) as ended:
        main(["check", str(path)])

    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"{path}:{line}:24: warning: no listener is at port 83" in printed
    assert f"{path}:{line}:3: note: judged over the whole run" in printed
