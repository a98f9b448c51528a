"""With what, and as whom, scenarios are run: lines of a session before the first run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.outputs.output import PrintedOutput

if TYPE_CHECKING:
    from envoyassert.outputs import events


class Header(PrintedOutput):
    """Prints them when it is known that there are scenarios."""

    title = "the header"
    _asked: events.SessionAsked | None = None

    def session_began(self, event: events.SessionBegan) -> None:
        """Take note of what was asked for."""
        self._asked = event.asked

    def runs_found(self, event: events.RunsFound) -> None:
        """Print them, once: under xdist each worker finds the runs."""
        asked = self._asked
        if asked is None or not event.has_scenarios:
            return
        self._asked = None
        envoys = ", ".join(asked.envoys) or "as each scenario says"
        parts = [f"launcher {', '.join(asked.launchers)}", f"Envoy {envoys}"]
        parts += [f"tracer {asked.tracer}"] if asked.tracer != "ebpf" else []
        parts += [f"witness {asked.witness}"] if asked.witness else []
        parts += ["untrusted"] if asked.untrusted else []
        self._console.line(f"envoyassert: {'; '.join(parts)}")
        if event.privileges:
            self._console.line(f"envoyassert: {event.privileges}")
