"""The group of all commands, each imported when it is called, and the exit code of that one."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envoyassert import __version__
from envoyassert.cli import exits
from envoyassert.cli.output import check_written, lasting_output, say, say_fault, say_usage
from envoyassert.cli.where import check_here
from envoyassert.errors import (
    EnvoyAssertError,
    MachineError,
    text_with_output,
)
from envoyassert.interrupts import interrupted_by_signals

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


__all__ = ["app", "main", "run_to_the_end"]

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


@click.group(
    cls=LazyGroup,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 fail, 2 interrupted, 3 internal error, 4 invalid usage or "
    "scenario, 5 nothing to run, 10 inconclusive, 77 machine not supported. `diff`, "
    "`run --against` and `plan` have those of diff(1): 0 the same, 1 different, 2 trouble; `plan` "
    "also 3, something is lost or refused.",
)
@click.version_option(__version__)
def app() -> None:
    """Prove what a real Envoy does with its listening sockets.

    Example: envoyassert check scenarios/
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of the codes of `envoyassert.cli.exits`.

    Args:
        arguments: what follows the program's name; None for those of this process.
    """
    with lasting_output():
        code = _exit_code(arguments)
    sys.exit(code)


def run_to_the_end() -> None:
    """Do as `main` does, where nothing else of the process is to come."""
    with lasting_output():
        code = _exit_code(None)
    _end(code)
    sys.exit(code)


def _end(code: int) -> None:
    """End this process, unless threads of its are to be waited for, or who watches it.

    The interpreter would free all objects one by one: a third of a second after a run. What is
    registered for the end is done as usual.
    """
    if _is_watched() or any(not thread.daemon for thread in threading.enumerate()[1:]):
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no other way to them
    for stream in (sys.stdout, sys.stderr):
        # What the command printed has arrived already; a stream that was closed is None.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


def _is_watched() -> bool:
    """Whether a profiler, a debugger or a tool for coverage runs this: it has work left to do."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12; it has six tools
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return sys.gettrace() is not None or sys.getprofile() is not None or any(tools)


def _exit_code(arguments: Sequence[str] | None) -> int:
    result: object = None
    try:
        with interrupted_by_signals():
            result = app.main(arguments, prog_name="envoyassert", standalone_mode=False)
        check_written()
    except click.ClickException as error:
        say_usage(error)
        return exits.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", err=True)
        return exits.INTERRUPTED
    except EnvoyAssertError as error:
        say(*_text_of(error).split("\n"), err=True)
        # Where output was lost, a verdict that is not PASS stays what it is.
        return (isinstance(result, int) and result) or exits.code_of(error)
    except Exception as error:  # noqa: BLE001 - the last resort: say it is ours, keep the code
        try:
            check_here()
        except MachineError as gone:
            say(*_text_of(gone).split("\n"), err=True)
            return exits.code_of(gone)
        say_fault(error)
        return exits.INTERNAL
    return result if isinstance(result, int) else exits.PASSED


def _text_of(error: EnvoyAssertError) -> str:
    text = text_with_output(error)
    return text if error.names_place else f"envoyassert: error: {text}"
