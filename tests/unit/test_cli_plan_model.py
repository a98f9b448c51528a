"""plan --model: inputs, forms and exit codes of the answer for which nothing is run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from envoyassert.cli import plan as command
from envoyassert.predict.effects import Fate, Gap, Kind, Topic, Way, Why
from envoyassert.review.markdown import folded
from envoyassert.transition.observed import Observed
from envoyassert.transition.outcome import Report
from tests.unit.cli_words import run_cli

Written = Callable[..., Path]
ROOT = Path(__file__).parents[2]
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
KEY = "-----BEGIN PRIVATE KEY-----"


def listener(name: str = "ingress", port: int = 10000, **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{"filters": []}], **more}


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, "plan", *arguments)


@pytest.fixture
def write(tmp_path, monkeypatch) -> Written:
    monkeypatch.chdir(tmp_path)

    def written(file: str, *listeners: dict[str, Any], **more: Any) -> Path:
        path = Path(file)
        config = {"static_resources": {"listeners": [*listeners]}, **more}
        path.write_text(yaml.safe_dump(config))
        return path

    return written


@pytest.mark.parametrize(
    "more, code",
    [({}, 0), ({"stat_prefix": "x"}, 1), ({"freebind": True}, 3), ({"reuse_port": True}, 1)],
)
def test_the_exit_code_says_none_changes_or_lost(cli, write, more, code):
    done = cli("--model", write("old.yaml", listener()), write("new.yaml", listener(**more)))
    assert (done.code, done.err) == (code, "")


def test_only_what_changes_is_shown_unless_all_is_asked_for(cli, write):
    old = write("old.yaml", listener(), listener("other", 10001))
    new = write("new.yaml", listener(stat_prefix="x"), listener("other", 10001))
    done = cli("--model", old, new)
    assert "other" not in done.out
    assert "1 listener not shown, nothing happens to it (--all)" in done.out
    everything = cli("--model", old, new, "--all")
    assert "    other 127.0.0.1:10001 TCP" in everything.out
    assert "not shown" not in everything.out


def test_listeners_that_are_not_shown_are_counted(cli, write):
    same = [listener(f"same{port}", port) for port in (10002, 10003)]
    old = write("old.yaml", listener(), *same)
    done = cli("--model", old, write("new.yaml", listener(stat_prefix="x"), *same))
    assert "2 listeners not shown, nothing happens to them (--all)" in done.out


def test_ways_are_those_that_are_asked_for(cli, write):
    files = write("old.yaml", listener()), write("new.yaml", listener(stat_prefix="x"))
    done = cli("--model", *files, "--way", "push", "--way", "restart", "--format", "json")
    assert [*json.loads(done.out)["model"]["ways"]] == ["push", "restart"]
    done = cli("--model", *files, "--way", "all", "--format", "json")
    assert [*json.loads(done.out)["model"]["ways"]] == ["push", "hot-restart", "restart"]


def test_symbols_are_those_of_what_happens(cli, write):
    old = write(
        "old.yaml", listener("same", 1), listener("gone", 2), listener("new_sockets", 3),
        listener("refused", 4), listener("changed", 5),
    )  # fmt: skip
    new = write(
        "new.yaml", listener("same", 1), listener("new_sockets", 3, freebind=True),
        listener("refused", 4, enable_reuse_port=False), listener("changed", 5, stat_prefix="x"),
        listener("added", 6),
    )  # fmt: skip
    done = cli("--model", old, new, "--way", "push")
    heads = [line.split(" 127")[0] for line in done.out.splitlines() if line.endswith(" TCP")]
    assert heads == ["-   gone", "-/+ new_sockets", "!   refused", "~   changed", "+   added"]
    assert "push: 1 added, 1 changed, 1 replaced, 1 removed, 1 refused, 1 as before" in done.out


def test_json_has_typed_values_and_a_format(cli, write):
    files = write("old.yaml", listener()), write("new.yaml", listener(freebind=True))
    data = json.loads(cli("--model", *files, "--format", "json").out)
    assert data["format"] == "envoyassert-plan/2"
    assert (data["run"], data["verdict"]) == (None, None)
    push = data["model"]["ways"]["push"]
    assert push["workers"] == {"before": 2, "after": 2}
    (ingress,) = push["listeners"]
    assert ingress["sockets"] == {"kept": 0, "closed": 2, "left": 0, "made": 2}
    assert ingress["wakes"] == {"at_most": 1}
    (field,) = ingress["fields"]
    assert (field["field"], field["before"], field["after"]) == ("freebind", None, True)
    assert field["forces_new_sockets"] is True


def test_markdown_is_a_table_per_listener_and_shows_no_text_as_its_own(cli, write):
    old = write("old.yaml", listener("a|b"))
    new = write("new.yaml", listener("a|b", stat_prefix="<img src=x> @everyone"))
    done = cli("--model", old, new, "--format", "markdown")
    assert done.out.startswith(
        "<!-- envoyassert plan -->\n### envoyassert plan: Listeners change, and nothing is lost\n"
    )
    assert "#### `~` a\\|b `127.0.0.1:10000` TCP" in done.out
    assert "|  | push | hot restart | restart |\n|---|---|---|---|\n" in done.out
    outside = [text for line in done.out.splitlines() for text in line.split("`")[::2]]
    assert not any("<img" in text or "@every" in text for text in outside)


def test_code_of_markdown_ends_where_its_text_does(cli, write):
    """Backquotes of a value ended the code, and a bar had a backslash that was shown."""
    new = write("new.yaml", listener(stat_prefix="a``b <img> | c", freebind=True))
    done = cli("--model", write("old.yaml", listener()), new, "--format", "markdown")
    assert "- `+` ``` stat_prefix: a``b <img> | c ```\n" in done.out


def test_what_the_model_does_not_know_is_in_the_title(cli, write):
    """`nothing is lost` stood over a listener of which that is not known."""
    source: dict[str, Any] = {"dynamic_resources": {"lds_config": {"ads": {}}}}
    old, same = write("old.yaml", **source), write("same.yaml", **source)
    done = cli("--model", old, same, "--format", "markdown")
    assert "### envoyassert plan: No listener is known to change\n" in done.out
    assert "\nno changes are known: there is no listener\n" in cli("--model", old, same).out
    new = write("new.yaml", listener(stat_prefix="x"), **source)
    old = write("old.yaml", listener(), **source)
    done = cli("--model", old, new, "--format", "markdown")
    assert "plan: Listeners change, and not all that is lost is known\n" in done.out


def test_text_that_is_folded_away_cannot_end_its_block():
    lines = folded("Both", ["a ```` b", "c"])
    assert lines == [
        "<details><summary>Both</summary>", "", "`````text", "a ```` b", "c", "`````", "",
        "</details>",
    ]  # fmt: skip
    assert folded("Both", ["c"])[2] == "```text"


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_what_may_be_secret_is_in_no_form(cli, write, form):
    chain = {"transport_socket": {"typed_config": {"inline_string": KEY}}}
    old = write("old.yaml", listener(), cluster_manager={"key": "old"})
    new = write(
        "new.yaml",
        listener(filter_chains=[chain], access_log=[{"key": KEY}], metadata={"key": KEY}),
        cluster_manager={"key": KEY},
    )
    done = cli("--model", old, new, "--format", form)
    assert "filter_chains" in done.out
    assert KEY not in done.out


def test_every_fact_of_the_json_is_documented(cli, write):
    old = write("old.yaml", listener(), listener("gone", 10001))
    new = write("new.yaml", listener(freebind=True), overload_manager={"actions": []})
    data = json.loads(cli("--model", old, new, "--format", "json").out)
    section = (ROOT / "docs/comparing.md").read_text("utf-8").partition("### Exit codes and")[2]
    section = section.partition("### `--transition`")[0]
    way = data["model"]["ways"]["push"]
    one, other = way["listeners"][-1], way["others"][0]
    facts = [data, data["model"], data["model"]["ways"], way, one, other, one["fields"][0]]
    facts += [one["sockets"], one["queue"], one["wakes"], one["addresses"]]
    names = {name for fact in facts for name in fact}
    kinds = (Kind, Fate, Gap, Why, Topic, Way)
    names |= {member.value for kind in kinds for member in kind}
    documented = {*re.findall(r"[`\"]([\w.-]+)[`\"]", section)}
    assert names - documented == set()


def test_the_documentation_shows_what_is_printed(cli, write):
    write("envoy.yaml", listener(freebind=True), listener("egress", 10001))
    old = write("old.yaml", listener(), listener("egress", 10001))
    done = cli("--model", old, "envoy.yaml")
    page = (ROOT / "docs/comparing.md").read_text("utf-8")
    assert done.out.replace("old.yaml", "HEAD~1:envoy.yaml", 1) in page


def test_what_is_not_a_listeners_is_shown_with_what_it_needs(cli, write):
    old = write("old.yaml", listener())
    new = write(
        "new.yaml",
        listener(),
        overload_manager={"actions": []},
        layered_runtime={"layers": [{"name": "x", "static_layer": {"a.b": 1}}]},
    )
    done = cli("--model", old, new, "--set", "--socket-path=@other")
    assert done.code == 3
    words = " ".join(done.out.split())
    assert "+ overload_manager.actions: 0 entries" in words
    assert "+ layered_runtime.a.b: 1" in words
    assert "+ --socket-path: @other" in words
    assert "hot restart: the next epoch does not find the one before, and aborts" in words
    assert "push: not applied: it is read at a start alone" in words


def test_what_a_push_makes_a_black_hole_is_said(cli, write):
    old = write("old.yaml", listener(bind_to_port=True))
    done = cli("--model", old, write("new.yaml", listener(bind_to_port=False)), "--way", "push")
    assert done.code == 3
    assert "requests lost       all: no worker accepts" in done.out
    assert "the sockets listen and no worker accepts" in done.out


def test_udp_sockets_that_no_one_reads_are_said(cli, write):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 53, "protocol": "UDP"}}
    old = write("old.yaml", {"name": "dns", "address": address})
    new = write("new.yaml", {"name": "dns", "address": address, "freebind": True})
    done = cli("--model", old, new, "--way", "push", "--envoy", "1.40.0")
    assert "kernel sockets     2 left open, 2 made" in done.out
    assert "no one reads them" in " ".join(done.out.split())
    unsure = cli("--model", old, new, "--way", "push")
    assert "kernel sockets     not known" in unsure.out
    assert "not known: push: dns: kernel sockets: >=1.40 leaves them open" in unsure.out


def test_a_change_of_another_type_than_its_field_is_named(cli, write):
    done = cli("--model", write("old.yaml", listener()), "--set", "tcp_backlog_size=abc")
    assert (done.code, done.out) == (2, "")
    assert (
        "--set: `tcp_backlog_size=abc`: static_resources.listeners.0.tcp_backlog_size" in done.err
    )


@pytest.mark.parametrize("changes", ["dns", "another"])
def test_datagrams_that_no_one_reads_in_a_hot_restart_are_a_loss_before_1_40(cli, write, changes):
    """Whether it is the listener of the datagrams that changes, or not."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 53, "protocol": "UDP"}}
    more: dict[str, Any] = {"stat_prefix": "x"}
    dns = {"name": "dns", "address": address}
    old = write("old.yaml", listener(), dns)
    if changes == "dns":
        new = write("new.yaml", listener(), {**dns, **more})
    else:
        new = write("new.yaml", listener(**more), dns)
    asked = ("--model", old, new, "--way", "hot-restart")
    done = cli(*asked, "--envoy", "1.36.4")
    assert done.code == 3
    assert "datagrams lost     all until the old epoch ends" in done.out
    assert "no one reads datagrams from the drain to the end of the old epoch" in done.out
    data = json.loads(cli(*asked, "--envoy", "1.36.4", "--format", "json").out)
    listeners = data["model"]["ways"]["hot-restart"]["listeners"]
    assert [one["gap"] for one in listeners if one["listener"] == "dns"] == ["parent_shutdown"]
    done = cli(*asked, "--envoy", "1.40.0")
    assert (done.code, "until the old epoch" in done.out) == (1, False)
    words = " ".join(cli(*asked).out.split())
    assert "datagrams lost not known" in words
    assert "not known: hot restart: dns: datagrams lost: before 1.40 no one reads them" in words


