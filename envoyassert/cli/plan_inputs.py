"""What `plan` is given: a file, `-`, a pipe of the shell, or a file of git.

Of git it is a file of a revision, or of the index.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
        names: paths, `-` for the standard input, `REVISION:PATH` of git, or `:PATH` of its index.

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
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise click.UsageError(f"{name[:100]} cannot be read: {error.strerror}") from error
    if path.is_file():
        return Input(name, path)
    if path.is_dir():
        raise click.UsageError(f"{name} is a directory, and no file")
    if path.exists():  # a pipe, which can be read once
        with path.open("rb") as file:
            return _copied(name, f"{path.name}.yaml", file.read(_MOST_BYTES), stack)
    revision, colon, rest = name.partition(":")
    if not (colon and rest):
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
    known = _git("rev-parse", "--verify", "--quiet", "--end-of-options", commit)
    if revision and known.returncode:
        raise click.UsageError(f"{name}: git knows no revision `{revision}`")
    shown = _git("show", f"{revision}:{file}")
    if shown.returncode:
        said = shown.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise click.UsageError(f"{name}: {said.removeprefix('fatal: ')}{_hint(revision, file)}")
    if _git("cat-file", "-t", f"{revision}:{file}").stdout.strip() != b"blob":
        raise click.UsageError(f"{name} is a directory, and no file")
    found = _copied(name, Path(file).name, shown.stdout, stack)
    folder = file.removesuffix(file.rpartition("/")[2])
    _add_neighbours(_listed(revision, folder), shown.stdout, found.path.parent)
    return found


def _hint(revision: str, file: str) -> str:
    """Return ` (did you mean …?)` for a path that a revision has not, "" if nothing is like it."""
    from envoyassert.scenario.vocabulary import closest

    names = [entry.name for entry in _listed(revision, "", deep=True)]
    prefix = _git("rev-parse", "--show-prefix").stdout.decode(errors="replace").strip()
    from_here = posixpath.normpath(f"{prefix}{file}")
    base = posixpath.basename(file)
    same = [name for name in names if posixpath.basename(name) == base]
    configs = [name for name in names if name.endswith((".yaml", ".yml", ".json", ".pb_text"))]
    found = from_here if from_here in same else next(iter(same), None)
    found = found or closest(from_here, configs)
    return f" (did you mean {revision}:{found}?)" if found else ""


class _Entry(NamedTuple):
    """A file of a revision: its name, its object, and whether it is a link."""

    name: str
    blob: str
    is_link: bool


def _listed(revision: str, folder: str, *, deep: bool = False) -> Iterator[_Entry]:
    """Yield the files of a folder in a revision, those of the index if the revision is "".

    Args:
        revision: which.
        folder: as a path of git's begins, "" for the top; with `/` at its end.
        deep: whether those in folders below it are of interest too; their names are paths.
    """
    if revision:
        recursive = ["-r"] if deep else []
        listed = _git("ls-tree", "--full-tree", "-z", *recursive, f"{revision}:{folder}")
    else:
        folder = re.sub("^[0-3]:", "", folder)
        magic = "glob" if folder.startswith(("./", "../")) else "top,glob"
        below = re.sub(r"([][*?\\])", r"\\\1", folder) + ("**" if deep else "*")
        listed = _git("ls-files", "--stage", "--full-name", "-z", "--", f":({magic}){below}")
    for line in listed.stdout.split(b"\0"):
        entry, _, name = line.partition(b"\t")
        words = entry.split(b" ")
        # `ls-tree` says the kind before the object, `ls-files` the stage behind it.
        if len(words) == 3 and (not revision or words[1] == b"blob"):
            path = os.fsdecode(name)
            blob = words[2 if revision else 1].decode()
            yield _Entry(path if deep else posixpath.basename(path), blob, words[0] == b"120000")


def _add_neighbours(entries: Iterable[_Entry], content: bytes, directory: Path) -> None:
    """Write those files beside one whose names it has in it.

    Args:
        entries: the files beside it.
        content: its own.
        directory: where it was written.
    """
    for entry in entries:
        path = directory / entry.name
        if not entry.is_link and os.fsencode(entry.name) in content and not path.exists():
            path.write_bytes(_git("cat-file", "blob", entry.blob).stdout)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], capture_output=True, check=False)
