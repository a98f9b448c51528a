"""A fault of ours in a session: the verdict and the trace are kept, and the session goes on."""

import html

import pytest

BREAK = """

def broken(*arguments, **named):
    raise KeyError("broken on purpose")

"""


@pytest.fixture
def break_(fake_envoy):
    """A function that lets something of ours raise in the sessions to come."""
    conftest = fake_envoy.path / "conftest.py"

    def break_(line):
        conftest.write_text(conftest.read_text() + BREAK + line + "\n")

    return break_


@pytest.mark.parametrize(
    "line",
    [
        "from envoyassert.report import changes; changes.counterfactual = broken",
        "from envoyassert.report import changes; changes.remedies = broken",
        "from envoyassert.report import places; places.place_finder = broken",
        "from envoyassert.report import refusal; refusal.blame = broken",
        "from envoyassert.pytest_plugin import execute; execute.certificate_line = broken",
        "from envoyassert.report import story; story.story_of = broken",
        "from envoyassert.report import coverage; coverage.coverage = broken",
        "from envoyassert.report import verdict_json; verdict_json.judgement = broken",
        "from envoyassert.report import figures; figures.figures_of = broken",
        "from envoyassert.report import summary; summary.summary_lines = broken",
        "from envoyassert.picture import socket_map; socket_map.socket_map = broken",
        "from envoyassert.report import github_text; github_text.job_summary = broken",
        "from envoyassert.report import github_text; github_text.workflow_command = broken",
    ],
)
def test_fault_beside_the_verdict_costs_neither_verdict_nor_trace(
    write_scenario, fake_envoy, break_, line, monkeypatch
):
    write_scenario(name="bad", fake="reuse_port")
    write_scenario(name="good")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(fake_envoy.path / "job.md"))
    break_(line)
    beside = ("--envoyassert-report=results", "--junit-xml=junit.xml", "-v")
    result = fake_envoy.runpytest_subprocess(
        "--envoyassert-story", "--envoyassert-coverage", *beside
    )
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAIL bad: port 15006: expected 1 bind() call, saw 2*"])
    junit = html.unescape((fake_envoy.path / "junit.xml").read_text())
    assert "KeyError: 'broken on purpose'" in result.stdout.str() + junit
    assert list(fake_envoy.path.glob("results/**/trace.ndjson"))


@pytest.mark.parametrize(
    "line",
    [
        "from envoyassert.report import places; places.place_finder = lambda loaded: broken",
        "from envoyassert.report import headline; headline.deciding = broken",
        "from envoyassert.steps import registry; registry.unasked_outcome = broken",
    ],
)
def test_fault_in_the_words_of_a_verdict_leaves_its_findings(
    write_scenario, fake_envoy, break_, line
):
    write_scenario(name="bad", fake="reuse_port")
    write_scenario(
        name="known",
        fake="reuse_port",
        more="    known_defect: {versions: '>=1.0', owner: me, upstream: unreported}\n",
    )
    break_(line)
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=results", "-v")
    assert result.ret == 1
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["FAIL bad*"])
    assert "expected 1 bind() call" in result.stdout.str()
    assert "KeyError: 'broken on purpose'" in result.stdout.str()
    assert len([*fake_envoy.path.glob("results/**/trace.ndjson")]) == 2


def test_trace_that_cannot_be_judged_is_kept(write_scenario, fake_envoy, break_):
    write_scenario()
    break_("from envoyassert.judge import judge; judge.judge = broken")
    result = fake_envoy.runpytest_subprocess()
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["not computed: KeyError: 'broken on purpose'*", "  remedy: trace: *trace.ndjson"]
    )
    assert (fake_envoy.path / ".envoyassert/one/one/trace.ndjson").exists()


def test_results_that_cannot_be_written_are_an_error_of_the_test(
    write_scenario, fake_envoy, break_
):
    write_scenario()
    break_("from envoyassert.report import results; results.RunDocument = broken")
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=results")
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["results not computed: KeyError: 'broken on purpose'*"])


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_fault_of_an_output_is_reported_once_for_a_session(
    write_scenario, fake_envoy, break_, options
):
    write_scenario(head="matrix: {concurrency: [1, 2, 3, 4]}")
    break_("from envoyassert.outputs.junit_properties import JUnitProperties as output")
    break_("output.properties = broken")
    result = fake_envoy.runpytest_subprocess(*options)
    assert result.ret == 0
    warning = "warning: the properties of a test: not computed: KeyError: 'broken on purpose'"
    assert sum(warning in line for line in [*result.outlines, *result.errlines]) == 1
