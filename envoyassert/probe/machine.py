"""Whether this machine can run the probe: cheap checks, each with its remedy."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

from envoyassert.errors import Capability, ProbeUnavailableError
from envoyassert.probe.bcc_import import bcc_version, find_bcc
from envoyassert.probe.btf import PUBLISHED
from envoyassert.probe.program_text import recorded_calls, source_dir
from envoyassert.probe.tracepoints import field_offsets, tracefs_dir

_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39
_OLDEST_KERNEL = (5, 15)
#: PROC_PID_INIT_INO of linux/proc_ns.h: the inode of the machine's first pid namespace.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
#: Of what keeps the probe from being used, and not strace.
_STRACE = "or let strace record, which needs neither root nor BPF (--tracer strace)"


def _privileges() -> str:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    held = int(found.group(1), 16) if found else 0
    remedy = f"run as root (sudo); in a container, with --privileged; {_STRACE}"
    if os.geteuid() != 0:
        raise ProbeUnavailableError(
            f"user id {os.geteuid()} may not attach BPF programs, root may", remedy
        )
    if not held >> _CAP_SYS_ADMIN & 1 and not (held >> _CAP_BPF & 1 and held >> _CAP_PERFMON & 1):
        raise ProbeUnavailableError(
            "this process is root without the capabilities CAP_BPF and CAP_PERFMON",
            f"run with all of root's capabilities (in a container, with --privileged), {_STRACE}",
        )
    return "root with the needed capabilities"


def _kernel() -> str:
    release = platform.release()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < _OLDEST_KERNEL:
        raise ProbeUnavailableError(
            f"Linux {release} is too old: the probe needs 5.15 (bpf_task_pt_regs)",
            "use Linux 5.15 or newer",
        )
    return f"Linux {release}"


def _lockdown() -> str:
    """Check that BPF programs may read: kernel_lockdown(7); `integrity` lets them, and tracefs."""
    try:
        found = re.search(r"\[(\w+)\]", _LOCKDOWN.read_text())
    except OSError:
        found = None  # built without it, or securityfs is not mounted
    mode = found[1] if found else "none"
    if mode == "confidentiality":
        raise ProbeUnavailableError(
            f"the kernel is locked down ({_LOCKDOWN}: {mode}): BPF programs may not read its "
            "memory, and tracefs is empty",
            f"boot with lockdown=integrity or without it (Secure Boot may ask for it), {_STRACE}",
        )
    return mode


def _pid_namespace() -> str:
    if Path("/proc/self/ns/pid").stat().st_ino != _FIRST_PID_NAMESPACE:
        raise ProbeUnavailableError(
            "this process is in a pid namespace of its own (a container's), where processes have "
            "other numbers than those that the kernel records",
            "run on the machine itself, or start the container with --pid=host --privileged",
        )
    return "the machine's own"


def _btf() -> str:
    if not PUBLISHED.exists():
        raise ProbeUnavailableError(
            f"this kernel does not publish its types ({PUBLISHED} is missing)",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF, as all distributions' are",
        )
    return str(PUBLISHED)


def _tracefs() -> str:
    field_offsets()
    return str(tracefs_dir())


def _program() -> str:
    recorded_calls()
    return f"{source_dir()} on {platform.machine()}"


def _bcc() -> str:
    return f"bcc {bcc_version() or '(unknown version)'} in {find_bcc()}"


_CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("privileges", _privileges),
    ("kernel", _kernel),
    ("lockdown", _lockdown),
    ("pid namespace", _pid_namespace),
    ("kernel types (BTF)", _btf),
    ("tracefs", _tracefs),
    ("bcc", _bcc),
    ("probe source", _program),
)


def probe_capability() -> list[Capability]:
    """Return every check of the machine, without loading anything (a few milliseconds)."""
    return [_capability(name, check) for name, check in _CHECKS]


def _capability(name: str, check: Callable[[], str]) -> Capability:
    try:
        return Capability(name, True, check(), "")
    except ProbeUnavailableError as error:
        return Capability(name, False, error.message, error.remedy)


def require() -> None:
    """Check everything that the probe needs.

    Raises:
        ProbeUnavailableError: the first thing that is missing.
    """
    for _, check in _CHECKS:
        check()
