"""The list of commands, each imported only when it is called or asked for help."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli.here import check_here

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: (module, name of the command in it, what a shell shows of it) by the word that the user types, in
#: the order of `--help`.
COMMANDS = {
    "init": ("envoyassert.cli.init", "init", "Set a repository up for scenarios."),
    "draft": ("envoyassert.cli.draft", "draft", "Write a first scenario: what Envoy does..."),
    "run": ("envoyassert.cli.run", "run", "Run scenarios on a real Envoy and judge them."),
    "matrix": ("envoyassert.cli.matrix", "matrix", "Run scenarios on many Envoys, and draw an..."),
    "merge": ("envoyassert.cli.merge", "merge", "Merge the reports of several machines into..."),
    "bisect": (
        "envoyassert.cli.bisect",
        "bisect_command",
        "Find the first Envoy that fails a scenario.",
    ),
    "check": ("envoyassert.cli.check", "check", "Check scenario files without a run."),
    "record": ("envoyassert.cli.record", "record", "Run a scenario and save the trace, unjudged."),
    "attach": ("envoyassert.cli.attach", "attach", "Record Envoys that something else starts,..."),
    "inspect": ("envoyassert.cli.inspect", "inspect", "Show the sockets of an Envoy that runs..."),
    "replay": ("envoyassert.cli.replay", "replay", "Judge a saved trace by a scenario."),
    "show": ("envoyassert.cli.show", "show", "Print the story of a trace."),
    "report": ("envoyassert.cli.report", "report", "Summarise the traces of a directory, of..."),
    "diff": ("envoyassert.cli.diff", "diff", "Show in words what differs between two..."),
    "plan": ("envoyassert.cli.plan", "plan", "Show what a change of a config does to..."),
    "explore": (
        "envoyassert.cli.explore",
        "explore",
        "Search for what the model predicts wrongly.",
    ),
    "bpftrace-script": (
        "envoyassert.cli.bpftrace_script",
        "bpftrace_script",
        "Print a program for bpftrace, whose log...",
    ),
    "import": (
        "envoyassert.cli.import_log",
        "import_log",
        "Turn a bpftrace log into a trace file.",
    ),
    "doctor": ("envoyassert.cli.doctor", "doctor", "Show what this machine can do, or the remedy."),
    "schema": ("envoyassert.cli.schema", "schema", "Print the JSON Schema of scenario files,..."),
    "clean": ("envoyassert.cli.clean", "clean", "Remove what killed sessions left behind."),
    "completion": (
        "envoyassert.cli.completion",
        "completion",
        "Print the script that makes a shell complete.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own.

    Args:
        commands_by_name: as COMMANDS.
        **attributes: what click.Group takes.
    """

    def __init__(
        self, commands_by_name: dict[str, tuple[str, str, str]], **attributes: Any
    ) -> None:
        super().__init__(**attributes)
        self._by_name = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are declared."""
        return list(self._by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None if there is none of that name."""
        if cmd_name not in self._by_name:
            return None
        module, name, _ = self._by_name[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        # click's mark for a paragraph that is not wrapped: an example is there to be copied.
        command.help = re.sub(r"\n\n( *)(?=Example: )", "\n\n\\1\b\n\\1", command.help or "")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so, without loading a command."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(word, help=shown)
            for word, (_, _, shown) in self._by_name.items()
            if word.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

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