def test_datagrams_are_called_datagrams(cli, write):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 53, "protocol": "UDP"}}
    old = write("old.yaml", {"name": "dns", "address": address})
    new = write("new.yaml", {"name": "dns", "address": address, "freebind": True})
    done = cli("--model", old, new, "--way", "push", "--envoy", "1.36.4")
    assert "+ freebind: true    # push: forces new sockets: queued datagrams are lost" in done.out
    assert "datagrams lost     those waiting in 2 receive queues" in done.out
    assert "accept queue" not in done.out


@pytest.mark.parametrize("way", ["push", "hot-restart", "restart"])
def test_an_address_that_no_listener_has_any_more_is_a_loss(cli, write, way):
    old = write("old.yaml", listener())
    done = cli("--model", old, write("new.yaml", listener(port=10001)), "--way", way)
    assert (done.code, "served afterwards   yes, not at the old address" in done.out) == (3, True)
    done = cli("--model", old, write("new.yaml", listener("other", 10001)), "--way", way)
    assert (done.code, "served afterwards   no: it has no socket" in done.out) == (3, True)
    udp = listener()
    udp["address"]["socket_address"]["protocol"] = "UDP"
    del udp["filter_chains"]
    done = cli("--model", old, write("new.yaml", udp), "--way", way, "--format", "json")
    (found,) = json.loads(done.out)["model"]["ways"][way]["listeners"]
    assert (done.code, found["gone"]) == (3, found["addresses"]["before"])


