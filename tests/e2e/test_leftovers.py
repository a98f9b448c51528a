"""Nothing is left behind: however `envoyassert run` ends, the machine is as it was before.

Each run is a process of its own, ended in one of four ways, while a neighbour's run is alive.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envoyassert.launch.engine import connect
from envoyassert.launch.kernel import wait_readable
from envoyassert.launch.namespace import joined_namespace
from envoyassert.launch.sweep import LABEL_OWNER_PID
from tests.e2e.bpf_objects import bpf_objects, held_bpf_objects
from tests.e2e.launching import NEVER_READY, VERSION, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.alone]

LAUNCHERS = ["process", pytest.param("docker", marks=pytest.mark.docker)]
MARK = "LEFTOVERS_TOKEN"

SCENARIO = """\
name: {name}
envoy:
  version: {version}
  concurrency: 2
  deadline: 110s
  env: {{{mark}: {token}}}
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
    static_resources:
      listeners:
      - name: ingress
        address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
        enable_reuse_port: false
        filter_chains: [{{}}]
{more}expect:
  - listener: {{name: ingress}}
    bound: {{times: {bound}}}
"""
#: Slow to become ready, and with the node that its endpoints need.
SLOW = f"{NEVER_READY}    node: {{id: node-1, cluster: test}}\n"
#: Lives until someone has connected.
AWAITED = """\
steps:
- wait_for: {stat: {name: listener.127.0.0.1_10000.downstream_cx_total, at_least: 1}}
"""
#: Seconds until an engine has undone a container's mounts, and the kernel a BPF program.
DEADLINE_S = 20.0


class Session:
    """One `envoyassert run` of one scenario, in a process and a process session of its own."""

    def __init__(self, launcher: str, directory: Path, *, bound: int = 1, more: str = "") -> None:
        self.token = secrets.token_hex(8)
        directory.mkdir()
        text = SCENARIO.format(
            name="one", version=VERSION, mark=MARK, token=self.token, bound=bound, more=more
        )
        (directory / "one.yaml").write_text(text)
        words = [sys.executable, "-m", "envoyassert", "run", "one.yaml", "--launcher", launcher]
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                # A test run in the background of a shell hands down SIGINT ignored.
                ["env", "--default-signal=INT", *words],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        #: Network and mount namespaces that its Envoy was seen in, `net:[4026532008]`.
        self.namespaces: set[str] = set()
        #: Device and inode of the shared memory that its Envoy was seen to map, `00:1b 12`.
        self.shared_memory: set[str] = set()
        #: Layers of its container, and names of volumes, that its Envoy was seen to have mounted.
        self.layers: set[str] = set()
        self.volumes: set[str] = set()

    def envoys(self) -> list[Path]:
        """Return /proc/<pid> of every process that has the scenario's environment."""
        mark = f"{MARK}={self.token}".encode()
        return [path for path in processes() if mark in read(path / "environ").split(b"\0")]

    def members(self) -> list[Path]:
        """Return /proc/<pid> of every process of the session itself."""
        return [path for path in processes() if session_of(path) == self.process.pid]

    def look(self) -> bool:
        """Take note of the namespaces of its Envoy; return whether there are any by now."""
        own = {link(Path("/proc/self/ns") / kind) for kind in ("net", "mnt")}
        for envoy in self.envoys():
            found = {link(envoy / "ns" / kind) for kind in ("net", "mnt")} - own
            if len(found) == 2 and "" not in found:
                self.namespaces |= found
            mapped = read(envoy / "maps").decode(errors="replace")
            self.shared_memory |= set(re.findall(r"(\S+ \d+) +/dev/shm/", mapped))
            mounted = read(envoy / "mountinfo").decode(errors="replace")
            self.layers |= set(re.findall(r"upperdir=([^,\s]+)", mounted))
            self.volumes |= set(re.findall(r"/volumes/([^/\s]+)/_data", mounted))
        return bool(self.namespaces)

    def wait_for_envoy(self) -> None:
        assert wait_until(lambda: self.look() or self.ended(), 30), self.text()
        assert self.namespaces, self.text()

    def connect(self) -> None:
        """Connect to its Envoy, once that maps shared memory and has its listener bound."""
        assert wait_until(lambda: (self.look() and bool(self.shared_memory)) or self.ended(), 30)
        (envoy,) = self.envoys()
        with contextlib.closing(joined_namespace(int(envoy.name), "client")) as namespace:

            def connected() -> bool:
                with contextlib.suppress(ConnectionRefusedError):
                    namespace.call(lambda: socket.create_connection(("127.0.0.1", 10000))).close()
                    return True
                return False

            assert wait_until(lambda: connected() or self.ended(), 30), self.text()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        """Wait for its end, watching its Envoy meanwhile; return the exit code."""
        pidfd = os.pidfd_open(self.process.pid)

        def ended_while_watched() -> bool:
            self.look()
            return wait_readable(pidfd, 0.02)

        try:
            ended = wait_until(ended_while_watched, 60)
        finally:
            os.close(pidfd)
        assert ended, self.text()
        return self.process.wait()

    def text(self) -> str:
        return self.output.read_text(errors="replace")


def processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdecimal()]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def session_of(process: Path) -> int:
    """Return the process session (field 6 of /proc/<pid>/stat); 0 if the process has ended."""
    fields = read(process / "stat").rpartition(b")")[2].split()
    return 0 if not fields or fields[0] == b"Z" else int(fields[3])


def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def volumes() -> set[str]:
    if not Path("/var/run/docker.sock").exists():
        return set()
    with connect() as client:
        return {str(volume.name) for volume in client.volumes.list()}


def shared_memory() -> set[str]:
    """Return device and inode of all shared memory of the machine, as /proc/<pid>/maps has them."""
    found = [path.stat() for path in Path("/dev/shm").iterdir()]
    return {
        f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x} {file.st_ino}" for file in found
    }


@pytest.fixture
def machine() -> Iterator[None]:
    """Compare the BPF objects that no living process has open, before and after a test.

    Other programs use BPF as well: what appeared is asked for again until it is gone. What stays
    to the deadline was left behind.
    """
    before = bpf_objects() - held_bpf_objects(processes())
    yield
    left = bpf_objects() - held_bpf_objects(processes()) - before

    def nothing_is_left() -> bool:
        left.intersection_update(bpf_objects() - held_bpf_objects(processes()))
        return not left

    wait_until(nothing_is_left, DEADLINE_S)
    assert left == set()


def assert_nothing_left_of(session: Session, run_root: Path) -> None:
    """Check what is known to be a session's own."""
    assert session.ended()
    assert wait_until(lambda: not session.members()), session.members()
    assert wait_until(lambda: not session.envoys()), session.envoys()
    assert session.namespaces
    assert wait_until(lambda: not holders(session.namespaces | session.layers), DEADLINE_S)
    assert not session.shared_memory & shared_memory()
    assert not session.volumes & volumes()
    pid = session.process.pid
    for root in (run_root, Path(f"/tmp/envoyassert-{os.getuid()}")):
        assert list(root.glob(f"{pid}-*")) == []
        assert not holders({f"{root.resolve()}/{pid}-"})
    assert containers_of(pid) == []


def holders(parts: set[str]) -> list[str]:
    """Return what keeps a namespace or a layer in use: processes, open files, mounts."""
    found = []
    for process in processes():
        links = [process / "ns/net", process / "ns/mnt"]
        with contextlib.suppress(OSError):
            links += (process / "fd").iterdir()
        found += [str(path) for path in links if link(path) in parts]
    return found + [line for line in mounts() if any(part in line for part in parts)]


