"""Commands that answer as diff(1) does: 0 the same, 1 different, 2 trouble."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from envoyassert.cli.here import check_here
from envoyassert.cli.output import check_written, say, say_fault, say_usage
from envoyassert.errors import EnvoyAssertError, text_with_output

TROUBLE = 2
#: By the result of a comparison. That is not imported here: `plan` needs none to answer by itself.
CODES = {"same": 0, "different": 1, "unknown": TROUBLE}


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
