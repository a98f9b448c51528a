"""`--envoyassert-baseline`: runs held against what is stored of them, and the update of that."""

from __future__ import annotations

import json
import os
import sys

import pytest

BASELINE = "--envoyassert-baseline=baselines"
UPDATE = "--envoyassert-update-baseline"


@pytest.fixture
def run(fake_envoy):
    """Run pytest with baselines; return its result."""

    def run(*arguments, baseline=BASELINE):
        return fake_envoy.runpytest_subprocess(baseline, *arguments)

    return run


@pytest.fixture
def stored(fake_envoy):
    """The text of each file of baselines by its name."""

    def read() -> dict[str, str]:
        directory = fake_envoy.path / "baselines"
        found = directory.rglob("*") if directory.exists() else ()
        return {str(path.relative_to(directory)): path.read_text() for path in found}

    return read


MATRIX = "matrix: {concurrency: [1, 2]}"


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_an_update_makes_baselines_that_the_next_run_meets(write_scenario, run, stored, workers):
    write_scenario(head=MATRIX)
    write_scenario(name="other")
    result = run(UPDATE, *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["baselines updated: 3 new (baselines)", "  new: one[[]concurr*"])
    files = stored()
    assert sorted(files) == ["one.envoyassert.baseline.yaml", "other.envoyassert.baseline.yaml"]
    assert "  one[concurrency=2]:\n    1.40.0:\n" in files["one.envoyassert.baseline.yaml"]
    result = run(*workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["baselines: 3 same (baselines)"])
    assert stored() == files


def test_a_difference_beside_a_pass_is_a_failure_of_its_own(fake_envoy, write_scenario, run):
    name = write_scenario()
    run(UPDATE)
    change(fake_envoy, name, "bound: {times: 1, by: main}", "bound: {by: main}")
    change(fake_envoy, name, "listened: {by: workers, via: dup}", "listened: {by: workers}")
    change(fake_envoy, name, "FAKE: shared", "FAKE: reuse_port")
    result = run("--envoyassert-report=out", "-rA")
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "0.0.0.0:15006 * (baseline); * more differences",
            "*sockets: expected 1, seen 2",
            "*shape: expected dup, seen reuse_port",
            "*baseline: baselines/one.envoyassert.baseline.yaml (one on 1.40.0)",
            "*remedy: *--update-baseline*",
            "*trace: *trace.ndjson",
            "*1 failed*",
        ]
    )
    index = json.loads((fake_envoy.path / "out/index.json").read_text())
    document = json.loads((fake_envoy.path / "out" / index["runs"][0]["document"]).read_text())
    assert (document["outcome"], document["verdict"]["status"]) == ("failed", "PASS")
    assert document["baseline"]["answer"] == "different"
    assert {"phase": "", "subject": "0.0.0.0:15006", "aspect": "sockets",
            "before": "1", "after": "2"} in document["baseline"]["differences"]  # fmt: skip


def change(fake_envoy, name: str, old: str, new: str) -> None:
    path = fake_envoy.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_failure_says_both_verdict_and_difference(write_scenario, run, fake_envoy):
    name = write_scenario()
    run(UPDATE)
    change(fake_envoy, name, "FAKE: shared", "FAKE: reuse_port")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*port 15006: expected 1 bind() call*", "*sockets: expected 1, seen 2*", "*baseline: *"]
    )


def test_a_missing_baseline_fails_and_says_how_to_make_one(write_scenario, run, stored):
    write_scenario()
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["there is no baseline of one on 1.40.0", "*remedy: make one: *--update-baseline*"]
    )
    assert stored() == {}


@pytest.mark.parametrize("more", [(), (UPDATE,)], ids=["compared", "updated"])
def test_a_lossy_trace_is_neither_the_same_nor_different(
    write_scenario, run, fake_envoy, stored, more
):
    name = write_scenario()
    run(UPDATE)
    files = stored()
    # What it expects can be seen of what is left.
    change(fake_envoy, name, "    listened: {by: workers, via: dup}\n", "")
    change(fake_envoy, name, "bound: {times: 1, by: main}", "bound: {by: main}")
    change(fake_envoy, name, "FAKE: shared", "FAKE: lossy")
    result = run("-rA", *more)
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "INCONCLUSIVE" in text
    assert "(baseline)" not in text
    assert "1 same" not in text
    assert stored() == files


