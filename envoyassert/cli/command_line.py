"""The group of all commands, and the exit code of the one that is called."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence

import click

from envoyassert import __version__
from envoyassert.cli import exits
from envoyassert.cli.group import COMMANDS, LazyGroup
from envoyassert.cli.here import check_here
from envoyassert.cli.output import check_written, lasting_output, say, say_fault, say_usage
from envoyassert.errors import (
    EnvoyAssertError,
    MachineError,
    text_with_output,
)

__all__ = ["app", "main", "run_to_the_end"]


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
