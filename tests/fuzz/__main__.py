"""Damage recorded traces and scenario files at random: `make fuzz`.

    python -m tests.fuzz [--traces N] [--scenarios N] [--files N] [--logs N]
                         [--seed S] [--processes N]

Every trace is folded and judged in full. Files are trace files with values of another type or
range, logs are damaged ones of bpftrace and strace. The work is cut into portions, each with a seed
of its own made of the seed and its number, so the result does not depend on the number of
processes. Prints the seed, the time and a histogram. Ends with 1 if a rule was broken; an exception
is a crash and ends it with its traceback.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.files import fuzz_files
from tests.fuzz.logs import fuzz_logs
from tests.fuzz.scenarios import fuzz_scenarios
from tests.fuzz.traces import Tally, fuzz_traces

TRACES = 1_000_000
SCENARIOS = 100_000
FILES = 100_000
LOGS = 100_000
_PORTION = 1_000
_SHOWN = 20


def campaign(
    name: str, fuzz: Callable[[int, str], Tally], count: int, seed: str, processes: int
) -> bool:
    """Run one kind in portions, print what was seen, and return whether all rules were kept."""
    begun = time.monotonic()
    seen: Counter[str] = Counter()
    broken: list[str] = []
    sizes = [min(_PORTION, count - start) for start in range(0, count, _PORTION)]
    seeds = [f"{seed} {name} {number}" for number in range(len(sizes))]
    with ProcessPoolExecutor(processes) as pool:
        for number, tally in enumerate(pool.map(fuzz, sizes, seeds)):
            seen.update(tally.seen)
            broken += [f"portion {number}: {text}" for text in tally.broken]
    took_s = time.monotonic() - begun
    print(f"{name}: {count} in {took_s:.0f} s on {processes} processes, seed {seed}")
    for what, times in sorted(seen.items()):
        print(f"  {what}: {times}")
    for text in broken[:_SHOWN]:
        print(f"  BROKEN {text}")
    print(f"  rules broken: {len(broken)}", flush=True)
    return not broken


def main() -> int:
    """Read the arguments and run all campaigns."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--traces", type=int, default=TRACES, help="how many mutated traces")
    parser.add_argument("--scenarios", type=int, default=SCENARIOS, help="how many scenario files")
    parser.add_argument("--files", type=int, default=FILES, help="how many changed trace files")
    parser.add_argument("--logs", type=int, default=LOGS, help="how many damaged logs")
    parser.add_argument("--seed", default=None, help="repeat the run of this seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    kept = [
        campaign("traces", fuzz_traces, options.traces, seed, options.processes),
        campaign("scenarios", fuzz_scenarios, options.scenarios, seed, options.processes),
        campaign("files", fuzz_files, options.files, seed, options.processes),
        campaign("logs", fuzz_logs, options.logs, seed, options.processes),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
