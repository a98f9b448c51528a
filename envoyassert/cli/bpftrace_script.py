"""`envoyassert bpftrace-script`: a bpftrace program whose log `import` reads."""

from __future__ import annotations

import os
import platform

import click

from envoyassert.bpftrace.form import MACHINES
from envoyassert.bpftrace.script import ScriptError, script_text
from envoyassert.cli.output import say

#: What other systems call these machines.
_ALIASES = {"arm64": "aarch64", "AMD64": "x86_64"}
#: PID_MAX_LIMIT of linux/threads.h, on machines of 64 bits.
_LAST_PID = 4_194_304
_MOST_PROCESSORS = 8192


@click.command(name="bpftrace-script")
@click.option(
    "--exe",
    metavar="NAME|PATH",
    help="Whose exec is waited for: a name, or a path as it is given to execve. Default: envoy, "
    "or none with --pid.",
)
@click.option(
    "--pid",
    "pids",
    multiple=True,
    metavar="N",
    type=click.IntRange(1, _LAST_PID),
    help="A process that runs already; may be repeated.",
)
@click.option(
    "--machine",
    type=click.Choice(MACHINES),
    default=lambda: _ALIASES.get(platform.machine(), platform.machine()),
    help="Where the program is to run, as `uname -m` prints it. Default: this machine.",
)
@click.option(
    "--processors",
    metavar="N",
    type=click.IntRange(1, _MOST_PROCESSORS),
    default=lambda: os.cpu_count() or 1,
    help="How many that machine has. Default: as this one.",
)
def bpftrace_script(exe: str | None, pids: tuple[int, ...], machine: str, processors: int) -> None:
    """Print a program for bpftrace, whose log `import` reads.

    It is for machines where nothing but bpftrace may be used.

    It records each process whose executable is looked for, from its exec, and its children. Start
    it as root, start Envoy once it has printed `armed`, end it with Ctrl-C a second after the last
    thing of interest, and `envoyassert import` its log.

    Needs no root itself. The form of the log and what it lacks: docs/bpftrace.md.

    Example: envoyassert bpftrace-script > envoy.bt
    """
    if not (pids or exe is None or exe):
        raise click.BadParameter(
            "an empty name, and no --pid: nothing would be recorded", param_hint="--exe"
        )
    wanted = exe if exe is not None else "" if pids else "envoy"
    try:
        say(*script_text(wanted, pids, machine, processors).splitlines())
    except ScriptError as error:
        raise click.BadParameter(str(error), param_hint="--exe") from error
