"""Count what the source looks like: `make metrics`.

    python -m tests.metrics [TREE] [--against REF] [--json | --items]

TREE is the directory that holds the package, this checkout by default. With --against the figures
of a commit of its repository stand beside them. --items lists what each figure counts; --json is
all of it for machines.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.metrics.measure import Figure, measure
from tests.metrics.source import PACKAGE

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, count and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.metrics")
    parser.add_argument("tree", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--against", metavar="REF", help="a commit to count too")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--items", action="store_true", help="list what is counted")
    options = parser.parse_args(arguments)
    try:
        trees = {"now": measure(options.tree)}
        if options.against:
            trees = {options.against: _measured_commit(options.tree, options.against), **trees}
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else error
        print(f"error: {str(said).strip()}", file=sys.stderr)
        return 1
    if options.json:
        document = {name: list(map(asdict, figures)) for name, figures in trees.items()}
        print(json.dumps(document, indent=1))
        return 0
    print("\n".join(table_lines(trees)))
    if options.items:
        print("\n".join(item_lines(trees["now"])))
    return 0


def _measured_commit(tree: Path, commit: str) -> list[Figure]:
    """Count in a commit, which is unpacked for that into a directory of its own.

    Raises:
        subprocess.CalledProcessError: the tree has no repository, or it has no such commit.
    """
    command = ["git", "-C", str(tree), "archive", "--format=zip", commit, PACKAGE]
    archive = subprocess.run(command, check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(io.BytesIO(archive.stdout)) as file:
            file.extractall(directory)
        return measure(Path(directory))


def table_lines(trees: dict[str, list[Figure]]) -> Iterator[str]:
    """Yield the figures of each tree as a Markdown table."""
    yield _row(["", *trees])
    yield _row(["---", *("---:" for _ in trees)])
    for row in zip(*trees.values(), strict=True):
        yield _row([row[0].name, *(f"{figure.value:g}" for figure in row)])


def item_lines(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield what each figure counts, below its name."""
    for figure in figures:
        if figure.items:
            yield f"\n{figure.name}: {figure.value:g}"
            yield from (f"  {line}" for item in figure.items for line in item.splitlines())


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
