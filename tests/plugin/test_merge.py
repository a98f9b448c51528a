"""`--shard` and `merge`: runs in parts, on made-up Envoys, and their reports as one."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.plugin.test_html_report import indexes_of
from tests.unit import cli_words

#: What differs between two sessions that do the same: times, and files whose names are drawn.
TIMES = re.compile(r'("(?:started|duration_s|[a-z_]+_s|[a-z_]+_ms)": )("[^"]*"|[0-9.e-]+)')


@pytest.fixture
def cli(capsys):
    return lambda *words: cli_words.run_cli(capsys, *words)


@pytest.fixture
def run(fake_envoy, monkeypatch):
    plugins = "envoyassert.pytest_plugin.plugin,pytest_timeout,pytest_split.plugin"
    monkeypatch.setenv("PYTEST_PLUGINS", plugins)
    return lambda *more: fake_envoy.run(
        sys.executable, "-m", "envoyassert", "run", ".", "--launcher", "process", *more
    )


@pytest.fixture
def scenarios(write_scenario):
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    write_scenario(name="two", fake="reuse_port")
    write_scenario(name="three", fake="unmet")
    write_scenario(name="four", fake="lossy>shared")
    write_scenario(name="five", fake="no_envoy")


def texts(directory):
    """Each file of a report with its times left out; traces and pages by their names."""
    return {
        str(path.relative_to(directory)): TIMES.sub(r"\1-", path.read_text())
        if path.suffix == ".json"
        else ""
        for path in directory.rglob("*")
        if path.is_file() and path.name != "durations.json"
    }


@pytest.mark.usefixtures("scenarios")
@pytest.mark.parametrize("form", ["--report", "--html"])
def test_three_parts_merged_are_the_report_of_one_machine(run, fake_envoy, form, cli):
    more = (form, "all", "--envoyassert-rerun-inconclusive", "1")
    assert run(*more).ret == 1
    for number in (1, 2, 3):
        run(form, f"part-{number}", *more[2:], "--shard", f"{number}/3")
    parts = [str(fake_envoy.path / f"part-{number}") for number in (1, 2, 3)]
    counts = [
        len(json.loads((fake_envoy.path / p / "index.json").read_text())["runs"]) for p in parts
    ]
    assert all(counts)
    out = fake_envoy.path / "merged"
    done = cli("merge", *parts, "-o", str(out))
    assert done.code == 1
    assert texts(out) == texts(fake_envoy.path / "all")
    index = json.loads((out / "index.json").read_text())
    assert index["complete"]
    assert index["summary"][0] in done.out.splitlines()
    assert indexes_of(out) == ({} if form == "--report" else {"index.html": 5})
    seconds = json.loads((out / "durations.json").read_text())
    assert set(seconds) == {one["id"] for one in index["runs"]}


@pytest.mark.usefixtures("scenarios")
@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "workers"])
def test_part_says_of_what_it_is_one(run, fake_envoy, cli, more):
    def runs_of(name, *words):
        run("--report", name, *words, *more)
        index = json.loads((fake_envoy.path / name / "index.json").read_text())
        return index["shard"], {one["id"] for one in index["runs"]}

    def merged(*names):
        return cli("merge", *(str(fake_envoy.path / name) for name in names), "-o", out)

    out = str(fake_envoy.path / "out")
    (first, of_first), (second, of_second) = (
        runs_of(f"part-{n}", "--shard", f"{n}/2") for n in (1, 2)
    )
    assert first["division"]
    assert (first, second) == ({**second, "number": 1}, {**first, "number": 2})
    assert merged("part-1", "part-2").code == 1
    longest = max(of_second)
    durations = fake_envoy.path / "durations.json"
    durations.write_text(
        json.dumps({one: 9 if one == longest else 1 for one in of_first | of_second})
    )
    # Both second parts have no run of the first; together with it they are not all runs.
    for words in (("-k", "two or five"), ("--durations-path", str(durations))):
        other, of_other = runs_of("other", "--shard", "2/2", *words)
        assert of_other < of_second
        assert other["division"] not in ("", first["division"])
        done = merged("part-1", "other")
        assert done.code == 2
        assert "incomplete: part 2 of 2 is missing" in done.err.splitlines()


@pytest.mark.usefixtures("scenarios")
def test_durations_of_a_merged_report_make_the_parts(run, fake_envoy, cli):
    run("--report", "all")
    cli("merge", str(fake_envoy.path / "all"), "-o", str(fake_envoy.path / "merged"))
    file = fake_envoy.path / "merged" / "durations.json"
    seconds = json.loads(file.read_text())
    first = next(iter(json.loads((fake_envoy.path / "all/index.json").read_text())["runs"]))["id"]
    file.write_text(json.dumps({name: 100 if name == first else 1 for name in seconds}))
    run("--report", "part", "--shard", "1/2", "--durations-path", str(file))
    index = json.loads((fake_envoy.path / "part/index.json").read_text())
    assert [one["id"] for one in index["runs"]] == [first]
    assert index["complete"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--shard", "0/3"), "--shard: `0/3` is not I/N with I from 1 to N, such as 2/3"),
        (("--shard", "4/3"), "--shard: `4/3` is not I/N"),
        (("--shard", "half"), "--shard: `half` is not I/N"),
        (("--durations-path", "pyproject.toml"), "--durations-path goes with --shard I/N"),
        (("--shard", "1/2", "--against", "1.36.4"), "--shard means nothing beside --against"),
    ],
)
def test_wrong_part_is_refused(words, says, cli):
    done = cli("run", *words)
    assert done.code == 4
    assert says in done.err


NO_DURATIONS = {
    "empty": b"",
    "pairs of nothing": b"[5]",
    "number": b"5",
    "text": b'{"one": "two"}',
    "not UTF-8": b"\xff",
    "UTF-16": '{"one": 1}'.encode("utf-16"),
    "below nothing": b'{"one": -1}',
    "no number": b'{"one": NaN}',
    "beyond floats": b'{"one": 1%s}' % (b"0" * 400),
    "deep lists": b"[" * 100_000,
    "deep mappings": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("content", NO_DURATIONS.values(), ids=NO_DURATIONS)
def test_file_without_durations_is_refused(tmp_path, content, cli):
    file = tmp_path / "durations.json"
    file.write_bytes(content)
    done = cli("run", "--shard", "1/2", "--durations-path", str(file))
    assert done.code == 4
    assert "durations.json: it has no seconds by run; name durations.json of `merge`" in done.err


def test_durations_are_not_read_from_a_fifo(tmp_path, cli):
    """It waited for who writes to it."""
    os.mkfifo(tmp_path / "durations.json")
    file = str(tmp_path / "durations.json")
    done = cli("run", "--shard", "1/2", "--durations-path", file)
    assert done.code == 4
    assert "durations.json: this is not a regular file" in done.err


@pytest.mark.usefixtures("scenarios")
@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "xdist"])
@pytest.mark.parametrize("kind", ["number", "deep lists", "fifo"])
def test_pytest_refuses_it_too(fake_envoy, monkeypatch, kind, workers):
    """pytest-split raised what it was not ready for, or waited."""
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,pytest_split.plugin")
    file = fake_envoy.path / "durations.json"
    if kind == "fifo":
        os.mkfifo(file)
    else:
        file.write_bytes(NO_DURATIONS[kind])
    part = ("--splits", "2", "--group", "1", "--durations-path", str(file))
    result = fake_envoy.runpytest_subprocess(*part, *workers)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --durations-path: *durations.json: *"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_missing_pytest_split_is_named_with_its_remedy(monkeypatch, cli):
    monkeypatch.setattr("envoyassert.cli.shard.find_spec", lambda name: None)
    done = cli("run", "--shard", "1/2")
    assert done.code == 4
    assert "--shard needs pytest-split; install it: pip install 'envoyassert[shard]'" in done.err


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no_docker", "no_docker"),
        ("shared", "refused"),
        ("lossy", "refused"),
    ],
)
def test_code_is_that_of_one_run_of_all(run, write_scenario, fake_envoy, cli, first, second):
    write_scenario(name="one", fake=first)
    write_scenario(name="two", fake=second)
    code = run("--report", "whole").ret
    parts = [str(fake_envoy.path / name) for name in ("one", "two")]
    for part in parts:
        run("-k", Path(part).name, "--report", part)
    for reports in (parts, [str(fake_envoy.path / "whole")]):
        merged = str(fake_envoy.path / f"merged-{len(reports)}")
        assert cli("merge", *reports, "-o", merged).code == code
