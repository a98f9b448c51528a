"""A reader of the output that goes away never makes red green (`envoyassert run X | head`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envoyassert.cli.command_line import COMMANDS as COMMANDS_BY_NAME
from envoyassert.testing import TraceBuilder
from envoyassert.trace_file import write_trace

ROOT = Path(__file__).parents[2]
#: Where every write fails with ENOSPC.
FULL = Path("/dev/full")
COMMANDS = {
    "run that fails": ("run red.yaml", 1),
    "run of several that fail, in two processes": ("run . -n 2", 1),
    "run that is inconclusive": ("run lossy.yaml", 10),
    "run that passes": ("run green.yaml", 0),
    "run against another Envoy": ("run red.yaml --against 1.36.4", 1),
    "run of an unknown option": ("run red.yaml --no-such-option", 4),
    "check of what is not valid": ("check bad.yaml", 4),
    "check of what is valid": ("check green.yaml", 0),
    "replay that fails": ("replay dup.ndjson --scenario red.yaml --all", 1),
    "diff of two that differ": ("diff dup.ndjson reuse.ndjson", 1),
    "diff of the same": ("diff dup.ndjson dup.ndjson", 0),
    "diff of what is not there": ("diff dup.ndjson nothing.ndjson", 2),
    "plan that is not as expected": ("plan dup.ndjson reuse.ndjson --traces --expect red.yaml", 1),
    "show": ("show dup.ndjson", 0),
    "schema": ("schema", 0),
    "help": ("run --help", 0),
    "a command that there is not": ("runn", 4),
}


@pytest.fixture
def directory(write_scenario, fake_envoy, monkeypatch) -> Path:
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,xdist.plugin")
    for name, fake in (("red", "reuse_port"), ("green", "shared"), ("lossy", "lossy")):
        write_scenario(name=name, fake=fake, suffix=".yaml")
    write_scenario(name="bad", head="descripton: typo", suffix=".yaml")
    for name, listener in (("dup", "shared_listener"), ("reuse", "reuse_port_listener")):
        trace = TraceBuilder(2)
        getattr(trace, listener)("0.0.0.0:15006")
        write_trace(trace.build(), fake_envoy.path / f"{name}.ndjson")
    (fake_envoy.path / "red.yaml").write_text(
        (fake_envoy.path / "red.yaml").read_text().replace("by: main", "by: workers")
    )
    return Path(fake_envoy.path)


def called(directory: Path, words: str, **streams):
    arguments = [sys.executable, "-m", "envoyassert", *words.split()]
    return subprocess.run(arguments, cwd=directory, check=False, **streams)


@pytest.fixture
def no_reader() -> Iterator[int]:
    """The end of a pipe that is written to, the other being closed."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


@pytest.mark.parametrize(("words", "code"), COMMANDS.values(), ids=COMMANDS)
def test_exit_code_is_the_same_without_a_reader(directory, no_reader, words, code):
    if " . " in words:
        (directory / "bad.yaml").unlink()
    done = called(directory, words, stdout=no_reader, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code
    # Of an error, the words of it; and never Python's own about a broken pipe.
    assert not [word for word in ("Broken", "Traceback", "ignored") if word in done.stderr]


@pytest.mark.parametrize(("words", "code"), [("run red.yaml", 1), ("run bad.yaml", 4)])
def test_exit_code_is_the_same_where_no_one_reads_errors_either(directory, no_reader, words, code):
    assert called(directory, words, stdout=no_reader, stderr=no_reader).returncode == code


def test_run_goes_on_to_its_verdict_when_the_reader_leaves_in_the_middle(directory):
    (directory / "bad.yaml").unlink()
    arguments = [sys.executable, "-m", "envoyassert", "run", ".", "--report", "out"]
    with subprocess.Popen(
        arguments, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("=")
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1
    assert '"complete": true' in (directory / "out" / "index.json").read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run red.yaml", 1),
        ("run green.yaml", 77),
        ("show dup.ndjson", 77),
        ("--help", 77),
        ("diff dup.ndjson dup.ndjson", 2),
        ("diff dup.ndjson reuse.ndjson", 1),
    ],
)
def test_output_that_is_lost_on_a_full_disk_is_never_green(directory, words, code):
    with FULL.open("w", encoding="utf-8") as full:
        done = called(directory, words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code
    shown = "the standard output cannot be written: No space left on device"
    assert_reported_once(done.stderr, shown, "free some space, or send it elsewhere")


def assert_reported_once(text: str, shown: str, remedy: str) -> None:
    message, *more = text.splitlines()
    assert message in (f"envoyassert: error: {shown}", shown)
    assert more == [f"  remedy: {remedy}"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run red.yaml", 1),
        ("run green.yaml", 77),
        ("show dup.ndjson", 77),
        ("--help", 77),
        ("check bad.yaml", 4),
        ("diff dup.ndjson dup.ndjson", 2),
        ("diff dup.ndjson reuse.ndjson", 1),
    ],
)
def test_output_that_is_closed_from_the_start_is_lost_and_never_green(directory, words, code):
    shell = f"exec {sys.executable} -m envoyassert {words} >&-"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=directory, check=False, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == code
    if words.startswith("check"):  # its count of valid files is not for the standard output
        done.stderr = done.stderr.partition("\n")[2]
    shown = "the standard output is closed"
    assert_reported_once(done.stderr, shown, "send it to a file, or to /dev/null")


def test_command_that_prints_nothing_needs_no_output(directory):
    shell = f"exec {sys.executable} -m envoyassert check green.yaml >&-"
    done = subprocess.run(["sh", "-c", shell], cwd=directory, check=False, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"1 of 1 scenario files are valid\n")


#: Arguments that each command takes, where it needs any.
ARGUMENTS = {
    **dict.fromkeys(("draft", "report", "show", "import"), "a"),
    **dict.fromkeys(("diff", "plan"), "a b"),
    "bisect": "a --good 1.36.4 --bad 1.40.0",
    "record": "a -o b",
    "replay": "a --scenario b",
    "completion": "bash",
}


@pytest.mark.parametrize("name", COMMANDS_BY_NAME)
def test_every_command_says_that_its_directory_was_removed(tmp_path, name):
    shell = f"rmdir $PWD && exec {sys.executable} -m envoyassert {name} {ARGUMENTS.get(name, '')}"
    removed = tmp_path / "removed"
    removed.mkdir()
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=removed,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == (2 if name in ("diff", "explore", "plan") else 77)
    assert done.stdout == ""
    assert_reported_once(
        done.stderr, "the current directory was removed", "change to one that exists (cd)"
    )


def test_run_whose_directory_is_removed_meanwhile_says_so(directory):
    away = "\n\nimport shutil, os\n\n\ndef pytest_runtestloop(): shutil.rmtree(os.getcwd())\n"
    (directory / "conftest.py").write_text(
        (directory / "conftest.py").read_text() + away, encoding="utf-8"
    )
    done = called(
        directory,
        "run green.yaml -p no:cacheprovider",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 77
    assert_reported_once(
        done.stderr, "the current directory was removed", "change to one that exists (cd)"
    )
