"""What follows `envoyassert run`: pytest knows which words are options of its, and which paths."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence

import click
import pytest

from envoyassert.cli import exits
from envoyassert.cli.files import scenario_files
from envoyassert.cli.output import say
from envoyassert.pytest_plugin.named import name_files
from envoyassert.pytest_plugin.options import YAML_SUFFIXES
from envoyassert.scenario.vocabulary import did_you_mean


class Arguments:
    """A pytest plugin that takes paths for scenarios, and refuses options that no plugin has.

    Args:
        own: the options of the command, for suggestions.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._own = own
        self._found = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Generator[None]:
        """Once all plugins and conftest files have their options, separate these from paths."""
        yield
        known, more = parser.parse_known_and_unknown_args(args)
        unknown = [word for word in more if word.startswith("-")]
        if unknown:
            name = unknown[0].partition("=")[0]
            hint = did_you_mean(name, self._own)
            raise pytest.UsageError(
                f"unrecognized arguments: {' '.join(unknown)}" + (f" ({hint})" if hint else "")
            )
        # Before pytest 9, what follows behind an option is not among the known.
        paths = [*known.file_or_dir, *(word for word in more if word not in unknown)]
        try:
            files = scenario_files(paths)
        except click.UsageError as error:
            raise pytest.UsageError(error.message) from error
        other = [str(file) for file in files if file.suffix not in YAML_SUFFIXES]
        if other and known.envoyassert_untrusted:
            raise pytest.UsageError(
                f"{other[0]} is untrusted, and no YAML: pytest would execute a test in Python"
            )
        self._found = bool(files)
        name_files(early_config, (file.resolve() for file in files), paths or [os.curdir])

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self) -> int | None:
        """End here if there is nothing to run."""
        if self._found:
            return None
        say("no scenario files found", err=True)
        return exits.NOTHING


class OwnNames:
    """A pytest plugin that has refusals name options as the command does: `--report`.

    Args:
        own: the options of the command.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._own = own

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self) -> Generator[None, object, object]:
        """Say what is refused while pytest runs by the options of the command."""
        try:
            return (yield)
        except pytest.UsageError as error:
            raise pytest.UsageError(*map(self._renamed, map(str, error.args))) from error

    def _renamed(self, text: str) -> str:
        def own(found: re.Match[str]) -> str:
            return f"--{found[1]}" if f"--{found[1]}" in self._own else found[0]

        return re.sub("--envoyassert-([a-z]+(?:-[a-z]+)*)", own, text)
