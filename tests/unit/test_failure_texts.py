"""The text of failures, each in a file of its own below `__snapshots__`, compared exactly.

A reader asks of each: what is wrong, where, what now? After a change on purpose, write them again
with `pytest tests/unit/test_failure_texts.py --snapshot-update`, and read what changed.
"""

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.unit.failure_cases import CASES


class _TextFile(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failure_text(case, snapshot: SnapshotAssertion):
    failure = case.failure()
    text = f"{failure}\n\n--- in one line ---\n{failure.summary}\n"
    assert text == snapshot(extension_class=_TextFile)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failure_text_fits_the_page(case):
    # A command is one line, so that it can be copied.
    text = [line for line in case.failure().lines if "envoyassert replay" not in line]
    assert max(map(len, text)) <= 100
    assert len(text) <= 60
