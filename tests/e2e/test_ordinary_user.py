"""strace as a tracer for an ordinary user: no root, no bcc, no eBPF; namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.executable import find_executable
from envoyassert.trace_file import read_trace
from tests.e2e.launching import VERSION

# Needs root: to become another user, and to open what root alone may read (a Python in /root).
pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ROOT = Path(__file__).parents[2]
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


def test_ordinary_user_runs_a_scenario_by_strace(tmp_path_factory: pytest.TempPathFactory) -> None:
    binary, _ = find_executable(EnvoySource(version=VERSION))
    needed = [Path(sys.base_prefix), binary.parent]
    closed = closed_above(*needed, ROOT)
    home = Path("/tmp") / f"envoyassert-user-{os.getpid()}"
    kept = tmp_path_factory.mktemp("kept")
    home.mkdir()
    try:
        os.chown(home, UNPRIVILEGED, UNPRIVILEGED)
        command = [sys.executable, "-m", "envoyassert", "record"]
        command += [str(ROOT / "scenarios" / "reuse_port_off.yaml"), "--run", "concurrency=2"]
        command += ["--tracer", "strace", "--envoy", str(binary), "-o", str(home / "t.ndjson")]
        assert len(closed) <= 1, closed
        opened = next(iter(closed), kept)
        inside = [str(path.relative_to(opened)) for path in needed if path.is_relative_to(opened)]
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", OPENED, "bash", opened, kept, *inside, "--", *command],
            cwd=home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        trace = read_trace(home / "t.ndjson")
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
        leftovers = list(Path("/tmp").glob(f"envoyassert-{UNPRIVILEGED}/*"))
        assert leftovers == []
    finally:
        subprocess.run(["rm", "-rf", str(home), f"/tmp/envoyassert-{UNPRIVILEGED}"], check=True)
