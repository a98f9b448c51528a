"""Measure what envoyassert costs, and hold it against the targets: `make bench`.

    python -m tests.bench [--against COMMIT] [--only LINE]... [--quick | --full] [--list]
        [--results FILE] [--json] [--markdown PAGE] [--profile]

Prints one table. Each figure is the median of pairs that are measured in turn (A B, B A, …), with
its quartiles. A line that fails is shown as an error, and the others go on. With --results FILE the
rows of lines that are not measured now come from that file, if they are of the same commits. So
long lines can be measured at another time. --profile measures no lines: it shows where the time of
one run is spent, before and now. Ends with 1 if a target is not met, or a line failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import profile, table
from tests.bench.builds import BASELINE, ROOT, BuildError
from tests.bench.lines.line import Effort, Line
from tests.bench.lines.registry import LINES, ChoiceError, chosen
from tests.bench.machine import Machine, this_machine
from tests.bench.page import PageError, write_part
from tests.bench.processes import CommandError
from tests.bench.row import Row
from tests.bench.session import Session

#: How many pairs of runs are profiled, by effort.
_PROFILED: dict[Effort, int] = {"quick": 1, "usual": 7, "full": 15}


def main(arguments: Sequence[str] | None = None, lines: Sequence[Line] = LINES) -> int:
    """Read the arguments, measure and print; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        for line in lines:
            print(f"{line.name:16} {line.says}{' (only if it is named)' if line.opt_in else ''}")
        return 0
    try:
        wanted = chosen(options.only, lines)
        machine = this_machine(ROOT)
        kept = _kept_rows(options.results, machine, options.against)
        if machine.warning:
            print(f"warning: {machine.warning}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="envoyassert-bench-") as directory:
            session = Session(options.against, Path(directory))
            if options.profile:
                return _show_profile(session, machine, options)
            measured = list(_measured(session, wanted, options.effort))
        rows = _merged(measured, kept, lines)
        return _show(rows, machine, options)
    except (BuildError, ChoiceError, CommandError, PageError, ResultsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


class ResultsError(Exception):
    """The file of earlier results cannot be used."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what envoyassert costs."
    )
    parser.add_argument("--against", metavar="COMMIT", default=BASELINE, help="compare with it")
    parser.add_argument(
        "--only", metavar="LINE", action="append", default=[], help="measure it alone; `*` too"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the lines")
    effort = parser.add_mutually_exclusive_group()
    effort.set_defaults(effort="usual")
    for name, says in (("quick", "few pairs, to try it"), ("full", "many pairs")):
        effort.add_argument(f"--{name}", dest="effort", action="store_const", const=name, help=says)
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="keep the rows there; take those not measured"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show where the time of one run is spent"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--markdown", type=Path, metavar="PAGE", help="write the table into this page"
    )
    return parser


def _measured(session: Session, lines: Sequence[Line], effort: Effort) -> Iterator[Row]:
    """Yield the rows of the lines; the error of a line is a row."""
    for line in lines:
        print(f"{line.name}: {line.says} …", end="", file=sys.stderr, flush=True)
        begun = time.monotonic()
        try:
            yield from line.measure(session, line.name, line.pairs[effort])
        except Exception as error:  # noqa: BLE001  # the other lines are measured
            text = str(error).strip().partition("\n")[0]
            yield Row(line.name, line.says, error=f"{type(error).__name__}: {text}")
        print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def _merged(measured: list[Row], kept: list[Row], lines: Sequence[Line]) -> list[Row]:
    """Return the rows in the order of the lines: the measured ones, kept ones of other lines."""
    again = {row.line for row in measured}
    rows = [*measured, *(row for row in kept if row.line not in again)]
    order = [line.name for line in lines]
    return sorted((row for row in rows if row.line in order), key=lambda row: order.index(row.line))


def _kept_rows(results: Path | None, machine: Machine, against: str) -> list[Row]:
    """Return the rows of a file of earlier results.

    Raises:
        ResultsError: they are of other commits, or the file is none of ours.
    """
    if results is None or not results.exists():
        return []
    try:
        found = json.loads(results.read_text("utf-8"))
        commits = (found["machine"]["commit"], found["against"])
        rows = table.rows_of(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{results}: not a file of results ({error!r})") from error
    if commits != (machine.commit, against):
        raise ResultsError(
            f"{results}: of {commits[0]} against {commits[1]}, not of {machine.commit} "
            f"against {against}; remove it, or name another"
        )
    return rows


def _show_profile(session: Session, machine: Machine, options: argparse.Namespace) -> int:
    """Measure where the time of one run is spent; print it, and write it where it is wanted."""
    before, now = profile.profiles(session, _PROFILED[options.effort])
    names = (options.against, machine.commit)
    lines = list(profile.table_lines(before, now, names))
    print("\n".join([*machine.lines(), "", *lines]))
    if options.markdown:
        write_part(options.markdown, "profile", lines)
    return 0


def _show(rows: list[Row], machine: Machine, options: argparse.Namespace) -> int:
    """Print the rows and write them where they are wanted; return the exit code."""
    document = table.document(rows, machine, options.against)
    if options.results:
        options.results.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        print("\n".join([*machine.lines(), "", *table.text_lines(rows), "", table.summary(rows)]))
        if machine.warning:
            print(f"warning: {machine.warning}")
    if options.markdown:
        described = [f"- {line}" for line in machine.lines()]
        described += [f"- {machine.warning}"] if machine.warning else []
        lines = [*described, "", *table.markdown_lines(rows), "", f"{table.summary(rows)}."]
        write_part(options.markdown, "results", lines)
    return 1 if any(row.state in ("not met", "error") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
