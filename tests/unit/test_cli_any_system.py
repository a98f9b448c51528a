"""What needs no Envoy works anywhere: on macOS, without root, bcc, Docker, or a home directory.

Each such command is run in an interpreter that has been made to look like one on macOS: what only
Linux has is taken out of the standard library, and an audit hook refuses what only Linux can do.
Its output must be the very same as without all that.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from envoyassert.cli import app, command_line
from envoyassert.trace_file import read_trace
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "tests" / "traces"
RECORDED = TRACES / "reuse_port_on-1.40.0.ndjson"
OTHER = TRACES / "reuse_port_off-1.40.0.ndjson"
LOG = TRACES / "istio-1.11-envoy-1.19.1.bpftrace.txt"

MACOS = r"""
import ctypes, errno, fcntl, os, re, resource, select, signal, socket, sys, sysconfig, time

LINUX = {
    os: "memfd_|MFD_|pidfd_|P_PIDFD|PIDFD_|setns|unshare|CLONE_|eventfd|EFD_|timerfd_|TFD_|splice|"
        "SPLICE_|sched_[gs]et|getrandom|GRND_|copy_file_range|posix_fadvise|pipe2|[gs]etres[ug]id|"
        "(get|set|list|remove)xattr|XATTR_|O_PATH|O_TMPFILE|O_DIRECT$|RWF_",
    signal: "pidfd_send_signal|sigtimedwait|sigwaitinfo|SIGRT|SIGPWR|SIGSTKFLT|SIGPOLL",
    select: "epoll|EPOLL",
    resource: "prlimit|RUSAGE_THREAD|RLIMIT_(MSGQUEUE|NICE|RTPRIO|RTTIME|SIGPENDING|OFILE)",
    fcntl: "F_(ADD_SEALS|GET_SEALS|SEAL_|SETPIPE_SZ|GETPIPE_SZ|NOTIFY|SETLEASE|SETSIG)|DN_",
    socket: "AF_(NETLINK|PACKET|VSOCK|ALG|CAN)|SO_(DOMAIN|PROTOCOL|MARK|BINDTODEVICE|PEERCRED)|"
            "SOCK_(CLOEXEC|NONBLOCK)|IPPROTO_(MPTCP|UDPLITE)|TCP_(DEFER|QUICKACK|CORK)|IP_TRANSP",
    time: "CLOCK_BOOTTIME|CLOCK_TAI",
}
for module, pattern in LINUX.items():
    names = [name for name in dir(module) if re.match(pattern, name)]
    assert names, module
    for name in names:
        delattr(module, name)
# The numbers are others; nothing may be named by those of the system it runs on.
errno.errorcode.clear()
# The interpreter itself was built for Linux; it finds its own settings by the platform.
sysconfig.get_config_vars()
sys.platform = "darwin"
os.uname = lambda: os.uname_result(("Darwin", "mac", "23.4.0", "Darwin Kernel", "arm64"))

REFUSED = {"ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen",
           "socket.__new__", "socket.connect", "os.system"}
BLOCKED = {"bcc", "docker", "testcontainers", "requests", "pytest", "_pytest",
           "envoyassert.probe", "envoyassert.runner", "envoyassert.witness"}

def refuse(event, arguments):
    if event in REFUSED:
        raise RuntimeError(f"{event}{arguments}: nothing for this command")
    if event == "import" and arguments[0] in BLOCKED:
        raise ImportError(f"{arguments[0]} is not available")
    looks = event in ("open", "os.listdir", "os.scandir")
    if looks and re.match("/(proc|sys)/", str(arguments[0])):
        raise FileNotFoundError(2, "there is no such file system", arguments[0])
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
    if (writes or event == "os.mkdir") and not is_own(str(arguments[0])):
        raise PermissionError(13, "only its own directory is writable", arguments[0])

def is_own(path, own=os.getcwd()):
    return os.path.realpath(path).startswith(own)

