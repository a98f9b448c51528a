"""`envoyassert merge`: what it refuses, and what it does with incomplete reports."""

import json
import os
import shutil
from pathlib import Path

import pytest

from envoyassert.outputs.merged import merge_reports
from envoyassert.report.parts import AskedPart, Location, ScenarioPart
from envoyassert.report.results import (
    Attempt,
    RunDocument,
    ShardPart,
    index_document,
    run_directory,
)
from envoyassert.report.summary import RunRecord
from tests.unit import cli_words
from tests.unit.some_machine import MACHINE


def write_report(
    directory: Path,
    *names: str,
    complete=True,
    reason="",
    in_index=True,
    stopped="",
    outcome="passed",
    shard=None,
    nothing_ran=False,
    machine_errors=0,
    scenario_errors=0,
) -> str:
    """Write a report of runs that are named; return its path."""
    documents, records = {}, {}
    for number, name in enumerate(names):
        name_of_run = f"{name}.yaml::{name}"
        records[name_of_run] = RunRecord(
            name, "1.40.0", "process", "2", outcome, reason, ("PASS",), name
        )
        document = RunDocument(
            id=name_of_run,
            run=name,
            scenario=ScenarioPart(
                name=name,
                description="",
                location=Location(file=f"{name}.yaml", line=1, column=1),
                matrix={},
            ),
            outcome=outcome,
            reason=reason,
            defect="",
            started=f"2026-01-01T00:00:0{number}.000Z",
            duration_s=1.5,
            asked=AskedPart(envoy="1.40.0", launcher="process", concurrency=2),
            envoy=None,
            machine=MACHINE,
            verdict=None,
            figures=None,
            attempts=(Attempt(status="PASS", reason="", trace=None, log="envoy.log", page=None),),
        )
        place = directory / run_directory(name_of_run, name)
        place.mkdir(parents=True)
        (place / "run.json").write_text(document.model_dump_json())
        (place / "envoy.log").write_text("hello\n")
        documents[name_of_run] = f"{run_directory(name_of_run, name)}/run.json"
    index = index_document(
        records if in_index else {},
        documents,
        {},
        machine=MACHINE,
        started="2026-01-01T00:00:00.000Z",
        complete=complete,
        stopped=stopped,
        shard=shard,
        nothing_ran=nothing_ran,
        machine_errors=machine_errors,
        scenario_errors=scenario_errors,
    )
    directory.mkdir(exist_ok=True)
    (directory / "index.json").write_text(index.model_dump_json())
    return str(directory)


@pytest.fixture
def cli(capsys):
    return lambda *words: cli_words.run_cli(capsys, *words)


@pytest.fixture
def refused(cli):
    def call(*words):
        done = cli("merge", *words)
        assert done.code == 4
        return done.err

    return call


def index_of(directory):
    return json.loads((directory / "index.json").read_text())


def test_runs_are_in_the_order_of_the_directories(tmp_path, cli):
    one, two = write_report(tmp_path / "1", "a", "c"), write_report(tmp_path / "2", "b")
    done = cli("merge", two, one, "-o", str(tmp_path / "out"))
    assert done.code == 0
    assert done.out.startswith("3 runs executed: 3 passed")
    assert [entry["run"] for entry in index_of(tmp_path / "out")["runs"]] == ["b", "a", "c"]
    for entry in index_of(tmp_path / "out")["runs"]:
        document = tmp_path / "out" / entry["document"]
        assert document.exists()
        assert document.with_name("envoy.log").read_text() == "hello\n"
    seconds = json.loads((tmp_path / "out" / "durations.json").read_text())
    assert seconds == {f"{name}.yaml::{name}": 1.5 for name in "abc"}
    assert not (tmp_path / "out" / "index.html").exists()


def test_merged_report_can_be_merged_and_replaced(tmp_path):
    one, two = write_report(tmp_path / "1", "a"), write_report(tmp_path / "2", "b")
    out = tmp_path / "out"
    merge_reports([Path(one), Path(two)], out)
    merge_reports([Path(two)], out)
    assert [entry["run"] for entry in index_of(out)["runs"]] == ["b"]
    assert len([*out.glob("runs/*")]) == 1


