"""Root trees: made once by debootstrap, entered in a mount namespace of their own.

It is gone with its processes: nothing is ever mounted where this machine sees it.
"""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.distros.catalogue import HAS_UBUNTU_KEYS, Distribution
from tests.distros.settings import apt_lines, paths_in

ROOT = Path(__file__).resolve().parents[2]
#: Where the checkout is in a tree.
CHECKOUT = "/root/envoyassert"
_KEYRINGS = Path("/usr/share/keyrings")
_VARIABLES = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
#: Seconds that what runs in a tree has to end by itself, and until all that it started is gone.
_GRACE_S = 10.0
_STOP_S = 30.0


class TreeError(Exception):
    """A tree could not be made or prepared; says why."""


@dataclass(frozen=True)
class Inside:
    """What a tree is given of this machine.

    Args:
        environment: variables beside PATH and HOME.
        binds: paths of this machine, with where the tree sees each.
    """

    environment: Mapping[str, str]
    binds: Mapping[str, str]


class Tree:
    """The root tree of a distribution; one process at a time uses it.

    Args:
        path: its root directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, command: Sequence[str], inside: Inside, directory: str = "/") -> int:
        """Run a command in the tree; end all that it started.

        Args:
            command: words, looked up in the tree.
            inside: what it is given.
            directory: where it runs.

        Returns:
            Its exit code, as a shell puts it.
        """
        script = entering(self.path, command, inside, directory)
        return _kept("unshare", "--mount", "--propagation=private", "sh", "-euc", script)

    def output(self, command: Sequence[str]) -> str:
        """Return what a command prints that needs nothing mounted, "" if it fails."""
        done = subprocess.run(
            ["chroot", self.path, *command],
            env=_VARIABLES,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def take_over(self, environment: Mapping[str, str]) -> None:
        """Give it this machine's name servers, settings of apt, and the files that variables name.

        Args:
            environment: the variables that its commands will have.
        """
        shutil.copyfile("/etc/resolv.conf", self.path / "etc/resolv.conf")
        lines = apt_lines(_output("apt-config", "dump")) if shutil.which("apt-config") else []
        (self.path / "etc/apt/apt.conf.d/99machine").write_text("".join(f"{x}\n" for x in lines))
        for path in paths_in(environment):
            if Path(path).is_file():
                target = self.path / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def bring_checkout(self) -> None:
        """Put a copy of this checkout's files in it; its .venv stays."""
        target = self.path / CHECKOUT.lstrip("/")
        target.mkdir(exist_ok=True)
        for old in target.iterdir():
            if old.name != ".venv":
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        git = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z")
        for name in _output(*git, "--cached", "--others", "--exclude-standard").split("\0"):
            if name and (ROOT / name).exists():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


@contextlib.contextmanager
def root_tree(trees: Path, wanted: Distribution, mirror: str = "") -> Iterator[Tree]:
    """Have the tree of a distribution for the length of a `with` block; make it if there is none.

    Args:
        trees: the directory of all trees.
        wanted: which.
        mirror: of its archive; "" for debootstrap's own.

    Raises:
        TreeError: it could not be made, or another process uses it.
    """
    try:
        trees.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TreeError(f"no root tree can be made in {trees}: {error.strerror}") from error
    with (trees / f"{wanted.suite}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TreeError(f"another process uses {trees / wanted.suite}") from error
        path = trees / wanted.suite
        if not path.exists():
            _make(path, wanted, mirror, _keyring(trees, wanted))
        yield Tree(path)


def _make(path: Path, wanted: Distribution, mirror: str, keyring: Path) -> None:
    """Make a tree, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    print(f"making a root tree of {wanted.name} in {path}", flush=True)
    try:
        _remove(part)
        _bootstrap(part, path.with_name(f"{path.name}.log"), wanted, mirror, keyring)
        part.rename(path)
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    if part.exists():
        shutil.rmtree(part)


def _bootstrap(part: Path, log: Path, wanted: Distribution, mirror: str, keyring: Path) -> None:
    words = [
        *("debootstrap", "--variant=minbase", f"--keyring={keyring}"),
        # What brings the certificates is there before this machine's take their place.
        *("--include=make,ca-certificates", f"--components={wanted.components}"),
        *(wanted.suite, str(part), mirror, wanted.script),
    ]
    # debootstrap mounts proc and sys, and does not always unmount them.
    script = f"exec {shlex.join(words)} >{shlex.quote(str(log))} 2>&1"
    if _kept("unshare", "--mount", "--propagation=private", "sh", "-c", script):
        last = "".join(log.read_text("utf-8", "replace").splitlines(keepends=True)[-5:])
        raise TreeError(f"debootstrap could not make {wanted.name}; the end of {log}:\n{last}")
    sources = part / "etc/apt/sources.list"
    (address,) = {line.split()[1] for line in sources.read_text().splitlines() if line}
    components = wanted.components.replace(",", " ")
    sources.write_text("".join(f"deb {address} {x} {components}\n" for x in wanted.suites))


def _keyring(trees: Path, wanted: Distribution) -> Path:
    """Return where the keys of an archive are: here, or in the tree whose packages have them."""
    here = _KEYRINGS / wanted.keyring
    if here.exists() or wanted.family != "ubuntu":
        return here
    with root_tree(trees, HAS_UBUNTU_KEYS) as tree:
        there = tree.path / here.relative_to("/")
        if not there.exists():
            tree.take_over({})
            install = "apt-get -q=2 update && apt-get -q=2 install --yes ubuntu-keyring"
            tree.run(["sh", "-c", install], Inside({}, {}))
        if not there.exists():
            raise TreeError(f"{HAS_UBUNTU_KEYS.name} does not give the keys of {wanted.name}")
    return there


def entering(tree: Path, command: Sequence[str], inside: Inside, directory: str) -> str:
    """Return a script for a shell in a mount namespace of its own: mount, enter, run."""
    root = shlex.quote(str(tree))
    lines = [f"mount --bind {root} {root}", f"cd {root}"]
    lines += [f"mount --rbind /{name} {name}" for name in ("proc", "sys", "dev")]
    lines += ["mount -t tmpfs -o mode=755 tmpfs run", "mount -t tmpfs -o mode=1777 tmpfs tmp"]
    for source, place in inside.binds.items():
        target = Path(place.lstrip("/"))
        folder = target if Path(source).is_dir() else target.parent
        lines += [f"mkdir -p {shlex.quote(str(folder))}"]
        if folder != target:
            lines += [f": >{shlex.quote(str(target))}"]
        lines += [f"mount --bind {shlex.quote(source)} {shlex.quote(str(target))}"]
    variables = {**_VARIABLES, **inside.environment}
    words = [f"{name}={value}" for name, value in variables.items()]
    # Not chroot: no user namespace can be made in one.
    lines += ["pivot_root . .", "umount --lazy .", f"cd {shlex.quote(directory)}"]
    lines += [f"exec env -i {shlex.join([*words, *command])}"]
    return "\n".join(lines)


def _kept(*command: str) -> int:
    """Run a command below a keeper; return its exit code, as a shell puts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.distros.keeper", str(_GRACE_S), *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_S)
        raise


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise TreeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout
