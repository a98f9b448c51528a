"""check, schema, doctor, and what is common to all commands."""

import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from envoyassert.cli import app, command_line, exits
from envoyassert.cli.where import scenario_files
from envoyassert.errors import (
    Capability,
    DockerUnavailableError,
    EnvoyAssertError,
    LaunchError,
    ProbeLoadError,
    Problem,
    ScenarioError,
    TraceFileError,
)
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
RECORDED = f"{ROOT}/tests/traces/reuse_port_on-1.40.0.ndjson"
SCENARIO = """\
name: one
envoy:
  config: {}
expect:
  - process: {stays_up: true}
"""


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


# check


def test_check_of_valid_scenarios_is_silent_on_stdout(cli):
    done = cli("check", ROOT / "scenarios")
    assert (done.code, done.out) == (0, "")
    count = len(list((ROOT / "scenarios").glob("*.yaml")))
    assert done.err == f"{count} of {count} scenario files are valid\n"


def test_check_prints_every_problem_of_every_file_with_its_place(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(SCENARIO.replace("stays_up", "stay_up"))
    Path("two.yaml").write_text(SCENARIO.replace("one", "two") + "  - never: 3\nmrks: []\n")
    Path("good.envoyassert.yaml").write_text(SCENARIO.replace("one", "good"))
    done = cli("check", ".")
    assert done.code == 4
    places = [line.split(" error: ")[0] for line in done.out.splitlines()]
    assert places == ["one.yaml:5:15:", "two.yaml:6:12:", "two.yaml:7:1:"]
    assert done.err == "1 of 3 scenario files are valid\n"


def test_check_of_nothing_is_code_5(cli, tmp_path):
    done = cli("check", tmp_path)
    assert (done.code, done.err) == (5, "no scenario files found\n")


def test_check_of_a_path_that_is_not_there_is_a_usage_error(cli):
    done = cli("check", "/nowhere/x.yaml")
    assert done.code == 4
    assert "there is no file or directory /nowhere/x.yaml" in done.err


def test_files_in_a_directory_are_scenarios_by_name_or_content(tmp_path):
    files = {
        "a.yaml": "envoy: {}",
        "b.yml": '"expect": []',
        "c.yaml": "static_resources: {}\nadmin: {}",
        "d.envoyassert.yaml": "",
        "e.txt": "envoy: {}",
        "sub/f.yaml": "name: f\nexpect:\n",
        ".hidden/g.yaml": "envoy: {}",
        "venv/pyvenv.cfg": "home = /usr/bin",
        "venv/lib/h.envoyassert.yaml": "envoy: {}",
        "h.yaml": "config:\n  envoy: 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [str(path.relative_to(tmp_path)) for path in scenario_files([str(tmp_path)])]
    assert found == ["a.yaml", "b.yml", "d.envoyassert.yaml", "sub/f.yaml"]


def test_file_named_by_the_user_is_a_scenario_whatever_is_in_it(tmp_path):
    (tmp_path / "c.yaml").write_text("static_resources: {}")
    assert scenario_files([f"{tmp_path}/c.yaml"]) == [tmp_path / "c.yaml"]


# schema and doctor


@pytest.mark.parametrize("arguments", [(), ("--results",)])
def test_schema_is_one_json_document(cli, arguments):
    done = cli("schema", *arguments)
    assert done.code == 0
    assert {"$schema", "$defs"} <= set(json.loads(done.out))


FOUND = [
    Capability("bcc", True, "bcc 0.26", ""),
    Capability("tracefs", False, "is not mounted", "mount it"),
    Capability("docker", False, "there is no Docker engine", "install one"),
]


@pytest.fixture
def found(monkeypatch):
    from envoyassert.cli import doctor

    def set_found(*checks):
        monkeypatch.setattr(doctor, "_checks", lambda: list(checks))

    return set_found


def test_doctor_names_the_remedy_of_what_is_missing(cli, found):
    found(*FOUND)
    done = cli("doctor")
    assert done.code == 1
    assert done.out.splitlines() == [
        "ok       bcc      bcc 0.26",
        "MISSING  tracefs  is not mounted",
        "                  remedy: mount it",
        "-        docker   there is no Docker engine",
        "                  remedy: install one",
        "scenarios cannot be run here",
    ]


@pytest.mark.parametrize(
    ("probes_work", "last"),
    [
        (
            True,
            "without an Envoy no scenario can be run here; attach records those that are started",
        ),
        (False, "scenarios cannot be run here"),
    ],
)
def test_doctor_without_an_envoy_says_what_can_be_done_without_one(cli, found, probes_work, last):
    envoy = Capability("envoy", False, "no Envoy is cached", "fetch one")
    found(FOUND[0], *(() if probes_work else FOUND[1:2]), envoy, FOUND[2])
    done = cli("doctor")
    assert (done.code, done.out.splitlines()[-1]) == (1, last)


def test_doctor_without_docker_is_content(cli, found):
    found(FOUND[0], FOUND[2])
    assert cli("doctor").code == 0


@pytest.mark.parametrize("words", [{}, {True: "yes", None: "no", False: "NO: ok"}])
def test_doctor_colours_marks_by_what_was_found_whatever_their_words(monkeypatch, found, words):
    from envoyassert.cli import doctor

    monkeypatch.delenv("NO_COLOR", raising=False)
    found(Capability("ok", True, "MISSING", ""), *FOUND[1:])
    for able, (_, colour) in doctor._MARKS.items() if words else ():
        monkeypatch.setitem(doctor._MARKS, able, (words[able], colour))
    lines = CliRunner().invoke(doctor.doctor, color=True, standalone_mode=False).output.splitlines()
    coloured = [re.match("\x1b\\[(3.)m(.*?)\x1b\\[0m", line) for line in lines[:-1]]
    assert [match and match.groups() for match in coloured] == [
        ("32", words.get(True, "ok")),
        ("31", words.get(False, "MISSING")),
        *[None] * 3,
    ]


def test_doctor_as_json_has_the_same(cli, found):
    found(*FOUND)
    done = cli("doctor", "--format", "json")
    data = json.loads(done.out)
    assert (done.code, data["able"]) == (1, False)
    assert data["checks"][1] == {
        "name": "tracefs",
        "ok": False,
        "optional": False,
        "detail": "is not mounted",
        "remedy": "mount it",
    }


# common to all


def test_every_command_has_help_with_an_example_or_none_to_give(cli):
    for name in command_line.COMMANDS:
        done = cli(name, "--help")
        assert done.code == 0
        first = done.out.splitlines()[2].strip()
        assert first.endswith("."), (name, first)
        assert f"envoyassert {name}" in done.out.replace("\n", " "), name


def test_list_of_commands_has_a_whole_sentence_for_each(cli):
    done = cli("--help")
    lines = done.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(command_line.COMMANDS)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["show"],
        ["show", "/nowhere"],
        ["replay", __file__],
        ["show", "--format", "xml", __file__],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_4_with_a_hint(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("Usage: envoyassert")


FORMATTING = ("diff", "doctor", "inspect", "plan", "replay", "report", "run", "show")


def options_of(name: str) -> dict[str, click.Option]:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {text: option for option in options for text in option.opts if not option.hidden}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check --envoy 1.40.0 x.yaml", "--envoy goes with --validate"),
        ("matrix --draw x.yaml", "a path means nothing beside --draw"),
        ("matrix --draw --versions 1.40.0", "--versions means nothing beside --draw"),
        ("matrix --since soon", "--since: `soon` is not a version of Envoy"),
        ("matrix --versions 1.40.0 --since 1.36.0", "--since means nothing beside --versions"),
        (f"plan --traces {RECORDED} {RECORDED} --envoy 1.40.0", "--envoy means nothing beside"),
        (f"plan --traces {RECORDED} {RECORDED} --concurrency 4", "--concurrency means nothing"),
        ("run --format json", "--format json goes with --against"),
        (f"report {RECORDED} --run concurrency=2", "--run goes with --scenario"),
    ],
)
def test_option_that_would_do_nothing_is_refused(cli, arguments, message):
    done = cli(*arguments.split())
    assert done.code == (2 if arguments.startswith("plan") else 4)
    assert f"Error: {message}" in done.err


def test_formats_and_files_are_spelled_the_same_by_all_commands():
    options = {name: options_of(name) for name in command_line.COMMANDS}
    assert sorted(name for name in options if "--format" in options[name]) == sorted(FORMATTING)
    launchers = {found["--launcher"].metavar for found in options.values() if "--launcher" in found}
    assert launchers == {"auto|docker|process"}
    files = {found["-o"].metavar for found in options.values() if "-o" in found}
    assert files == {"DIR", "FILE", "FILE|DIR"}


@pytest.mark.parametrize(
    "name, spelling",
    [*product(FORMATTING, ["--output"]), *product(("diff", "doctor", "replay", "show"), ["-o"])],
)
def test_old_spelling_of_a_format_is_refused_with_the_new_one(cli, name, spelling):
    scenario = f"{ROOT}/scenarios/reuse_port_on.yaml"
    more = {"diff": [RECORDED] * 2, "report": [RECORDED], "show": [RECORDED]}
    more["replay"] = [RECORDED, "--scenario", scenario]
    done = cli(name, *more.get(name, []), spelling, "json")
    assert (done.code, done.out) == (2 if name in ("diff", "plan") else 4, "")
    assert done.err.endswith("Error: formats are named by --format now: say --format json\n")


def test_file_to_print_into_is_refused_with_the_way_to_do_it(cli):
    done = cli("show", RECORDED, "-o", "story.txt")
    assert done.code == 4
    assert "say `envoyassert show … > story.txt`" in done.err


PROBLEM = Problem("x.yaml", 1, 2, "wrong")


@pytest.mark.parametrize(
    "error, code, text",
    [
        (ScenarioError([PROBLEM]), 4, "x.yaml:1:2: error: wrong\n"),
        (TraceFileError("t:1:1: error: bad", "do"), 4, "t:1:1: error: bad\n  remedy: do\n"),
        (
            DockerUnavailableError("no engine", "start it"),
            77,
            "envoyassert: error: no engine\n  remedy: start it\n",
        ),
        (
            ProbeLoadError("refused", "report"),
            77,
            "envoyassert: error: refused\n  remedy: report\n",
        ),
        (LaunchError("cannot start"), 77, "envoyassert: error: cannot start\n"),
        (EnvoyAssertError("no"), 1, "envoyassert: error: no\n"),
        (KeyboardInterrupt(), 2, "interrupted\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_of_a_command_is_one_text_and_one_code(cli, monkeypatch, error, code, text):
    def fail(*_):
        raise error

    monkeypatch.setattr(command_line.LazyGroup, "get_command", fail)
    done = cli("show", "x")
    assert (done.code, done.out, done.err.lstrip("\n")) == (code, "", text)


def test_fault_of_our_own_is_code_3_and_asks_for_a_report(cli, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(command_line.LazyGroup, "get_command", fail)
    done = cli("show", "x")
    assert done.code == exits.INTERNAL
    assert done.err.startswith("envoyassert: internal error: ZeroDivisionError: by zero\n  remedy:")


def test_exit_codes_are_those_that_help_names():
    assert app.epilog is not None
    for code, word in (
        (exits.PASSED, "pass"),
        (exits.FAILED, "fail"),
        (exits.INTERRUPTED, "interrupted"),
        (exits.INTERNAL, "internal error"),
        (exits.USAGE, "invalid usage"),
        (exits.NOTHING, "nothing to run"),
        (exits.INCONCLUSIVE, "inconclusive"),
        (exits.MACHINE, "machine not supported"),
    ):
        assert f"{code} {word}" in app.epilog


def test_the_version_that_cannot_be_written_is_an_error(tmp_path):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "envoyassert", "--version"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 77
    assert b"No space left" in done.stderr
