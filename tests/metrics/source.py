"""The modules of a package as they are read from a source tree, and what each of them imports."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "envoyassert"


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """Number of its lines."""
        return len(self.text.splitlines())

    @property
    def comments(self) -> list[str]:
        """Its comments, each from the `#` on."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [token.string for token in tokens if token.type == tokenize.COMMENT]


def read_modules(root: Path) -> dict[str, Module]:
    """Read every module of the package in a source tree.

    Args:
        root: the directory that holds the package.

    Returns:
        The modules by their dotted names; a package by its own name.
    """
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, text, ast.parse(text, str(path)))
    return modules


@dataclass(frozen=True)
class Imports:
    """What a module imports of its own package: when it is loaded, and for a type checker alone."""

    loaded: frozenset[str]
    typing: frozenset[str]


def own_imports(modules: dict[str, Module]) -> dict[str, Imports]:
    """Return what each module imports of the package, by name.

    What a function imports when it is called is left out: it makes no cycle. So is that a module is
    loaded after the packages that it is in.
    """
    return {name: _imports(module, modules) for name, module in modules.items()}


def _imports(module: Module, modules: dict[str, Module]) -> Imports:
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for node, typing in _statements(module.tree.body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        # `from a import b` imports the module a.b if there is one, or a name that is in a.
        known = {name if name in modules else name.rpartition(".")[0] for name in names}
        found[typing] |= (known & modules.keys()) - {module.name}
    return Imports(frozenset(found[False]), frozenset(found[True]))


def _statements(body: list[ast.stmt], typing: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the statements that run when a module is loaded, and whether none of them ever does."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield node, typing
        guarded = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, name, []), typing or (guarded and name == "body"))
        for handler in getattr(node, "handlers", []):
            yield from _statements(handler.body, typing)


def cycles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """Return the sets of modules that reach each other by their imports, each in order.

    Args:
        graph: what each module imports.
    """
    reached = {name: _reached(graph, name) for name in graph}
    found = {
        tuple(sorted(other for other in ways if name in reached[other]))
        for name, ways in reached.items()
        if name in ways
    }
    return [list(names) for names in sorted(found)]


def _reached(graph: dict[str, frozenset[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph[waiting.pop()] - found
        found |= fresh
        waiting.extend(fresh)
    return found