def test_an_address_that_another_listener_has_afterwards_is_no_loss(cli, write):
    old, new = write("old.yaml", listener()), write("new.yaml", listener("edge"))
    done = cli("--model", old, new)
    assert (done.code, done.out.count("by another listener")) == (1, 3)
    wide = listener()
    wide["address"]["socket_address"]["address"] = "0.0.0.0"
    done = cli("--model", old, write("new.yaml", wide), "--way", "restart")
    assert (done.code, "served afterwards   yes\n" in done.out) == (1, True)


def test_a_listener_gets_the_sockets_of_one_that_goes(cli, write):
    old = write("old.yaml", listener(), listener("b", 10001))
    done = cli("--model", old, write("new.yaml", listener(port=10001)), "--way", "push")
    assert "what happens        -/+ on the sockets of another" in done.out


def test_of_two_that_cannot_listen_side_by_side_it_is_said_which_is_given_up(cli, write):
    first, wide = listener(enable_reuse_port=False), listener("every", enable_reuse_port=False)
    wide["address"]["socket_address"]["address"] = "0.0.0.0"
    old, both = write("old.yaml", first), write("new.yaml", first, wide)
    done = cli("--model", old, both, "--way", "restart")
    assert (done.code, "!   every 0.0.0.0:10000 TCP" in done.out) == (3, True)
    assert "what happens        ! accepted, then given up" in done.out
    assert "restart: Envoy says: cannot listen() errno=98" in done.out
    assert "restart: Envoy is up and ready without this listener" in done.out
    assert "restart: 1 given up, 1 as before" in done.out
    done = cli("--model", both, old, "--way", "hot-restart")
    assert done.code == 3
    assert "a listener was given up at the start, and so Envoy never ends that start" in done.out


