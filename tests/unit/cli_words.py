"""Call the command line inside this process."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from envoyassert.cli import main


class Done(NamedTuple):
    """What a command did: exit code, data, talk."""

    code: int
    out: str
    err: str


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Run a command; there must be no traceback, whatever it does."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert isinstance(caught.value.code, int)
    return Done(caught.value.code, out, err)
