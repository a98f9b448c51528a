"""The report of a session for people: an index of its runs, and a page for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.outputs.json_report import JSONReport
from envoyassert.outputs.output import Detail, Option, OutputRefusedError, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events

_HTML = Option(
    "html",
    "DIR",
    "Write the report of the session there: index.html, a page for each run, and the results for "
    "machines as --envoyassert-report writes them.",
    "Write the report of the session there: index.html, and a page for each run.",
)


class HTMLReport(JSONReport):
    """Writes the results into a directory, and draws pages of them at the end."""

    title = "the pages of the session"
    option = _HTML
    options = (_HTML,)
    wants = JSONReport.wants | {Detail.PAGE}

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it if a directory is named.

        Raises:
            OutputRefusedError: the results are to be written elsewhere too.
        """
        if cls.option.name in settings.options and JSONReport.option.name in settings.options:
            raise OutputRefusedError(
                f"{cls.option.flag} writes the results too: leave out {JSONReport.option.flag}"
            )
        return super().of(settings)

    def session_began(self, event: events.SessionBegan) -> None:
        """Remove the last session's results.

        Raises:
            OutputRefusedError: the directory cannot be written, is in use, or holds other things.
        """
        from envoyassert.outputs.atlas import INDEX, refuse_foreign

        refuse_foreign(self._directory / INDEX, self.option.flag)
        super().session_began(event)

    def session_ended(self, event: events.SessionEnded) -> None:
        """Write the index of the results, draw the pages, and say where they are."""
        from envoyassert.outputs.atlas import INDEX, draw, read_session

        super().session_ended(event)
        if self._runs is not None:
            draw(read_session(self._directory), self._directory, results="")
            self._console.line(f"report: {self._directory / INDEX}")
