"""Engines that cannot be used: absent, stopped, remote, in a virtual machine."""

from __future__ import annotations

import http.server
import json
import platform
import socket
import socketserver
import tempfile
import threading
from pathlib import Path

import pytest

from envoyassert.errors import DockerUnavailableError
from envoyassert.launch.container import DockerLauncher
from envoyassert.launch.engine import connect, docker_capability
from envoyassert.launch.source import EnvoySource
from envoyassert.launch.sweep import sweep


@pytest.fixture
def directory():
    # Short: a Unix socket's path holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def start_engine(directory, monkeypatch):
    """Return a function that starts an engine which says `information` about itself."""
    servers = []

    def start(information: dict[str, str]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"ApiVersion": "1.41", "Version": "20.10", **information})
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *args: object) -> None:
                pass

        path = directory / "docker.sock"
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_connect_to_an_engine_on_this_kernel_works(start_engine):
    start_engine({"KernelVersion": platform.release(), "OperatingSystem": "Debian"})
    with connect() as client:
        assert client.version()["Version"] == "20.10"
    assert docker_capability() == ("docker", True, "engine 20.10 on this kernel", "")


@pytest.mark.parametrize(
    "information, reason",
    [
        ({"KernelVersion": "1.2.3", "OperatingSystem": "Debian"}, "runs on kernel 1.2.3"),
        (
            {"KernelVersion": platform.release(), "OperatingSystem": "Docker Desktop"},
            "virtual machine",
        ),
    ],
    ids=["kernel", "desktop"],
)
def test_connect_to_an_engine_on_another_kernel_is_refused(start_engine, information, reason):
    start_engine(information)
    with pytest.raises(DockerUnavailableError, match=reason) as caught, connect():
        pytest.fail("connected")
    assert "launcher `process`" in caught.value.remedy
    assert docker_capability().ok is False


def test_prepare_with_a_remote_engine_is_refused_without_asking_it(monkeypatch):
    # An address for documentation: were it asked, the test would take a minute.
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with DockerLauncher() as launcher, pytest.raises(DockerUnavailableError, match="remote"):
        launcher.prepare(EnvoySource(version="1.40.0"))


def test_connect_without_an_engine_says_how_to_get_one(monkeypatch, directory):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{directory}/absent.sock")
    with pytest.raises(DockerUnavailableError, match="there is no Docker engine") as caught:
        connect().__enter__()
    assert "install" in caught.value.remedy
    assert sweep() is not None


def test_connect_to_an_engine_that_has_stopped_says_so(monkeypatch, directory):
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(directory / "docker.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{directory}/docker.sock")
    with pytest.raises(DockerUnavailableError, match="does not run"):
        connect().__enter__()
