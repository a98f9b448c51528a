"""What `plan` is given: a file, `-`, a pipe of the shell, or a file of a git revision."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

#: As large as a dump may be; one byte more, and who reads it next says that it is too large.
_MOST_BYTES = 256 * 1024 * 1024 + 1


@dataclass(frozen=True)
class Input:
    """A file that `plan` compares.

    Args:
        name: as it was given.
        path: where it can be read, and where what it names lies beside it.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Taken:
    """How files are read.

    Args:
        changes: of the new one.
        concurrency: the number of workers of both; None for what the files say.
        envoy: the Envoy of both, "" for the default.
        which: which run of a scenario, "" for the only one.
        dump: a dump whose listeners are served, None for none.
        pod: which Envoy of a dump, "" for the only one.
        stand_in: whether files that this machine lacks are stood in for.
        untrusted: whether a scenario is from someone who is not trusted.
    """

    changes: tuple[str, ...]
    concurrency: int | None
    envoy: str
    which: str
    dump: Path | None
    pod: str
    stand_in: bool
    untrusted: bool


@contextlib.contextmanager
def opened(names: tuple[str, ...]) -> Iterator[list[Input]]:
    """Give files of which each can be read, and read again, inside a `with` statement.

    Args:
        names: paths, `-` for the standard input, or `REVISION:PATH` of git.

    Raises:
        click.UsageError: there is no such file, revision or path in it, or git is not there.
    """
    if names.count("-") > 1:
        raise click.UsageError("`-` is the standard input, which can be read once")
    with contextlib.ExitStack() as stack:
        known = {name: _opened(name, stack) for name in dict.fromkeys(names)}
        yield [known[name] for name in names]


def _opened(name: str, stack: contextlib.ExitStack) -> Input:
    path = Path(name)
    if name == "-":
        return _copied(name, "stdin.yaml", sys.stdin.buffer.read(_MOST_BYTES), stack)
    if path.is_file():
        return Input(name, path)
    if path.is_dir():
        raise click.UsageError(f"{name} is a directory, and no file")
    if path.exists():  # a pipe, which can be read once
        with path.open("rb") as file:
            return _copied(name, f"{path.name}.yaml", file.read(_MOST_BYTES), stack)
    revision, colon, rest = name.partition(":")
    if not (revision and colon and rest):
        raise click.UsageError(f"there is no file {name}")
    return _of_git(name, revision, rest, stack)


def _copied(name: str, file: str, content: bytes, stack: contextlib.ExitStack) -> Input:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="envoyassert-plan-")))
    path = directory / file
    path.write_bytes(content)
    return Input(name, path)


def _of_git(name: str, revision: str, file: str, stack: contextlib.ExitStack) -> Input:
    """Return a file of a revision of the repository that the current directory is in.

    What lies beside it in that revision is there too.
    """
    if shutil.which("git") is None:
        raise click.UsageError(f"{name}: there is no such file, and git is not installed")
    if revision.startswith("-"):
        raise click.UsageError(f"{name}: there is no such file, and `{revision}` is no revision")
    if _git("rev-parse", "--is-inside-work-tree").returncode:
        raise click.UsageError(
            f"{name}: there is no such file, and the current directory is in no git repository"
        )
    commit = f"{revision}^{{commit}}"
    if _git("rev-parse", "--verify", "--quiet", "--end-of-options", commit).returncode:
        raise click.UsageError(f"{name}: git knows no revision `{revision}`")
    shown = _git("show", f"{revision}:{file}")
    if shown.returncode:
        said = shown.stderr.decode(errors="replace").strip().partition("\n")[0]
        hint = "from a subdirectory write REVISION:./PATH"
        raise click.UsageError(f"{name}: {said.removeprefix('fatal: ')} ({hint})")
    if _git("cat-file", "-t", f"{revision}:{file}").stdout.strip() != b"blob":
        raise click.UsageError(f"{name} is a directory, and no file")
    found = _copied(name, Path(file).name, shown.stdout, stack)
    _add_neighbours(revision, file, shown.stdout, found.path.parent)
    return found


def _add_neighbours(revision: str, file: str, content: bytes, directory: Path) -> None:
    """Write those files beside one, in its revision, whose names it has in it."""
    folder = f"{revision}:{file.removesuffix(file.rpartition('/')[2])}"
    listed = _git("ls-tree", "--full-tree", "-z", folder)
    for entry in listed.stdout.split(b"\0") if not listed.returncode else ():
        kind, _, name = entry.partition(b"\t")
        mode, what, blob = [*kind.split(b" "), b"", b""][:3]
        path = directory / os.fsdecode(name)
        if what == b"blob" and mode != b"120000" and name in content and not path.exists():
            path.write_bytes(_git("cat-file", "blob", blob.decode()).stdout)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], capture_output=True, check=False)
