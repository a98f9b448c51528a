"""`envoy --mode validate` on this machine, and what its answer is."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from envoyassert.errors import LaunchError
from envoyassert.launch.asked import ask
from envoyassert.launch.base import VALIDATE_DEADLINE_S, Exit, tail
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.executable import find_executable
from envoyassert.launch.rundir import create_rundir, in_rundir, remove_rundir, write_files
from envoyassert.trace import Outcome


def validate(
    source: EnvoySource,
    config_yaml: str,
    files: Mapping[str, str | Path | None],
    args: Sequence[str] = (),
) -> Outcome:
    """Run `envoy --mode validate` on this machine; see `validate_config`.

    It needs no privileges, and Envoy has none: root starts it as an ordinary user.

    Raises:
        EnvoyUnavailableError: this Envoy is unavailable as an executable.
        LaunchError: it cannot be executed, or does not end.
        MachineError: Envoy's user cannot get at the run directory.
    """
    binary, _ = find_executable(source)
    directory = create_rundir()
    try:
        rundir = str(directory)
        write_files(directory, in_rundir({**files, "envoy.yaml": config_yaml}, rundir))
        words = validating([argument.replace("${rundir}", rundir) for argument in args])
        arguments = ["-c", f"{rundir}/envoy.yaml", *words]
        answer = ask(binary, arguments, VALIDATE_DEADLINE_S, directory, errors=True)
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"envoy --mode validate ran for {VALIDATE_DEADLINE_S:.0f} s") from error
    except OSError as error:
        raise LaunchError(f"{binary} cannot be executed: {error.strerror}") from error
    finally:
        remove_rundir(directory)
    return validated(answer.end, answer.printed, rundir)


def validated(end: Exit, printed: str, rundir: str) -> Outcome:
    """Return what `envoy --mode validate` answered.

    Args:
        end: how it ended.
        printed: what it printed.
        rundir: the run directory, which is `${rundir}` to the user.
    """
    lines = tail(printed.replace(rundir, "${rundir}"))
    return Outcome(exit_code=end.exit_code, signal=end.signal, log_tail=lines)


def validating(args: Sequence[str]) -> list[str]:
    """Return the arguments of a validation: those of a run, but for its log level.

    With `-l off` a validation prints no reason at all, and Envoy takes no argument twice.

    Args:
        args: the arguments of the run.
    """
    kept = list(args)
    for name in ("-l", "--log-level"):
        while name in kept:
            at = kept.index(name)
            del kept[at : at + 2]
    return ["--mode", "validate", "-l", "error", *kept]
