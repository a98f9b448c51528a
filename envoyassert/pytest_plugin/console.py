"""Where outputs print in a session of pytest: its terminal, among its summaries at the end."""

from __future__ import annotations

import sys

import pytest

from envoyassert.shown import shown


class PytestConsole:
    """The terminal of a session, None if it has none; see `envoyassert.outputs.output.Console`.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._holds = False
        self._held: list[tuple[str, tuple[str | tuple[str, str], ...], bool]] = []

    @property
    def _reporter(self) -> pytest.TerminalReporter | None:
        return self._config.pluginmanager.get_plugin("terminalreporter")

    @property
    def is_shown(self) -> bool:
        """Whether pytest has a terminal."""
        return self._reporter is not None

    def section(self, title: str) -> None:
        """Print a heading."""
        self._print("section", (title,), always=False)

    def line(self, *parts: str | tuple[str, str], always: bool = False) -> None:
        """Print a line; see `Console`."""
        self._print("line", parts, always)

    def command(self, line: str) -> None:
        """Print a line for a program; see `Console`."""
        self._print("command", (line,), always=True)

    def hold(self) -> None:
        """Keep what is printed from now on until pytest prints its summaries."""
        self._holds = True

    def release(self) -> None:
        """Print what was kept."""
        self._holds = False
        held, self._held = self._held, []
        for what, parts, always in held:
            self._print(what, parts, always)

    def _print(self, what: str, parts: tuple[str | tuple[str, str], ...], always: bool) -> None:
        if self._holds:
            self._held.append((what, parts, always))
            return
        texts = [part if isinstance(part, tuple) else (part, "") for part in parts]
        reporter = self._reporter
        if reporter is None:
            if always:
                plain = "".join(text for text, _ in texts)
                line = plain if what == "command" else shown(plain)
                print(line, file=sys.stdout if what == "command" else sys.stderr)
        elif what == "section":
            reporter.section(shown(texts[0][0]))
        elif what == "command":
            line = texts[0][0]
            reporter.write_line(line)
        else:
            *texts, (last, colour) = texts
            reporter.ensure_newline()
            if self._config.get_terminal_writer().width_of_current_line:
                reporter.write_line("")  # the state of xdist's workers, on a terminal
            for text, its in texts:
                reporter.write(shown(text), **({its: True} if its else {}))
            reporter.write_line(shown(last), **({colour: True} if colour else {}))
            # To a pipe or a file too: who waits for a verdict reads it there.
            reporter.flush()
