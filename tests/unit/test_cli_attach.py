"""`envoyassert attach`: what is refused before anything is recorded."""

from __future__ import annotations

import pytest

from envoyassert.attach.recording import Recorded
from envoyassert.attach.session import Others
from envoyassert.cli.attach import exit_code
from envoyassert.cli.attached import Asked, Reporter
from envoyassert.judge.verdict import Status
from envoyassert.live.selection import ProcessSelection
from envoyassert.testing import TraceBuilder
from envoyassert.trace_file import read_trace
from tests.unit.cli_words import run_cli

SCENARIO = "name: up\nexpect:\n  - process: {live: true}\n"
STAYS_UP = "name: up\nexpect:\n  - process: {stays_up: true}\n"


@pytest.fixture
def no_probe(monkeypatch):
    """Loading the probe, which takes seconds, is an error."""

    def load(name):
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr("envoyassert.probe.load_tracer", load)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--env", "A"], "`A` is not KEY=VALUE"),
        (["--env", "=A"], "`=A` is not KEY=VALUE"),
        (["--pod", "front"], "`front` is not NAMESPACE/NAME"),
        (["--pod", "a/b/c"], "`a/b/c` is not NAMESPACE/NAME"),
        (["--cgroup", "docker"], "`docker` does not begin with /"),
        (["--uid", "root"], "'root' is not a valid integer"),
        (["--count", "0"], "0 is not in the range"),
        (["--uid", "4294967296"], "4294967296 is not in the range"),
        (["--exe", "x" * 4096], "an executable has at most"),
        (["--exe", "/usr/bin/"], "an executable has a name"),
        (["--env", "A=" + "x" * 4096], "a variable has at most"),
        (["--env", "A=1"] * 33, "--env is for 32 variables at most"),
        (["--count", "2", "--forever"], "--count means nothing beside --forever"),
        (["--count", "2", "--follow"], "--count means nothing beside --follow"),
        (["--exe", "x", "--", "x"], "--exe means nothing beside COMMAND"),
        (["--tracer", "strace"], "say -- COMMAND"),
        (["--pod-uid", "1", "--", "x"], "--pod-uid means nothing beside COMMAND"),
        (["--uid", "0", "--", "x"], "--uid means nothing beside COMMAND"),
        (["--tracer", "strace", "--cost", "--", "x"], "about the probes: leave out strace"),
        (["--forever", "--", "x"], "COMMAND is one recording"),
        (["--settle", "soon", "--", "x"], "'soon' is not a duration"),
        (["--run", "a", "--", "x"], "--run goes with --scenario"),
        (["--draft", "No Name.yaml", "--", "x"], "a scenario's file is called like it"),
        (["--scenario", "up.yaml", "--exec-scenario", "up.yaml", "--", "x"], "leave out one"),
    ],
)
def test_wrong_words_are_refused_with_one_message(
    tmp_path, monkeypatch, capsys, no_probe, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up.yaml").write_text(SCENARIO)
    done = run_cli(capsys, "attach", *arguments)
    assert (done.code, done.out) == (4, "")
    assert said in done.err


def test_scenario_that_is_wrong_is_refused_with_its_line(tmp_path, capsys):
    path = tmp_path / "up.yaml"
    path.write_text("name: up\nexpect:\n  - process: {life: true}\n")
    done = run_cli(capsys, "attach", "--scenario", path, "--", "x")
    assert done.code == 4
    assert done.err.startswith(f"{path}:3:15: error: ")


@pytest.mark.parametrize("name", ["added", "added_1", "removed", "changed_2", "epoch_3"])
def test_phase_after_the_start_is_refused_without_follow(tmp_path, capsys, no_probe, name):
    path = tmp_path / "up.yaml"
    path.write_text(f"{STAYS_UP}    at_end_of: {name}\n")
    done = run_cli(capsys, "attach", "--exec-scenario", path, "--", "x")
    assert (done.code, done.out) == (4, "")
    assert f"the phase {name} comes after the start: say --follow" in done.err
    again = run_cli(capsys, "attach", "--follow", "--exec-scenario", path, "--", tmp_path / "x")
    assert again.code == 77, "it gets as far as the command"


OF_MANY = """\
name: up
envoy: {config: {admin: {}}}
matrix: {concurrency: [3, 4]}
expect:
  - process: {stays_up: true}
"""


def test_envoy_that_is_of_no_run_costs_no_other_one_its_verdict(tmp_path, capsys):
    path = tmp_path / "up.yaml"
    path.write_text(OF_MANY)
    reporter = Reporter(Asked("envoy", scenario=str(path), quiet=True, several=True))
    for number, workers in enumerate((2, 3), 1):
        reporter.recorded(number, Recorded(TraceBuilder(workers).build(), settled=True))
    assert reporter.statuses == [Status.INCONCLUSIVE, Status.PASS]
    said = capsys.readouterr().out
    assert "INCONCLUSIVE up: the trace's matrix values (none) are those of no single run" in said


def test_run_that_the_scenario_has_not_is_refused_before_anything_is_recorded(
    tmp_path, capsys, no_probe
):
    path = tmp_path / "up.yaml"
    path.write_text(OF_MANY)
    done = run_cli(capsys, "attach", "--scenario", path, "--run", "concurrency=5", "--", "x")
    assert (done.code, done.out) == (4, "")
    assert "no run of the scenario is `concurrency=5`" in done.err


def test_scenario_for_attach_is_checked_without_an_envoy(tmp_path, capsys):
    path = tmp_path / "up.yaml"
    never = "  - never: {call: bind, listener: {port: 1}}\n"
    path.write_text(f"{STAYS_UP}    at_end_of: added_1\n{never}")
    done = run_cli(capsys, "check", "--attached", path)
    assert (done.code, done.out, done.err) == (0, "", "1 of 1 scenario files are valid\n")
    path.write_text(path.read_text().replace("added_1", "add"))
    wrong = run_cli(capsys, "check", "--attached", path)
    assert wrong.code == 4
    assert wrong.out.startswith(f"{path}:4:16: error: no step is called `add`")
    assert run_cli(capsys, "check", path).code == 4
    beside = run_cli(capsys, "check", "--attached", "--validate", path)
    assert "--validate means nothing beside --attached" in beside.err


@pytest.mark.parametrize("name", ["each", "added_1", "epoch"])
def test_phase_that_is_seen_is_no_phase_of_a_scenario_that_is_run(tmp_path, capsys, name):
    path = tmp_path / "up.yaml"
    path.write_text(f"{STAYS_UP}    at_end_of: {name}\nenvoy: {{config: {{admin: {{}}}}}}\n")
    done = run_cli(capsys, "check", path)
    assert done.code == 4
    assert f"no step is called `{name}`" in done.out


def test_program_that_is_not_there_is_refused_before_the_probe_is_loaded(
    tmp_path, capsys, no_probe
):
    done = run_cli(capsys, "attach", "--", tmp_path / "nothing")
    assert (done.code, done.out) == (77, "")
    assert f"error: {tmp_path}/nothing is no program that can be executed" in done.err


@pytest.mark.parametrize(
    "statuses, code", [([], 0), ([Status.PASS], 10), ([Status.PASS, Status.FAIL], 1)], ids=str
)
def test_process_that_was_gone_too_soon_is_noted_beside_a_recorded_one(capsys, statuses, code):
    reporter = Reporter(Asked("envoy"))
    reporter.count = 1
    reporter.statuses = statuses
    assert exit_code(reporter, ProcessSelection(pod="web/front"), Others(unplaced=2), []) == code
    note = "note: 2 processes were not recorded: ended before the container was known\n"
    assert capsys.readouterr().err == note


def test_process_that_was_gone_too_soon_is_noted_once_if_nothing_was_recorded(capsys):
    selection = ProcessSelection(pod="web/front")
    assert exit_code(Reporter(Asked("envoy")), selection, Others(unplaced=1), []) == 5
    said = capsys.readouterr().err
    note = "note: 1 process was not recorded: ended before the container was known\n"
    assert said.startswith(note)
    assert said.count("ended before") == 1
    assert "nothing was recorded: no envoy in the pod web/front was started\n" in said


@pytest.mark.usefixtures("faults_become_lines")
def test_fault_in_the_story_costs_neither_the_trace_nor_the_verdict(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("envoyassert.report.story.story_of", fail)
    monkeypatch.setattr("envoyassert.report.story_text.AsItHappens.lines", fail)
    (tmp_path / "up.yaml").write_text(SCENARIO)
    built = TraceBuilder().build()
    written = tmp_path / "up.ndjson"
    reporter = Reporter(Asked("envoy", output=str(written), scenario=str(tmp_path / "up.yaml")))
    for _ in range(2):
        reporter.seen(1, built)
    reporter.recorded(1, Recorded(built, settled=True))
    assert reporter.statuses == [Status.PASS]
    assert read_trace(written).events == built.events
    out = capsys.readouterr().out
    assert out.count("ZeroDivisionError") == 1
    assert "PASS up" in out


@pytest.mark.parametrize("expects", ["live: true", "exits: 0"])
def test_certificate_is_printed_once_beside_a_verdict(tmp_path, capsys, expects):
    (tmp_path / "up.yaml").write_text(f"name: up\nexpect:\n  - process: {{{expects}}}\n")
    reporter = Reporter(Asked("envoy", scenario=str(tmp_path / "up.yaml")))
    reporter.recorded(1, Recorded(TraceBuilder().build(), settled=True))
    status = Status.PASS if "live" in expects else Status.FAIL
    assert reporter.statuses == [status]
    out = capsys.readouterr().out
    assert out.count("traced from its exec") == 1
    assert f"{status.value} up" in out
