"""What a pytest session would take time for, and no scenario needs."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from envoyassert.pytest_plugin.named import named_files
from envoyassert.pytest_plugin.options import YAML_SUFFIXES
from envoyassert.pytest_plugin.session import session_of


class Spared:
    """A pytest plugin for `envoyassert run`."""

    def __init__(self) -> None:
        self._loaded = False

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
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Let the kernel check the probe while the scenarios are read, if they run here."""
        config = session.config
        elsewhere = config.getoption("collectonly") or config.getoption("dist", "no") != "no"
        if not elsewhere and session_of(config).options.tracer == "ebpf":
            from envoyassert.probe.program import load_early

            load_early()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None]:
        """Keep what the first run has loaded out of all looks for garbage: it stays."""
        yield
        if not self._loaded:
            self._loaded = True
            gc.freeze()

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Look for garbage once: pytest does so ten times, for what cannot be freed properly."""
        gc.collect()
        gc.freeze()
