"""Runs with a log of 1 GB, admin replies without an end, a full disk, and killed at random.

    python -m tests.ends [--kills N] [--seed S] [--only WORD]

Each must end in its verdict or a clear error, within one and a half times the deadline of its
Envoy, the whole command with everything, and leave nothing behind. Ends with 1 if one does not.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from envoyassert.launch.engine import docker_capability
from tests.ends.session import End, Place

DEADLINE_S = 30.0
#: Of one and a half times the deadline nothing may take longer.
LIMIT_S = 1.5 * DEADLINE_S
MEMORY_MIB = 700
LOG_MIB = 1024


def main() -> int:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.ends")
    parser.add_argument("--kills", type=int, default=20, help="with each launcher")
    parser.add_argument("--seed", default=None, help="repeat the instants of this seed")
    parser.add_argument("--only", default="", help="the rows with this word")
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    print(f"ends: deadline {DEADLINE_S:g} s, seed {seed}", flush=True)
    print(f"{'what':<36} {'code':>5} {'s':>6} {'MiB':>5}  result", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="ends-"))
    temporary = Path(tempfile.mkdtemp(prefix="ea-", dir="/tmp"))
    for one in (directory, temporary):
        one.chmod(0o755)  # Envoy is not root
    bad = 0
    try:
        place = Place(directory, temporary)
        for what, run, right in _rows(place, random.Random(seed), options.kills):
            if options.only in what:
                bad += not _reported(what, run(), right)
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(temporary)
    print(f"{bad} not as they must be" if bad else "all as they must be")
    return 1 if bad else 0


Row = tuple[str, Callable[[], End], Callable[[End], bool]]


def _rows(place: Place, chance: random.Random, kills: int) -> Iterator[Row]:
    def run(name: str, **how: Any) -> Callable[[], End]:
        return lambda: place.play(name, deadline_s=DEADLINE_S, **how)

    yield (
        f"{LOG_MIB} MiB of log",
        run("log", agent=str(LOG_MIB)),
        lambda end: end.code == 0,
    )
    for kind, reason in (("drip", "took too long"), ("endless", "has more than")):
        yield (
            f"admin reply: {kind}",
            run(kind, agent=kind),
            partial(_says, reason),
        )
    full = ("unshare", "--mount", "sh", "-c")
    temporary = f'mount -t tmpfs -o size=16k none {place.temporary} && exec "$@"'
    yield (
        "full disk: temporary files",
        run("full", under=(*full, temporary, "sh")),
        lambda end: end.code in (10, 77) and _names_the_disk(end),
    )
    by_log = f'mount -t tmpfs -o size=8m none {place.temporary} && exec "$@"'
    yield (
        "full disk: by the log",
        run("filled", agent=str(LOG_MIB), under=(*full, by_log, "sh")),
        lambda end: end.code == 77 and "the agent" in end.printed,
    )
    kept = f"{place.directory}/.envoyassert"
    Path(kept).mkdir(exist_ok=True)
    traces = f'mount -t tmpfs -o size=4k none {kept} && exec "$@"'
    yield (
        "full disk: traces of a failure",
        run("unkept", bound="7", under=(*full, traces, "sh")),
        lambda end: end.code == 1 and "not kept: " in end.printed,
    )
    for launcher in ("process", *(["docker"] if docker_capability().ok else [])):
        yield f"{launcher}: to its end", run("whole", launcher=launcher), lambda e: e.code == 0
        whole_s = place.play("whole", launcher=launcher, deadline_s=DEADLINE_S).seconds
        for number in range(1, kills + 1):
            at_s = round(chance.uniform(0, whole_s), 2)
            yield (
                f"{launcher}: kill {number} after {at_s:.2f} s",
                run("killed", launcher=launcher, kill_after_s=at_s),
                lambda end: end.code in (0, -signal.SIGKILL),
            )


def _says(reason: str, end: End) -> bool:
    return end.code == 10 and reason in end.printed


def _names_the_disk(end: End) -> bool:
    return any(word in end.printed for word in ("No space left on device", "disk is full"))


def _reported(what: str, end: End, right: Callable[[End], bool]) -> bool:
    faults = [] if right(end) else ["wrong end"]
    faults += [f"took more than {LIMIT_S:g} s"] if end.seconds > LIMIT_S else []
    faults += [f"took {end.memory_mib:.0f} MiB"] if end.memory_mib > MEMORY_MIB else []
    faults += ["a traceback"] if "Traceback (most" in end.printed else []
    faults += [f"left {one}" for one in end.left]
    result = "; ".join(faults) or "ok"
    print(f"{what:<36} {end.code:>5} {end.seconds:>6.1f} {end.memory_mib:>5.0f}  {result}")
    if faults:
        print("\n".join(f"  | {line}" for line in end.printed.splitlines()[-30:]))
    sys.stdout.flush()
    return not faults


if __name__ == "__main__":
    sys.exit(main())
