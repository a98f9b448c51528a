"""What `envoyassert run` shows while it works: on a terminal, elsewhere, and with -v."""

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

CLEAR = "\r\x1b[K"
SLOW = """
import threading
from envoyassert.pytest_plugin import execute

quick = execute.run_plan

def run_plan(plan, probe, preference, **more):
    if "HANG" in plan.env:
        threading.Event().wait()
    return quick(plan, probe, preference, **more)

execute.run_plan = run_plan
"""


@pytest.fixture(autouse=True)
def _colours_by_default(monkeypatch):
    for name in ("PY_COLORS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(fake_envoy, _colours_by_default):
    return lambda *arguments: fake_envoy.run(sys.executable, "-m", "envoyassert", "run", *arguments)


def on_terminal(directory, *arguments, until=None, **environment):
    """Run on a pseudo terminal until a pattern is seen, then interrupt; return text and status."""
    ours, theirs = pty.openpty()
    # pytester switches colours off for what it runs.
    inherited = {name: text for name, text in os.environ.items() if name != "PY_COLORS"}
    # What is started in the background ignores SIGINT, and hands that on.
    interruptible = ["env", "--default-signal=INT"]
    process = subprocess.Popen(
        [*interruptible, sys.executable, "-m", "envoyassert", "run", *arguments],
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**inherited, "TERM": "xterm", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # EIO: no one has the other end any more
            break
        shown += read
        if until is not None and re.search(until, shown):
            process.send_signal(signal.SIGINT)
            until = None
    os.close(ours)
    return shown.decode(), process.wait()


def left_over(shown):
    """The text that stays on the terminal: what is erased is gone."""
    return re.sub(r"[^\n]*\r\x1b\[K", "", shown.replace("\r\n", "\n"))


def test_elsewhere_every_run_has_a_plain_line_with_times(write_scenario, run):
    for fake in ("shared", "reuse_port", "lossy", "no_docker", "crash"):
        write_scenario(name=fake, fake=fake)
    out = run(".").stdout.str()
    lines = re.findall(r"^ +\d+\.\d s  (\w+) +(\w+)  \d+\.\d s$", out, re.MULTILINE)
    assert sorted(lines) == [
        ("ERROR", "crash"),
        ("FAIL", "reuse_port"),
        ("INCONCLUSIVE", "lossy"),
        ("PASS", "shared"),
        ("SKIP", "no_docker"),
    ]
    assert "\x1b" not in out
    assert not re.search(r"^\S+\.yaml [.FEs]", out, re.MULTILINE)
    assert "1 failed, 1 passed, 1 skipped, 2 errors" in out
    assert "\nFAILED reuse_port.envoyassert.yaml::reuse_port - " in out


def test_lines_appear_under_xdist_too(write_scenario, run, monkeypatch):
    monkeypatch.setenv("PYTEST_PLUGINS", f"{os.environ['PYTEST_PLUGINS']},xdist.plugin")
    write_scenario(head="matrix: {concurrency: [1, 2]}")
    out = run("-n", "2").stdout.str()
    assert sorted(re.findall(r"PASS +(\S+)  \d+\.\d s$", out, re.MULTILINE)) == [
        "one[concurrency=1]",
        "one[concurrency=2]",
    ]


def test_header_has_lines_of_its_own_on_a_terminal_under_xdist(
    write_scenario, fake_envoy, monkeypatch
):
    monkeypatch.setenv("PYTEST_PLUGINS", f"{os.environ['PYTEST_PLUGINS']},xdist.plugin")
    write_scenario()
    shown, status = on_terminal(fake_envoy.path, "-n", "1")
    assert status == 0
    assert re.search(r"^envoyassert: launcher auto; .*$", shown, re.MULTILINE)


def test_terminal_has_a_live_line_of_which_nothing_is_left(write_scenario, fake_envoy):
    write_scenario()
    shown, status = on_terminal(fake_envoy.path)
    assert status == 0
    live = rf"{re.escape(CLEAR)}\d+\.\d s  0 of 1 done  one \d+\.\d s"
    assert re.search(live, shown)
    left = left_over(shown)
    assert "of 1 done" not in left
    assert re.search(r"\d s  \x1b\[32mPASS +\x1b\[0m  one  \d+\.\d s\n", left)


def test_terminal_inherited_if_asked(write_scenario, fake_envoy):
    write_scenario()
    shown, _ = on_terminal(fake_envoy.path, NO_COLOR="1")
    assert "of 1 done" in shown
    assert "\x1b[3" not in shown


def test_dumb_terminal_has_plain_lines(write_scenario, fake_envoy):
    write_scenario()
    shown, _ = on_terminal(fake_envoy.path, TERM="dumb")
    assert "of 1 done" not in shown
    assert CLEAR not in shown


def test_colours_are_forced_where_asked(write_scenario, run, monkeypatch):
    write_scenario()
    monkeypatch.delenv("PY_COLORS", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32mPASS" in run(".").stdout.str()


def test_interrupt_leaves_no_half_line_on_the_terminal(write_scenario, fake_envoy):
    with (fake_envoy.path / "conftest.py").open("a") as file:
        file.write(SLOW)
    text = (fake_envoy.path / write_scenario(name="hangs")).read_text()
    (fake_envoy.path / "hangs.envoyassert.yaml").write_text(
        text.replace("FAKE: shared", "HANG: x, FAKE: shared")
    )
    shown, status = on_terminal(fake_envoy.path, until=rb"hangs \d")
    assert status == 2, shown
    assert "0 of 1 done" in shown
    assert "of 1 done" not in left_over(shown)
    assert shown.endswith("\n")


@pytest.mark.timeout(60)
def test_verdict_is_in_a_pipe_before_the_session_ends(write_scenario, fake_envoy):
    with (fake_envoy.path / "conftest.py").open("a") as file:
        file.write(SLOW)
    first = write_scenario(name="first")
    hangs = fake_envoy.path / write_scenario(name="hangs")
    hangs.write_text(hangs.read_text().replace("FAKE: shared", "HANG: x, FAKE: shared"))
    with subprocess.Popen(
        [sys.executable, "-m", "envoyassert", "run", first, hangs.name],
        cwd=fake_envoy.path,
        env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any("PASS" in line for line in process.stdout)
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_failure_is_in_colour_on_a_terminal_alone(write_scenario, run, fake_envoy, workers):
    write_scenario(fake="reuse_port")
    arguments = (".", "-p", "xdist", workers, "--junitxml=j.xml")
    shown, status = on_terminal(fake_envoy.path, *arguments)
    assert status == 1
    assert re.search(r"\x1b\[31mFAIL\x1b\[0m one: ", shown)
    assert re.search(r"\x1b\[1m> +\d+ \| ", shown)
    assert "\x1b" not in (fake_envoy.path / "j.xml").read_text()
    assert "#x1B" not in (fake_envoy.path / "j.xml").read_text()
    assert not re.search(r"\x1b\[\d+m", on_terminal(fake_envoy.path, ".", NO_COLOR="1")[0])
    assert "\x1b[" not in run(*arguments).stdout.str()


@pytest.mark.parametrize("fake", ["shared", "reuse_port"])
def test_verbose_prints_the_story_of_a_run_once(write_scenario, run, fake):
    write_scenario(fake=fake)
    out = run("-v").stdout.str()
    assert out.count("Listening sockets, and who serves them") == 1
    assert out.index("one.envoyassert.yaml::one ") < out.index("  Process and threads")


def test_coverage_shows_what_no_expectation_constrains(write_scenario, run):
    write_scenario(fake="reuse_port")
    out = run("--coverage").stdout.str()
    assert out.count("options that no expectation constrains: ") == 1
    assert "Process and threads" not in out
    assert "expectation constrains" not in run(".").stdout.str()


def test_without_verbose_there_is_no_story(write_scenario, run):
    write_scenario(fake="reuse_port")
    assert "Process and threads" not in run(".").stdout.str()
