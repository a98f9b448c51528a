"""What compares reports in tests notices what differs, and takes times for no difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.same_reports import differences
from tests.unit.test_cli_merge import write_report


def changed(directory: Path, pattern: str, change: Callable[[Any], None]) -> None:
    for file in directory.glob(pattern):
        data = json.loads(file.read_text())
        change(data)
        file.write_text(json.dumps(data))


def reports(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        write_report(tmp_path / name, "a", "b", reason="after 3 s in /tmp/envoyassert-0/x-1/s")
    return tmp_path / "one", tmp_path / "other"


def test_times_numbers_and_folders_are_no_difference(tmp_path: Path) -> None:
    one, other = reports(tmp_path)

    def change(data: Any) -> None:
        data |= {
            "started": "2027",
            "duration_s": 9,
            "reason": "after 4.5 s in /tmp/envoyassert-0/y/s",
        }

    changed(other, "runs/*/run.json", change)
    found, compared = differences(one, other)
    assert found == []
    assert compared["runs"] == 2


@pytest.mark.parametrize(
    ("pattern", "change", "says"),
    [
        ("index.json", lambda data: data.update(complete=False), "index: complete: True; False"),
        ("index.json", lambda data: data["runs"].pop(), "b.yaml::b: it is in one of them alone"),
        ("index.json", lambda data: data["counts"].update(passed=1), "index: passed: 2; 1"),
        ("runs/a-*/run.json", lambda data: data.update(reason="for no 1"), "the run: reason: "),
        ("runs/b-*/run.json", lambda data: data["attempts"][0].update(log=None), "attempts: "),
    ],
)
def test_difference_is_named(
    tmp_path: Path, pattern: str, change: Callable[[Any], None], says: str
) -> None:
    one, other = reports(tmp_path)
    changed(other, pattern, change)
    found, _ = differences(one, other)
    assert any(says in line for line in found)


def test_other_outcome_is_named(tmp_path: Path) -> None:
    one, other = reports(tmp_path)
    changed(other, "index.json", lambda data: data["runs"][0].update(outcome="failed"))
    changed(other, "runs/a-*/run.json", lambda data: data.update(outcome="failed"))
    found, _ = differences(one, other)
    assert any("passed; failed" in line for line in found)
