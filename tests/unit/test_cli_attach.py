"""`envoyassert attach`: what is refused before anything is recorded."""

from __future__ import annotations

import pytest

from tests.unit.cli_words import run_cli

SCENARIO = "name: up\nexpect:\n  - process: {live: true}\n"


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
        (["--count", "2", "--forever"], "--count means nothing beside --forever"),
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
def test_wrong_words_are_refused_with_one_message(tmp_path, monkeypatch, capsys, arguments, said):
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
