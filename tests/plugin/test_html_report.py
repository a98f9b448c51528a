"""`--html`: the report of a session, on made-up Envoys."""

import json
import re
import sys
from collections import Counter

import pytest


def indexes_of(out):
    """Where the pages of runs lead: each index, and how many pages have it."""
    found: Counter[str] = Counter()
    for page in out.rglob("run*.html"):
        ((address, scenario),) = re.findall(r'<p id="up"><a href="(.+)#(.+)">', page.read_text())
        index = (page.parent / address).resolve()
        assert f'id="{scenario}"' in index.read_text()
        found[str(index.relative_to(out.resolve()))] += 1
    return found


@pytest.fixture
def run(fake_envoy):
    return lambda *more: fake_envoy.run(
        sys.executable, "-m", "envoyassert", "run", ".", "--launcher", "process", *more
    )


@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "workers"])
def test_report_has_an_index_and_a_page_for_each_run_that_was_executed(
    write_scenario, run, fake_envoy, more
):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    write_scenario(name="two", fake="reuse_port")
    write_scenario(name="three", fake="unmet")
    result = run("--html", "out", *more)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["report: out/index.html"])
    out = fake_envoy.path / "out"
    page = (out / "index.html").read_text()
    linked = set(re.findall(r'href="(runs/[^"]+)"', page))
    assert linked == {str(path.relative_to(out)) for path in out.glob("runs/*/run.html")}
    assert len(linked) == 3
    (failed,) = (path for path in linked if "/two" in path)
    assert "bind" in (out / failed).read_text()
    assert "saw 2" in page
    assert indexes_of(out) == {"index.html": 3}
    index = json.loads((out / "index.json").read_text())
    assert len(index["runs"]) == 4


def test_results_are_in_one_directory_alone(write_scenario, run):
    write_scenario()
    result = run("--html", "out", "--report", "other")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --html writes the results too: leave out --report"])


def test_foreign_page_is_not_replaced(write_scenario, run, fake_envoy):
    write_scenario()
    page = fake_envoy.path / "out" / "index.html"
    page.parent.mkdir()
    page.write_text("<p>mine</p>")
    result = run("--html", "out")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*out/index.html is not of a report; name another directory*"])
    assert page.read_text() == "<p>mine</p>"


def test_page_that_cannot_be_made_costs_no_verdict(write_scenario, run, fake_envoy):
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "\nimport envoyassert.picture.html.page as page\n"
        + "def run_page(picture):\n    raise RuntimeError('no picture')\n"
        + "page.run_page = run_page\n"
    )
    write_scenario()
    result = run("--html", "out")
    assert result.ret == 0
    page = (fake_envoy.path / "out" / "index.html").read_text()
    assert "1 passed" in page
    assert "run.html" not in page


def test_directory_instead_of_the_page_is_one_error(write_scenario, run, fake_envoy):
    write_scenario()
    (fake_envoy.path / "out" / "index.html").mkdir(parents=True)
    result = run("--html", "out")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*out/index.html cannot be read: Is a directory; name another*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
