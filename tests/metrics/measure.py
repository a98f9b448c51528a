"""What is counted in a source tree."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.metrics.source import PACKAGE, Module, cycles, own_imports, read_modules

SHORT_MODULE = 60
LONG_FUNCTION = 60
COMPLEX = 12
DUPLICATE = 6
_DEADLINE_S = 300
_IGNORE = re.compile(r"#\s*(type:\s*ignore|noqa)\b")


@dataclass(frozen=True)
class Figure:
    """One figure: its name, its value, and what it counts, one line each."""

    name: str
    value: float
    items: tuple[str, ...] = ()


def measure(root: Path) -> list[Figure]:
    """Return the figures of a source tree.

    Args:
        root: the directory that holds the package.

    Raises:
        FileNotFoundError: it holds no such package.
        RuntimeError: ruff or pylint cannot read it.
    """
    modules = read_modules(root)
    if not modules:
        raise FileNotFoundError(f"{root}: no package {PACKAGE}")
    lines = {name: module.lines for name, module in modules.items()}
    longest = max(lines, key=lambda name: lines[name])
    imports = own_imports(modules)
    loaded = cycles({name: found.loaded for name, found in imports.items()})
    checked = cycles({name: found.loaded | found.typing for name, found in imports.items()})
    return [
        Figure("modules", len(modules)),
        Figure("lines", sum(lines.values())),
        Figure("lines of a module, median", statistics.median(lines.values())),
        Figure("lines of a module, most", lines[longest], (longest,)),
        _counted(
            f"modules under {SHORT_MODULE} lines",
            [f"{name}: {number}" for name, number in lines.items() if number < SHORT_MODULE],
        ),
        _counted(f"functions over {LONG_FUNCTION} lines", _long_functions(modules)),
        _counted(f"functions of complexity over {COMPLEX}", complex_functions(root)),
        _counted("Any", _any(modules)),
        _counted("type: ignore, noqa", _ignores(modules)),
        _counted("import cycles", map(" ".join, loaded)),
        _counted("import cycles with those for types", map(" ".join, checked)),
        _counted("classes and public functions of one name", _same_names(modules)),
        _counted("modules of one name", _same_modules(modules)),
        _counted(f"runs of {DUPLICATE} lines or more twice", duplicates(root)),
    ]


def _counted(name: str, items: Iterable[str]) -> Figure:
    found = tuple(items)
    return Figure(name, len(found), found)


def _long_functions(modules: dict[str, Module]) -> Iterator[str]:
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONG_FUNCTION:
                    yield f"{name}.{node.name}: {lines}"


def _any(modules: dict[str, Module]) -> Iterator[str]:
    """Yield where a type is `Any`; imports of it are none."""
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if getattr(node, "id", getattr(node, "attr", "")) == "Any":
                yield f"{name}:{getattr(node, 'lineno', 0)}"


def _ignores(modules: dict[str, Module]) -> Iterator[str]:
    for name, module in modules.items():
        yield from (f"{name}: {text}" for text in module.comments if _IGNORE.match(text))


def _same_names(modules: dict[str, Module]) -> Iterator[str]:
    """Yield what several modules define at their top, with these modules."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    places: dict[str, list[str]] = {}
    for name, module in modules.items():
        for node in module.tree.body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    return _several(places)


def _same_modules(modules: dict[str, Module]) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for name in modules:
        places.setdefault(name.rpartition(".")[2], []).append(name)
    return _several(places)


def _several(places: dict[str, list[str]]) -> Iterator[str]:
    for name, found in sorted(places.items()):
        if len(set(found)) > 1:
            yield f"{name}: {' '.join(found)}"


def complex_functions(root: Path) -> list[str]:
    """Return the functions whose cyclomatic complexity is over COMPLEX, as ruff counts it."""
    limit = f"lint.mccabe.max-complexity={COMPLEX}"
    options = ["check", "--isolated", "--ignore-noqa", "--exit-zero", "--no-cache"]
    options += ["--select", "C901", "--config", limit, "--output-format", "json"]
    found = _tool("ruff", root, *options, PACKAGE)
    return [
        f"{Path(one['filename']).relative_to(root.resolve())}:{one['location']['row']}: "
        f"{one['message']}"
        for one in found
    ]


def duplicates(root: Path) -> list[str]:
    """Return the runs of lines that are in several modules, as pylint finds them."""
    options = ["--rcfile=/dev/null", "--persistent=n", "--exit-zero"]
    options += ["--disable=all", "--enable=duplicate-code", "--ignore-signatures=n"]
    options += [f"--min-similarity-lines={DUPLICATE}", "--output-format=json2"]
    found = _tool("pylint", root, *options, PACKAGE)
    return [one["message"] for one in found["messages"]]


def _tool(name: str, root: Path, *arguments: str) -> Any:
    """Run a tool of this Python on a source tree; return the JSON that it prints."""
    command = [sys.executable, "-m", name, *arguments]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)
