"""Exit codes of the command line: pytest's, extended upward, and diff(1)'s.

Commands that answer as diff(1) does end with 0 for the same, 1 for different, 2 for trouble.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import click

from envoyassert.cli.output import check_written, say, say_fault, say_usage
from envoyassert.cli.where import check_here
from envoyassert.errors import (
    EnvoyAssertError,
    LaunchError,
    MachineError,
    NoProcessError,
    ScenarioError,
    SeveralProcessesError,
    TraceFileError,
    text_with_output,
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


TROUBLE = 2
#: By the result of a comparison. That is not imported here: `plan` needs none to answer by itself.
OF_COMPARISON = {"same": 0, "different": 1, "unknown": TROUBLE}


class DiffLikeCommand(click.Command):
    """A command whose every error, wrong usage too, ends with 2."""

    #: That there is a current directory is not looked at by the group, which would end with 77.
    checks_here = True

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the arguments."""
        with _trouble():
            check_here()
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Do it."""
        with _trouble():
            result = super().invoke(ctx)
            if not result:
                check_written()
            return result


@contextlib.contextmanager
def _trouble() -> Iterator[None]:
    """Print every error, and end with 2."""
    try:
        yield
    except click.ClickException as error:
        say_usage(error)
        raise click.exceptions.Exit(TROUBLE) from error
    except EnvoyAssertError as error:
        say(*text_with_output(error).split("\n"), err=True)
        raise click.exceptions.Exit(TROUBLE) from error
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        check_here()
        say_fault(error)  # its code everywhere else, 3, is an answer of `plan`
        raise click.exceptions.Exit(TROUBLE) from error
