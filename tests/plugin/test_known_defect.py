"""A known defect in pytest, its summary, JUnit, the results and the command."""

import json
import sys
import xml.etree.ElementTree as ET

import pytest

DEFECT = """\
  - listener: {port: 15006}
    sockets: %s
    known_defect: {versions: "%s", owner: edge team, upstream: unreported}
"""
FAILS, HOLDS = "3", "1"


@pytest.fixture
def known(write_scenario):
    """Write a scenario whose last expectation has a known defect."""

    def write(sockets=FAILS, versions="<1.41", **more):
        return write_scenario(more=DEFECT % (sockets, versions), **more)

    return write


def outcome_of(path):
    (run,) = json.loads((path / "out/index.json").read_text())["runs"]
    return run["outcome"], run["attempts"], run["reason"]


def test_known_defect_is_an_expected_failure_everywhere(known, fake_envoy):
    known()
    result = fake_envoy.runpytest_subprocess("--junitxml=j.xml", "--envoyassert-report=out")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["1 run executed: 1 known defect (*"])
    outcome, attempts, reason = outcome_of(fake_envoy.path)
    assert (outcome, attempts) == ("known_defect", ["KNOWN_DEFECT"])
    assert reason.startswith(
        "known defect (unreported, owner edge team): port 15006: expected 3 kernel sockets "
    )
    (case,) = ET.parse(fake_envoy.path / "j.xml").iter("testcase")  # noqa: S314 - our own
    assert "known defect (unreported" in ET.tostring(case, "unicode")
    assert "envoyassert_verdict" in [item.get("name") for item in case.iter("property")]


def test_known_defect_counts_in_the_controller_of_xdist(known, fake_envoy):
    known()
    known(name="two")
    result = fake_envoy.runpytest_subprocess("-p", "xdist", "-n2")
    result.assert_outcomes(xfailed=2)
    result.stdout.fnmatch_lines(["2 runs executed: 2 known defects (*"])


def test_unexpected_pass_is_red_and_named(known, fake_envoy):
    name = known(sockets=HOLDS)
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    line = (
        (fake_envoy.path / name)
        .read_text()
        .splitlines()
        .index('    known_defect: {versions: "<1.41", owner: edge team, upstream: unreported}')
    )
    result.stdout.fnmatch_lines(
        [
            "FAIL one: port 15006: expected to fail on Envoy <1.41 *",
            f"{name}:{line + 1}:*",
        ]
    )
    outcome, attempts, reason = outcome_of(fake_envoy.path)
    assert (outcome, attempts) == ("failed", ["FAIL"])
    assert "an unexpected pass" in reason


def test_failure_on_another_version_is_a_failure(known, fake_envoy):
    known(versions="<1.40")
    fake_envoy.runpytest_subprocess().assert_outcomes(failed=1)


def test_inconclusive_run_with_a_known_defect_is_an_error(known, fake_envoy):
    known(fake="lossy")
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out")
    result.assert_outcomes(errors=1)
    assert outcome_of(fake_envoy.path)[0] == "inconclusive"


def test_runxfail_shows_a_known_defect_as_the_failure_that_it_is(known, fake_envoy):
    known()
    result = fake_envoy.runpytest_subprocess("--runxfail", "--envoyassert-report=out")
    result.assert_outcomes(failed=1)
    assert outcome_of(fake_envoy.path)[0] == "failed"


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_run_names_known_defects_once_and_never_among_failures(known, fake_envoy, workers):
    known()
    known(name="two")
    arguments = ("-m", "envoyassert", "run", ".", "-ra", "-p", "xdist", workers)
    result = fake_envoy.run(sys.executable, *arguments)
    out = result.stdout.str()
    assert result.ret == 0
    assert "XFAIL" not in out
    assert "short test summary" not in out
    for name in ("one", "two"):
        line = f"  1 known defect: {name}: (unreported, owner edge team): port 15006: *"
        result.stdout.fnmatch_lines_random([line])
    result.stdout.fnmatch_lines(["*= 2 with a known defect in *"])


@pytest.mark.parametrize(
    "defect, message",
    [
        ("{versions: '1.40', owner: x, upstream: unreported}", "`versions` must be bounds of ver*"),
        ("{versions: '<1.41', upstream: unreported}", "`owner` is missing*"),
        (
            "{versions: '<1.41', owner: x, upstream: soon}",
            "`upstream` must be `unreported`, owner*",
        ),
    ],
)
def test_known_defect_that_says_too_little_is_refused(write_scenario, fake_envoy, defect, message):
    write_scenario(more=f"    known_defect: {defect}\n")
    result = fake_envoy.runpytest_subprocess()
    result.stdout.fnmatch_lines([f"*one.envoyassert.yaml:14:*: error: {message}"])
