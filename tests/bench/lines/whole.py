"""What takes many minutes: `make test` of a set-up clone, `make run` of a fresh one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench.builds import Build
from tests.bench.processes import CommandError, Usage, environment, run
from tests.bench.row import Row, both, figure, ratios
from tests.bench.session import Session, alternated

TEST_LIMIT = 0.55
FIRST_S, END_S = 45.0, 90.0
_DEADLINE_S = 3600.0


def measure_test(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the processor time of `make test`, of both states set up."""

    def once(build: Build) -> Usage:
        # 2: a test failed. The figure is as good, and the row says so.
        return run(["make", "test"], cwd=build.root, codes=(0, 2), deadline_s=_DEADLINE_S)

    for build in (session.before, session.now):
        run(["make", "setup"], cwd=build.root, deadline_s=_DEADLINE_S)
    before, now = alternated(
        pairs, lambda: once(session.before), lambda: once(session.now), warm=False
    )
    old, new = [[usage.cpu_s for usage in usages] for usages in (before, now)]
    failed = sum(usage.code != 0 for usage in (*before, *now))
    seen = both(old, new, "s") + (f"; tests failed in {failed} of them" if failed else "")
    what = "`make test` of a set-up clone: processor time"
    yield Row(line, what, session.against, ratios(old, new), "", TEST_LIMIT, seen)


class Fresh(NamedTuple):
    """`make run` in a fresh clone with empty caches.

    Args:
        first_s: seconds until the first verdict was printed.
        end_s: seconds until the end.
    """

    first_s: float
    end_s: float


def measure_run(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the way of a newcomer: clone, `make run`, the first verdict, the end; no Docker.

    What the distribution installs is there already.
    """
    before, now = alternated(
        pairs,
        lambda: _fresh(session, session.before),
        lambda: _fresh(session, session.now),
        warm=False,
    )
    for what, limit, old, new in (
        ("the first verdict", FIRST_S, before[0].first_s, [one.first_s for one in now]),
        ("its end", END_S, before[0].end_s, [one.end_s for one in now]),
    ):
        seen = f"{figure(old, 's')} at {session.against}"
        yield Row(line, f"clone and `make run`: to {what}", "", tuple(new), "s", limit, seen)


def _fresh(session: Session, build: Build) -> Fresh:
    """Clone a state and run its scenarios, with caches of their own.

    Raises:
        CommandError: it fails, or prints no verdict.
    """
    place = session.directory / "fresh"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    env = {
        **environment(),
        "ENVOYASSERT_CACHE": str(place / "envoys"),
        "XDG_CACHE_HOME": str(place / "cache"),
        # Nothing answers there: as on a machine without Docker.
        "DOCKER_HOST": f"unix://{place}/no-docker.sock",
    }
    begun = time.monotonic()
    clone = place / "envoyassert"
    run(["git", "clone", "--quiet", str(build.root), str(clone)], cwd=place)
    first_s = _first_verdict(clone, env, begun)
    return Fresh(first_s, time.monotonic() - begun)


def _first_verdict(clone: Path, env: dict[str, str], begun: float) -> float:
    """Run `make run` to its end; return how many seconds after `begun` a verdict came first."""
    first_s, last = 0.0, ""
    process = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    late = threading.Timer(_DEADLINE_S, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    try:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                if not first_s and " PASS " in line:
                    first_s = time.monotonic() - begun
                last = line.strip() or last
        process.wait()
    finally:
        late.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode or not first_s:
        raise CommandError(f"make run ended with {process.returncode}: {last}")
    return first_s