assert not BLOCKED & set(sys.modules)
sys.addaudithook(refuse)
"""
MAIN = "from envoyassert.cli import main\nmain(sys.argv[1:])\n"

#: Arguments of the commands that are not known from their parameters.
ARGUMENTS: dict[str, list[object]] = {
    "bpftrace-script": ["--machine", "x86_64", "--processors", 2],
    "check": [ROOT / "scenarios", TRACES / "origin.yaml"],
    "completion": ["zsh"],
    "diff": [RECORDED, RECORDED],
    "draft": [RECORDED],
    "import": [LOG, "--concurrency", 2, "-o", "imported.ndjson"],
    "init": ["repository"],
    "merge": [ROOT / "tests" / "reports" / "one", "-o", "merged"],
    "plan": ["--traces", RECORDED, RECORDED],
    "replay": [RECORDED, "--scenario", ROOT / "scenarios" / "reuse_port_on.yaml"],
    "schema": [],
}
#: Those that only a machine with the probes can do.
NEED_LINUX = {
    "attach",
    "bisect",
    "explore",
    "matrix",
    "run",
    "record",
    "inspect",
    "clean",
    "doctor",
}


def command_of(name):
    command = app.get_command(click.Context(app), name)
    assert command is not None
    return command


def arguments_of(name):
    """Arguments for a command; one that is not in the table takes a trace for every argument."""
    if name in ARGUMENTS:
        return [str(word) for word in ARGUMENTS[name]]
    arguments = [one for one in command_of(name).params if isinstance(one, click.Argument)]
    return [str(RECORDED)] * len(arguments)


#: As root: become a user without privileges, who may read every file, so that the interpreter is
#: found wherever it is installed.
AS_ROOT = os.geteuid() == 0
UNPRIVILEGED = 65534
WITHOUT_PRIVILEGES = [
    *(shutil.which("setpriv") or "setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}"),
    *("--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"),
]


@pytest.fixture
def anywhere(tmp_path):
    """A function that runs the command line without privileges, each time in a new directory."""

    def run(prelude, *arguments):
        place = tmp_path / "elsewhere"
        place.mkdir()
        if AS_ROOT:
            os.chown(place, UNPRIVILEGED, UNPRIVILEGED)
        code = [sys.executable, "-B", "-c", prelude + MAIN]
        return subprocess.run(
            [*(WITHOUT_PRIVILEGES if AS_ROOT else ()), *code, *map(str, arguments)],
            cwd=place,
            # A home directory that no one can make.
            env={"PYTHONPATH": str(ROOT), "HOME": "/dev/null/home", "PATH": "", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A function that runs the command line in this process, as it is, in a new directory."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("NO_COLOR", "1")
    return functools.partial(run_cli, capsys)


ANYWHERE = [name for name in command_line.COMMANDS if name not in NEED_LINUX]


@pytest.mark.parametrize("line", [*ANYWHERE, "schema --results", "--help", "--version"])
def test_command_does_the_same_on_macos_without_privileges(here, anywhere, line):
    arguments = [line, *arguments_of(line)] if line in ANYWHERE else line.split()
    plain, elsewhere = here(*arguments), anywhere(MACOS, *arguments)
    assert plain.code == 0, plain.err
    assert (elsewhere.returncode, elsewhere.stderr) == (0, plain.err)
    assert elsewhere.stdout == plain.out


@pytest.mark.parametrize("trace", [RECORDED, OTHER], ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["show", "replay", "report", "diff"])
def test_answers_about_a_trace_as_json_are_the_same_on_macos(here, anywhere, name, trace):
    scenario = ROOT / "scenarios" / f"{read_trace(trace).header.scenario}.yaml"
    needed: dict[str, list[object]] = {
        "replay": ["--scenario", scenario],
        "report": ["--scenario", scenario],
        "diff": [RECORDED],
        "show": [],
    }
    arguments = [name, trace, *needed[name], "--format", "json"]
    plain, elsewhere = here(*arguments), anywhere(MACOS, *arguments)
    assert (elsewhere.returncode, elsewhere.stderr) == (plain.code, "")
    assert elsewhere.stdout == plain.out != ""


def test_commands_that_say_they_need_no_root_are_tried():
    said = {
        name
        for name in command_line.COMMANDS
        if re.search(r"\bneither\s+root\b", command_of(name).help or "")
    }
    assert said >= {"replay", "show", "diff"}
    assert said & NEED_LINUX == set()


def test_doctor_on_macos_says_where_scenarios_can_be_run(anywhere):
    done = anywhere(MACOS, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "remedy: run envoyassert on Linux, or in a Linux VM" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", ROOT / "scenarios" / "udp.yaml"),
        ("record", ROOT / "scenarios" / "udp.yaml", "-o", "x"),
        ("clean",),
        ("check", ROOT / "scenarios" / "udp.yaml", "--validate"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_for_linux_says_so_on_macos(anywhere, arguments):
    done = anywhere(MACOS, *arguments)
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr.startswith("envoyassert: error: this needs Linux, and here is Darwin\n")
    assert "  remedy: run it on Linux, or in a Linux VM" in done.stderr


PLAN = ["plan", ROOT / "scenarios" / "admin_only.yaml", "--which", "concurrency=2"]


def test_plan_answers_by_its_model_on_macos_and_says_why_nothing_is_run(anywhere):
    done = anywhere(MACOS, *PLAN, "--set", "concurrency=3")
    assert (done.returncode, done.stderr) == (1, "")
    assert "nothing was run (this is not Linux)" in done.stdout


def test_plan_that_must_run_says_on_macos_that_it_needs_linux(anywhere):
    done = anywhere(MACOS, *PLAN, "--set", "concurrency=3", "--run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("this needs Linux, and here is Darwin\n")
    assert "  remedy: run it on Linux, or in a Linux VM" in done.stderr


@pytest.mark.parametrize(
    "broken, said",
    [
        ("import os; os.memfd_create", "memfd_create"),
        ("import ctypes; ctypes.CDLL('libc.so.6')", "ctypes.dlopen"),
        ("import docker", "docker is not available"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("open('/proc/self/status')", "there is no such file system"),
        ("import errno; errno.errorcode[98]", "98"),
        ("import os; os.mkdir('/tmp/envoyassert')", "only its own directory is writable"),
        ("import os; os.setuid(1)", "not permitted"),
    ],
    ids=["attribute", "library", "package", "process", "proc", "number", "directory", "privilege"],
)
def test_such_an_interpreter_lacks_what_linux_has(anywhere, broken, said):
    done = anywhere(f"{MACOS}{broken}\n", "--version")
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
