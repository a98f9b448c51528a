"""Docker engines that cannot be used, as a user of the command line meets them."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION
from tests.e2e.machine_faults.command_line import NO_ENGINE, SCENARIO

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


@pytest.fixture
def socket_path() -> str:
    return str(Path("docker.sock").absolute())


def test_record_without_an_engine_says_where_it_looked(run):
    done = run("record", "one.yaml", "-o", "x", "--launcher", "docker", DOCKER_HOST=NO_ENGINE)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: there is no Docker engine at /nonexistent/docker.sock",
        "  remedy: install and start one (Debian, Ubuntu: apt-get install docker.io)",
    ]


def test_record_with_an_engine_that_is_down_says_how_to_start_it(run, socket_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path)
    host = f"unix://{socket_path}"
    done = run("record", "one.yaml", "-o", "x", "--launcher", "docker", DOCKER_HOST=host)
    assert done.code == 77
    assert f"the Docker engine at {socket_path} does not run: Connection refused" in done.err
    assert "  remedy: start it (systemctl start docker, or dockerd)" in done.err.splitlines()


#: A network of its own with an address that is not loopback, where connections are counted.
LISTEN = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "address", "add", "198.51.100.7/32", "dev", "lo"], check=True)
with socket.create_server(("198.51.100.7", 2375)) as server:
    code = subprocess.run(sys.argv[1:]).returncode
    server.setblocking(False)
    try:
        server.accept()
    except BlockingIOError:
        print("no connection")
sys.exit(code)
"""


def test_record_with_a_remote_engine_refuses_it_without_a_connection(run):
    host = "tcp://198.51.100.7:2375"
    done = run(
        *("record", "one.yaml", "-o", "x", "--launcher", "docker"),
        under=("unshare", "--net", sys.executable, "-c", LISTEN),
        DOCKER_HOST=host,
    )
    assert done.code == 77
    assert done.out == "no connection\n"
    message, remedy = done.err.splitlines()
    assert message == (
        f"envoyassert: error: the Docker engine is remote (DOCKER_HOST={host}): eBPF can only "
        "observe containers on this kernel"
    )
    assert remedy.startswith("  remedy: unset DOCKER_HOST and use an engine on this machine")


class _Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine on a Unix socket that answers every question with the same JSON."""

    daemon_threads = True

    def __init__(self, path: str, answer: object) -> None:
        body = json.dumps(answer).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(path, Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def server_close(self) -> None:
        self.shutdown()
        self._thread.join()
        super().server_close()


@pytest.mark.parametrize(
    "answer, says",
    [
        (
            {"ApiVersion": "1.41", "KernelVersion": "4.4.0-other", "OperatingSystem": "Linux"},
            "the Docker engine runs on kernel 4.4.0-other, not on this machine's ",
        ),
        (
            {"ApiVersion": "1.41", "OperatingSystem": "Docker Desktop"},
            "the Docker engine is Docker Desktop, whose containers run in a virtual machine",
        ),
        ({"no": "version"}, "the Docker engine does not answer: "),
    ],
    ids=["other kernel", "desktop", "no engine"],
)
def test_record_with_an_engine_that_cannot_be_observed_says_why(run, socket_path, answer, says):
    with _Engine(socket_path, answer):
        host = f"unix://{socket_path}"
        done = run("record", "one.yaml", "-o", "x", "--launcher", "docker", DOCKER_HOST=host)
    assert done.code == 77
    assert done.err.startswith(f"envoyassert: error: {says}")
    assert "  remedy: " in done.err


@pytest.mark.docker
def test_run_of_an_absent_image_that_may_not_be_pulled_names_the_ways_to_get_it(run):
    done = run("run", "-q", "one.yaml", "--envoy", "envoyassert/absent:1", "--pull", "never")
    assert done.code == 77
    assert "image envoyassert/absent:1 is not present and the pull policy is `never`" in done.out
    assert "docker load an archive that holds envoyassert/absent:1; or allow pulling" in done.out


@pytest.mark.parametrize("how", ["desk", "CI", "require"])
def test_run_of_what_lacks_an_engine_is_a_skip_on_a_desk_and_an_error_elsewhere(run, how):
    # A second scenario that can be run, or else skipping would leave nothing.
    text = SCENARIO.format(version=VERSION)
    text = text.replace("name: one", "name: two\nrequires: {launcher: docker}")
    Path("two.yaml").write_text(text)
    environment = {"desk": {}, "CI": {"CI": "true"}, "require": {"ENVOYASSERT_REQUIRE": "docker"}}
    done = run("run", "-q", ".", DOCKER_HOST=NO_ENGINE, **environment[how])
    missing = "there is no Docker engine at /nonexistent/docker.sock"
    remedy = "install and start one (Debian, Ubuntu: apt-get install docker.io)"
    if how == "desk":
        assert done.code == 0
        assert f"  1 skipped: {missing}; {remedy}" in done.out.splitlines()
        return
    assert done.code == 77
    why = "an error because CI is set" if how == "CI" else "docker is required"
    assert f"{missing} ({why})" in done.out.splitlines()
    assert f"  remedy: {remedy}" in done.out.splitlines()
