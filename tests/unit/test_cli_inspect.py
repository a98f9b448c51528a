"""`envoyassert inspect --all`: one Envoy that ends costs none of the others."""

from __future__ import annotations

import pytest

from envoyassert.cli.inspect import states_of
from envoyassert.errors import NoProcessError
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace

TRACE = TraceBuilder(workers=1).build()


def state_of(pid: int) -> Trace:
    if pid % 2:
        raise NoProcessError(f"process {pid} ended while it was looked at", "inspect another")
    return TRACE


def test_envoy_that_ends_is_noted_and_the_others_are_shown(capsys):
    assert states_of([2, 3, 4], state_of) == [TRACE, TRACE]
    assert capsys.readouterr().err.startswith("note: process 3 ended while it was looked at")


@pytest.mark.parametrize("pids", [[1], [1, 3]])
def test_no_envoy_that_stays_is_an_error(pids):
    with pytest.raises(NoProcessError, match=f"process {pids[-1]} ended"):
        states_of(pids, state_of)