def containers_of(pid: int) -> list[str]:
    if not Path("/var/run/docker.sock").exists():
        return []
    with connect() as client:
        label = f"{LABEL_OWNER_PID}={pid}"
        found = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return [str(container.name) for container in found]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Iterator[Path]:
    """Where all sessions of this module keep their run directories, so that they may meet."""
    base = tmp_path_factory.mktemp("leftovers")
    with pytest.MonkeyPatch.context() as patch:
        # Too long a path would not be used.
        short = Path(f"/tmp/ea-{secrets.token_hex(4)}")
        short.mkdir()
        patch.setenv("TMPDIR", str(short))
        for name in ("CI", "ENVOYASSERT_REQUIRE", "ENVOYASSERT_ARTIFACTS"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin")
        (base / "run_root").symlink_to(short / f"envoyassert-{os.getuid()}")
        yield base
        inside = short / f"envoyassert-{os.getuid()}"
        assert not inside.exists() or list(inside.iterdir()) == []
        assert set(short.iterdir()) <= {inside}
        if inside.exists():
            inside.rmdir()
        short.rmdir()


@pytest.fixture(scope="module", params=LAUNCHERS)
def launcher(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def neighbour(launcher, root) -> Iterator[Session]:
    """A run that is alive all the time; no one else's end may touch it."""
    session = Session(launcher, root / f"neighbour-{launcher}", more=SLOW)
    try:
        session.wait_for_envoy()
        yield session
        session.process.send_signal(signal.SIGINT)
        assert session.wait() == 2
        assert_nothing_left_of(session, root / "run_root")
    finally:
        session.process.kill()
        session.process.wait()


@pytest.fixture
def start(launcher, root, neighbour, machine) -> Iterator[Callable[..., Session]]:
    """Return a function that starts a session; the neighbour is looked at when the test is over."""
    sessions: list[Session] = []
    (envoy,) = neighbour.envoys()

    def start(**scenario) -> Session:
        sessions.append(Session(launcher, root / secrets.token_hex(4), **scenario))
        return sessions[-1]

    yield start
    for session in sessions:
        session.process.kill()
        session.process.wait()
    assert not neighbour.ended()
    assert neighbour.envoys() == [envoy]
    if launcher == "process":
        assert (envoy / "cwd").readlink().is_dir()
    else:
        assert len(containers_of(neighbour.process.pid)) == 1


def test_run_that_passes_leaves_nothing(start, root, launcher):
    session = start(more=AWAITED)
    session.connect()
    assert session.wait() == 0, session.text()
    assert_nothing_left_of(session, root / "run_root")
    assert session.shared_memory
    assert session.layers or launcher == "process"


def test_run_that_fails_leaves_nothing_but_its_trace(start, root):
    session = start(bound=7)
    assert session.wait() == 1, session.text()
    assert_nothing_left_of(session, root / "run_root")
    files = {path for path in session.output.parent.rglob("*") if path.is_file()}
    files = {path for path in files if ".pytest_cache" not in path.parts}
    assert {path.name for path in files} == {"one.yaml", "output", "trace.ndjson", "envoy.log"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_interrupted_in_the_middle_leaves_nothing(start, root, number):
    session = start(more=SLOW)
    session.wait_for_envoy()
    session.process.send_signal(number)
    assert session.wait() == 2, session.text()
    assert "no runs executed; interrupted: 1 run not executed" in session.text()
    assert ".py" not in session.text()
    assert_nothing_left_of(session, root / "run_root")


def test_run_killed_leaves_nothing_after_the_next_run(start, root):
    killed = start(more=SLOW)
    killed.wait_for_envoy()
    killed.process.kill()
    assert killed.wait() == -signal.SIGKILL
    pid = killed.process.pid
    # Something is left at first, or this test would show nothing.
    assert list((root / "run_root").glob(f"{pid}-*")) or containers_of(pid)
    following = start()
    assert following.wait() == 0, following.text()
    for session in (killed, following):
        assert_nothing_left_of(session, root / "run_root")
