"""How many runs there were, at the end of a session: green means that something ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.outputs.output import PrintedOutput

if TYPE_CHECKING:
    from envoyassert.outputs import events


class Counts(PrintedOutput):
    """Prints the counts among pytest's summaries."""

    title = "the counts"

    def session_ended(self, event: events.SessionEnded) -> None:
        """Print how many runs there were of which outcome, or that nothing was run."""
        from envoyassert.report.summary import summary_lines

        if event.records or event.interrupted:
            self._console.section("envoyassert")
            for line in summary_lines(event.records.values(), event.interrupted):
                self._console.line(line)
        if event.nothing_ran:
            words = "ERROR: nothing was run: this machine lacks what every test needs"
            self._console.line((words, "red"))
