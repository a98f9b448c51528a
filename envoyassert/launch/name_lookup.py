"""How names are looked up in a network that has no name server.

The C library takes a server that cannot be reached for a temporary failure (EAI_AGAIN), and Envoy's
resolver `getaddrinfo` asks again at once, without end: 20,000 calls a second, and no cluster that
needs the name ever starts. With a last source that answers, a file without the name, the name is
not known (EAI_NONAME), at once. Servers that can be reached, as one of the scenario's own, are
still asked before.
"""

from __future__ import annotations

import re
from pathlib import Path

from envoyassert.launch.rundir import write_files

#: nsswitch.conf(5)
FILE = "/etc/nsswitch.conf"
_HOSTS = "hosts: files dns files"


def with_end(text: str) -> str:
    """Return an nsswitch.conf in which a name that no service knows is not found, at once.

    Args:
        text: the one that there is, or "".
    """
    changed, number = re.subn(r"(?m)^[ \t]*hosts:.*$", _HOSTS, text)
    return changed if number else f"{text.rstrip()}\n{_HOSTS}\n".lstrip("\n")


def written_in(directory: Path) -> Path:
    """Write this machine's nsswitch.conf with such an end into a directory; return the file.

    Raises:
        MachineError: it cannot be written.
    """
    own, name = Path(FILE), Path(FILE).name
    text = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else ""
    write_files(directory, {name: with_end(text)})
    return directory / name