def test_a_known_defect_is_no_excuse_for_another_story(write_scenario, run, fake_envoy):
    name = write_scenario(fake="reuse_port")
    change(fake_envoy, name, "  - listener: {port: 15006}\n", "  - listener: {port: 15006}\n"
           "    known_defect: {versions: '>=1.0', owner: me, upstream: unreported}\n")  # fmt: skip
    assert run(UPDATE).ret == 0
    result = run()
    assert result.ret == 0
    change(fake_envoy, name, "FAKE: reuse_port", "FAKE: shared")
    result = run()
    assert result.ret == 1


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_what_is_unused_is_removed_where_everything_was_run(
    write_scenario, run, stored, fake_envoy, workers
):
    write_scenario(head=MATRIX)
    write_scenario(name="gone")
    run(UPDATE)
    (fake_envoy.path / "gone.envoyassert.yaml").unlink()
    write_scenario(head="matrix: {concurrency: [2]}")
    files = stored()
    result = run(*workers)
    assert result.ret == 0
    unused = ["  unused: *gone.envoyassert.baseline.yaml: gone (*", "  unused: *concurrency=1*"]
    result.stdout.fnmatch_lines_random(unused)
    # With a selection nothing is removed.
    write_scenario(name="another")
    for selection in (("-k", "one"), ("one.envoyassert.yaml",)):
        result = run(UPDATE, *selection, *workers)
        assert result.ret == 0
        assert stored() == files
        result.stdout.no_fnmatch_line("  removed: *")
    result = run(UPDATE, *workers)
    result.stdout.fnmatch_lines_random(["  removed: *: gone", "  removed: *: one[[]concurrency=1]"])
    assert sorted(stored()) == [
        "another.envoyassert.baseline.yaml",
        "one.envoyassert.baseline.yaml",
    ]
    assert "concurrency=1" not in stored()["one.envoyassert.baseline.yaml"]


def test_an_update_keeps_what_is_of_other_envoys(write_scenario, run, stored):
    name = write_scenario()
    for envoy in ("1.36.4", "1.40.0"):
        assert run(UPDATE, f"--envoyassert-envoy={envoy}").ret == 0
    text = stored()[name.replace(".yaml", ".baseline.yaml")]
    assert "    1.36.4:\n" in text
    assert "    1.40.0:\n" in text
    result = run("--envoyassert-envoy=1.36.4", "--envoyassert-envoy=1.40.0")
    result.stdout.fnmatch_lines(["baselines: 2 same (baselines)"])


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_an_update_is_never_green_in_ci(write_scenario, run, monkeypatch, workers):
    write_scenario()
    monkeypatch.setenv("CI", "true")
    for _ in ("new", "nothing to change"):
        result = run(UPDATE, *workers)
        assert result.ret == 1
        said = "ERROR: --envoyassert-update-baseline in CI: * was not reviewed*"
        result.stdout.fnmatch_lines([said])
    assert run(UPDATE, "-k", "none of them").ret != 0
    assert run(*workers).ret == 0


def test_an_update_of_a_session_that_was_cut_off_writes_nothing(write_scenario, run, stored):
    write_scenario(fake="crash")
    write_scenario(name="two")
    result = run(UPDATE, "-x")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["ERROR: baselines is as it was: the session did not come to*"])
    assert stored() == {}


def test_runs_of_one_baseline_that_differ_are_an_error(write_scenario, run, stored, fake_envoy):
    name = write_scenario()
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + """
of_one = execute.run_plan
def run_plan(plan, *more, **named):
    if plan.launcher == "docker":
        plan = dataclasses.replace(plan, env={"FAKE": "reuse_port"})
    return of_one(plan, *more, **named)
execute.run_plan = run_plan
"""
    )
    change(fake_envoy, name, "bound: {times: 1, by: main}", "bound: {by: main}")
    change(fake_envoy, name, "listened: {by: workers, via: dup}", "listened: {by: workers}")
    launchers = ("--envoyassert-launcher=process", "--envoyassert-launcher=docker")
    result = run(UPDATE, *launchers)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["ERROR: one[[]launcher=process] and one[[]launcher=docker] have one baseline, and differ*"]
    )
    assert stored() == {}


