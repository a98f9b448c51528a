"""Handing events to outputs: a fault of one costs neither the verdict nor the other outputs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from envoyassert.errors import EnvoyAssertError, MachineError, fault_words
from envoyassert.outputs.baselines import Baselines
from envoyassert.outputs.output import Console, Detail, Output, OutputRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from envoyassert.outputs.events import Event, RunEvent

E = TypeVar("E", bound="Event")


class Stream:
    """The outputs of a session.

    Args:
        outputs: in the order in which they get an event.
        console: where faults are printed.
    """

    def __init__(self, outputs: Iterable[Output], console: Console) -> None:
        self.outputs = [*outputs]
        self.console = console
        #: Whether an output could not be written without which the session is not green.
        self.lacks_output = False
        self._reported: set[tuple[str, str]] = set()

    @property
    def needs_beginning(self) -> bool:
        """Whether an output needs the beginning of a session in which there is no run."""
        return any(output.needs_beginning for output in self.outputs)

    def wants(self, detail: Detail) -> bool:
        """Return whether an output wants to know this of a verdict."""
        return any(detail in output.wants for output in self.outputs)

    def artifacts(self) -> Output | None:
        """Return the output that keeps traces and logs, None if none does."""
        return next((output for output in self.outputs if output.artifacts is not None), None)

    def baselines(self) -> Baselines | None:
        """Return what runs are held against, None if there are no baselines."""
        return next((output for output in self.outputs if isinstance(output, Baselines)), None)

    def emit(self, event: E, failed: Callable[[E, str, Exception], E] | None = None) -> None:
        """Hand an event to each output.

        Args:
            event: the event.
            failed: takes the fault of an output without which the session is not green, as the
                event, the output's title and what was raised; returns the event for the others.

        Raises:
            OutputRefusedError: an output is not asked for in a way that it can be made.
        """
        # Whose fault changes the event comes first.
        first = failed is not None
        for output in sorted(self.outputs, key=lambda one: not one.is_essential and first):
            error = _raised(getattr(output, event.handler), event)
            if isinstance(error, OutputRefusedError):
                raise error
            if error is not None and output.is_essential and failed is not None:
                event = failed(event, output.title, error)
            elif error is not None:
                self._report(output, error)

    def properties(self, event: RunEvent) -> dict[str, str]:
        """Return the properties that outputs give to the test of an event."""
        return self._merged(event, Output.properties.__name__)

    def sections(self, event: RunEvent) -> dict[str, str]:
        """Return the texts that outputs add to the reports of a test, by title."""
        return self._merged(event, Output.sections.__name__)

    def _merged(self, event: RunEvent, method: str) -> dict[str, str]:
        found: dict[str, str] = {}

        def take(output: Output) -> None:
            found.update(getattr(output, method)(event))

        for output in self.outputs:
            error = _raised(take, output)
            if error is not None:
                self._report(output, error)
        return found

    def _report(self, output: Output, error: Exception) -> None:
        """Print a fault, once."""
        self.lacks_output = self.lacks_output or output.is_essential
        words = str(error) if isinstance(error, EnvoyAssertError) else fault_words(error)
        if (output.title, words) in self._reported:
            return
        self._reported.add((output.title, words))
        if output.is_essential:
            for line in f"ERROR: {words}".split("\n"):
                self.console.line((line, "red"), always=True)
        else:
            if isinstance(error, MachineError):
                words = error.message
            self.console.line(f"warning: {output.title}: {words}", always=True)


def _raised(take: Callable[[Any], Any], what: Any) -> Exception | None:
    """Hand something over, and return what was raised."""
    try:
        take(what)
    except Exception as error:  # noqa: BLE001 - whatever it is, the verdict matters more
        return error
    return None


def artifacts_of(stream: Stream, run_id: str, title: str) -> tuple[Path, Path] | None:
    """Return the directory for a run's trace and log, and the one above all of them.

    Args:
        stream: the outputs.
        run_id: pytest's name of the run.
        title: its title.

    Returns:
        None if no output keeps them.
    """
    output = stream.artifacts()
    if output is None or output.artifacts is None:
        return None
    return output.artifacts_of(run_id, title), output.artifacts
