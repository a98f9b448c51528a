"""The exit codes stand in three places, and mean the same in each."""

import re
from pathlib import Path

from envoyassert.cli import app, exits

ROOT = Path(__file__).parents[2]
CODES = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}


def test_exit_codes_of_the_documents_and_of_help_are_those_of_the_program():
    table = (ROOT / "docs" / "results.md").read_text().partition("## When")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == CODES
    (line,) = re.findall(r"(?ms)^Exit codes: (.*?)\.$", (ROOT / "README.md").read_text())
    listed = re.sub(r"\s+", " ", line)
    assert {int(code) for code in re.findall(r"\b\d+\b", listed)} == CODES
    assert listed in (app.epilog or "")
