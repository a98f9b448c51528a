"""Commands that answer as diff(1) does: 0 the same, 1 different, 2 trouble."""

from __future__ import annotations

from typing import Any

import click

from envoyassert.cli.output import check_written, say, say_usage
from envoyassert.compare.comparison import DIFFERENT, SAME, UNKNOWN
from envoyassert.errors import EnvoyAssertError, text_with_output

TROUBLE = 2
CODES = {SAME: 0, DIFFERENT: 1, UNKNOWN: TROUBLE}


class DiffLikeCommand(click.Command):
    """A command whose every error, wrong usage too, ends with 2."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the arguments."""
        try:
            return super().make_context(*arguments, **more)
        except click.ClickException as error:
            say_usage(error)
            raise click.exceptions.Exit(TROUBLE) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Do it."""
        try:
            result = super().invoke(ctx)
            if not result:
                check_written()
            return result
        except click.ClickException as error:
            say_usage(error)
            raise click.exceptions.Exit(TROUBLE) from error
        except EnvoyAssertError as error:
            say(*text_with_output(error).split("\n"), err=True)
            raise click.exceptions.Exit(TROUBLE) from error
