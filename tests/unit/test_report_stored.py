"""Results that are read again: what in them leads elsewhere is refused, whoever reads them."""

import json
import os
import shutil

import pytest

from envoyassert.report.results import run_directory
from envoyassert.report.stored import read_index, read_run
from tests.unit import cli_words
from tests.unit.test_cli_merge import write_report


@pytest.fixture
def results(tmp_path):
    """A report of one run, at the place where `matrix` has it; beside it is a file of others."""
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "file").write_text("of others")
    write_report(tmp_path / "out" / "results", "one")
    return tmp_path / "out" / "results"


@pytest.fixture(params=["merge", "matrix"])
def read(request, results, capsys):
    """Have a command read the results; return how it ended."""
    words = {
        "merge": ("merge", str(results), "-o", str(results.parent / "merged")),
        "matrix": ("matrix", "--draw", "-o", str(results.parent)),
    }[request.param]
    return lambda: cli_words.run_cli(capsys, *words)


def run_of(results):
    (directory,) = results.glob("runs/*")
    return directory


def change(file, **members):
    data = json.loads(file.read_text())
    for path, value in members.items():
        *above, last = path.split("__")
        part = data
        for name in above:
            part = part[int(name) if name.isdecimal() else name]
        part[last] = value
    file.write_text(json.dumps(data))


def document_elsewhere(results):
    shutil.copytree(run_of(results), results.parent / "run")
    change(results / "index.json", runs__0__document="../run/run.json")


def document_of_another(results):
    change(run_of(results) / "run.json", id="two.yaml::two")


def link_to_the_document(results):
    file = run_of(results) / "run.json"
    file.rename(results.parent / "run.json")
    file.symlink_to(results.parent / "run.json")


def link_to_the_run(results):
    directory = run_of(results)
    directory.rename(results.parent / "run")
    directory.symlink_to(results.parent / "run")


def link_to_the_runs(results):
    (results / "runs").rename(results.parent / "runs")
    (results / "runs").symlink_to(results.parent / "runs")


def link_to_a_log(results):
    (run_of(results) / "envoy.log").unlink()
    (run_of(results) / "envoy.log").symlink_to(results.parents[1] / "others" / "file")


def link_of_a_log_to_itself(results):
    (run_of(results) / "envoy.log").unlink()
    (run_of(results) / "envoy.log").symlink_to("envoy.log")


def link_of_the_document_to_itself(results):
    (run_of(results) / "run.json").unlink()
    (run_of(results) / "run.json").symlink_to("run.json")


def fifo_for_the_document(results):
    (run_of(results) / "run.json").unlink()
    os.mkfifo(run_of(results) / "run.json")


def run_twice(results, **first):
    """A failed run that passed later on would be lost."""
    (entry,) = json.loads((results / "index.json").read_text())["runs"]
    change(results / "index.json", runs=[{**entry, **first}, entry])


def run_twice_with_two_outcomes(results):
    run_twice(results, outcome="failed", document=None)


def another_outcome(results):
    change(run_of(results) / "run.json", outcome="failed")


def names(member, value):
    return lambda results: change(run_of(results) / "run.json", **{f"attempts__0__{member}": value})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (document_elsewhere, "`../run/run.json` is not the document of one.yaml::one"),
        (document_of_another, "is not the document of one.yaml::one"),
        (link_to_the_document, "run.json cannot be used: it is a link, or below one"),
        (link_to_the_run, "run.json cannot be used: it is a link, or below one"),
        (link_to_the_runs, "run.json cannot be used: it is a link, or below one"),
        (link_to_a_log, "names `envoy.log`, which is no file beside it"),
        (names("trace", "../../../../others/file"), "names `../../../../others/file`"),
        (names("page", "../../../../others/file"), "names `../../../../others/file`"),
        (names("log", ".."), "names `..`"),
        (names("trace", "."), "names `.`"),
        (names("trace", "trace.ndjson"), "names `trace.ndjson`, which is no file beside it"),
        (names("trace", "a\0b"), "b`, which is no file beside it"),
        (names("trace", "a" * 300), f"names `{'a' * 300}`, which is no file beside it"),
        (names("trace", "run.json"), "names `run.json`, which is no file beside it"),
        (link_of_a_log_to_itself, "names `envoy.log`, which is no file beside it"),
        (link_of_the_document_to_itself, "run.json cannot be"),
        (fifo_for_the_document, "run.json cannot be read: this is not a regular file"),
        (run_twice, "index.json has one.yaml::one twice; write the report again"),
        (run_twice_with_two_outcomes, "index.json has one.yaml::one twice"),
        (another_outcome, "one.yaml::one is `passed`, its document says `failed`"),
    ],
)
def test_what_leads_elsewhere_is_one_error(results, read, make, says):
    make(results)
    done = read()
    assert done.code == 4
    assert says in done.err
    assert "Traceback" not in done.err
    assert not (results.parent / "index.html").exists()
    assert not (results.parent / "merged").exists()


def test_run_that_an_output_made_an_error_is_one(results, capsys):
    """Its document was written before another output failed."""
    change(results / "index.json", runs__0__outcome="error")
    words = ("merge", str(results), "-o", str(results.parent / "merged"))
    assert cli_words.run_cli(capsys, *words).code == 1


def test_two_documents_of_one_run_are_refused_after_a_kill(results, capsys):
    """Which of them counted was by the order of the directory."""
    change(results / "index.json", complete=False, runs=[])
    other = results / run_directory("one.yaml::one", "other")
    shutil.copytree(run_of(results), other)
    change(other / "run.json", run="other", outcome="failed")
    words = ("merge", str(results), "-o", str(results.parent / "merged"))
    done = cli_words.run_cli(capsys, *words)
    assert (done.code, "runs has one.yaml::one twice" in done.err) == (4, True)


def test_absolute_path_is_refused(results, read):
    file = str(results.parents[1] / "others" / "file")
    names("trace", file)(results)
    done = read()
    assert done.code == 4
    assert f"names `{file}`" in done.err


def test_results_below_a_link_are_read(results):
    """Who names a directory may reach it by a link; results name none."""
    link = results.parent / "link"
    link.symlink_to(results)
    (entry,) = read_index(link).runs
    document = read_run(link, entry)
    assert document is not None
    assert document.run == "one"
