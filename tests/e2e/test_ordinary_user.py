"""strace as a tracer for an ordinary user: no root, no bcc, no eBPF; namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.executable import find_executable
from envoyassert.trace_file import read_trace
from tests.e2e.attaching import APART, CONFIG, LONG, SCENARIO
from tests.e2e.launching import VERSION

# Needs root: to become another user, and to open what root alone may read (a Python in /root).
pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ROOT = Path(__file__).parents[2]
ENVOY, _ = find_executable(EnvoySource(version=VERSION))
UNPRIVILEGED = 65534
#: Puts an open directory over a closed one, with what is needed of it inside.
OPENED = """
set -e
mount --make-rprivate /
closed=$1; kept=$2; shift 2
mount --bind "$closed" "$kept"
mount -t tmpfs -o mode=755 none "$closed"
while [ "$1" != -- ]; do
    mkdir -p "$closed/$1"
    mount --bind "$kept/$1" "$closed/$1"
    shift
done
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""


def closed_above(*paths: Path) -> set[Path]:
    """Return the outermost directories above the paths that others may not enter."""
    found = set()
    for path in paths:
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & 0o001:
                found.add(parent)
                break
    return found


class OrdinaryUser:
    """A user without any capability, who can read what these tests need.

    Args:
        home: its home directory.
        kept: a directory for what is bound elsewhere.
    """

    def __init__(self, home: Path, kept: Path) -> None:
        self.home = home
        self._kept = kept

    def runs(self, *words: object, apart: bool = False) -> subprocess.CompletedProcess[str]:
        """Run `envoyassert` with arguments; `apart` puts it into a network of its own."""
        needed = [Path(sys.base_prefix), ENVOY.parent]
        closed = closed_above(*needed, ROOT)
        assert len(closed) <= 1, closed
        opened = next(iter(closed), self._kept)
        inside = [str(path.relative_to(opened)) for path in needed if path.is_relative_to(opened)]
        command = [sys.executable, "-m", "envoyassert", *map(str, words)]
        return subprocess.run(
            [
                *(APART if apart else ()),
                *("unshare", "-m", "bash", "-c", OPENED, "bash"),
                *(str(opened), str(self._kept), *inside, "--"),
                *command,
            ],
            cwd=self.home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrdinaryUser]:
    home = Path("/tmp") / f"envoyassert-user-{os.getpid()}"
    home.mkdir()
    try:
        os.chown(home, UNPRIVILEGED, UNPRIVILEGED)
        yield OrdinaryUser(home, tmp_path_factory.mktemp("kept"))
        assert list(Path("/tmp").glob(f"envoyassert-{UNPRIVILEGED}/*")) == []
    finally:
        subprocess.run(["rm", "-rf", str(home), f"/tmp/envoyassert-{UNPRIVILEGED}"], check=True)


def test_ordinary_user_runs_a_scenario_by_strace(user: OrdinaryUser) -> None:
    file = user.home / "t.ndjson"
    done = user.runs(
        *("record", ROOT / "scenarios" / "reuse_port_off.yaml", "--run", "concurrency=2"),
        *("--tracer", "strace", "--envoy", ENVOY, "-o", file),
    )
    assert done.returncode == 0, done.stderr
    trace = read_trace(file)
    assert (trace.header.tracer, trace.header.launcher) == ("strace", "process")
    assert trace.end.marked
    assert trace.end.outcome.live is True
    assert trace.witness is not None
    assert trace.witness.error == ""
    assert trace.witness.network is not None
    # A namespace of its own: nothing of the machine is in it.
    assert {s.inode for s in trace.witness.network.sockets} <= {
        s.inode for s in trace.witness.sockets
    }


@pytest.mark.parametrize(
    "via, code, verdict",
    [
        ("reuse_port", 0, "PASS up"),
        ("dup", 1, "FAIL up: listener l10000 (127.0.0.1:10000): expected"),
    ],
)
def test_ordinary_user_attaches_strace_to_a_command(
    user: OrdinaryUser, via: str, code: int, verdict: str
) -> None:
    scenario, config, file = (user.home / name for name in ("up.yaml", "envoy.yaml", "t.ndjson"))
    scenario.write_text(SCENARIO.replace("via: reuse_port", f"via: {via}"))
    config.write_text(CONFIG)
    done = user.runs(
        *("attach", "--tracer", "strace", "--for", LONG, "--exec-scenario", scenario, "-o", file),
        *("--", ENVOY, "-c", config, "--concurrency", 2, "--disable-hot-restart"),
        apart=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.startswith(verdict)
    trace = read_trace(file)
    assert trace.header.tracer == "strace"
    assert trace.witness is not None
    assert trace.witness.error == ""