def test_an_epoch_that_never_drains_is_said(cli, write):
    option = {"level": 6, "name": 6, "int_value": 500, "state": "STATE_LISTENING"}
    old = write("old.yaml", listener())
    new = write("new.yaml", listener(), listener("late", 10001, socket_options=[option]))
    done = cli("--model", old, new, "--way", "hot-restart")
    words = " ".join(done.out.split())
    assert "it never has the one before drain, which serves on" in words
    done = cli("--model", old, new, "--way", "push")
    assert "push: acknowledged, and yet the listener is not there" in done.out


def test_an_envoy_that_does_not_come_up_is_the_first_that_is_said(cli, write):
    old = write("old.yaml", listener())
    done = cli("--model", old, write("new.yaml", listener(), listener("twin")))
    assert "\nhot restart: the next epoch does not start, 1 as before\n" in done.out
    assert "\nrestart: Envoy does not start, 1 lost\n" in done.out


def test_workers_are_as_many_as_envoy_takes_with_either(cli, write):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 53, "protocol": "UDP"}}
    shared = {"name": "dns", "address": address, "enable_reuse_port": False}
    done = cli("--model", write("old.yaml", shared), write("new.yaml", listener()))
    assert "\n1 worker, by the model" in done.out
    done = cli("--model", "old.yaml", "new.yaml", "--concurrency", "3")
    assert "\n3 workers, by the model" in done.out