def test_a_file_that_is_not_valid_leaves_the_run_inconclusive(
    write_scenario, run, fake_envoy, stored
):
    write_scenario()
    run(UPDATE)
    (path,) = (fake_envoy.path / "baselines").iterdir()
    path.write_text("<<<<<<< ours\n" + path.read_text())
    files = stored()
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*INCONCLUSIVE*baselines/one.envoyassert.baseline.yaml:*error:*"])
    result = run(UPDATE)
    assert result.ret == 1
    assert stored() == files


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
@pytest.mark.parametrize("more", [(), (UPDATE,)], ids=["compared", "updated"])
def test_a_file_that_is_not_valid_costs_no_run_of_others(
    write_scenario, run, fake_envoy, stored, more, workers
):
    write_scenario()
    write_scenario(name="two")
    run(UPDATE)
    path = fake_envoy.path / "baselines" / "two.envoyassert.baseline.yaml"
    path.write_text("<<<<<<< ours\n" + path.read_text())
    files = stored()
    for selection in (("-k", "one"), ("one.envoyassert.yaml",)):
        result = run(*selection, *more, *workers)
        assert result.ret == 0
        result.stdout.fnmatch_lines(["baselines: 1 same*" if not more else "*: 1 unchanged*"])
    assert stored() == files
    # Where everything was run, and nothing asked for it, it is reported.
    (fake_envoy.path / "two.envoyassert.yaml").unlink()
    result = run(*more, *workers)
    assert result.ret == 0
    said = "  needed by no run, and kept: baselines/two.envoyassert.baseline.yaml:*: error: *"
    result.stdout.fnmatch_lines([said])
    assert stored() == files


def test_files_that_no_run_needs_are_not_read(write_scenario, run, fake_envoy):
    """What is read shows by what is said of it: a FIFO is no file of baselines."""
    write_scenario()
    write_scenario(name="two")
    run(UPDATE)
    os.mkfifo(fake_envoy.path / "baselines" / "other.envoyassert.baseline.yaml")
    result = run("-k", "one")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*other.envoyassert*")
    run().stdout.fnmatch_lines(["*other.envoyassert*"])


def test_an_update_of_which_one_file_cannot_be_written_writes_none(
    write_scenario, run, fake_envoy, stored
):
    write_scenario()
    write_scenario(name="two")
    write_scenario(name="zero")
    run(UPDATE)
    for name in ("one", "two", "zero"):
        change(fake_envoy, f"{name}.envoyassert.yaml", "FAKE: shared", "FAKE: reuse_port")
        for old, new in (
            ("bound: {times: 1, by: main}", "bound: {by: main}"),
            ("listened: {by: workers, via: dup}", "listened: {by: workers}"),
        ):
            change(fake_envoy, f"{name}.envoyassert.yaml", old, new)
    files = stored()
    last = fake_envoy.path / "baselines" / "zero.envoyassert.baseline.yaml"
    last.unlink()
    elsewhere = fake_envoy.path / "elsewhere"
    elsewhere.write_text(files[last.name])
    last.symlink_to(elsewhere)
    result = run(UPDATE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["ERROR: *zero.envoyassert.baseline.yaml cannot be written: *link*"]
    )
    assert stored() == files


def test_an_update_needs_a_directory(write_scenario, fake_envoy):
    write_scenario()
    result = fake_envoy.runpytest_subprocess(UPDATE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *--envoyassert-baseline DIR*"])


def test_baselines_among_scenarios_are_none_of_these(write_scenario, run, fake_envoy):
    write_scenario(name="one", suffix=".yaml")
    fake_envoy.makeini("[pytest]\nenvoyassert_files = *.yaml\n")
    for baseline in ("--envoyassert-baseline=baselines",) * 2:
        result = run(UPDATE, baseline=baseline)
        result.assert_outcomes(passed=1)


def test_two_envoys_are_compared_without_baselines(write_scenario, fake_envoy):
    name = write_scenario()
    words = ("envoyassert", "run", name, "--against", "1.36.4", "--baseline", "baselines")
    result = fake_envoy.run(sys.executable, "-m", *words)
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--baseline means nothing beside --against*"])


def test_an_update_takes_no_story_of_a_run_that_failed(write_scenario, run, stored):
    write_scenario(fake="reuse_port")
    result = run(UPDATE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*an update takes no story of a run that failed*"])
    assert stored() == {}
