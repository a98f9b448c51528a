"""Configurations to start, and ways to look for what an Envoy left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envoyassert.addresses import Address
from envoyassert.launch.kernel import wait_readable

VERSION = os.environ.get("ENVOYASSERT_TEST_ENVOY", "1.40.0")
#: The image of that Envoy, as the tests have it.
IMAGE = f"envoyassert/envoy:{VERSION}"
#: A cluster that waits for its endpoints from a server that is not there: never ready in time.
NEVER_READY = """\
      clusters:
      - {name: xds, connect_timeout: 1s, type: STATIC}
      - name: slow
        connect_timeout: 1s
        type: EDS
        eds_cluster_config:
          eds_config:
            resource_api_version: V3
            initial_fetch_timeout: 300s
            api_config_source:
              api_type: GRPC
              transport_api_version: V3
              grpc_services: [{envoy_grpc: {cluster_name: xds}}]
"""
ADMIN = Address.inet("127.0.0.1", 9901)
#: More than anything that is waited for takes, on a machine with other work too.
LONG_S = 40.0
#: What is done at once takes less, on such a machine too; what waits `LONG_S` takes more.
AT_ONCE_S = LONG_S / 2
#: Between two questions; without it one who waits would take a processor from what is waited for.
_PAUSE_S = 0.002


@dataclass(frozen=True)
class Run:
    """What a test knows about one Envoy: enough to look for its leftovers."""

    id: str

    def processes(self) -> list[int]:
        """All processes that carry the run's id, zombies excluded."""
        mark = f"ENVOYASSERT_RUN={self.id}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found


def bootstrap(listeners: str = "", admin: str = "") -> str:
    """Return a bootstrap with an admin endpoint and `listeners`, a YAML list."""
    address = admin or "{socket_address: {address: 127.0.0.1, port_value: 9901}}"
    return f"admin:\n  address: {address}\nstatic_resources:\n  listeners: [{listeners}]\n"


def echo_listener(port: int = 10000, more: str = "") -> str:
    """Return a TCP listener on loopback as a YAML flow mapping."""
    return (
        f"{{name: l{port}, {more} address: {{socket_address: {{address: 127.0.0.1, "
        f"port_value: {port}}}}}, filter_chains: [{{filters: [{{name: envoy.filters.network.echo, "
        'typed_config: {"@type": type.googleapis.com/'
        "envoy.extensions.filters.network.echo.v3.Echo}}]}]}"
    )


def netns() -> str:
    """Return the network namespace of the calling thread."""
    return str(Path("/proc/thread-self/ns/net").readlink())


def open_descriptors() -> set[Path]:
    """Return what this process holds open (the directory's own descriptor included)."""
    return set(Path("/proc/self/fd").iterdir())


def thread_names() -> set[str]:
    """Return the names of this process's threads that were made to live in a namespace."""
    return {
        thread.name for thread in threading.enumerate() if thread.name.startswith("envoyassert")
    }


RUNNER = """
import json, signal, sys
from envoyassert.addresses import Address
from envoyassert.interrupts import interrupt_on_signals
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.choose import choose_launcher
from envoyassert.launch.envoy_source import EnvoySource

interrupt_on_signals()
# A test run in the background of a shell hands down SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
order = json.loads(sys.argv[1])
source = EnvoySource(**order["source"])
with choose_launcher(order["launcher"], source) as launcher:
    spec = LaunchSpec(source, order["config"], args=tuple(order["args"]),
                      env={"ENVOYASSERT_RUN": order["run"]},
                      admin=Address.inet("127.0.0.1", 9901))
    with launcher.start(spec) as envoy:
        assert envoy.wait_ready().live
        print(envoy.pid, flush=True)
        signal.pause()
"""


@dataclass(frozen=True)
class Runner:
    """A process of its own that has started an Envoy and waits to be ended."""

    process: subprocess.Popen[str]
    envoy_pid: int

    def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=LONG_S)


def wait_ended(pid: int, timeout_s: float = LONG_S) -> bool:
    """Wait until a process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return wait_readable(pidfd, timeout_s)
    finally:
        os.close(pidfd)


def wait_until(condition: Callable[[], bool], timeout_s: float = LONG_S) -> bool:
    """Ask until `condition` holds or the time is up; return whether it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True
