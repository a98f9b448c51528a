"""What the end of a pytest session would take time for, and no scenario needs."""

from __future__ import annotations

import gc

import pytest

from envoyassert.pytest_plugin.named import named_files
from envoyassert.pytest_plugin.options import YAML_SUFFIXES


class Spared:
    """A pytest plugin for `envoyassert run` that keeps others from it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Leave out Hypothesis, where no test in Python is named.

        At the end it imports all of itself, to say that it wrote no observations.
        """
        plugins = config.pluginmanager
        if plugins.hasplugin("hypothesispytest") and all(
            file.endswith(YAML_SUFFIXES) for file in named_files(config)
        ):
            plugins.unregister(name="hypothesispytest")

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Look for garbage once: pytest does so ten times, for what cannot be freed properly."""
        gc.collect()
        gc.freeze()
