"""The facts of a run as properties of its test, which JUnit's XML and pytest's plugins show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from envoyassert.outputs.output import Output, Settings
from envoyassert.shown import joined

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events

#: Between the verdicts of a run's attempts.
_SEPARATOR = ", "


class JUnitProperties(Output):
    """Gives each test the properties `envoyassert_verdict`, `envoyassert_envoy` and so on."""

    title = "the properties of a test"

    def __init__(self) -> None:
        self._attempts: dict[str, list[str]] = {}

    @classmethod
    def of(cls, _settings: Settings) -> Self:
        """Return it: every session has it."""
        return cls()

    def properties(self, event: events.RunEvent) -> Mapping[str, str]:
        """Return with what the run is to be made, and later what it was made with."""
        if event.event == "run_planned":
            asked = event.run.asked
            return {
                "scenario": event.run.scenario.name,
                "envoy": asked.envoy,
                "launcher": asked.launcher,
                "concurrency": str(asked.concurrency),
            }
        if event.event == "evidence_kept":
            return {"trace": event.trace, "log": event.log}
        if event.event != "run_judged":
            return {}
        attempts = self._attempts.setdefault(event.run.id, [])
        attempts.append(event.status)
        return {
            "envoy": event.envoy.version or event.envoy.source,
            "envoy_source": event.envoy.source,
            "build_id": event.envoy.build_id,
            "image_digest": event.envoy.image_digest,
            "launcher": event.envoy.launcher,
            "kernel": event.kernel,
            "verdict": event.words,
            "certificate": event.certificate,
            "stood_in": joined(event.stood_in),
            "attempts": _SEPARATOR.join(attempts) if len(attempts) > 1 else "",
        }