def test_the_listeners_of_the_file_of_lds_are_those_of_a_push(cli, write):
    source = {"path_config_source": {"path": "./lds.yaml"}, "resource_api_version": "V3"}
    served = {"resources": [{"@type": LISTENER, **listener()}]}
    Path("lds.yaml").write_text(yaml.safe_dump(served))
    old = write("old.yaml", dynamic_resources={"lds_config": source})
    done = cli("--model", old, "--set", "enable_reuse_port=false", "--way", "push")
    assert "Envoy says: Listener ingress: reuse port cannot be changed" in done.out


def test_a_file_of_lds_is_found_beside_the_config_as_a_draft_finds_it(cli, write):
    """It was taken for listeners that are not known, and a changed port for no change."""
    source = {"path_config_source": {"path": "/nowhere/envoy/lds.yaml"}}
    for side, port in (("old", 10000), ("new", 10001)):
        Path(side).mkdir()
        served = {"resources": [{"@type": LISTENER, **listener(port=port)}]}
        Path(side, "lds.yaml").write_text(yaml.safe_dump(served))
        write(f"{side}/envoy.yaml", dynamic_resources={"lds_config": source})
    done = cli("--model", "old/envoy.yaml", "new/envoy.yaml", "--way", "push")
    assert done.code == 3
    assert "-/+ ingress 127.0.0.1:10000 -> 127.0.0.1:10001 TCP" in done.out


def test_a_file_of_lds_that_is_not_there_is_an_error_and_no_answer(cli, write):
    """Nothing is known of its listeners: neither that they are removed, nor that none changes."""
    source = {"path_config_source": {"path": "./lds.yaml"}}
    for side in ("old", "new"):
        Path(side).mkdir()
        write(f"{side}/envoy.yaml", dynamic_resources={"lds_config": source})
    says = "new/envoy.yaml:1:1: error: the listeners of ./lds.yaml are not known: there is no such"
    both = cli("--model", "old/envoy.yaml", "new/envoy.yaml")
    assert (both.code, both.out) == (2, "")
    Path("old/lds.yaml").write_text(
        yaml.safe_dump({"resources": [{"@type": LISTENER, **listener()}]})
    )
    one = cli("--model", "old/envoy.yaml", "new/envoy.yaml")
    assert (one.code, one.out) == (2, "")
    assert says in one.err


def test_a_scenario_and_a_dump_are_read_too(cli, write):
    write("envoy.yaml", listener())
    scenario = Path("mine.yaml")
    expect = [{"process": {"live": True}}]
    body = {"name": "mine", "envoy": {"config": "envoy.yaml", "concurrency": 3}, "expect": expect}
    scenario.write_text(yaml.safe_dump(body))
    done = cli("--model", scenario, "--set", "concurrency=2", "--way", "hot-restart")
    assert "ingress   3 -> 2   2 kept, 1 closed" in done.out
    dump = Path("dump.json")
    section = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"
    states = [{"name": "in", "active_state": {"listener": listener("in")}}]
    dump.write_text(json.dumps({"configs": [{"@type": section, "dynamic_listeners": states}]}))
    done = cli("--model", dump, "--set", "freebind=true", "--way", "push")
    assert "-/+ in 127.0.0.1:10000 TCP" in done.out


