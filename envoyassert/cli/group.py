"""The list of commands, each imported only when it is called or asked for help."""

from __future__ import annotations

import importlib
import re
from typing import Any

import click

from envoyassert.cli.here import check_here

#: (module, name of the command in it) by the word that the user types, in the order of `--help`.
COMMANDS = {
    "init": ("envoyassert.cli.init", "init"),
    "draft": ("envoyassert.cli.draft", "draft"),
    "run": ("envoyassert.cli.run", "run"),
    "matrix": ("envoyassert.cli.matrix", "matrix"),
    "bisect": ("envoyassert.cli.bisect", "bisect_command"),
    "check": ("envoyassert.cli.check", "check"),
    "record": ("envoyassert.cli.record", "record"),
    "attach": ("envoyassert.cli.attach", "attach"),
    "inspect": ("envoyassert.cli.inspect", "inspect"),
    "replay": ("envoyassert.cli.replay", "replay"),
    "show": ("envoyassert.cli.show", "show"),
    "report": ("envoyassert.cli.report", "report"),
    "diff": ("envoyassert.cli.diff", "diff"),
    "plan": ("envoyassert.cli.plan", "plan"),
    "bpftrace-script": ("envoyassert.cli.bpftrace_script", "bpftrace_script"),
    "import": ("envoyassert.cli.import_log", "import_log"),
    "doctor": ("envoyassert.cli.doctor", "doctor"),
    "schema": ("envoyassert.cli.schema", "schema"),
    "clean": ("envoyassert.cli.clean", "clean"),
    "completion": ("envoyassert.cli.completion", "completion"),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own.

    Args:
        commands_by_name: as COMMANDS.
        **attributes: what click.Group takes.
    """

    def __init__(self, commands_by_name: dict[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._by_name = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are declared."""
        return list(self._by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None if there is none of that name."""
        if cmd_name not in self._by_name:
            return None
        module, name = self._by_name[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        # click's mark for a paragraph that is not wrapped: an example is there to be copied.
        command.help = re.sub(r"\n\n( *)(?=Example: )", "\n\n\\1\b\n\\1", command.help or "")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, where it has a directory to begin in."""
        found = super().resolve_command(ctx, args)
        if not getattr(found[1], "checks_here", False):
            check_here()
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # Of a socket. click would take it for the output's and exit with 1, which is FAIL.
            raise RuntimeError(str(error)) from error
