"""`envoyassert run --against`: two Envoys on the same scenarios, with the exit codes of diff(1)."""

import json
import sys

import pytest

# What FAKE says holds for the Envoy 1.40.0; 1.36.4 makes a shared listener.
CHANGING_CONFTEST = """
from envoyassert.pytest_plugin import execute

of_new = execute.run_plan


def run_plan(plan, probe, preference, **more):
    return of_new(plan if plan.version == "1.40.0" else _as_shared(plan), probe, preference, **more)


def _as_shared(plan):
    import dataclasses

    return dataclasses.replace(plan, env={**plan.env, "FAKE": plan.env.get("OLD", "shared")})


execute.run_plan = run_plan
"""

COMMAND = (sys.executable, "-m", "envoyassert", "run")


@pytest.fixture
def run(fake_envoy):
    fake_envoy.path.joinpath("conftest.py").write_text(
        fake_envoy.path.joinpath("conftest.py").read_text() + CHANGING_CONFTEST
    )
    return lambda *arguments: fake_envoy.run(*COMMAND, ".", *arguments)


def test_same_behaviour_on_both_is_0_with_a_table_of_the_runs(write_scenario, run):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    result = run("--against", "1.36.4", "--envoy", "1.40.0")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*1.36.4 against 1.40.0*",
            "1.36.4  1.40.0  answer  run",
            "PASS    PASS    same    one[[]concurrency=1]",
            "PASS    PASS    same    one[[]concurrency=2]",
            "",
            "same: 2 runs on 1.36.4 and on 1.40.0",
        ]
    )


def test_new_envoy_is_the_default_version_unless_it_is_named(write_scenario, run):
    write_scenario()
    result = run("--against", "1.36.4")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["same: 1 run on 1.36.4 and on 1.40.0"])


def test_other_behaviour_is_1_and_reported_in_words(write_scenario, run):
    write_scenario(name="same")
    write_scenario(name="two", fake="reuse_port")
    result = run("--against", "1.36.4")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "PASS    PASS    same                      same",
            "PASS    FAIL    different: 5 differences  two",
            "two",
            "  0.0.0.0:15006*",
            "    +1 socket: 2 instead of 1",
            "    SO_REUSEPORT now set before bind",
            "  the run",
            "    the scenario's verdict is FAIL instead of PASS",
            "different: 2 runs on 1.36.4 and on 1.40.0 (1 same, 1 different); 1.40.0 fails 1 run",
        ]
    )


def test_failing_in_the_same_way_on_both_is_not_0(write_scenario, run, fake_envoy):
    path = fake_envoy.path / write_scenario(fake="reuse_port")
    path.write_text(
        path.read_text().replace("FAKE: reuse_port", "FAKE: reuse_port, OLD: reuse_port")
    )
    result = run("--against", "1.36.4")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAIL    FAIL    same    one", "*; 1.40.0 fails 1 run"])


@pytest.mark.parametrize(
    "fake, problem",
    [
        ("lossy", "incomplete: * events lost *"),
        ("no_envoy", "no such Envoy*"),
        ("crash", "Envoy cannot be executed*"),
    ],
)
def test_run_that_cannot_be_compared_is_2_and_never_the_same(write_scenario, run, fake, problem):
    write_scenario(name="good")
    write_scenario(fake=fake)
    result = run("--against", "1.36.4")
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"*{problem}", "unknown: 2 runs on 1.36.4 and on 1.40.0 (*"])


@pytest.mark.usefixtures("run")
def test_runs_that_were_not_reached_are_not_the_same(write_scenario, fake_envoy):
    """`-x` ended the session at a test in Python, and the exit code was 0."""
    write_scenario(name="a")
    fake_envoy.makepyfile(test_b="def test_b(): assert False")
    write_scenario(name="z", fake="reuse_port")
    files = ("a.envoyassert.yaml", "test_b.py", "z.envoyassert.yaml")
    result = fake_envoy.run(*COMMAND, *files, "--against", "1.36.4", "-x")
    assert result.ret == 2
    same = "same: 1 run on 1.36.4 and on 1.40.0"
    result.stdout.fnmatch_lines([same, "incomplete: stopping after 1 failures"])


def test_run_that_does_not_apply_to_one_envoy_is_skipped(write_scenario, run):
    write_scenario(name="good")
    write_scenario(fake="unmet")
    result = run("--against", "1.36.4")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "PASS    PASS     same     good",
            "PASS    skipped  skipped  one",
            "  the scenario requires Linux >=9.9",
            "same: 2 runs on 1.36.4 and on 1.40.0 (1 same, 1 skipped)",
        ]
    )


def test_nothing_compared_is_2(write_scenario, run):
    write_scenario(fake="unmet")
    assert run("--against", "1.36.4").ret == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--against", "1.40.0"), "*--against names the Envoy that is run: 1.40.0"),
        (("--against", "nonsense"), "*--against: `nonsense` is neither an Envoy version*"),
        (("--against", "1.36.4", "--no-such-option"), "*unrecognized arguments: --no-such-option*"),
        (("--against", "1.36.4", "-p", "xdist", "-n", "2"), "*leave out -n*"),
        (("--against", "1.36.4", "--envoy", "1.37.0", "--envoy", "1.38.0"), "*--envoy once*"),
    ],
)
def test_wrong_use_is_2_with_a_message(write_scenario, run, arguments, message):
    write_scenario()
    result = run(*arguments)
    assert result.ret == 2
    result.stderr.fnmatch_lines([message])


def test_invalid_scenario_is_2(write_scenario, run):
    write_scenario(name="good")
    write_scenario(head="descripton: typo")
    assert run("--against", "1.36.4").ret == 2


def test_json_stands_alone_on_the_standard_output(write_scenario, run):
    write_scenario(fake="reuse_port")
    result = run("--against", "1.36.4", "--format", "json")
    data = json.loads(result.stdout.str())
    assert (result.ret, data["result"], data["format"]) == (1, "different", "envoyassert-against/1")
    (one,) = data["runs"]
    assert (one["run"], one["result"]) == ("one", "different")
    assert (one["before"]["verdict"], one["after"]["verdict"]) == ("PASS", "FAIL")
    assert "SO_REUSEPORT now set before bind" in [found["words"] for found in one["differences"]]
    result.stderr.fnmatch_lines(["*2 runs executed: 1 passed, 1 failed*"])
