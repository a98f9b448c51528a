"""Steps that start another Envoy beside the first: for its own sake, or to take over from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from envoyassert.scenario.grammar import Argument, Many
from envoyassert.scenario.overlay import merge
from envoyassert.steps.base import Part
from envoyassert.steps.load import StepUnderLoad

#: The argument that says which Envoy of a hot restart it is; 0, or none, for the first.
EPOCH = "--restart-epoch"


def epoch_of(args: Sequence[str]) -> int:
    """Return which Envoy of a hot restart is started with arguments: 0 for the first."""
    return _epoch_said(args) or 0


def with_epoch(args: Sequence[str], epoch: int) -> tuple[str, ...]:
    """Return arguments that say which Envoy of a hot restart it is; what they say already stays."""
    said = _epoch_said(args) is not None
    return tuple(args) if said else (*args, EPOCH, str(epoch))


def _epoch_said(args: Sequence[str]) -> int | None:
    said: int | None = None
    for word, after in zip(args, (*args[1:], ""), strict=False):
        name, joined, value = word.partition("=")
        number = value if joined else after
        if name == EPOCH and number.isdecimal():
            said = int(number)
    return said


class Another(Part):
    """In what another Envoy differs from the one that the scenario describes."""

    concurrency: int | None = Field(
        None, ge=0, le=1024, description="Its --concurrency; by default that of the first."
    )
    overlay: dict[str, Any] = Field(
        default_factory=dict, description="Merged into its config, as `envoy.overlay` is."
    )
    args: Many[Argument] = Field(
        (), description="Arguments after those of the first, or in place of one of the same name."
    )

    heading: ClassVar[str] = "Another Envoy"
    examples: ClassVar[Mapping[str, str]] = {
        "concurrency": "concurrency: 4",
        "overlay": "overlay: {admin: {address: {socket_address: {port_value: 9902}}}}",
        "args": 'args: [--base-id, "1"]',
    }


class StartingStep(StepUnderLoad):
    """A step that starts another Envoy."""

    starts_another: ClassVar[bool] = True

    @property
    def another(self) -> Another:
        """In what the Envoy differs."""
        wanted: Another = getattr(self, self.kind)
        return wanted

    def configs(
        self, config: dict[str, Any], files: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
        """Yield the config of the Envoy that is started, if it has one of its own."""
        if self.another.overlay:
            yield merge(config, self.another.overlay), files

    def parts(self) -> Sequence[Any]:
        """Return what its config has of its own."""
        return [self.another.overlay]

    def arguments(self) -> Sequence[str]:
        """Return its own arguments."""
        return self.another.args


class StartStep(StartingStep):
    """Start another Envoy in the same network namespace; over when it is LIVE or has ended.

    What it is called is the name of the step. Needs `launcher: process`.
    """

    kind: ClassVar[str] = "start"
    free: ClassVar[tuple[tuple[str, ...], ...]] = (("start", "overlay"),)
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "start": "start: {}, name: second",
    }

    start: Another = Field(description="In what it differs from the first; {} if in nothing.")


class HotRestartStep(StartingStep):
    """Start the next epoch, which takes over the sockets; over when the one before has ended.

    The scenario's `envoy.args` say how long the one before may go on: `--parent-shutdown-time-s`,
    `--drain-time-s`. Needs `launcher: process`.
    """

    kind: ClassVar[str] = "hot_restart"
    free: ClassVar[tuple[tuple[str, ...], ...]] = (("hot_restart", "overlay"),)
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "hot_restart": "hot_restart: {concurrency: 4}",
    }

    hot_restart: Another = Field(description="In what the next epoch differs; {} if in nothing.")
