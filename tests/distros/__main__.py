"""Run the shipped scenarios on other distributions: `make distros`.

    python -m tests.distros [--engine machine|none|podman] [--mirror FAMILY=URL] [--trees DIR]
        [--markdown FILE] [NAME...] [-- ARGUMENT...]

NAME is a distribution (`debian:12`); all of them by default. Each has a root tree, made by
debootstrap the first time and kept. `make run ALL=1` is run in it as its root, on this machine's
kernel and network, with a copy of this checkout and this machine's cache of Envoys. Further
arguments go to `envoyassert run`. Ends with 1 unless every run on every distribution is as
expected.

The engine is this machine's, if one answers (`machine`), none, or the Podman of the distribution.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from envoyassert.launch.engine import SOCKET, docker_capability
from envoyassert.launch.kept import cache_dir
from envoyassert.launch.sweep import sweep
from tests.distros.catalogue import DISTRIBUTIONS, Distribution, distribution
from tests.distros.settings import handed_on, paths_in, pip_environment
from tests.distros.table import Row, row_of, table_lines
from tests.distros.tree import CHECKOUT, Inside, Tree, TreeError, root_tree

_REPORT = "root/report"
_PODMAN = "unix:///run/podman/podman.sock"


def _choice(name: str) -> Distribution:
    try:
        return distribution(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _mirror(argument: str) -> tuple[str, str]:
    family, _, url = argument.partition("=")
    if not url or family not in {one.family for one in DISTRIBUTIONS}:
        raise argparse.ArgumentTypeError(f"not debian=URL or ubuntu=URL: {argument!r}")
    return family, url


def main() -> int:
    """Read the arguments, run on each distribution, and print the table."""
    words, passed_on = _split(sys.argv[1:])
    parser = argparse.ArgumentParser(prog="python -m tests.distros")
    parser.add_argument("names", nargs="*", type=_choice, metavar="NAME", help="a distribution")
    parser.add_argument("--engine", choices=("machine", "none", "podman"), default="machine")
    parser.add_argument("--mirror", type=_mirror, action="append", default=[], metavar="FAMILY=URL")
    parser.add_argument("--trees", type=Path, help="where the root trees are kept")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args(words)
    cache = cache_dir()
    trees = options.trees or cache.with_name(f"{cache.name}-distros")
    mirrors = dict(options.mirror)
    rows = []
    for wanted in options.names or DISTRIBUTIONS:
        print(f"== {wanted.name}", flush=True)
        try:
            with root_tree(trees.absolute(), wanted, mirrors.get(wanted.family, "")) as tree:
                rows.append(_try(tree, wanted.name, options.engine, passed_on))
        except TreeError as error:
            rows.append(Row(wanted.name, reason=str(error)))
        finally:
            sweep()
    lines = [f"{line}\n" for line in table_lines(rows)]
    sys.stdout.writelines(lines)
    if options.markdown:
        options.markdown.write_text("".join(lines), "utf-8")
    return 0 if all(row.good for row in rows) else 1


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words before the first `--`, and those after it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _try(tree: Tree, name: str, engine: str, passed_on: list[str]) -> Row:
    """Run the scenarios in a tree."""
    begun = time.monotonic()
    inside = _inside(engine)
    tree.take_over(inside.environment)
    tree.bring_checkout()
    words = shlex.join(["--report", f"/{_REPORT}", *passed_on]).replace("$", "$$")
    script = 'exec make run ALL=1 "ARGS=$1"'
    if engine == "podman":
        script = f"setup/start-podman.sh {_PODMAN}\nexport DOCKER_HOST={_PODMAN}\n{script}"
    report = tree.path / _REPORT
    if report.exists():
        shutil.rmtree(report)
    code = tree.run(["bash", "-euc", script, "bash", words], inside, CHECKOUT)
    took_s = time.monotonic() - begun
    index = report / "index.json"
    results = json.loads(index.read_bytes()) if index.exists() else {}
    return row_of(name, _versions(tree, engine), code, took_s, results)


def _inside(engine: str) -> Inside:
    """Return what a tree is given: how packages are reached, the cache of Envoys, the engine."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=True, timeout=60).stdout
    environment = {**handed_on(os.environ), **pip_environment(listed)}
    binds = {path: path for path in paths_in(environment) if Path(path).is_dir()}
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    binds[str(cache)] = "/root/.cache/envoyassert"
    if engine == "machine" and Path(SOCKET).is_socket():
        # What the engine is to mount has to be where the engine looks for it.
        binds |= {SOCKET: "/run/docker.sock", "/tmp": "/tmp"}
    return Inside(environment, binds)


def _versions(tree: Tree, engine: str) -> dict[str, str]:
    """Return the versions of what the runs depend on."""
    python = tree.output([f"{CHECKOUT}/.venv/bin/python", "--version"])
    found = {"Python": python.removeprefix("Python ")}
    packages = {"bcc": "python3-bpfcc", "strace": "strace", "util-linux": "util-linux"}
    if engine == "podman":
        packages["engine"] = "podman"
    for what, package in packages.items():
        found[what] = tree.output(["dpkg-query", "-W", "-f", "${Version}", package])
    if engine == "machine":
        found["engine"] = docker_capability().detail.partition(" on this kernel")[0]
    return found


if __name__ == "__main__":
    # So that what is half made is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
