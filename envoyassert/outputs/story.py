"""The story of every run, and what of it no expectation constrains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from envoyassert.outputs.output import Console, Detail, Option, Output, Settings
from envoyassert.shown import joined

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events

_STORY = Option(
    "story",
    "",
    "Print the story of every run: its start-up in phases, and its listening sockets.",
)
_COVERAGE = Option(
    "coverage",
    "",
    "Print which listeners, sockets and options of every run no expectation constrains.",
    "Show which listeners, sockets and options of each run no expectation constrains.",
)
#: As pytest calls what a test printed.
_SECTION = "Captured story setup"


class Story(Output):
    """A section of each test's report; in `envoyassert run` lines below that of the run.

    Args:
        console: where they are printed, None for sections.
        wants: the story, the coverage, or both.
    """

    title = "the story"
    options = (_STORY, _COVERAGE)

    def __init__(self, console: Console | None, wants: frozenset[Detail]) -> None:
        self._console = console
        self.wants = wants
        self._stories: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it if the story or the coverage is asked for."""
        asked = {_STORY.name: Detail.STORY, _COVERAGE.name: Detail.COVERAGE}
        wants = frozenset(detail for name, detail in asked.items() if name in settings.options)
        return cls(settings.console if settings.is_command else None, wants) if wants else None

    def sections(self, event: events.RunEvent) -> Mapping[str, str]:
        """Return the story, unless it is printed with the run's line."""
        if self._console is not None or event.event != "run_judged":
            return {}
        return {_SECTION: joined(event.story)}

    def run_judged(self, event: events.RunJudged) -> None:
        """Keep the story of the last attempt."""
        if self._console is not None:
            self._stories[event.run.id] = event.story

    def run_ended(self, event: events.RunEnded) -> None:
        """Print it."""
        story = self._stories.pop(event.id, ())
        if self._console is not None:
            for line in story:
                self._console.line(f"  {line}".rstrip())