def test_directory_without_a_report_is_refused(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} is no report" in refused(
        str(tmp_path / "empty"), "-o", str(tmp_path / "out")
    )
    assert "is no report" in refused(str(tmp_path / "absent"), "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["loop", "a" * 300])
def test_name_that_cannot_be_used_is_refused(tmp_path, refused, name):
    (tmp_path / "loop").symlink_to("loop")
    one = write_report(tmp_path / "1", "a")
    path = str(tmp_path / name)
    for words in ((path, "-o", str(tmp_path / "out")), (one, "-o", path)):
        said = refused(*words)
        assert f"{path} " in said
        assert "Traceback" not in said


@pytest.mark.parametrize("kind", ["deep", "fifo"])
def test_index_of_the_output_that_is_none_is_not_replaced(tmp_path, refused, kind):
    one = write_report(tmp_path / "1", "a")
    (tmp_path / "out").mkdir()
    index = tmp_path / "out" / "index.json"
    if kind == "deep":
        index.write_text("[" * 100_000)
    else:
        os.mkfifo(index)
    assert "not of a report" in refused(one, "-o", str(tmp_path / "out"))


def test_directory_above_a_report_is_refused_with_its_name(tmp_path, refused):
    (tmp_path / "atlas").mkdir()
    write_report(tmp_path / "atlas" / "results", "a")
    said = refused(str(tmp_path / "atlas"), "-o", str(tmp_path / "out"))
    assert f"did you mean {tmp_path / 'atlas' / 'results'}?" in said


def test_broken_index_is_refused(tmp_path, refused):
    one = write_report(tmp_path / "1", "a")
    (tmp_path / "1" / "index.json").write_text("{}")
    assert "index.json cannot be read" in refused(one, "-o", str(tmp_path / "out"))


def test_two_results_of_one_run_are_refused(tmp_path, refused):
    one, two = write_report(tmp_path / "1", "a"), write_report(tmp_path / "2", "a", reason="other")
    said = refused(one, two, "-o", str(tmp_path / "out"))
    assert "a.yaml::a has two results, in " in said
    assert not (tmp_path / "out").exists()


def test_one_result_that_is_there_twice_counts_once(tmp_path):
    one = write_report(tmp_path / "1", "a")
    shutil.copytree(one, tmp_path / "2")
    merged = merge_reports([Path(one), tmp_path / "2"], tmp_path / "out")
    assert merged.index.counts.passed == 1


@pytest.mark.parametrize("name", ["notes.txt", "runs"])
def test_output_with_other_things_is_refused(tmp_path, name, refused):
    one = write_report(tmp_path / "1", "a")
    (tmp_path / "out" / name).mkdir(parents=True)
    assert "holds other things" in refused(one, "-o", str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_output_that_is_an_input_is_refused(tmp_path, refused):
    one = write_report(tmp_path / "1", "a")
    assert "is merged itself" in refused(one, "-o", one)
    assert len(index_of(tmp_path / "1")["runs"]) == 1


def test_foreign_index_or_page_of_the_output_is_not_replaced(tmp_path, refused):
    one = write_report(tmp_path / "1", "a")
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.json").write_text("{}")
    assert "not of a report" in refused(one, "-o", str(out))
    assert (out / "index.json").read_text() == "{}"
    write_report(tmp_path / "2", "b")
    page = tmp_path / "2" / "index.html"
    page.write_text("<p>mine</p>")
    assert "index.html is not of a report" in refused(one, "-o", str(tmp_path / "2"))
    page.unlink()
    page.mkdir()
    assert "index.html cannot be read: Is a directory" in refused(one, "-o", str(tmp_path / "2"))
    assert index_of(tmp_path / "2")["counts"]["passed"] == 1


@pytest.mark.parametrize("in_index", [True, False], ids=["stopped", "killed"])
def test_incomplete_report_makes_the_merged_one_incomplete(tmp_path, in_index, cli):
    one = write_report(tmp_path / "1", "a")
    two = write_report(tmp_path / "2", "c", "b", complete=False, in_index=in_index)
    done = cli("merge", one, two, "-o", str(tmp_path / "out"))
    assert done.code == 2
    assert f"incomplete: {two}: its session did not come to its end" in done.err
    index = index_of(tmp_path / "out")
    assert not index["complete"]
    assert index["stopped"] == "report 2 of 2: the session did not come to its end"
    assert [entry["run"] for entry in index["runs"]] == ["a", "c", "b"]


#: What is said of a second whole that lacks a part, for that may not be meant.
OTHERS = "part 1 of 2 is missing (the parts of one whole are made with the same paths and options)"


def part(number, of=3, division="d1"):
    return ShardPart(number=number, of=of, division=division)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([part(1), part(2), part(3)], []),
        ([part(1), part(3)], ["part 2 of 3 is missing"]),
        ([part(2)], ["parts 1, 3 of 3 are missing"]),
        ([part(1, 99)], ["parts 2, 3, 4, 5, 6, 7, 8, 9, … of 99 are missing"]),
        ([part(1, 1), part(1, 2), part(2, 2)], []),
        ([part(1, 2), part(2, 2), part(1, 2, "d2"), part(2, 2, "d2")], []),
        (
            [part(1, 2), part(2, 2, "d2")],
            [
                "part 2 of 2 is missing",
                OTHERS,
            ],
        ),
    ],
)
def test_missing_part_is_named_and_the_merged_report_is_incomplete(tmp_path, cli, parts, says):
    reports = [
        write_report(tmp_path / str(at), f"r{at}", shard=one) for at, one in enumerate(parts)
    ]
    done = cli("merge", *reports, "-o", str(tmp_path / "out"))
    assert done.err.splitlines() == [f"incomplete: {one}" for one in says]
    assert done.code == (2 if says else 0)
    index = index_of(tmp_path / "out")
    assert index["complete"] is not bool(says)
    assert index["stopped"] == "; ".join(says)
    assert index["shard"] is None


