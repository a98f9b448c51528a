"""On which machine was measured, and whether it was quiet."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from envoyassert.probe.bcc_import import import_bcc
from envoyassert.scenario.plan import DEFAULT_VERSION

#: Processes that want to run, per processor, from which on figures say little.
BUSY = 0.25
#: What is measured.
_MEASURED = ("bpf", "envoyassert", "scenarios")


@dataclass(frozen=True)
class Machine:
    """What the figures depend on.

    Args:
        kernel: its release and architecture.
        processor: its model, "" where it has no name.
        cpus: how many of them there are.
        memory_gib: memory, in GiB.
        python: version.
        bcc: version of the library.
        envoy: version of the Envoy that was started.
        strace: version of strace, "" without it.
        bpftrace: version of bpftrace, "" without it.
        commit: of this checkout, with `+` if what is measured differs from it.
        load: load average of the last minute before the first measurement.
    """

    kernel: str
    processor: str
    cpus: int
    memory_gib: float
    python: str
    bcc: str
    envoy: str
    strace: str
    bpftrace: str
    commit: str
    load: float

    @property
    def is_quiet(self) -> bool:
        """Whether little else ran."""
        return self.load <= BUSY * self.cpus

    @property
    def warning(self) -> str:
        """What is wrong with the figures, "" if nothing is."""
        if self.is_quiet:
            return ""
        return (
            f"the machine was not quiet (load average {self.load:.2f} on {self.cpus} processors): "
            "ratios of pairs are usable, absolute figures are not"
        )

    def lines(self) -> list[str]:
        """Return the description, a line per fact."""
        tools = [("strace", self.strace), ("bpftrace", self.bpftrace)]
        peers = [f"{name} {version or 'not installed'}" for name, version in tools]
        processors = f"{self.cpus} × {self.processor or 'processor'}"
        return [
            f"commit {self.commit}",
            f"Linux {self.kernel}, {processors}, {self.memory_gib:.0f} GiB",
            f"Python {self.python}, bcc {self.bcc}, Envoy {self.envoy}, {', '.join(peers)}",
            f"load average before: {self.load:.2f}",
        ]


def this_machine(checkout: Path) -> Machine:
    """Describe this machine.

    Args:
        checkout: whose commit is measured.
    """
    return Machine(
        kernel=f"{platform.release()} ({platform.machine()})",
        processor=_processor(),
        cpus=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        python=platform.python_version(),
        bcc=_bcc_version(),
        envoy=DEFAULT_VERSION,
        strace=_said("strace", "--version").partition("version ")[2].split("\n")[0],
        bpftrace=_said("bpftrace", "--version").partition(" v")[2].strip(),
        commit=_commit(checkout),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""


def _bcc_version() -> str:
    try:
        return str(import_bcc().__version__)
    except Exception as error:  # noqa: BLE001  # a line that needs bcc says what is wrong with it
        return f"not usable ({error})"


def _commit(checkout: Path) -> str:
    commit = _said("git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD").strip()
    # Not of a page that the bench writes.
    changed = _said("git", "-C", str(checkout), "status", "--porcelain", "--", *_MEASURED)
    return f"{commit}{'+' if changed else ''}"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout
