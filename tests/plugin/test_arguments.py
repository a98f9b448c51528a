"""What a test in Python that says something wrong shows: once, with its place and a remedy."""

import xml.etree.ElementTree as ET

import pytest

HEAD = """
import pytest
from envoyassert.asserts import assert_listener
from envoyassert.testing import TraceBuilder

def trace():
    built = TraceBuilder(2)
    built.shared_listener("0.0.0.0:15006")
    return built.build()
"""


@pytest.fixture
def run_test(pytester):
    """Run one test in Python; return the result and the line on which a text of it stands."""

    def run(body, *arguments):
        path = pytester.makepyfile(test_it=HEAD + body)
        return pytester.runpytest_subprocess(*arguments), lambda text: next(
            number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line
        )

    return run


def test_assertion_with_wrong_arguments_is_one_error_at_its_line(run_test):
    call = 'assert_listener(trace(), prt=15006, bound={"times": 1})'
    result, line_of = run_test(f"def test_one():\n    {call}\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR at call of test_one _*",
            f"test_it.py:{line_of(call)}: error: not a valid expectation: `prt` is not a key of *",
            "ERROR test_it.py::test_one - not a valid expectation: *",
        ]
    )
    result.stdout.no_fnmatch_line("*pydantic*")
    result.stdout.no_fnmatch_line("*asserts.py*")


FACTORY = """
def test_one(envoy_factory):
    envoy_factory(
        config={"admin": {}},
        concurency=2,
    )
"""
MARKED = """
@pytest.mark.envoy(config={"admin": {}}, concurency=2)
def test_one(envoy):
    pass
"""


@pytest.mark.parametrize(
    ("body", "phase", "at"), [(FACTORY, "call", "envoy_factory("), (MARKED, "setup", "@pytest")]
)
def test_envoy_described_wrongly_is_blamed_on_the_test_and_not_on_a_file(run_test, body, phase, at):
    result, line_of = run_test(body)
    result.assert_outcomes(errors=1)
    # The call, not the mention of the fixture in the line before it.
    line = line_of("    envoy_factory(") if phase == "call" else line_of(at)
    result.stdout.fnmatch_lines(
        [
            f"*_ ERROR at {phase} of test_one _*",
            f"test_it.py:{line}: error: no Envoy can be described so: `concurency` is not a key *",
        ]
    )
    result.stdout.no_fnmatch_line("*.yaml*")


def test_config_file_that_is_wrong_keeps_its_own_place(run_test, pytester):
    (pytester.path / "envoy.yaml").write_text("admin: {}\nnode: [\n")
    result, _ = run_test('def test_one(envoy_factory):\n    envoy_factory(config="envoy.yaml")\n')
    result.stdout.fnmatch_lines(
        ["*error: no Envoy can be described so: */envoy.yaml:3:1: error: *"]
    )


@pytest.mark.parametrize(
    ("fixture", "fault", "remedy"),
    [
        ("envoy", "the fixture `envoy` does not know which Envoy to start", "put @pytest.mark.en*"),
        ("scenario", "the fixture `scenario` is for the runs of scenario files, *", "ask for it *"),
    ],
)
def test_fixture_that_lacks_what_it_needs_says_so_at_the_test(run_test, fixture, fault, remedy):
    result, line_of = run_test(f"def test_one({fixture}):\n    pass\n")
    result.assert_outcomes(errors=1)
    line = line_of("def test_one")
    result.stdout.fnmatch_lines([f"test_it.py:{line}: error: {fault}", f"  remedy: {remedy}"])
    result.stdout.no_fnmatch_line("*fixtures.py*")


INCONCLUSIVE = """
def test_one():
    built = TraceBuilder(2)
    built.shared_listener("0.0.0.0:15006")
    assert_listener(built.build(lost=(12, 13, 14, 15)), port=15006, listened={"by": "main"})
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n1")])
def test_error_that_arose_in_the_body_is_shown_in_the_call_and_counted_as_an_error(
    run_test, pytester, arguments
):
    result, _ = run_test(INCONCLUSIVE, "--junitxml=junit.xml", *arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*_ ERROR at call of test_one _*", "ERROR test_it.py::test_one*"])
    (case,) = ET.parse(pytester.path / "junit.xml").iter("testcase")  # noqa: S314 - our own
    assert [child.tag for child in case] == ["error"]


def test_directory_for_traces_that_is_a_file_is_refused_before_anything_runs(pytester):
    pytester.makefile("", file="")
    result = pytester.runpytest_subprocess("--envoyassert-artifacts=file")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envoyassert-artifacts: file is no directory"])
