"""The figures of a source tree, counted in one that is made up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.metrics.__main__ import main
from tests.metrics.source import PACKAGE

RUN = "\n".join(f"    value = step_{number}(value)" for number in range(6))
BRANCHES = "\n".join(f"    if value == {number}:\n        return {number}" for number in range(12))
LONG = "\n".join(f"    value += {number}" for number in range(60))
FILES = {
    "__init__.py": "",
    "one/__init__.py": "from envoyassert.one.names import Thing\n",
    "one/names.py": f"""
from __future__ import annotations
from typing import TYPE_CHECKING, Any
import envoyassert.two.first
if TYPE_CHECKING:
    from envoyassert.one.other import said

class Thing:
    kept: Any = None  # type: ignore[assignment]

def given(value):
{RUN}
    return value

def branching(value):
{BRANCHES}
    return 13
""",
    "one/other.py": f"""
from envoyassert.one.names import Thing

def _private(): ...

def said(value):  # noqa: D103
    from envoyassert.two import names
{RUN}
    return value
""",
    "two/__init__.py": "",
    "two/first.py": "from envoyassert.two import names\n\ndef _private(): ...\n",
    "two/names.py": f"""
import envoyassert.two.first as first

class Thing: ...

def long(value):
{LONG}
""",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_figures_of_a_tree_name_what_they_count(tree, capsys):
    assert main([str(tree), "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out).values()
    found = {figure["name"]: (figure["value"], figure["items"]) for figure in figures}
    assert found["modules"] == (7, [])
    assert found["lines of a module, most"] == (66, ["envoyassert.two.names"])
    assert found["functions over 60 lines"] == (1, ["envoyassert.two.names.long: 61"])
    (item,) = found["functions of complexity over 12"][1]
    assert item == "envoyassert/one/names.py:20: `branching` is too complex (13 > 12)"
    assert found["Any"] == (1, ["envoyassert.one.names:9"])
    assert found["type: ignore, noqa"][0] == 2
    assert found["import cycles"] == (1, ["envoyassert.two.first envoyassert.two.names"])
    assert found["import cycles with those for types"][1] == [
        "envoyassert.one.names envoyassert.one.other",
        "envoyassert.two.first envoyassert.two.names",
    ]
    assert found["classes and public functions of one name"][1] == [
        "Thing: envoyassert.one.names envoyassert.two.names"
    ]
    assert found["modules of one name"][1] == ["names: envoyassert.one.names envoyassert.two.names"]
    (item,) = found["runs of 6 lines or more twice"][1]
    assert "step_5" in item


def test_commit_is_counted_beside_what_the_tree_is_now(tree, capsys):
    git = ["git", "-C", str(tree), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    (tree / PACKAGE / "two/names.py").write_text("")
    assert main([str(tree), "--against", "HEAD", "--items"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "|  | HEAD | now |"
    assert "| import cycles | 1 | 0 |" in lines
    assert "| modules | 7 | 7 |" in lines
    assert "  envoyassert.one.names envoyassert.one.other" in lines


def test_tree_without_the_package_and_unknown_commit_are_errors(tree, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/empty: no package {PACKAGE}\n"
    assert main([str(tree), "--against", "no-such-commit"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
