"""What each scenario that was run says and likely does not mean: green would prove little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.outputs.output import Console, PrintedOutput

if TYPE_CHECKING:
    from envoyassert.outputs import events


class Doubts(PrintedOutput):
    """Prints the warnings of `check`, each once, among pytest's summaries."""

    title = "the warnings"

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._lines: dict[str, None] = {}

    def run_planned(self, event: events.RunPlanned) -> None:
        """Take note of those of a run: all runs of a scenario have the same."""
        self._lines.update(dict.fromkeys(one.as_line("warning") for one in event.doubts))

    def session_ended(self, event: events.SessionEnded) -> None:
        """Print them."""
        if self._lines:
            self._console.section("warnings about scenarios")
        for line in self._lines:
            self._console.line((line, "yellow"))
