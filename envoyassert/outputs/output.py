"""The base class of outputs, and what one says of its options.

Every session imports the outputs for their options. So this module and the top of each output
import nothing heavy; what an output needs for its work is imported in its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from envoyassert.errors import EnvoyAssertError

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events


class Option(NamedTuple):
    """An option of an output: a value, or a flag.

    For the name `report` it is `--envoyassert-report` of pytest, the environment variable
    `ENVOYASSERT_REPORT`, the ini option `envoyassert_report`, and `--report` of `envoyassert run`.

    Args:
        name: with `_` between words.
        metavar: what stands for the value in the help, `DIR`; "" for a flag.
        help: for pytest's help.
        help_of_run: for the help of `envoyassert run`; "" if it has no such option.
    """

    name: str
    metavar: str
    help: str
    help_of_run: str = ""

    @property
    def flag(self) -> str:
        """The option on pytest's command line."""
        return f"--envoyassert-{self.name.replace('_', '-')}"


class Detail(Enum):
    """What takes time to compute of a verdict, and is computed if an output wants it."""

    JUDGEMENT = auto()
    FIGURES = auto()
    STORY = auto()
    COVERAGE = auto()
    MAP = auto()
    PAGE = auto()


class Console(Protocol):
    """Where an output prints; text of others is shown as text.

    What is printed for `SessionEnded` stands among pytest's summaries.
    """

    @property
    def is_shown(self) -> bool:
        """Whether there is a place to print: there is none under `-p no:terminal`."""

    def section(self, title: str) -> None:
        """Print a heading."""

    def line(self, *parts: str | tuple[str, str], always: bool = False) -> None:
        """Print a line.

        Args:
            parts: text, or text with its colour: `red`, `green`, `yellow`.
            always: whether it is printed on the standard error if there is no place to print.
        """

    def command(self, line: str) -> None:
        """Print a line for a program that reads the standard output; it is escaped already."""


class Settings(NamedTuple):
    """What an output is made from.

    Args:
        options: the values of options that were given, by name; that of a flag is `1`.
        environ: the environment.
        console: where to print.
        has_plugin: returns whether pytest has a plugin.
        is_command: whether `envoyassert run` prints the runs, and not pytest.
        in_ci: whether this is continuous integration.
    """

    options: Mapping[str, str]
    environ: Mapping[str, str]
    console: Console
    has_plugin: Callable[[str], bool] = lambda _name: False
    is_command: bool = False
    in_ci: bool = False


class OutputRefusedError(EnvoyAssertError):
    """An output cannot be made as it is asked for: wrong usage, said before anything is run."""


class Output:
    """A handler of session events; a subclass has the methods for the events that it needs.

    Its methods are called in the one process that prints, under xdist in the controller; a worker
    asks for `wants`, `artifacts` and baselines alone. What a method raises is printed once, and
    costs neither the verdict nor the other outputs.
    """

    #: What a fault of it is reported as being in.
    title: ClassVar[str]
    #: The options that it has.
    options: ClassVar[tuple[Option, ...]] = ()
    #: Whether a session is not green if the output cannot be written. A fault at the end of a run
    #: is then an error of that run.
    is_essential: ClassVar[bool] = False
    #: What it wants to know of a verdict.
    wants: frozenset[Detail] = frozenset()
    #: Whether it needs the beginning of a session in which there is no run.
    needs_beginning: ClassVar[bool] = False
    #: The directory that traces and logs are kept below instead of `--envoyassert-artifacts`.
    artifacts: Path | None = None

    @classmethod
    def of(cls, settings: Settings, /) -> Self | None:
        """Return the output of a session, None if it is not asked for; nothing is written yet."""
        raise NotImplementedError

    def artifacts_of(self, run_id: str, title: str) -> Path:
        """Return the directory for trace and log of a run, below `artifacts`."""
        raise NotImplementedError

    # What it adds to a test, for pytest's own reports.

    def properties(self, event: events.RunEvent) -> Mapping[str, str]:
        """Return properties for the test; an empty text takes one back."""
        return {}

    def sections(self, event: events.RunEvent) -> Mapping[str, str]:
        """Return texts by title, which pytest prints with a failure."""
        return {}

    # The events.

    def session_began(self, event: events.SessionBegan) -> None:
        """Prepare. Raises OutputRefusedError."""

    def runs_found(self, event: events.RunsFound) -> None:
        """Take note of how many runs there will be."""

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of a file that cannot be collected."""

    def run_began(self, event: events.RunBegan) -> None:
        """Take note of a run that begins."""

    def run_planned(self, event: events.RunPlanned) -> None:
        """Take note of what a run is to be made with."""

    def phase_ended(self, event: events.PhaseEnded) -> None:
        """Take note of a phase of a run."""

    def evidence_kept(self, event: events.EvidenceKept) -> None:
        """Take note of where trace and log of a run are."""

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of a verdict."""

    def run_not_judged(self, event: events.RunNotJudged) -> None:
        """Take note of a run without a verdict."""

    def run_ended(self, event: events.RunEnded) -> None:
        """Take note of a run that is over."""

    def session_stopping(self, event: events.SessionStopping) -> None:
        """Leave nothing half printed."""

    def session_ended(self, event: events.SessionEnded) -> None:
        """Write what is written at the end."""


class PrintedOutput(Output):
    """One that every session has, and that prints and does nothing else.

    Args:
        console: where it prints.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return it: every session has it."""
        return cls(settings.console)
