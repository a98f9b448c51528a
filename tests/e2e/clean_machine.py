"""A clean machine: this one's root file system, copied on write, in namespaces of its own.

What is done in it stays in memory and is gone with it. Like a fresh runner it has no network, no
bcc, no tracefs, nothing in anybody's home and no trace of the checkout; there is a user `runner`
who may become root, an interpreter beside the distribution's, and what is mounted at `/mirror`.

`sudo` is a stand-in (this machine may have none): it becomes root through `su` and clears the
environment, as sudo does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
USER_ID = 1001
HOME = "/home/runner"
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where the interpreter has its short names, in front of the distribution's on PATH.
_TOOLS = "/opt/tools"

_SETUP = r"""
set -euo pipefail
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE"/{upper,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" overlay "$PLACE/root"
root=$PLACE/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/mirror" "$root$TOOLS"
mount --bind "$MIRROR" "$root/mirror"
ln -s "$PYTHON" "$root$TOOLS/python"
ln -s "$PYTHON" "$root$TOOLS/python3"
for hidden in $HIDDEN; do
    mkdir -p "$root$hidden"
    mount -t tmpfs -o mode=755 tmpfs "$root$hidden"
done
if [ ! -e "$root$PYTHON" ]; then
    mkdir -p "$root$PYTHON_PREFIX"
    mount --bind "$PYTHON_PREFIX" "$root$PYTHON_PREFIX"
fi
if [ -S "$ENGINE" ]; then
    touch "$root/run/docker.sock"
    mount --bind "$ENGINE" "$root/run/docker.sock"
fi
ip link set lo up

rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:/mirror/debian ./" >"$root/etc/apt/sources.list"
chroot "$root" dpkg --purge --force-depends python3-bpfcc >&2
chroot "$root" useradd --create-home --uid "$USER_ID" runner
for kind in auth account session; do
    echo "$kind sufficient pam_permit.so"
done >"$root/etc/pam.d/su"
cat >"$root/usr/local/bin/sudo" <<'SUDO'
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec su root --shell /bin/bash --command \
    'exec env -i HOME=/root LOGNAME=root "PATH=$ROOT_PATH" "SUDO_UID=$0" "$@"' -- "$(id -u)" "$@"
SUDO
sed -i "s|\$ROOT_PATH|$ROOT_PATH|" "$root/usr/local/bin/sudo"
chmod 755 "$root/usr/local/bin/sudo"
echo ready
read -r _ || true
"""


@dataclass(frozen=True)
class CleanMachine:
    """A machine that is up.

    Args:
        pid: a process in it, as this machine numbers it.
        place: where its root directory is, in its own mount namespace.
    """

    pid: int
    place: Path

    def run(
        self,
        script: str,
        *,
        directory: str = HOME,
        as_root: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it, as the user `runner` unless said otherwise.

        Args:
            script: for `bash -eo pipefail`.
            directory: the working directory.
            as_root: whether to run it as root.
            environment: variables beside PATH and HOME.
        """
        identity = [] if as_root else [f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
        variables = {
            "PATH": f"{_TOOLS}:{_ROOT_PATH}",
            "HOME": "/root" if as_root else HOME,
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
        }
        return subprocess.run(
            [
                *("nsenter", f"--target={self.pid}", "--mount", "--net", "--ipc", "--uts"),
                *("chroot", str(self.place / "root"), "setpriv", *identity),
                *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
                *("bash", "-c", f'cd "{directory}"\nset -eo pipefail\n{script}'),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )

    def must(self, script: str, **how: Any) -> str:
        """Run a script that has to succeed; return what it printed."""
        done = self.run(script, **how)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def clean_machine(place: Path, mirror: Path, engine: str = "") -> Iterator[CleanMachine]:
    """Start a clean machine for the length of a `with` block.

    Args:
        place: an empty directory, to mount it on.
        mirror: what it sees at `/mirror`.
        engine: the socket of a Docker engine that it is given if it is there.
    """
    python = Path(sys.executable).resolve()
    hidden = {"/root", "/home", str(ROOT), str(Path(sys.prefix).resolve().parent)}
    environment = {
        "PATH": os.environ["PATH"],
        "PLACE": str(place),
        "MIRROR": str(mirror),
        "ENGINE": engine,
        "PYTHON": str(python),
        "PYTHON_PREFIX": sys.base_prefix,
        "HIDDEN": " ".join(sorted(path for path in hidden if not path.startswith("/tmp/"))),
        "TOOLS": _TOOLS,
        "ROOT_PATH": _ROOT_PATH,
        "USER_ID": str(USER_ID),
    }
    # Not the process numbers: they have to be those that the kernel records.
    namespaces = ("--mount", "--net", "--ipc", "--uts")
    options = ("--fork", "--propagation=private", "--kill-child")
    with subprocess.Popen(
        ["unshare", *namespaces, *options, "bash", "-c", _SETUP],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(process.communicate()[1])
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            yield CleanMachine(int(children), place)
        finally:
            process.kill()
