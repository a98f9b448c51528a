"""`envoyassert attach -- COMMAND`: a command is started and recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from envoyassert.launch.kernel import wait_readable
from envoyassert.trace_file import read_trace
from tests.e2e.attaching import (
    CONFIG,
    LONG,
    SCENARIO,
    Attaching,
    assert_equal_to_run,
    envoy_command,
    envoyassert,
)
from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "up.yaml"
    path.write_text(SCENARIO)
    return path


def test_command_is_recorded_as_run_records_it(tmp_path, scenario):
    trace = tmp_path / "up.ndjson"
    command = envoy_command(tmp_path)
    done = envoyassert(
        *("attach", "--for", LONG, "--scenario", scenario, "-o", trace, "--", *command), apart=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith(f"armed: waiting for {command[0]}\n")
    assert "had not settled" not in done.stderr
    story, shown = done.stdout.split("\n\n", 1)
    (bind,) = [line for line in story.splitlines() if "bind(" in line and line.count(":10000)")][:1]
    assert bind.split()[1] == "main"
    assert "Listening sockets, and who serves them" in shown
    assert "PASS up" in shown
    header = assert_equal_to_run(trace, tmp_path).header
    assert (header.launcher, header.concurrency, header.envoy.version) == ("attach", 2, VERSION)
    assert [one.name for one in header.listeners] == ["admin", "l10000"]


def test_wrong_expectation_fails_with_the_exit_code_of_run(tmp_path, scenario):
    scenario.write_text(SCENARIO.replace("via: reuse_port", "via: dup"))
    done = envoyassert(
        *("attach", "--exec-scenario", scenario, "--", *envoy_command(tmp_path)), apart=True
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("FAIL up: listener l10000 (127.0.0.1:10000): expected")


def test_draft_of_what_was_seen_passes_on_the_same(tmp_path):
    drafted = tmp_path / "seen.yaml"
    command = envoy_command(tmp_path)
    done = envoyassert("attach", "--draft", drafted, "--", *command, apart=True)
    assert done.returncode == 0, done.stdout + done.stderr
    again = envoyassert("attach", "--exec-scenario", drafted, "--", *command, apart=True)
    assert again.stdout.startswith("PASS seen"), again.stdout + again.stderr


def test_envoy_behind_a_shell_has_its_workers(tmp_path, scenario):
    trace = tmp_path / "up.ndjson"
    command = ["sh", "-c", '"$@" & wait', "sh", *envoy_command(tmp_path)]
    done = envoyassert(
        *("attach", "--exec-scenario", scenario, "-o", trace, "--", *command), apart=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = read_trace(trace)
    assert read.witness is not None
    assert read.witness.pid != read.events[0].pid


def test_strace_records_a_command_too(tmp_path, scenario):
    command = envoy_command(tmp_path)
    done = envoyassert(
        *("attach", "--tracer", "strace", "--exec-scenario", scenario, "--", *command), apart=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_envoy_that_refuses_its_config_is_reported_with_its_end(tmp_path, scenario):
    command = envoy_command(tmp_path, CONFIG.replace("port_value: 10000", "port_value: 70000"))
    done = envoyassert("attach", "--scenario", scenario, "--", *command, apart=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "note: Envoy ended with status 1" in done.stderr
    assert "FAIL up" in done.stdout


@pytest.mark.parametrize("tracer", ["ebpf", "strace"])
def test_signal_that_killed_the_command_is_recorded(tmp_path, tracer):
    trace = tmp_path / "up.ndjson"
    done = envoyassert(
        *("attach", "--tracer", tracer, "--for", LONG, "-o", trace, "--"),
        *("sh", "-c", "kill -KILL $$"),
    )
    assert done.returncode == 0, done.stderr
    assert "note: Envoy was killed by SIGKILL" in done.stderr
    read = read_trace(trace)
    assert read.end.outcome.signal == signal.SIGKILL
    assert read.end.drained


def test_command_that_is_not_there_is_one_message(tmp_path):
    done = envoyassert("attach", "--", tmp_path / "nothing")
    assert done.returncode == 77
    assert f"error: {tmp_path}/nothing is no program that can be executed" in done.stderr
    assert "armed" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("tracer", ["ebpf", "strace"])
def test_nothing_of_the_command_outlives_a_killed_recorder(tmp_path, tracer):
    fifo = tmp_path / "pids"
    # What is still running keeps the writing end of the pipe open.
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 9>{fifo}; sleep 600 & setsid sleep 600 & echo begun >&9; sleep 600"
    command = ["sh", "-c", script]
    with Attaching("--tracer", tracer, "--", *command) as attaching:
        assert wait_readable(reader, 60)
        assert os.read(reader, 100) == b"begun\n"
        attaching.wait_for_story()
        attaching.kill()
        assert wait_readable(reader, 10)
        assert os.read(reader, 100) == b""
    os.close(reader)


#: Kills itself where the command has begun and nothing of the kernel's is bound to it.
KILLED = """
import os, pathlib, signal, sys
from envoyassert.cli import main
from envoyassert.launch.release import Lifeline
begun = pathlib.Path(sys.argv.pop())
Lifeline.hold = lambda *_: (begun.read_bytes(), os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[1:])
"""


def test_command_does_not_outlive_a_recorder_that_is_killed_as_it_starts_it(tmp_path):
    held, begun = tmp_path / "held", tmp_path / "begun"
    for fifo in (held, begun):
        os.mkfifo(fifo)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 9>{held}; echo >{begun}; sleep 600"
    recorder = subprocess.run(
        [sys.executable, "-c", KILLED, "attach", "--", "sh", "-c", script, str(begun)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert recorder.returncode == -signal.SIGKILL
    assert wait_readable(reader, 10)
    os.close(reader)


@pytest.mark.parametrize("what", [["--pod", "web/front"], ["--", "true"]], ids=["pod", "command"])
def test_ordinary_user_is_refused_with_one_message(what):
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = subprocess.run(
        [*user, sys.executable, "-m", "envoyassert", "attach", *what],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (77, "")
    error, remedy = done.stderr.splitlines()
    assert error == "envoyassert: error: user id 65534 may not attach BPF programs, root may"
    assert remedy.startswith("  remedy: run as root (sudo)")
