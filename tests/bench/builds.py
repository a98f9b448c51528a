"""The two states of the project that are compared: this checkout, and a commit before it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoyassert.launch.kept import cache_dir
from tests.bench.processes import CommandError, environment, run

ROOT = Path(__file__).resolve().parents[2]
#: What the ratios of docs/performance.md are against.
BASELINE = "b18f4f6"

_WORK = Path(__file__).parent / "work"


class BuildError(Exception):
    """The state to compare with is not available; the text says why."""


@dataclass(frozen=True)
class Build:
    """A checkout with a virtual environment.

    Args:
        name: for people: its commit, or `now`.
        root: the checkout.
    """

    name: str
    root: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.root / ".venv/bin/python")

    def command(self, *words: str) -> list[str]:
        """Return the command line of its `envoyassert`."""
        return [str(self.root / ".venv/bin/envoyassert"), *words]

    def work(self, script: str, *words: str, cwd: Path) -> dict[str, Any]:
        """Run a script of `work/` in its interpreter and return the figures that it printed.

        Args:
            script: its name, without the extension.
            words: its arguments.
            cwd: where.

        Raises:
            CommandError: it failed.
        """
        usage = run(
            [self.python, str(_WORK / f"{script}.py"), *words], cwd=cwd, env=kept_bytecode()
        )
        figures: dict[str, Any] = json.loads(usage.output.splitlines()[-1])
        return figures


def kept_bytecode() -> Mapping[str, str]:
    """Return the environment of a command, with bytecode in a directory of the bench.

    So a checkout of another user gets no files of root.
    """
    return {**environment(), "PYTHONPYCACHEPREFIX": str(_kept() / "bytecode")}


def commit_of(name: str) -> str:
    """Return the full name of a commit.

    Raises:
        BuildError: this repository does not have it.
    """
    return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", what=name)


def build_of(commit: str) -> Build:
    """Return a commit as a build; the first time it is checked out and gets its environment.

    Both are kept in the cache. The checkout is a clone: a worktree would be an entry in this
    repository, of root where `make bench` uses sudo.

    Args:
        commit: any name of it.

    Raises:
        BuildError: there is no such commit, or it cannot be set up.
    """
    full = commit_of(commit)
    root = _kept() / full[:12]
    if not root.exists():
        part = root.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        _git("clone", "--quiet", "--no-checkout", str(ROOT), str(part), what=commit)
        _git("-C", str(part), "checkout", "--quiet", "--detach", full, what=commit)
        part.rename(root)
    try:
        run([str(root / "setup/create-venv.sh")], cwd=root)
    except (CommandError, OSError) as error:
        raise BuildError(f"{commit}: its environment cannot be made: {error}") from error
    return Build(commit, root)


def _kept() -> Path:
    return cache_dir() / "bench"


def _git(*words: str, what: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise BuildError(f"{what}: {said[-1] if said else 'this repository has no such commit'}")
    return done.stdout.strip()
