"""Options that several commands have, so that each is spelled and explained in one way.

`-o FILE` names a file that is written, `--format` what is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from envoyassert.durations import parse_duration
from envoyassert.scenario import STAND_IN_OPTION

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("text", "json")
LAUNCHERS = ("auto", "docker", "process")


def _no_output_file(context: click.Context, _: click.Parameter, value: str | None) -> None:
    """Say how the old spelling of `--format` is spelled now."""
    if value is None:
        return
    if value in FORMATS:
        raise click.UsageError(f"formats are named by --format now: say --format {value}", context)
    path = context.command_path
    raise click.UsageError(f"`{path}` prints what it finds; say `{path} … > {value}`", context)


def _output_file(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Return the file to write, and refuse the old spelling of `--format`."""
    if value in FORMATS:
        _no_output_file(context, option, value)
    return value


#: What `-o FILE` is beside a format that draws.
DRAWN = "With a format that draws: the file to write; default: standard output."


def refuse_file(output: str, target: str | None) -> None:
    """Refuse a file for a format that is printed.

    Args:
        output: the format.
        target: the file, if one was named.

    Raises:
        click.UsageError: there is one.
    """
    if target is not None and output in FORMATS:
        context = click.get_current_context()
        path = context.command_path
        said = f"`{path}` prints what it finds; say `{path} … > {target}`"
        raise click.UsageError(f"{said}, or name a format that draws", context)


def format_option(
    *old: str,
    meaning: str = "What to print.",
    more: tuple[str, ...] = (),
    to_file: str = "",
) -> Callable[[F], F]:
    """Return a decorator: `--format text|json`; the command's function has the argument `output`.

    Args:
        old: how the option was spelled before; that is refused with the spelling of today.
        meaning: the text for `--help`.
        more: further formats.
        to_file: what `-o FILE` is, the argument `target` of the function; "" where there is none.
    """

    def add(command: F) -> F:
        refused = click.option(
            *(old or ("-o", "--output")),
            "_output_file",
            hidden=True,
            expose_value=False,
            callback=_no_output_file,
        )
        if to_file:
            refused = click.option(
                "-o",
                "--output",
                "target",
                metavar="FILE",
                type=click.Path(dir_okay=False),
                callback=_output_file,
                help=to_file,
            )
        shown = click.option(
            "--format",
            "output",
            type=click.Choice((*FORMATS, *more)),
            default=FORMATS[0],
            show_default=True,
            help=meaning,
        )
        return shown(refused(command))

    return add


def seconds_of(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return a duration, as scenarios have it, in seconds."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from error


def stand_in_option(command: F) -> F:
    """Add `--stand-in`; the command's function has the argument `stand_in`."""
    return click.option(
        STAND_IN_OPTION,
        "stand_in",
        is_flag=True,
        help="Replace files that the config names and this machine lacks: "
        "one that lies beside the config under the end of the name, a certificate, an empty file. "
        "Clusters that it does not have get no members.",
    )(command)


def dump_options(help_of_with: str) -> Callable[[F], F]:
    """Add `--with` and `--pod`, as the arguments `dump` and `pod` of the command's function.

    Args:
        help_of_with: what the dump is to the command.
    """

    def add(command: F) -> F:
        which = "Of a dump of several Envoys: which, NAMESPACE/POD."
        command = click.option("--pod", default="", metavar="NAME", help=which)(command)
        path = click.Path(exists=True, dir_okay=False, path_type=Path)
        return click.option("--with", "dump", type=path, help=help_of_with)(command)

    return add


def trace_output_option(command: F) -> F:
    """Add `-o FILE`, the trace file that a command writes; it is required."""
    return click.option(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="The trace file to write.",
    )(command)


def untrusted_option(command: F) -> F:
    """Add `--untrusted`; the command's function has the argument `untrusted`."""
    return click.option(
        "--untrusted",
        is_flag=True,
        envvar="ENVOYASSERT_UNTRUSTED",
        help="Refuse, before anything is run, what of a scenario is not known to be harmless.",
    )(command)


def launcher_option(command: F) -> F:
    """Add `--launcher`, for one run."""
    return click.option(
        "--launcher",
        type=click.Choice(LAUNCHERS),
        metavar="|".join(LAUNCHERS),
        default=LAUNCHERS[0],
        help="How to start Envoy (default: auto).",
    )(command)


def _launchers(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [launcher for launcher in LAUNCHERS if launcher.startswith(begun)]


def launchers_option(command: F) -> F:
    """Add `--launcher`, which may be repeated; its function has the argument `launchers`."""
    return click.option(
        "--launcher",
        "launchers",
        multiple=True,
        shell_complete=_launchers,
        metavar="|".join(LAUNCHERS),
        help="How to start Envoy (default: auto); repeat it to run everything both ways.",
    )(command)


def tracer_options(command: F) -> F:
    """Add `--tracer` and `--witness`."""
    witness = click.option(
        "--witness",
        type=click.Choice(("strace",)),
        metavar="strace",
        help="Let strace record too, and compare call by call.",
    )
    tracer = click.option(
        "--tracer",
        type=click.Choice(("ebpf", "strace")),
        metavar="ebpf|strace",
        help="What records runs (default: ebpf); strace needs neither root nor bcc.",
    )
    return tracer(witness(command))


def refuse_beside(other: str, *names: str) -> None:
    """Refuse what would mean nothing beside an option that was given.

    Args:
        other: the option, as the user wrote it.
        names: parameters of the command, by the names of its function's arguments.

    Raises:
        click.UsageError: one of them was given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        # Up to click 8.2 paths that were not given come from the command line as well.
        if name in names and given and context.params.get(name) != ():
            what = parameter.opts[-1] if parameter.opts[-1].startswith("-") else "a path"
            raise click.UsageError(f"{what} means nothing beside {other}: leave out one of them")


def check_strace(*names: str | None) -> None:
    """Look for strace if one of these is its name, before anything is run.

    Raises:
        StraceUnavailableError: it cannot be used.
    """
    if "strace" in names:
        from envoyassert.probe.strace_tracer import find_strace

        find_strace()