def test_a_config_that_envoy_does_not_read_is_one_error_at_its_place(cli, write):
    new = write("new.yaml", listener(tcp_backlog_size="many"))
    done = cli("--model", write("old.yaml", listener()), new)
    assert (done.code, done.out) == (2, "")
    line = new.read_text().splitlines().index("    tcp_backlog_size: many") + 1
    place = "static_resources.listeners.0.tcp_backlog_size"
    assert done.err.startswith(f"new.yaml:{line}:23: error: {place} is no whole number")
    assert cli("--model", new, "old.yaml").err == done.err


@pytest.mark.parametrize(
    "listeners, words",
    [
        (0, "no changes: there is no listener\n"),
        (1, "no changes: 1 listener is as it was\n"),
        (2, "no changes: 2 listeners are as they were\n"),
    ],
)
def test_listeners_that_stay_are_counted_in_words(cli, write, listeners, words):
    old = write("old.yaml", *(listener(f"l{n}", 10000 + n) for n in range(listeners)))
    assert words in cli("--model", old, old).out


def test_the_standard_input_is_one_of_the_two(cli, write, monkeypatch):
    old = write("old.yaml", listener())
    text = yaml.safe_dump({"static_resources": {"listeners": [listener(freebind=True)]}})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    done = cli("--model", old, "-", "--way", "push")
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("old.yaml -> -\n")
    assert cli("--model", "-", "-").code == 2
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a: [")))
    assert cli("--model", old, "-").err.startswith("-:2:1: error: ")


def test_what_a_process_substitution_makes_is_read_once(cli, write):
    old = write("old.yaml", listener())
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(old.read_bytes())
    try:
        done = cli("--model", f"/dev/fd/{reader}", old)
    finally:
        os.close(reader)
    assert (done.code, done.err) == (0, "")


@pytest.fixture
def repository(write, tmp_path: Path) -> Path:
    """A repository whose first revision has a config, and a listener in a file beside it."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", *identity, *arguments], check=True, capture_output=True, env=environment
        )

    git("init", "--quiet")
    Path("sub").mkdir()
    source = {"path_config_source": {"path": "./lds.yaml"}, "resource_api_version": "V3"}
    served = {"resources": [{"@type": LISTENER, **listener("served", 15000)}]}
    Path("sub/lds.yaml").write_text(yaml.safe_dump(served))
    write("sub/envoy.yaml", listener(), dynamic_resources={"lds_config": source})
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    served["resources"][0]["freebind"] = True
    Path("sub/lds.yaml").write_text(yaml.safe_dump(served))
    return tmp_path


def test_a_file_of_a_git_revision_is_read_with_what_it_names(cli, repository, monkeypatch):
    done = cli("--model", "HEAD:sub/envoy.yaml", "sub/envoy.yaml", "--way", "push")
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith("HEAD:sub/envoy.yaml -> sub/envoy.yaml\n")
    assert "-/+ served 127.0.0.1:15000 TCP" in done.out
    monkeypatch.chdir(repository / "sub")
    assert cli("--model", "HEAD:./envoy.yaml", "envoy.yaml", "--way", "push").out.count("-/+ ") > 0


@pytest.mark.parametrize("name", [":sub/envoy.yaml", ":0:sub/envoy.yaml"])
def test_a_file_of_the_index_is_read_with_what_it_names(cli, repository, monkeypatch, name):
    done = cli("--model", "HEAD:sub/envoy.yaml", name, "--way", "push")
    assert (done.code, done.err) == (0, "")
    done = cli("--model", name, "sub/envoy.yaml", "--way", "push")
    assert (done.code, done.err) == (3, "")
    assert done.out.startswith(f"{name} -> sub/envoy.yaml\n")
    assert "-/+ served 127.0.0.1:15000 TCP" in done.out
    monkeypatch.chdir(repository / "sub")
    assert cli("--model", ":./envoy.yaml", "envoy.yaml", "--way", "push").out.count("-/+ ") > 0


def test_a_path_that_is_not_there_is_looked_for_from_the_subdirectory(cli, repository, monkeypatch):
    monkeypatch.chdir(repository / "sub")
    done = cli("--model", "HEAD:envoy.yaml", "envoy.yaml")
    assert (done.code, done.out) == (2, "")
    assert "(did you mean HEAD:sub/envoy.yaml?)" in done.err


@pytest.mark.parametrize(
    "name, message",
    [
        ("HEAD~5:sub/envoy.yaml", "git knows no revision `HEAD~5`"),
        ("HEAD:envoy.yaml", "does not exist in 'HEAD' (did you mean HEAD:sub/envoy.yaml?)"),
        ("HEAD:sub/envoi.yaml", "does not exist in 'HEAD' (did you mean HEAD:sub/envoy.yaml?)"),
        ("HEAD:nosuch", "path 'nosuch' does not exist in 'HEAD'\n"),
        (":lds.yaml", "(did you mean :sub/lds.yaml?)"),
        (":nosuch", "neither on disk nor in the index)\n"),
        (":", "there is no file :"),
        ("HEAD:sub", "HEAD:sub is a directory, and no file"),
        ("--output=x:y", "prints what it finds"),
        ("nope.yaml", "there is no file nope.yaml"),
        pytest.param("x" * 5000, "cannot be read: File name too long", id="long"),
        ("sub", "sub is a directory, and no file"),
    ],
)
def test_what_git_or_the_disk_does_not_have_is_one_clear_error(cli, repository, name, message):
    done = cli("--model", name, "sub/envoy.yaml")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not Path("x").exists()


def test_a_revision_outside_of_a_repository_is_one_clear_error(cli, write, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    done = cli("--model", "HEAD:envoy.yaml", write("new.yaml", listener()))
    assert (done.code, "the current directory is in no git repository" in done.err) == (2, True)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--model", "--run"), "--model runs nothing: leave out --run"),
        (("--model", "--expect", "old.yaml"), "--expect judges a run: leave out --model"),
        (("--traces", "--way", "push"), "--way means nothing beside --traces"),
    ],
)
def test_options_that_exclude_each_other_are_refused(cli, write, arguments, message):
    old = write("old.yaml", listener())
    done = cli(old, old, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.fixture
def without_a_run(monkeypatch):
    """Have a change that was made without an Envoy: nothing happened to any listener."""
    monkeypatch.setattr("envoyassert.launch.sweep.sweep", lambda: None)
    monkeypatch.setattr("envoyassert.probe.Probe.load", contextlib.nullcontext)
    monkeypatch.setattr(command, "need_linux", lambda: None)
    report = Report(Observed(Way.PUSH, "1.40.0", (2, 2), (), "ack"))
    monkeypatch.setattr("envoyassert.cli.transition.try_transition", lambda *_: report)


@pytest.mark.usefixtures("without_a_run")
def test_change_that_was_made_is_printed_or_written_in_every_format_but_a_page(cli, write):
    sides = write("old.yaml", listener()), write("new.yaml", listener())
    words = (*sides, "--transition", "push")
    assert cli(*words).out.startswith("push: old.yaml -> new.yaml: Envoy 1.40.0, 2 workers\n")
    assert json.loads(cli(*words, "--format", "json").out)["format"] == "envoyassert-transition/1"
    printed = cli(*words, "--format", "markdown")
    assert printed.out.startswith("### old.yaml → new.yaml, tried on Envoy\n")
    written = cli(*words, "--format", "markdown", "-o", "said.md")
    assert (written.code, written.out, written.err) == (0, "", "")
    assert Path("said.md").read_text() == printed.out
    Path("link").symlink_to("said.md")
    assert "link" in cli(*words, "--format", "markdown", "-o", "link").err
    for more in ((), ("-o", "page.html")):
        refused = cli(*words, "--format", "html", *more)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.endswith(
            "\nError: --format html has nothing of --transition: say text, json or markdown\n"
        )
    assert not Path("page.html").exists()


def test_where_nothing_can_be_run_the_model_answers_and_says_why(cli, write, monkeypatch):
    monkeypatch.setattr(command, "_why_not", lambda: "that needs root")
    done = cli(write("old.yaml", listener()), write("new.yaml", listener(stat_prefix="x")))
    assert (done.code, done.err) == (1, "")
    assert "by the model of Envoy 1.36 to 1.40; nothing was run (that needs root)" in done.out
    assert "only a run can show: " in done.out


@pytest.mark.parametrize("version, is_measured", [("1.20.0", False), ("1.40.0", True)])
@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_version_that_was_not_measured_is_said_first(
    cli, write, tmp_path, monkeypatch, form, version, is_measured
):
    monkeypatch.setattr(command, "_why_not", lambda: "that needs root")
    sides = write("old.yaml", listener()), write("new.yaml", listener(stat_prefix="x"))
    done = cli(*sides, "--envoy", version, "--format", form)
    assert (done.code, done.err) == (1, "")
    known = f"by the model of Envoy {version}; nothing was run"
    other = f"for Envoy {version}, which was not measured: by the model of Envoy 1.36 to 1.40; "
    assert (known in done.out) is is_measured
    assert (other in done.out) is not is_measured
    assert done.out.index(known if is_measured else other) < done.out.index("ingress")


def test_an_answer_loads_nothing_that_runs_judges_or_reports(write):
    """It is to be there in half a second, from the command line."""
    old = write("old.yaml", listener())
    code = (
        "import json, sys\n"
        "from envoyassert.cli import app\n"
        f"app.main(['plan', '--model', {str(old)!r}, {str(old)!r}], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    command_line = [sys.executable, "-c", code]
    done = subprocess.run(command_line, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    parts = ("graph", "judge.judge", "draft", "compare", "launch", "probe", "scenario.model")
    heavy = tuple(f"envoyassert.{part}" for part in (*parts, "trace", "report.failure"))
    assert {name for name in loaded if name.startswith(heavy)} == set()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"static_resources": {"listeners": [5]}}, "static_resources.listeners.0"),
        ({"static_resources": 7}, "static_resources"),
        ({"static_resources": {}, "layered_runtime": 4}, "layered_runtime"),
    ],
)
def test_config_of_another_shape_is_one_clear_error(cli, tmp_path, config, name):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener()]}}))
    new.write_text(yaml.safe_dump(config))
    done = cli("--model", str(old), str(new))
    assert (done.code, done.out) == (2, "")
    assert f"error: {name} is no mapping (Envoy refuses this config)" in done.err


def test_fault_of_our_own_is_no_answer(cli, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by zero")

    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener()]}}))
    monkeypatch.setattr(command._Asked, "answer", fail)
    done = cli("--model", str(path), "--set", "transparent=true")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("envoyassert: internal error: ZeroDivisionError: by zero\n")


def test_what_a_push_under_overload_does_to_a_listener_that_bypasses_it_is_said(cli, write):
    manager = {"actions": [{"name": "envoy.overload_actions.stop_accepting_connections"}]}
    bypasses = listener(bypass_overload_manager=True)
    old = write("old.yaml", bypasses, overload_manager=manager)
    new = write("new.yaml", {**bypasses, "stat_prefix": "a"}, overload_manager=manager)
    done = cli("--model", old, new)
    words = " ".join(done.out.split())
    said = (
        "push: if stop_accepting_connections is active at that time, no worker accepts afterwards"
    )
    assert (done.code, words.count(said)) == (1, 1)
    assert "hot restart: if stop_accepting" not in words
    data = json.loads(cli("--model", old, new, "--format", "json").out)
    shut = {
        way: one["listeners"][0]["shut_by_overload"] for way, one in data["model"]["ways"].items()
    }
    assert shut == {"push": True, "hot-restart": False, "restart": False}


def test_what_datagrams_take_no_heed_of_is_said(cli, write):
    place = {"address": "127.0.0.1", "port_value": 10000, "protocol": "UDP"}
    udp = {"name": "ingress", "address": {"socket_address": place}}
    old, new = write("old.yaml", udp), write("new.yaml", {**udp, "bypass_overload_manager": True})
    done = cli("--model", old, new, "--way", "push")
    words = " ".join(done.out.split())
    assert "push: bypass_overload_manager: without effect: under overload no worker reads" in words
