"""Use inputs that were damaged at random: `make fuzz`.

    python -m tests.fuzz [KIND ...] [--count N] [--first N] [--seed S]
                         [--minutes M] [--processes N]

KIND is any of those in `tests.fuzz.kinds`, all by default. Each case has a seed of its own, made of
the seed, its kind and its number: the result does not depend on the number of processes, campaigns
with the same seed and another --first add up, and a case can be run alone. Prints what was seen,
and a table. Ends with 1 if a rule was broken, or if the time was over before all cases were run.
"""

from __future__ import annotations

import argparse
import functools
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tests.fuzz.case import REFUSED, Tally, run_cases
from tests.fuzz.kinds import KINDS

_COUNT = 100_000
_PORTION = 250
_SHOWN = 20


def main() -> int:
    """Read the arguments and run the campaigns."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} [all]")
    parser.add_argument("--count", type=int, default=_COUNT, help=f"cases of each [{_COUNT}]")
    parser.add_argument("--first", type=int, default=0, help="number of the first case [0]")
    parser.add_argument("--seed", default=None, help="repeat the cases of this seed [a new one]")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many, per kind")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    unknown = [name for name in options.kinds if name not in KINDS]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}")
    seed = options.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    tallies = {name: _campaign(name, seed, options) for name in options.kinds or KINDS}
    _print_table(tallies)
    whole = all(tally.cases == options.count for tally in tallies.values())
    return 0 if whole and not any(tally.broken for tally in tallies.values()) else 1


def _campaign(name: str, seed: str, options: argparse.Namespace) -> Tally:
    """Run one kind in portions, and print what was seen and every rule that was broken."""
    begun_s = time.monotonic()
    total = Tally()
    again = f"python -m tests.fuzz {name} --seed {seed}"
    first, end = options.first, options.first + options.count
    run = functools.partial(run_cases, KINDS[name], seed=seed, alone=True)
    with ProcessPoolExecutor(options.processes) as pool:
        while first < end:
            if options.minutes and time.monotonic() - begun_s > options.minutes * 60:
                print(
                    f"{name}: time is over; the rest: {again} --first {first} --count {end - first}"
                )
                break
            starts = range(first, min(end, first + options.processes * _PORTION), _PORTION)
            tasks = [pool.submit(run, min(_PORTION, end - at), first=at) for at in starts]
            first = min(end, starts[-1] + _PORTION)
            try:
                for task in tasks:
                    total.add(task.result())
            except BrokenProcessPool:
                total.broken.append(f"cases {starts[0]} to {first}: the process has died")
                break
    took_s = time.monotonic() - begun_s
    print(f"{name}: {total.cases} in {took_s:.0f} s on {options.processes} processes")
    for what, times in sorted(total.seen.items()):
        print(f"  {what}: {times}")
    for text in total.broken[:_SHOWN]:
        print(f"  BROKEN {text}")
    if total.broken:
        print(f"  rules broken: {len(total.broken)}; one alone: {again} --count 1 --first NUMBER")
    sys.stdout.flush()
    return total


def _print_table(tallies: dict[str, Tally]) -> None:
    print(
        f"{'kind':<10} {'cases':>7} {'refused':>7} {'used':>7} {'broken':>6} "
        f"{'slowest (processor)':>20} {'memory':>8}"
    )
    for name, tally in tallies.items():
        refused = tally.seen[REFUSED]
        used = tally.cases - refused
        slowest = f"{tally.slowest_s:.2f} s (#{tally.slowest})"
        print(
            f"{name:<10} {tally.cases:>7} {refused:>7} {used:>7} {len(tally.broken):>6} "
            f"{slowest:>20} {tally.peak_kb >> 10:>4} MiB"
        )


if __name__ == "__main__":
    sys.exit(main())