def test_part_that_was_killed_is_reported_once(tmp_path, cli):
    one = write_report(tmp_path / "1", "a", shard=part(1, 2))
    two = write_report(tmp_path / "2", "b", shard=part(2, 2, ""), complete=False, in_index=False)
    done = cli("merge", one, two, "-o", str(tmp_path / "out"))
    assert done.err.splitlines() == [f"incomplete: {two}: its session did not come to its end"]
    assert done.code == 2
    alone = cli("merge", two, "-o", str(tmp_path / "other"))
    assert "incomplete: part 1 of 2 is missing" in alone.err.splitlines()


@pytest.mark.parametrize(
    ("of_second", "code"),
    [
        ({"complete": False}, 2),
        ({"complete": False, "stopped": "stopping after 1 failures"}, 1),
        ({"shard": part(1, 2)}, 2),
        ({}, 1),
    ],
    ids=["killed", "stopped", "one missing", "whole"],
)
def test_what_is_not_known_counts_before_a_failure(tmp_path, cli, of_second, code):
    one = write_report(tmp_path / "1", "a", outcome="failed")
    two = write_report(tmp_path / "2", "b", **of_second)
    assert cli("merge", one, two, "-o", str(tmp_path / "out")).code == code


@pytest.mark.parametrize(
    ("of_first", "of_second", "code"),
    [
        ({"nothing_ran": True}, {"nothing_ran": True}, 77),
        ({"nothing_ran": True}, {}, 77),
        ({}, {}, 0),
        ({"nothing_ran": True}, {"outcome": "passed"}, 0),
        ({"outcome": "error", "machine_errors": 1}, {"outcome": "passed"}, 77),
        ({"outcome": "error", "machine_errors": 1}, {"outcome": "inconclusive"}, 10),
        ({"outcome": "error", "machine_errors": 1}, {"outcome": "failed"}, 1),
        ({"outcome": "error", "scenario_errors": 1}, {"outcome": "failed"}, 4),
    ],
)
def test_what_the_machine_lacks_counts_as_in_one_run(tmp_path, cli, of_first, of_second, code):
    one = write_report(tmp_path / "1", "a", **{"outcome": "skipped", **of_first})
    two = write_report(tmp_path / "2", "b", **{"outcome": "skipped", **of_second})
    assert cli("merge", one, two, "-o", str(tmp_path / "out")).code == code
    assert cli("merge", str(tmp_path / "out"), "-o", str(tmp_path / "again")).code == code


def test_missing_log_is_refused(tmp_path, refused):
    one = write_report(tmp_path / "1", "a")
    (log,) = (tmp_path / "1").glob("runs/*/envoy.log")
    log.unlink()
    assert "names `envoy.log`, which is no file beside it" in refused(
        one, "-o", str(tmp_path / "out")
    )


def test_report_names_no_file_outside_of_it(tmp_path, refused):
    """A report comes from another machine."""
    one = write_report(tmp_path / "1", "a")
    (tmp_path / "secret").write_text("secret")
    (file,) = (tmp_path / "1").glob("runs/*/run.json")
    text = file.read_text()
    file.write_text(text.replace('"envoy.log"', '"../../../secret"'))
    assert "names `../../../secret`" in refused(one, "-o", str(tmp_path / "out"))
    file.write_text(text)
    log = file.with_name("envoy.log")
    log.unlink()
    log.symlink_to(tmp_path / "secret")
    assert "names `envoy.log`" in refused(one, "-o", str(tmp_path / "out"))
    index = tmp_path / "1" / "index.json"
    index.write_text(index.read_text().replace("runs/", "../1/runs/"))
    assert "is not the document of a.yaml::a" in refused(one, "-o", str(tmp_path / "out"))
