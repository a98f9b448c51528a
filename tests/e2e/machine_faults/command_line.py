"""The command line as a user runs it on a machine that lacks something.

Every fault is a real one. A mount namespace of the test's own hides what the machine has; setpriv,
unshare and setarch take away what the process may do.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SCENARIO = """\
name: one
envoy:
  version: {version}
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
expect:
  - process: {{live: true}}
"""
#: The word that is not met where Envoy does not become live.
LIVE = "one.yaml:8:15"
NO_ENGINE = "unix:///nonexistent/docker.sock"


class Done(NamedTuple):
    """What a command did: exit code, data, talk."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Done]


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def in_mounts(*lines: str) -> tuple[str, ...]:
    """Return a wrapper that runs shell lines, then the command, in a mount namespace of its own."""
    script = "set -e; " + "; ".join([*lines, 'exec "$@"'])
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def hidden(path: str | Path, by: str = "") -> str:
    """Return the shell line that puts an empty directory, or `by`, over a path."""
    target = shlex.quote(str(path))
    return f"mount --bind {shlex.quote(by)} {target}" if by else f"mount -t tmpfs none {target}"


def full_disk(path: str) -> str:
    """Return the shell line that makes a directory a file system without a free block."""
    Path(path).mkdir()
    return f"mount -t tmpfs -o size=4k none {path} && head -c 4096 /dev/zero > {path}/all"


def without(*capabilities: str) -> tuple[str, ...]:
    dropped = ",".join(f"-{name}" for name in capabilities)
    return ("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}")


def executable(content: bytes | str) -> str:
    path = Path("envoy-under-test")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o755)
    return str(path.absolute())
