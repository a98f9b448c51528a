"""`--envoyassert-report`: what is written for machines, and that it is of this session."""

import json
import shutil
import signal
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from envoyassert.report.results import results_schema
from envoyassert.trace_file import read_trace

VALIDATOR = jsonschema_rs.Draft202012Validator(results_schema())


class Report:
    """A report as a program reads it; every document must fit the schema."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = self.read("index.json")
        self.runs = {
            run["run"]: self.read(run["document"]) for run in self.index["runs"] if run["document"]
        }

    def read(self, path: str):
        document = json.loads((self.directory / path).read_bytes())
        VALIDATOR.validate(document)
        return document

    def files(self) -> list[str]:
        """The files beside the runs' documents, by the name of their directory's scenario."""
        found = [path for path in self.directory.glob("runs/*/*") if path.name != "run.json"]
        return sorted(f"{path.parent.name.rpartition('-')[0]}/{path.name}" for path in found)


@pytest.fixture
def report(fake_envoy):
    """Run pytest with a report; return its result and the report."""

    def run(*arguments):
        result = fake_envoy.runpytest_subprocess("--envoyassert-report=out", *arguments)
        return result, Report(fake_envoy.path / "out")

    return run


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n2")], ids=["one process", "xdist"])
def test_report_has_each_run_whatever_its_result(write_scenario, report, fake_envoy, arguments):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    for fake in ("reuse_port", "lossy", "no_docker", "unmet", "crash", "refused"):
        write_scenario(name=fake, fake=fake)
    result, found = report(*arguments)
    result.stdout.fnmatch_lines(["results: out/index.json"])
    outcomes = {run["run"]: run["outcome"] for run in found.index["runs"]}
    assert outcomes == {
        "one[concurrency=1]": "passed",
        "one[concurrency=2]": "passed",
        "reuse_port": "failed",
        "lossy": "inconclusive",
        "no_docker": "skipped",
        "unmet": "skipped",
        "crash": "error",
        "refused": "error",
    }
    assert {run["run"]: run["outcome"] for run in found.runs.values()} == outcomes
    assert found.index["complete"]
    assert found.index["counts"] == {
        "executed": 4,
        "passed": 2,
        "failed": 1,
        "known_defect": 0,
        "xfailed": 0,
        "inconclusive": 1,
        "skipped": 2,
        "error": 2,
        "repeated": 0,
    }
    assert found.index["summary"][0] in result.outlines
    assert found.runs["no_docker"]["reason"] == "there is no Docker engine; start one"
    assert found.runs["crash"]["reason"] == "Envoy cannot be executed"
    assert found.runs["crash"]["verdict"] is None
    # Of what was not PASS, trace and log.
    assert found.files() == [
        f"{name}/{file}"
        for name in ("lossy", "reuse_port")
        for file in ("envoy.log", "trace.ndjson")
    ]
    assert not (fake_envoy.path / ".envoyassert").exists()


def test_document_of_a_run_says_what_was_found_where_on_which_envoy_and_machine(
    write_scenario, report
):
    name = write_scenario(fake="reuse_port", head="matrix: {concurrency: [2]}")
    result, found = report()
    run = found.runs["one[concurrency=2]"]
    assert run["id"] == f"{name}::one[concurrency=2]"
    assert run["scenario"] == {
        "name": "one",
        "description": "",
        "location": {"file": name, "line": 1, "column": 1},
        "matrix": {"concurrency": "2"},
    }
    finding = run["verdict"]["findings"][0]
    assert (finding["status"], finding["atom"]) == ("FAIL", "bound.times")
    assert finding["location"] == {"file": name, "line": 12, "column": 13}
    assert {check["name"]: check["ok"] for check in run["verdict"]["certificate"]}["received"]
    assert run["reason"].startswith("port 15006: expected 1 bind() call, saw 2")
    assert run["envoy"] == {
        "version": "1.40.0",
        "build_id": "ab12",
        "source": "version 1.40.0",
        "image_digest": "",
        "launcher": "process",
        "concurrency": 2,
    }
    assert run["asked"] == {"envoy": "1.40.0", "launcher": "auto", "concurrency": 2}
    assert run["machine"]["kernel"]
    assert run["figures"]["counts"]["listening_sockets"] == 2
    assert run["figures"]["start_up"]["first_bind_ms"] > 0
    (attempt,) = run["attempts"]
    directory = next(found.directory.glob("runs/*"))
    assert (
        len(read_trace(directory / attempt["trace"]).events) == run["figures"]["counts"]["events"]
    )
    assert (directory / attempt["log"]).read_text() == "Envoy says hello\n"
    # What a person is shown is what a program finds.
    result.stdout.fnmatch_lines([f"trace: out/runs/{directory.name}/trace.ndjson"])


def test_keep_all_keeps_the_traces_of_what_passed_too(write_scenario, report):
    write_scenario()
    _, found = report("--envoyassert-keep=all")
    assert found.files() == ["one/envoy.log", "one/trace.ndjson"]
    assert found.runs["one"]["attempts"][0]["trace"] == "trace.ndjson"


def test_runs_of_an_earlier_report_are_gone_and_foreign_files_stay(write_scenario, report):
    write_scenario(fake="reuse_port")
    write_scenario(name="two", fake="reuse_port")
    _, first = report()
    (first.directory / "junit.xml").write_text("theirs")
    _, found = report("one.envoyassert.yaml")
    assert list(found.runs) == ["one"]
    assert found.files() == ["one/envoy.log", "one/trace.ndjson"]
    assert (found.directory / "junit.xml").read_text() == "theirs"


def test_collecting_alone_leaves_an_earlier_report(write_scenario, report):
    write_scenario()
    report()
    _, found = report("--collect-only")
    assert list(found.runs) == ["one"]


@pytest.mark.parametrize("foreign", ["index.json", "runs/mine.txt"])
def test_directory_with_such_foreign_files_is_refused(write_scenario, fake_envoy, foreign):
    write_scenario()
    path = fake_envoy.path / "out" / foreign
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envoyassert-report: out holds index.json or runs/ *"])
    assert path.read_text() == "mine"


def test_place_that_is_no_directory_is_a_usage_error(write_scenario, fake_envoy):
    write_scenario()
    (fake_envoy.path / "out").write_text("a file")
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --envoyassert-report: out cannot be used: Not a directory"]
    )


@pytest.mark.parametrize("link", ["out", "out/runs"])
def test_place_that_is_a_link_is_a_usage_error(write_scenario, fake_envoy, report, link):
    write_scenario()
    report()  # so that what is there looks like a report
    foreign = fake_envoy.mkdir("foreign")
    (foreign / "mine").touch()
    place = fake_envoy.path / link
    shutil.rmtree(place)
    place.symlink_to(foreign)
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --envoyassert-report: out cannot be used: *link*"])
    assert [one.name for one in foreign.iterdir()] == ["mine"]


def test_file_that_is_no_scenario_is_in_the_index_with_its_place(write_scenario, report):
    name = write_scenario(head="descripton: typo")
    _, found = report()
    assert not found.index["complete"]
    (fault,) = found.index["faults"]
    assert fault["id"] == name
    assert fault["message"].startswith(f"{name}:2:1: error: ")


def test_session_that_stops_early_says_so_in_the_index(write_scenario, report):
    write_scenario(name="a", fake="reuse_port")
    write_scenario(name="b")
    _, found = report("-x")
    assert list(found.runs) == ["a"]
    assert not found.index["complete"]
    assert found.index["stopped"] == "stopping after 1 failures"


def test_session_that_was_killed_leaves_an_incomplete_index_and_no_old_runs(
    write_scenario, report, fake_envoy
):
    write_scenario(fake="reuse_port")
    report()
    fake_envoy.makepyfile(
        test_later=f"""
        import os

        def test_end():
            os.kill(os.getpid(), {int(signal.SIGKILL)})
        """
    )
    result, found = report("test_later.py")
    assert result.ret == -signal.SIGKILL
    assert not found.index["complete"]
    assert found.index["runs"] == []
    assert not list(found.directory.glob("runs/*"))
    # And the next session is not stopped by what that one left.
    _, found = report("one.envoyassert.yaml")
    assert found.index["complete"]


def test_two_sessions_do_not_write_into_one_directory(write_scenario, report, fake_envoy):
    write_scenario()
    fake_envoy.makepyfile(
        test_inner="""
        import subprocess, sys

        def test_inner():
            command = [sys.executable, "-m", "pytest", "--envoyassert-report=out", "."]
            done = subprocess.run(command, capture_output=True, text=True)
            assert "another session is writing to out" in done.stderr
            assert done.returncode == 4
        """
    )
    result, found = report()
    result.assert_outcomes(passed=2)
    assert found.index["complete"]


def test_run_whose_process_dies_is_an_error_in_count_and_index(write_scenario, report, fake_envoy):
    name = write_scenario()
    fake_envoy.makepyfile(
        later="""
        import os, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(item):
            os._exit(3)
        """
    )
    result, found = report("-p", "xdist", "-n1", "-p", "later")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["no runs executed: 1 error"])
    (run,) = found.index["runs"]
    assert (run["id"], run["outcome"], run["document"]) == (f"{name}::one", "error", None)
    assert "crashed" in run["reason"]


def test_document_that_cannot_be_written_is_an_error(write_scenario, fake_envoy):
    write_scenario()
    fake_envoy.makepyfile(
        later="""
        import pathlib

        def pytest_runtest_setup():
            pathlib.Path("out/runs").write_text("in the way")
        """
    )
    result = fake_envoy.runpytest_subprocess("--envoyassert-report=out", "-p", "later")
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["out/runs/*/run.json cannot be written: *", "  remedy: *"])


def test_error_in_a_teardown_takes_the_run_out_of_those_that_passed(
    write_scenario, report, fake_envoy
):
    write_scenario()
    fake_envoy.makepyfile(
        later="""
        import pytest

        @pytest.fixture(autouse=True)
        def around():
            yield
            raise ValueError("left open")
        """
    )
    result, found = report("-p", "later")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["no runs executed: 1 error"])
    assert found.runs["one"]["outcome"] == "error"
    assert found.runs["one"]["reason"] == "ValueError: left open"
    assert found.runs["one"]["verdict"]["status"] == "PASS"


def test_names_that_differ_in_odd_characters_only_have_documents_of_their_own(
    write_scenario, report, fake_envoy
):
    write_scenario()
    (fake_envoy.path / "one.envoyassert.yml").write_bytes(
        (fake_envoy.path / "one.envoyassert.yaml").read_bytes()
    )
    _, found = report("--envoyassert-envoy=foo:1", "--envoyassert-envoy=foo/1:1")
    documents = {run["document"] for run in found.index["runs"]}
    assert len(documents) == 4


def test_command_takes_the_same_options(write_scenario, fake_envoy):
    write_scenario(fake="lossy>shared")
    command = [sys.executable, "-m", "envoyassert", "run", "."]
    result = fake_envoy.run(
        *command, "--report", "out", "--keep", "all", "--rerun-inconclusive", "1"
    )
    assert result.ret == 0
    found = Report(fake_envoy.path / "out")
    assert [attempt["status"] for attempt in found.runs["one"]["attempts"]] == [
        "INCONCLUSIVE",
        "PASS",
    ]
    assert len(found.files()) == 4
    assert fake_envoy.run(*command, "--keep", "some").ret == 4
