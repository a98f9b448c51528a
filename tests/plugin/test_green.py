"""Green means proven: nothing that other plugins and marks do makes a PASS of an open question."""

import json

import pytest

RERUNS = ("-p", "pytest_rerunfailures", "--reruns=2")
XDIST = ("-p", "xdist", "-n2")
OPEN = "INCONCLUSIVE one: port 15006 *"

MARK_ALL = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.{mark})
"""


@pytest.mark.parametrize("arguments", [(), XDIST], ids=["one process", "xdist"])
def test_reruns_of_another_plugin_never_make_a_pass_of_an_inconclusive_run(
    write_scenario, fake_envoy, arguments
):
    write_scenario(fake="lossy>shared")
    result = fake_envoy.runpytest_subprocess(*RERUNS, *arguments)
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([OPEN, "1 run executed: 1 inconclusive (*", "ERROR one.*::one*"])


def test_mark_that_repeats_a_test_never_makes_a_pass_of_an_inconclusive_run(
    write_scenario, fake_envoy
):
    write_scenario(fake="lossy>shared")
    fake_envoy.makepyfile(later=MARK_ALL.format(mark="flaky(reruns=3)"))
    result = fake_envoy.runpytest_subprocess("-p", "pytest_rerunfailures", "-p", "later")
    assert result.ret == 1
    result.assert_outcomes(errors=1)


def test_reruns_never_make_a_pass_of_an_inconclusive_assertion_in_python(fake_envoy):
    fake_envoy.makepyfile(
        """
        from envoyassert.asserts import assert_listener
        from envoyassert.testing import TraceBuilder

        lost = [(12, 13, 14, 15)]

        def test_it():
            trace = TraceBuilder(2)
            trace.shared_listener("0.0.0.0:15006")
            built = trace.build(lost=lost.pop() if lost else ())
            assert_listener(built, port=15006, bound={"times": 1}, listened={"by": "workers"})
        """
    )
    result = fake_envoy.runpytest_subprocess(*RERUNS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E * INCONCLUSIVE: port 15006 *", "ERROR *::test_it*"])
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_reruns_of_a_fail_are_the_users_choice_and_reported(write_scenario, fake_envoy):
    write_scenario(fake="reuse_port>shared")
    result = fake_envoy.runpytest_subprocess(*RERUNS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["1 run executed: 1 passed (*", "  1 run repeated:", "    one: FAIL, then PASS"]
    )


@pytest.mark.parametrize(
    ("mark", "more"),
    [
        ('xfail(reason="known", strict=True)', ()),
        ('xfail(reason="known", strict=True)', RERUNS),
        ('xfail(reason="known")', RERUNS),
    ],
)
def test_xfail_never_swallows_an_inconclusive_run(write_scenario, fake_envoy, mark, more):
    write_scenario(fake="lossy>reuse_port")
    fake_envoy.makepyfile(later=MARK_ALL.format(mark=mark))
    result = fake_envoy.runpytest_subprocess("-p", "later", *more)
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([OPEN, "1 run executed: 1 inconclusive (*"])


def test_count_says_what_a_mark_made_of_a_run(write_scenario, fake_envoy):
    write_scenario(name="a", fake="reuse_port")
    for name in "bcde":
        write_scenario(name=name)
    fake_envoy.makepyfile(
        later="""
        import pytest

        MARKS = {
            "a": pytest.mark.xfail(strict=True),
            "b": pytest.mark.xfail(strict=True),
            "c": pytest.mark.xfail(reason="by and by"),
            "d": pytest.mark.xfail(run=False, reason="hangs"),
            "e": pytest.mark.skip(reason="later"),
        }

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(MARKS[item.name])
        """
    )
    result = fake_envoy.runpytest_subprocess("-p", "later", "--envoyassert-report=out")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "3 runs executed: 1 passed, 1 failed, 1 xfailed, 2 skipped (*",
            "  1 skipped: xfail: [[]NOTRUN[]] hangs",
            "  1 skipped: later",
        ]
    )
    index = json.loads((fake_envoy.path / "out/index.json").read_bytes())
    assert {run["run"]: (run["outcome"], run["attempts"]) for run in index["runs"]} == {
        "a": ("xfailed", ["FAIL"]),
        "b": ("failed", ["PASS"]),
        "c": ("passed", ["PASS"]),
        "d": ("skipped", []),
        "e": ("skipped", []),
    }


@pytest.mark.parametrize("arguments", [(), XDIST], ids=["one process", "xdist"])
def test_inconclusive_run_is_repeated_once_if_asked_for_and_that_is_counted_and_reported(
    write_scenario, fake_envoy, arguments
):
    write_scenario(name="one", fake="lossy>shared")
    write_scenario(name="two", fake="lossy>reuse_port")
    write_scenario(name="three", fake="lossy>lossy>shared")
    write_scenario(name="four", fake="reuse_port>shared")
    write_scenario(name="five")
    result = fake_envoy.runpytest_subprocess("--envoyassert-rerun-inconclusive=1", *arguments)
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=2, errors=1)
    lines = result.outlines
    assert any(
        line.startswith("5 runs executed: 2 passed, 2 failed, 1 inconclusive (") for line in lines
    )
    shown = lines[lines.index("  3 runs repeated:") + 1 :][:3]
    assert sorted(shown) == [
        "    one: INCONCLUSIVE, then PASS",
        "    three: INCONCLUSIVE, then INCONCLUSIVE",
        "    two: INCONCLUSIVE, then FAIL",
    ]


def test_traces_of_both_attempts_are_kept_where_they_did_not_pass(write_scenario, fake_envoy):
    write_scenario(fake="lossy")
    fake_envoy.runpytest_subprocess("--envoyassert-rerun-inconclusive=1")
    kept = sorted(path.name for path in fake_envoy.path.glob(".envoyassert/one/one/*"))
    assert kept == ["envoy.2.log", "envoy.log", "trace.2.ndjson", "trace.ndjson"]


def test_run_that_cannot_be_repeated_stays_inconclusive(write_scenario, fake_envoy):
    for then in ("no_docker", "no_bpf", "unmet", "crash"):
        write_scenario(name=then, fake=f"lossy>{then}")
    result = fake_envoy.runpytest_subprocess("--envoyassert-rerun-inconclusive=1")
    assert result.ret == 1
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(["4 runs executed: 4 inconclusive (*"])
    shown = [line for line in result.outlines if line.startswith("could not be repeated: ")]
    assert len(shown) == 4


@pytest.mark.parametrize("arguments", [(), XDIST], ids=["one process", "xdist"])
def test_count_names_each_reason_of_a_skip_with_how_often(write_scenario, fake_envoy, arguments):
    for name in ("a", "b"):
        write_scenario(name=name, fake="no_docker")
    write_scenario(name="c", fake="unmet")
    write_scenario(name="d")
    result = fake_envoy.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines(
        [
            "1 run executed: 1 passed, 3 skipped (1 scenario, 1 Envoy, 1 launcher, 1 concurrency)",
            "  2 skipped: there is no Docker engine; start one",
            "  1 skipped: the scenario requires Linux >=9.9",
        ]
    )
