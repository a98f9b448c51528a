"""What the unit tests share."""

import pytest
from hypothesis import HealthCheck, settings

from envoyassert import errors
from envoyassert.cli.known_valid import KnownValid

# How long an example takes, or to make one, says how busy the machine is. The rest is as by
# default, which in CI is another one.
settings.register_profile(
    "any pace",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any pace")


@pytest.fixture
def faults_become_lines(monkeypatch):
    """Undo the fixture below: what raises behind a guard becomes a line, as for users."""
    monkeypatch.undo()


@pytest.fixture(autouse=True)
def faults_are_raised(monkeypatch):
    """Let no test be green by a guard that took an exception for a line."""

    def raised(error):
        raise error

    monkeypatch.setattr(errors, "fault_words", raised)


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch):
    """Have `check` check each file, also where a test changed the code in this process."""
    monkeypatch.setattr(KnownValid, "holds", lambda *_: False)
    monkeypatch.setattr(KnownValid, "keep", lambda *_: None)
