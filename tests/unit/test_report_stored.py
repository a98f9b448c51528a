"""Results that are read again: what in them leads elsewhere is refused, whoever reads them."""

import json
import shutil

import pytest

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
