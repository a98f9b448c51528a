"""`envoyassert matrix` on made-up Envoys: the atlas and the table of what they did."""

import platform
import sys

import pytest

from tests.plugin.test_html_report import indexes_of
from tests.unit.cli_words import run_cli

# 1.36.4 makes a shared listener, what FAKE says holds for the others.
CHANGING_CONFTEST = """
from envoyassert.pytest_plugin import execute

of_new = execute.run_plan


def run_plan(plan, probe, preference, **more):
    import dataclasses

    if plan.version == "1.36.4":
        plan = dataclasses.replace(plan, env={**plan.env, "FAKE": plan.env.get("OLD", "shared")})
    return of_new(plan, probe, preference, **more)


execute.run_plan = run_plan
"""
UNWRITTEN_CONFTEST = """
def pytest_runtest_teardown():
    from pathlib import Path

    for directory in Path("out/results/runs").glob("*1.40.0*"):
        (directory / "run.json").mkdir(exist_ok=True)
"""
TAKEN_CONFTEST = """
def pytest_runtest_teardown():
    from pathlib import Path

    Path("out/index.html").mkdir(parents=True, exist_ok=True)
"""
DEFECT = '    known_defect: {versions: ">=1.40", owner: edge, upstream: unreported}\n'


@pytest.fixture
def matrix(fake_envoy, monkeypatch):
    path = fake_envoy.path
    (path / "conftest.py").write_text((path / "conftest.py").read_text() + CHANGING_CONFTEST)
    for version in ("1.36.4", "1.40.0"):
        binary = path / "cache" / "envoy" / f"{version}-{platform.machine()}" / "envoy"
        binary.parent.mkdir(parents=True)
        binary.touch()
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(path / "cache"))
    return lambda *more: fake_envoy.run(
        sys.executable, "-m", "envoyassert", "matrix", *more, "-o", "out"
    )


BOTH = (".", "--versions", "1.40.0 1.36.4", "--launcher", "process")


def test_matrix_prints_the_table_and_writes_a_page_for_each_run(
    write_scenario, matrix, fake_envoy, capsys
):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    write_scenario(name="two", fake="reuse_port", more=DEFECT)
    write_scenario(name="three", fake="unmet")
    result = matrix(*BOTH)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "scenario  launchers  concurrency  1.36.4    1.40.0",
            "one       process    1 2          2 passed  2 passed",
            "three     process    2            1 passed  1 not applicable",
            "two       process    2            1 passed  1 known defect",
            "known defect: two: known defect (unreported, owner edge): port 15006: *",
            "1.36.4 -> 1.40.0: 1 scenario differs",
            "8 runs of 3 scenarios on 2 Envoys: 1 known defect, 6 passed, 1 not applicable",
            "atlas: out/index.html",
        ]
    )
    out = fake_envoy.path / "out"
    # One run did not apply.
    assert len(list((out / "results" / "runs").glob("*/run.html"))) == 7
    page = (out / "index.html").read_text()
    assert "SO_REUSEPORT now set before bind" in page
    (of_run,) = (out / "results" / "runs").glob("two-envoy=1.40.0*/run.html")
    assert "known defect" in of_run.read_text()
    assert f'href="results/runs/{of_run.parent.name}/run.html"' in page
    assert indexes_of(out) == {"index.html": 7}
    # Merged, the pages are as far from their index as those of any report.
    merged = fake_envoy.path / "merged"
    run_cli(capsys, "merge", out / "results", "-o", merged)
    assert indexes_of(merged) == {"index.html": 7}


def test_run_that_fails_is_1_and_the_page_is_written_anyway(write_scenario, matrix, fake_envoy):
    write_scenario(fake="reuse_port")
    result = matrix(*BOTH)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["one       process    2            1 passed  1 failed"])
    assert "1 failed" in (fake_envoy.path / "out/index.html").read_text()


def test_run_whose_results_cannot_be_written_is_in_the_atlas(write_scenario, matrix, fake_envoy):
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(conftest.read_text() + UNWRITTEN_CONFTEST)
    write_scenario()
    result = matrix(*BOTH)
    assert result.ret == 77
    result.stdout.fnmatch_lines(
        [
            "one       process    2            1 passed  1 not judged",
            "not judged: one: *run.json cannot be written: * (1.40.0)",
        ]
    )
    assert "1 not judged" in (fake_envoy.path / "out/index.html").read_text()


def test_page_that_cannot_be_written_is_77_below_the_last_line_of_pytest(
    write_scenario, matrix, fake_envoy
):
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(conftest.read_text() + TAKEN_CONFTEST)
    write_scenario()
    result = matrix(*BOTH)
    assert result.ret == 77
    assert "2 passed in" in result.outlines[-1]
    result.stderr.fnmatch_lines(["envoyassert: error: out/index.html cannot be written: *"])


def test_page_is_drawn_again_from_the_results(write_scenario, matrix, fake_envoy):
    write_scenario()
    assert matrix(*BOTH).ret == 0
    page = fake_envoy.path / "out/index.html"
    first = page.read_text()
    page.unlink()
    result = matrix("--draw")
    assert result.ret == 0
    assert page.read_text() == first


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--draw",), "*out/results/index.json cannot be read: No such file or directory"),
        ((".", "--versions", "1.40.0 soon"), "*--versions: `soon` is neither an Envoy version*"),
    ],
)
def test_what_cannot_be_done_is_one_error(write_scenario, matrix, arguments, message):
    write_scenario()
    result = matrix(*arguments)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])


def test_foreign_page_is_not_replaced(write_scenario, matrix, fake_envoy):
    write_scenario()
    page = fake_envoy.path / "out" / "index.html"
    page.parent.mkdir()
    page.write_text("<p>mine</p>")
    result = matrix(*BOTH)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*out/index.html is not of an atlas; name another directory"])
    assert page.read_text() == "<p>mine</p>"
