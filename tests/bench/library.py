"""How long the whole library takes on one version of Envoy: processes, two processors, xdist.

    python -m tests.bench.library

The waits that Envoy imposes are taken off: docs/library.md lists them. A run that is shorter than
the wait that the page claims for it makes the figure worthless, and ends with 1.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.library_page import waits
from tests.soak.rounds import Result, play

PROCESSES = 2
#: Seconds for everything, without the waits that Envoy imposes.
BUDGET_S = 60.0


def bench_library() -> bool:
    """Print the figures and return whether they keep their budget."""
    with TemporaryDirectory(prefix="envoyassert-bench-") as directory:
        begun = time.monotonic()
        results = play(Path(directory), DEFAULT_VERSION, "-n", str(PROCESSES))
        took_s = time.monotonic() - begun
        return summed_up(results, took_s)


def summed_up(results: list[Result], took_s: float) -> bool:
    """Print what the runs took, and return whether that keeps the budget.

    Args:
        results: every run of the library.
        took_s: seconds on the clock for all of them, with all that is around them.
    """
    executed = [result for result in results if result.document.figures is not None]
    listed = {wait.file: wait.seconds for wait in waits()}
    waited_s, ok = 0.0, True
    busy: dict[str, float] = defaultdict(float)
    for result in executed:
        document = result.document
        file = Path(document.scenario.location.file).stem
        wait_s = listed.get(file, 0)
        waited_s += wait_s
        busy[file] += document.duration_s - wait_s
        if not result.is_good or document.duration_s < wait_s:
            print(f"{document.run}: {document.outcome}, {document.duration_s:.1f} s")
            ok = False
    # Each wait holds up one of the processes.
    value_s = took_s - waited_s / PROCESSES
    ok = ok and bool(executed) and value_s <= BUDGET_S
    print(
        f"the library, {len(executed)} runs on {PROCESSES} processes: {took_s:.1f} s, of which "
        f"Envoy imposes {waited_s / PROCESSES:.1f} s; without them {value_s:.1f} s "
        f"(budget {BUDGET_S:g} s) {'ok' if ok else 'OVER'}"
    )
    most = sorted(busy.items(), key=lambda item: -item[1])[:5]
    slowest = ", ".join(f"{file} {spent_s:.1f} s" for file, spent_s in most)
    print(f"most of that: {slowest}")
    return ok


if __name__ == "__main__":
    sys.exit(0 if bench_library() else 1)
