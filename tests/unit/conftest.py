"""What the unit tests share."""

import pytest

from envoyassert import guard


@pytest.fixture
def faults_become_lines(monkeypatch):
    """Undo the fixture below: what raises behind a guard becomes a line, as for users."""
    monkeypatch.undo()


@pytest.fixture(autouse=True)
def faults_are_raised(monkeypatch):
    """Let no test be green by a guard that took an exception for a line."""

    def raised(error):
        raise error

    monkeypatch.setattr(guard, "fault_words", raised)
