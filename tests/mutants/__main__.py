"""Mutants of Envoy against the scenarios that kill them: `make mutants`.

    python -m tests.mutants [--all] [--envoy VERSION] [--markdown FILE] [--keep DIR] [NAME...]

Ends with 1 if a mutant lives whose equivalence is not argued, if a harmless variant does not pass,
or if a mutation did not take place.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.mutants.catalogue import HARMLESS, MUTANTS
from tests.mutants.play import CORE, whole_library
from tests.mutants.pool import run_all
from tests.mutants.table import Row, bad, markdown, summary


def main() -> int:
    """Read the arguments, run, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", help="of mutants and variants; all by default")
    parser.add_argument("--all", action="store_true", help="against the whole library")
    parser.add_argument("--envoy", default=DEFAULT_VERSION, help="a version of Envoy")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--keep", type=Path, help="keep traces of runs that do not pass here")
    parser.add_argument("--processes", type=int, default=2 * (os.cpu_count() or 1))
    options = parser.parse_args()
    everyone = (*MUTANTS, *HARMLESS)
    unknown = set(options.names) - {one.name for one in everyone}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [one for one in everyone if not options.names or one.name in options.names]
    begun = time.monotonic()
    core = whole_library() if options.all else CORE
    rows: list[Row] = []
    for row in run_all(chosen, options.envoy, core, options.processes, options.keep):
        rows.append(row)
        print(row.line, flush=True)
    mutants = [row for row in rows if row.mutant in MUTANTS]
    harmless = [row for row in rows if row.mutant in HARMLESS]
    if options.markdown:
        options.markdown.write_text(markdown(mutants, harmless), encoding="utf-8")
    wrong = bad(mutants, harmless)
    for line in wrong:
        print(line)
    runs = sum(len(row.played) for row in rows)
    print(summary(mutants, harmless))
    print(f"Envoy {options.envoy}: {runs} runs in {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
