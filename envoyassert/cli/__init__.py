"""The command line. Every command is a module of its own, imported when it is called.

So `replay`, `show`, `import`, `schema` and `check` need neither root nor bcc nor Docker. This
module itself is what the program begins with: it imports nothing that takes time.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from envoyassert import __version__

if TYPE_CHECKING:
    from envoyassert.cli.command_line import app, main

__all__ = ["app", "main", "program"]

#: After how many new objects Python looks for garbage. By default after some hundred, so it looks
#: hundreds of times while a command is loaded, of which nothing is garbage. This is more than what
#: `run` loads before its first run, after which it is left out of all looks.
_NEW_OBJECTS = 200_000


def program() -> None:
    """Be the program `envoyassert`: `main`, where nothing else of the process is to come."""
    if sys.argv[1:] == ["--version"] and _says_version():
        return
    gc.set_threshold(_NEW_OBJECTS)
    sys.modules.setdefault(_NoPlugins.NAME, _NoPlugins(_NoPlugins.NAME))
    from envoyassert.cli.command_line import run_to_the_end

    run_to_the_end()


class _NoPlugins(ModuleType):
    """Stands for the module of pydantic that loads plugins of other packages.

    To find them pydantic reads what every installed package provides, and imports a third of the
    standard library for that: a tenth of the time of `check`. So there are none for the models of
    envoyassert. Those of others (a conftest.py) have theirs.
    """

    NAME = "pydantic.plugin._loader"
    _WITHOUT = ("envoyassert", "pydantic")

    def get_plugins(self) -> Iterable[Any]:
        """Return the plugins for a model that is being built: none for one of envoyassert."""
        # Only the caller knows which it is, `create_schema_validator` by this name. If a later
        # pydantic has another one, plugins are loaded for all.
        caller = sys._getframe(1)  # noqa: SLF001 - nothing is handed over
        module = caller.f_locals.get("schema_type_module")
        if isinstance(module, str) and module.partition(".")[0] in self._WITHOUT:
            return ()
        found: Iterable[Any] = self._real.get_plugins()
        return found

    @cached_property
    def _real(self) -> Any:
        """The real module; this one stays in its place."""
        del sys.modules[self.NAME]
        try:
            return import_module(self.NAME)
        finally:
            sys.modules[self.NAME] = self

    def __getattr__(self, name: str) -> Any:
        """Return what else a later pydantic may look for in the real module."""
        if name.startswith("__"):  # the import asks whether this is a package
            raise AttributeError(name)
        return getattr(self._real, name)


def _says_version() -> bool:
    """Print the version, and return whether that was possible; if not, click says why."""
    if sys.stdout is None:
        return False
    try:
        os.write(1, f"envoyassert, version {__version__}\n".encode())
    except OSError:
        return False
    return True


def __getattr__(name: str) -> object:
    """Return what belongs to this module for who imports it, and is not needed by the program."""
    if name in ("app", "main"):
        from envoyassert.cli import command_line

        return getattr(command_line, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
