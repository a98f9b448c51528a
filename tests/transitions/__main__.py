"""The table of changes, made in all ways: `make transitions`.

    python -m tests.transitions [--markdown FILE] [--processes N] [--envoy VERSION]... [NAME...]

Ends with 1 if a change could not be tried, a trace is not whole, or the model differs from a run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.transitions.changes import CASES
from tests.transitions.pool import Tried, try_all
from tests.transitions.table import different, markdown, rows

_VERSIONS = ("1.36.4", "1.40.0")


def main() -> int:
    """Read the arguments, make the changes, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.transitions")
    parser.add_argument("names", nargs="*", help="of changes, or parts of them; all by default")
    parser.add_argument("--envoy", action="append", help="a version of Envoy, once or repeatedly")
    parser.add_argument("--markdown", type=Path, help="write the document to this file")
    parser.add_argument("--processes", type=int, default=2 * (os.cpu_count() or 1))
    options = parser.parse_args()
    versions = options.envoy or _VERSIONS
    chosen = [
        number
        for number, case in enumerate(CASES)
        if not options.names or any(name in case.name for name in options.names)
    ]
    if not chosen:
        parser.error(f"no such change; there are: {', '.join(case.name for case in CASES)}")
    begun = time.monotonic()
    tried: list[Tried] = []
    for one in try_all(chosen, versions, options.processes):
        tried.append(one)
        print(f"{one.version} {one.way.value}: {CASES[one.case].name}", file=sys.stderr)
    for row in rows(tried, versions):
        print(row)
    differ = [*different(tried)]
    for line in differ:
        print(line)
    if options.markdown:
        options.markdown.write_text(markdown(tried, versions), encoding="utf-8")
    print(f"{len(tried)} changes in {time.monotonic() - begun:.0f} s, {len(differ)} findings")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
