"""Exit codes of the command line: pytest's, extended upward."""

from __future__ import annotations

from envoyassert.errors import (
    EnvoyAssertError,
    LaunchError,
    MachineError,
    NoProcessError,
    ScenarioError,
    SeveralProcessesError,
    TraceFileError,
)
from envoyassert.judge.verdict import Status

PASSED = 0
FAILED = 1
INTERRUPTED = 2
INTERNAL = 3
USAGE = 4
NOTHING = 5
INCONCLUSIVE = 10
#: automake's and meson's code for "skipped": the machine is not supported.
MACHINE = 77

OF_STATUS = {
    Status.PASS: PASSED,
    Status.KNOWN_DEFECT: PASSED,
    Status.FAIL: FAILED,
    Status.INCONCLUSIVE: INCONCLUSIVE,
}


def code_of(error: EnvoyAssertError) -> int:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, (ScenarioError, TraceFileError)):
        return USAGE
    if isinstance(error, SeveralProcessesError):
        return USAGE
    if isinstance(error, NoProcessError):
        return NOTHING
    if isinstance(error, (MachineError, LaunchError)):
        return MACHINE
    return FAILED
