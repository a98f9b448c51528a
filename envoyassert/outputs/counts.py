"""How many runs there were, at the end of a session: green means that something ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import Self

from envoyassert.outputs.output import Console, Output, Settings

if TYPE_CHECKING:
    from envoyassert.outputs import events


class Counts(Output):
    """Prints the counts among pytest's summaries.

    Args:
        console: where they are printed.
    """

    title = "the counts"

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return it: every session has it."""
        return cls(settings.console)

    def session_ended(self, event: events.SessionEnded) -> None:
        """Print how many runs there were of which outcome, or that nothing was run."""
        from envoyassert.report.summary import summary_lines

        if event.records:
            self._console.section("envoyassert")
            for line in summary_lines(event.records.values()):
                self._console.line(line)
        if event.nothing_ran:
            words = "ERROR: nothing was run: this machine lacks what every test needs"
            self._console.line((words, "red"))
