"""How programs are started that are no Envoy: tools, pip, an executable's `--version`.

Often it is root who starts them, in a directory of another user and with an environment that
came through sudo. So none of them looks for code in the current directory, or where a variable of
the environment says, and each has no more of the environment than it needs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from envoyassert.interrupts import interrupts_held

#: Where tools are, although it may not be in the PATH of an ordinary user.
_SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
#: What pip needs to reach the package index of this machine, and to keep what it downloads.
_OF_PIP = re.compile(
    r"HOME|USER|LOGNAME|LANG|LC_\w+|TMPDIR|XDG_\w+|(?i:(https?|all|no)_proxy)|SSL_CERT_(FILE|DIR)"
    r"|(REQUESTS|CURL)_CA_BUNDLE|PIP_((EXTRA_)?INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT"
    r"|CLIENT_CERT|PROXY|(DEFAULT_)?TIMEOUT|RETRIES|CONFIG_FILE|(NO_)?CACHE_DIR|USE_FEATURE"
    r"|USE_DEPRECATED|KEYRING_PROVIDER)"
)
#: Those that may name files, relative to where pip would be started manually.
_PATHS = frozenset(
    {"PIP_FIND_LINKS", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"}
)


def program_path() -> str:
    """Return where programs are looked for: PATH without what is relative, and the system's places.

    For root, a directory that everybody may write to is left out as well.
    """
    named = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(one for one in dict.fromkeys([*named, *_SYSTEM]) if _is_safe(one))


def _is_safe(directory: str) -> bool:
    if not Path(directory).is_absolute():
        return False
    if os.geteuid() != 0:
        return True
    try:
        return not Path(directory).stat().st_mode & stat.S_IWOTH
    except OSError:
        return False


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not installed."""
    return shutil.which(name, path=program_path())


def run_program(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in the root directory; what it prints is returned as text.

    Args:
        command: its whole path, and its arguments.
        timeout_s: how long it may take.
        environment: all that it has of one; None for where programs are, and nothing else.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
        OSError: it cannot be executed.
    """
    with contextlib.ExitStack() as undo:
        with interrupts_held():
            process = undo.enter_context(
                subprocess.Popen(
                    command,
                    cwd="/",
                    env={"PATH": program_path()} if environment is None else dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            )
            # Does nothing where it has ended.
            undo.callback(process.kill)
        printed, errors = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(command, process.returncode, printed, errors)


def run_pip(arguments: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run the pip of this interpreter, isolated: it is set up by its own files and variables alone.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
    """
    # -I: neither the current directory nor PYTHONPATH nor the user's own packages.
    command = [sys.executable, "-I", "-m", "pip", *arguments]
    return run_program(command, timeout_s, pip_environment(os.environ))


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what pip is given of an environment: how the package index is reached.

    Args:
        environment: the whole one; relative paths in it are those of the current directory.
    """
    kept = {name: value for name, value in environment.items() if _OF_PIP.fullmatch(name)}
    for name in _PATHS & kept.keys():
        words = kept[name].split() if name == "PIP_FIND_LINKS" else [kept[name]]
        kept[name] = " ".join(
            os.path.abspath(word) if os.path.exists(word) else word  # noqa: PTH100, PTH110 - drops `..`
            for word in words
        )
    return {**kept, "PATH": program_path()}
