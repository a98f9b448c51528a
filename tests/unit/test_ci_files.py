"""The CI files, the project's own and those that init writes: correct shell, no host, no splicing.

Schema and security are linted by `make check`; here is what those linters do not look at.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "envoyassert/starter/templates"
FILES = [
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
    ROOT / "action.yml",
    ROOT / ".gitlab-ci.yml",
    *sorted(TEMPLATES.glob("*.yml")),
]
NAMES = [str(file.relative_to(ROOT)) for file in FILES]


def scripts(node: Any) -> Iterator[str]:
    """Yield the scripts in a file: text below `run`, lists below `script` and its likes."""
    if isinstance(node, list):
        for item in node:
            yield from scripts(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "run" and isinstance(value, str):
            yield value
        elif key in ("before_script", "script", "after_script"):
            yield "\n".join(value)
        else:
            yield from scripts(value)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_scripts_of_ci_file_satisfy_shellcheck(file):
    found = list(scripts(yaml.safe_load(file.read_text())))
    assert found or file.name == "gitlab-include.yml"
    for script in found:
        done = subprocess.run(
            [Path(sys.executable).with_name("shellcheck"), "--shell=bash", "-"],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_ci_file_names_no_host_and_splices_nothing_into_scripts(file):
    text = file.read_text()
    assert "://" not in text
    assert [script for script in scripts(yaml.safe_load(text)) if "${{" in script] == []


def test_ci_files_use_one_release_of_each_action():
    used = re.findall(r"uses: (\S+)@(\S+)", "".join(file.read_text() for file in FILES))
    assert len(dict(used)) > 1
    assert len(set(used)) == len(dict(used))
