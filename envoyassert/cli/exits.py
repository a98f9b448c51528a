"""Exit codes of the command line: pytest's, extended upward."""

from __future__ import annotations

from collections.abc import Collection

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


def of_outcomes(outcomes: Collection[str], *, of_machine: bool) -> int:
    """Return the exit code of runs of which not every one is as it must be.

    Args:
        outcomes: those of the runs, as the results name them.
        of_machine: whether the machine is a reason: it lacks what every test needs, or a test ended
            in an error of the machine.
    """
    if "failed" in outcomes:
        return FAILED
    if "inconclusive" in outcomes:
        return INCONCLUSIVE
    return MACHINE if of_machine else FAILED


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
