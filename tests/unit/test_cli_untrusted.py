"""Which commands execute what a scenario names, which never do, and what --untrusted refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli_words import run_cli

TRACE = Path(__file__).parents[1] / "traces" / "reuse_port_on-1.40.0.ndjson"
SCENARIO = """\
name: one
{head}
envoy:
  {envoy}
  config:
    static_resources:
      listeners:
      - name: a
        address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
expect: [{{process: {{stays_up: true}}}}]
"""
REFUSED = "one.yaml:4:3: error: the scenario is untrusted, and names an executable ("


@pytest.fixture
def marker(marker, tmp_path, monkeypatch):
    """What an executable beside the scenario leaves behind, and each piece of code there."""
    monkeypatch.chdir(tmp_path)
    path = marker
    (tmp_path / "envoy").write_text(f"#!/bin/sh\necho version: 0/1.40.0/x\ntouch {path}\n")
    (tmp_path / "envoy").chmod(0o755)
    for name in ("conftest.py", "__init__.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(path)!r}, 'w').close()\n")
    return path


def write(envoy: str = "binary: ./envoy", head: str = "") -> None:
    Path("one.yaml").write_text(SCENARIO.format(envoy=envoy, head=head))


HARMLESS = {
    "check": (0, "check", "one.yaml"),
    "check --untrusted": (4, "check", "one.yaml", "--untrusted"),
    "draft": (0, "draft", "bootstrap.yaml"),
    "replay": (0, "replay", TRACE, "--scenario", "one.yaml"),
    "show": (0, "show", TRACE),
    "diff": (0, "diff", TRACE, TRACE),
    "plan --traces": (0, "plan", "--traces", TRACE, TRACE, "--expect", "one.yaml"),
}


@pytest.mark.parametrize("code_and_words", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize(
    ("envoy", "head"),
    [("binary: ./envoy", ""), ("agent: [./envoy]", "requires: {launcher: process}")],
    ids=["binary", "agent"],
)
def test_command_that_runs_no_envoy_executes_nothing(capsys, marker, code_and_words, envoy, head):
    write(envoy, head)
    Path("bootstrap.yaml").write_text("admin: {profile_path: ./envoy}\nstatic_resources: {}\n")
    code, *words = code_and_words
    done = run_cli(capsys, *words)
    assert done.code == code, done
    assert not marker.exists()


def test_validation_executes_what_the_scenario_names(capsys, marker):
    write()
    assert run_cli(capsys, "check", "one.yaml", "--validate").code == 0
    assert marker.exists()


VALIDATE = ("check", "one.yaml", "--validate", "--untrusted")


def test_validation_of_an_untrusted_scenario_refuses_it_first(capsys, marker):
    write()
    done = run_cli(capsys, *VALIDATE)
    assert done.code == 4
    assert done.out.startswith(REFUSED)
    assert not marker.exists()


def test_validation_by_an_envoy_that_the_caller_names(capsys, marker):
    write("image: foreign/envoy:1")
    done = run_cli(capsys, *VALIDATE, "--envoy", "./envoy")
    assert done.code == 0
    assert marker.exists()


COMMANDS = {
    "record": ("record", "one.yaml", "-o", "t.ndjson"),
    "plan": ("plan", "one.yaml", "--set", "enable_reuse_port=false"),
    "bisect": ("bisect", "one.yaml", "--good", "1.36.4", "--bad", "1.40.0"),
    "matrix": ("matrix", "one.yaml", "--versions", "1.40.0"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("way", ["option", "variable"])
def test_command_refuses_an_untrusted_scenario_before_anything_is_run(
    capsys, marker, monkeypatch, words, way
):
    monkeypatch.setattr("envoyassert.launch.wheel.cached_binary", lambda version: Path("envoy"))
    # What names no Envoy is refused for its variable, whichever Envoy is run.
    write("env: {LD_PRELOAD: ./x.so}")
    if way == "variable":
        monkeypatch.setenv("ENVOYASSERT_UNTRUSTED", "1")
    done = run_cli(capsys, *words, *(["--untrusted"] if way == "option" else []))
    assert done.code == (2 if words[0] == "plan" else 4)
    shown = "one.yaml:4:9: error: the scenario is untrusted, and sets the variable `LD_PRELOAD` ("
    assert shown in done.out + done.err
    assert not marker.exists()
    assert not Path("t.ndjson").exists()


def test_plan_of_a_config_that_is_untrusted_is_refused_with_its_place(capsys, marker):
    Path("envoy.yaml").write_text("static_resources: {}\nload_a_library: ./x.so\n")
    done = run_cli(capsys, "plan", "envoy.yaml", "--set", "concurrency=2", "--untrusted")
    assert done.code == 2
    shown = "envoy.yaml:2:1: error: the scenario is untrusted, and `load_a_library` is not known to"
    assert shown in done.err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "this is not a regular file"),
        (("--untrusted",), "the scenario is untrusted, and a link"),
    ],
)
def test_file_that_is_none_is_not_waited_for(capsys, marker, words, shown):
    Path("zero.yaml").symlink_to("/dev/zero")
    done = run_cli(capsys, "check", ".", *words)
    assert done.code == 4
    assert done.out.startswith("zero.yaml:")
    assert f"error: {shown}" in done.out
