"""The scenario files that `envoyassert run` names: those and no others, whatever their names hold.

pytest takes `[` and `::` in an argument for the beginning of a test's name. So a file whose path
has one is reached by the directory above, and everything else there is left out. So are many files
of one directory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

_ASKED = pytest.StashKey[tuple[str, ...]]()
_FILES = pytest.StashKey[tuple[str, ...]]()
#: Key under which xdist hands them to its workers.
_OF_WORKERS = "envoyassert_named"


def name_files(config: pytest.Config, files: Iterable[Path], asked: Iterable[str]) -> None:
    """Let a session collect these files and nothing else.

    Args:
        config: pytest's, before its session begins.
        files: their absolute paths.
        asked: what the user named to find them, directories among it.
    """
    config.stash[_FILES] = tuple(map(str, files))
    config.stash[_ASKED] = tuple(asked)


def asked_paths(config: pytest.Config) -> tuple[str, ...]:
    """Return the files and directories that a session was asked for, as absolute paths.

    Of an argument that names a test of a file there is none.
    """
    start = config.invocation_params.dir
    given = config.stash.get(_ASKED, tuple(config.args))
    return tuple(str((start / one).resolve()) for one in given if "::" not in one)


def named_files(config: pytest.Config) -> tuple[str, ...]:
    """Return the files that the session was asked to collect; () if pytest decides."""
    given = getattr(config, "workerinput", {}).get(_OF_WORKERS, ())
    return config.stash.get(_FILES, tuple(given))


def restrict(config: pytest.Config) -> None:
    """Restrict a session to the files that are named, if any are."""
    files = named_files(config)
    if files:
        start = config.invocation_params.dir
        words = (_argument(path, start) for path in _reaching([Path(file) for file in files]))
        paths = {word: (start / word).resolve() for word in words}
        reached = set(paths.values())
        # Before version 9, pytest runs nothing of a directory that it was in for another argument.
        config.args[:] = [word for word, path in paths.items() if reached.isdisjoint(path.parents)]
        config.pluginmanager.register(_Only(files), "envoyassert_named")


def _reaching(files: Sequence[Path]) -> list[Path]:
    """Return the directories that pytest finds all files of in their order, and the other files.

    pytest looks at a whole directory once for each file of it that it is started with.
    """
    below = Counter(above for file in files for above in file.parents)
    holding = {file.parent for file in files}
    reaching: list[Path] = []
    place = 0
    while place < len(files):
        file = files[place]
        for above in reversed(file.parents):
            group = list(files[place : place + below[above]])
            is_all = all(above in one.parents for one in group)
            # The order of a directory for pytest is that of names, as that of paths is.
            if above in holding and is_all and len(group) > 1 and group == sorted(group):
                reaching.append(above)
                place += len(group)
                break
        else:
            reaching.append(file)
            place += 1
    return reaching


def _argument(target: Path, start: Path) -> str:
    """Return what makes pytest find a path: itself, else the nearest directory above that can."""
    # From here up and down again: what stands above the current directory need not be spelled.
    for path in (target, *target.parents):
        for argument in (str(path), os.path.relpath(path, start)):
            if "[" not in argument and "::" not in argument:
                return argument
    return os.curdir


class _Only:
    """A plugin that leaves out all files and directories that do not lead to a named one.

    Args:
        files: absolute paths.
    """

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self._wanted = {*files, *(str(above) for file in files for above in Path(file).parents)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool:
        """Return whether a path is left out."""
        return str(collection_path) not in self._wanted

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the names to a worker of xdist."""
        node.workerinput[_OF_WORKERS] = list(self._files)
