"""One `envoyassert run` of one scenario, and what it leaves on the machine."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envoyassert.launch.engine import connect
from envoyassert.launch.processes import environment_of
from envoyassert.launch.sweep import LABEL_OWNER_PID
from tests.ends.scenarios import MARK, scenario


@dataclass(frozen=True)
class End:
    """How a session ended.

    Args:
        code: its exit code.
        seconds: how long it took.
        memory_mib: the most that any session so far had in memory.
        printed: what it printed.
        left: what it left behind, a line each.
    """

    code: int
    seconds: float
    memory_mib: float
    printed: str
    left: tuple[str, ...]


class Place:
    """A directory for sessions, with a directory for temporary files of their own."""

    def __init__(self, directory: Path, temporary: Path) -> None:
        self.directory = directory
        self.temporary = temporary
        self.environment = {
            **{name: text for name, text in os.environ.items() if name != "CI"},
            "TMPDIR": str(temporary),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "envoyassert.pytest_plugin.plugin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def play(
        self,
        name: str,
        *,
        launcher: str = "process",
        deadline_s: float,
        agent: str = "",
        bound: str = "workers",
        under: Sequence[str] = (),
        kill_after_s: float | None = None,
    ) -> End:
        """Run a scenario, kill the session if asked, and look at what is left.

        Args:
            name: the scenario's name.
            launcher: how Envoy is started.
            deadline_s, agent, bound: as `scenario` takes them.
            under: a command that runs the session, at the end of its arguments.
            kill_after_s: when it gets SIGKILL; None to let it end.
        """
        token = secrets.token_hex(8)
        text = scenario(name, token, deadline_s=deadline_s, agent=agent, bound=bound)
        (self.directory / f"{name}.yaml").write_text(text)
        words = [sys.executable, "-m", "envoyassert", "run", f"{name}.yaml", "--launcher", launcher]
        began_s = time.monotonic()
        with (self.directory / "output").open("w+b") as output:
            session = subprocess.Popen(
                [*under, *words],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                session.wait(kill_after_s)
            except subprocess.TimeoutExpired:
                session.send_signal(signal.SIGKILL)
            code = session.wait()
            seconds = time.monotonic() - began_s
            output.seek(0)
            printed = output.read().decode("utf-8", "replace")
        if code == -signal.SIGKILL:
            self.clean()
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        left = tuple(left_of(session.pid, token, self.temporary))
        return End(code, seconds, memory, printed, left)

    def clean(self) -> str:
        """Call `envoyassert clean`; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "envoyassert", "clean"],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr


def left_of(pid: int, token: str, temporary: Path) -> list[str]:
    """Return what a session that has ended left behind: processes, containers, files, mounts.

    Args:
        pid: the session's.
        token: that of its scenario.
        temporary: its directory for temporary files.
    """
    mark = f"{MARK}={token}".encode()
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    found = [f"process {number}" for number in numbers if mark in environment_of(number)]
    found += [f"file {path}" for path in temporary.rglob("*")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f"{temporary}/" in line]
    if Path("/var/run/docker.sock").exists():
        with connect() as client:
            label = f"{LABEL_OWNER_PID}={pid}"
            own = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
            found += [f"container {one.name}" for one in own]
    return found
