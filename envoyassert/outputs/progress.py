"""What `envoyassert run` shows while it works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from envoyassert.outputs.output import Console, Output, Settings
from envoyassert.shown import shown

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events

#: How often the live line is drawn again, in seconds.
_INTERVAL_S = 0.2
#: ECMA-48: back to the first column, erase to the end of the line.
_CLEAR = "\r\x1b[K"
_COLOURS = {
    "PASS": "green",
    "FAIL": "red",
    "KNOWN_DEFECT": "yellow",
    "INCONCLUSIVE": "yellow",
    "ERROR": "red",
}


class Progress(Output):
    """A line for every run that is over, and on a terminal one that shows those under way.

    Args:
        console: where they are printed.
    """

    title = "the progress"
    needs_beginning = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shows = False
        self._started = time.monotonic()
        self._total = 0
        self._done = 0
        self._running: dict[str, tuple[str, float]] = {}
        self._stood_in: dict[str, tuple[str, ...]] = {}
        self._live: LiveLine | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it for `envoyassert run`."""
        return cls(settings.console) if settings.is_command else None

    def session_began(self, event: events.SessionBegan) -> None:
        """Begin, unless the user wants pytest's own lines (-v, -q) or no run at all."""
        self._shows = self._console.is_shown and event.verbosity == 0 and not event.collects_only
        if self._shows and is_terminal():
            self._live = LiveLine(self._text)

    def runs_found(self, event: events.RunsFound) -> None:
        """Learn how many runs there are."""
        self._total = event.total

    def _text(self) -> str:
        now = time.monotonic()
        total = f" of {self._total}" if self._total else ""
        parts = [f"{now - self._started:.1f} s", f"{self._done}{total} done"]
        running = list(self._running.values())
        parts += [shown(f"{title} {now - since:.1f} s") for title, since in running]
        return "  ".join(parts)

    def run_began(self, event: events.RunBegan) -> None:
        """A run begins."""
        self._running[event.id] = (event.title, time.monotonic())
        if self._live is not None:
            self._live.show()

    def run_judged(self, event: events.RunJudged) -> None:
        """Remember what stood in for what is missing."""
        self._stood_in[event.run.id] = event.stood_in

    def run_ended(self, event: events.RunEnded) -> None:
        """A run is over: its line stays."""
        self._running.pop(event.id, None)
        stood_in = self._stood_in.pop(event.id, ())
        if not self._shows:
            return
        self._done += 1
        if self._live is not None:
            self._live.hide()
        elapsed = time.monotonic() - self._started
        self._console.line(
            f"{elapsed:7.1f} s  ",
            (f"{event.word:12}", _COLOURS.get(event.word, "")),
            f"  {event.title}  {event.duration_s:.1f} s",
        )
        for one in stood_in:
            self._console.line(f"{'':25}stood in: {one}")
        if self._live is not None and self._running:
            self._live.show()

    def session_stopping(self, event: events.SessionStopping) -> None:
        """Leave nothing on the terminal that is not finished."""
        self._close()

    def session_ended(self, event: events.SessionEnded) -> None:
        """Leave nothing on the terminal that is not finished."""
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None


def is_terminal() -> bool:
    """Return whether a line on the standard output can be drawn again."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class LiveLine:
    """The last line of a terminal, drawn again by a thread of its own.

    Args:
        text: returns what to show.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        # pytest puts a file instead of the standard output while a test runs.
        self._terminal = os.dup(sys.stdout.fileno())
        self._lock = threading.Lock()
        self._shown = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="progress", daemon=True)
        self._thread.start()

    def show(self) -> None:
        """Draw it until it is hidden."""
        with self._lock:
            self._shown = True
            self._draw()

    def hide(self) -> None:
        """Make room for something else."""
        with self._lock:
            if self._shown:
                self._write(_CLEAR)
            self._shown = False

    def close(self) -> None:
        """Hide it for good."""
        self.hide()
        self._closed.set()
        self._thread.join()
        os.close(self._terminal)

    def _redraw(self) -> None:
        while not self._closed.wait(_INTERVAL_S):
            with self._lock:
                if self._shown:
                    self._draw()

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        text = self._text()
        # One column is left free: some terminals wrap when the last one is written.
        self._write(_CLEAR + (text if len(text) < columns else text[: columns - 2] + "…"))

    def _write(self, text: str) -> None:
        os.write(self._terminal, text.encode(sys.stdout.encoding or "utf-8", "replace"))
