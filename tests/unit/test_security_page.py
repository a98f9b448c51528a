"""The page about security names tests that exist: a promise without one is none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"


#: Tables that say what is trusted, and promise nothing.
TRUST = ("who", "a scenario says")


def rows() -> list[list[str]]:
    """The rows of all tables that promise something, each as its cells."""
    found: list[list[str]] = []
    head: list[str] = []
    for line in PAGE.read_text("utf-8").splitlines():
        if not line.startswith("|"):
            head = []
        elif not head:
            head = line.strip("| ").split(" | ")
            assert head[0] in TRUST or head[1:] == ["what happens", "test"]
        elif line.startswith("| ") and head[0] not in TRUST:
            found.append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return found


def test_each_row_names_tests_that_exist():
    assert rows()
    for row in rows():
        assert len(row) == 3, row
        named = re.findall(r"`(tests/\S+\.py)::(\w+)`", row[2])
        assert named, row
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in defined, f"{file}::{name}"
