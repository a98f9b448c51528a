"""The fast part of the library round after round under pressure: `make soak MINUTES=60`.

    python -m tests.soak [--minutes N] [--envoy VERSION] [--seed S] [--no-pressure]

Each round runs every fast scenario once, in an order that the seed decides, while other processes
take the processors and the memory. Ends with 1 if any run was anything but PASS, known defects and
what does not apply to this Envoy aside; the results of such a round are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import shutil
import sys
import time
from collections import Counter

from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.soak.pressure import Pressure
from tests.soak.rounds import FAST, ROOT, SCENARIOS, Result, RoundError, play
from tests.soak.times import spread

KEPT = ROOT / ".envoyassert" / "soak"
_PROCESSES = ("-n", "auto")


def main() -> int:
    """Read the arguments, and soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10, help="no round begins after these")
    parser.add_argument("--envoy", default=DEFAULT_VERSION, help="version, image or binary")
    parser.add_argument("--seed", default=None, help="repeat the order of this seed")
    parser.add_argument("--no-pressure", action="store_true", help="leave the machine alone")
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    print(f"soak: {options.minutes:g} minutes, Envoy {options.envoy}, seed {seed}", flush=True)
    pressure = Pressure(0, 0) if options.no_pressure else Pressure()
    if not options.no_pressure:
        size = pressure.memory_bytes / (1 << 20)
        print(f"pressure: {pressure.processors} processes compute, {size:.0f} MiB come and go")
    results: list[Result] = []
    broken = 0
    try:
        with pressure:
            broken = _rounds(options, random.Random(seed), results, pressure)
    except KeyboardInterrupt:
        print("interrupted")
    _print_results(results)
    return 1 if broken or not results else 0


def _rounds(
    options: argparse.Namespace, chance: random.Random, results: list[Result], pressure: Pressure
) -> int:
    """Run rounds until the time is over; return how many runs were not good."""
    until = time.monotonic() + options.minutes * 60
    shutil.rmtree(KEPT, ignore_errors=True)
    number = broken = 0
    while number == 0 or time.monotonic() < until:
        number += 1
        report = KEPT / f"round-{number}"
        order = chance.sample(SCENARIOS, len(SCENARIOS))
        begun = time.monotonic()
        try:
            played = play(report, options.envoy, *FAST, *_PROCESSES, scenarios=order)
        except RoundError as error:
            print(f"round {number} did not come to its end:\n{error}", flush=True)
            broken += 1
            continue
        if pressure.ended:
            raise RuntimeError(f"the pressure ended by itself: {pressure.ended}")
        results += played
        bad = [result for result in played if not result.is_good]
        took_s = time.monotonic() - begun
        print(
            f"round {number}: {len(played)} runs in {took_s:.1f} s, {len(bad)} not good", flush=True
        )
        for result in bad:
            document = result.document
            print(f"  {document.outcome} {document.run}: {document.reason}\n    {result.directory}")
        broken += len(bad)
        if not bad:
            shutil.rmtree(report)
    with contextlib.suppress(OSError):
        KEPT.rmdir()
    return broken


def _print_results(results: list[Result]) -> None:
    outcomes = Counter(result.document.outcome for result in results)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(f"{len(results)} runs: {counts or 'none'}")
    executed = [result.document for result in results if result.document.figures]
    live_ms = [
        document.figures.start_up.live_ms
        for document in executed
        if document.figures and document.figures.start_up.live_ms is not None
    ]
    print(spread("whole run", [document.duration_s for document in executed]))
    print(spread("until live", [value / 1000 for value in live_ms]))
    slowest: dict[str, float] = {}
    for document in executed:
        name = document.scenario.name
        slowest[name] = max(document.duration_s, slowest.get(name, 0))
    for name, value in sorted(slowest.items(), key=lambda item: -item[1])[:3]:
        print(f"  slowest of {name}: {value:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
