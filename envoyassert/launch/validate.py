"""A bootstrap checked by an executable itself, on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from envoyassert.errors import LaunchError
from envoyassert.launch.base import VALIDATE_DEADLINE_S, tail
from envoyassert.launch.process import find_executable
from envoyassert.launch.rundir import create_rundir, in_rundir, remove_rundir, write_files
from envoyassert.launch.source import EnvoySource


def validate(
    source: EnvoySource,
    config_yaml: str,
    files: Mapping[str, str | Path | None],
    args: Sequence[str] = (),
) -> tuple[bool, str]:
    """Run `envoy --mode validate` on this machine, without privileges; see `validate_config`.

    Raises:
        EnvoyUnavailableError: this Envoy cannot be had as an executable.
        LaunchError: it cannot be executed, or does not end.
    """
    binary, _ = find_executable(source)
    directory = create_rundir()
    try:
        rundir = str(directory)
        write_files(directory, in_rundir({**files, "envoy.yaml": config_yaml}, rundir))
        command = [str(binary), "--mode", "validate", "-c", f"{rundir}/envoy.yaml", "-l", "error"]
        command += [argument.replace("${rundir}", rundir) for argument in args]
        result = subprocess.run(
            command,
            cwd=directory,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=VALIDATE_DEADLINE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"envoy --mode validate ran for {VALIDATE_DEADLINE_S:.0f} s") from error
    except OSError as error:
        raise LaunchError(f"{binary} cannot be executed: {error.strerror}") from error
    finally:
        remove_rundir(directory)
    return result.returncode == 0, "\n".join(tail(result.stdout)).replace(rundir, "${rundir}")
