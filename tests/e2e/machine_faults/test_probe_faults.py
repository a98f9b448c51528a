"""Machines on which the probe cannot run, as a user of the command line meets them."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from envoyassert.probe.bcc_import import find_bcc
from envoyassert.probe.program_text import source_dir
from tests.e2e.machine_faults.command_line import NO_ENGINE, hidden, in_mounts, unwrapped, without

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

#: May read every file, so that the interpreter is found wherever it is installed.
UNPRIVILEGED = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)

#: The kernel's verifier allows no pointer that a program made up.
UNCHECKED = "\tif (*(volatile int *)bpf_get_current_pid_tgid())\n\t\treturn 0;\n"

RENAMED = "int ea_task_rename(struct bpf_raw_tracepoint_args *ctx)\n{\n"


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
        lambda: in_mounts(hidden(source_dir(), changed_source(UNCHECKED, RENAMED))),
        "the BPF program was refused by the kernel: it does not load the function ea_task_rename",
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
    assert done.out.splitlines()[-1].startswith("without an Envoy no scenario can be run here")


def test_refusal_of_the_verifier_shows_the_end_of_its_log(run):
    done = run("record", "one.yaml", "-o", "x", under=FAULTS["refused_by_the_verifier"].under())
    assert "  | R0 invalid mem access 'scalar'" in done.err.splitlines()


def test_run_where_nothing_can_run_is_an_error_at_the_scenario(run):
    done = run("run", "-q", "one.yaml", under=FAULTS["no_tracefs"].under())
    assert done.code == 77
    assert "tracefs is not mounted" in done.out
    assert "  remedy: mount it: mount -t tracefs nodev /sys/kernel/tracing" in done.out
    assert "no runs executed: 1 error" in done.out


def test_bcc_that_knows_tracefs_below_debugfs_alone_is_enough(run):
    libraries = [hidden(path, without_tracefs(path)) for path in libraries_of_bcc()]
    under = in_mounts("umount --all --types debugfs", *libraries)
    # Another library: the program is compiled by it.
    done = run("record", "one.yaml", "-o", "one.ndjson", under=under)
    assert done.code == 0
    assert Path("one.ndjson").exists()
