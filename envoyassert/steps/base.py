"""What a kind of step says of itself (`Step`), and how it is carried out (`StepDriver`).

A driver is here as far as it needs nothing of the world; `envoyassert.driver` has what does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import Field

from envoyassert.frozen import frozen
from envoyassert.scenario.destination import ListenerPlace
from envoyassert.scenario.grammar import Duration, Model
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import NAME_PATTERN
from envoyassert.scenario.xds import Xds

if TYPE_CHECKING:
    from envoyassert.naming import ListenerRecord
    from envoyassert.trace import ConnectionAttempt, UpdateResult

Path = tuple[str | int, ...]


class Part(Model):
    """A mapping of a step, as the reference shows it."""

    heading: ClassVar[str]
    """Its heading in the reference."""
    examples: ClassVar[Mapping[str, str]]
    """For each key members in YAML's flow form, without the braces."""


class CallFault(NamedTuple):
    """A system call that is made to fail, or late.

    Args:
        call: name of the system call.
        when: which of a thread's calls, as strace has it: `2`, `2+`.
        error: name of the error, or "".
        delay_us: microseconds before it begins, or 0.
    """

    call: str
    when: str
    error: str = ""
    delay_us: int = 0


class Objection(NamedTuple):
    """What is wrong with a step.

    Args:
        path: where in the step.
        message: what is wrong.
        remedy: what to write instead; "" for the usual one.
    """

    path: Path
    message: str
    remedy: str = ""


class Step(Part):
    """Something that is done to a running Envoy; it begins a phase of its name.

    A kind is a subclass. Its class variables and methods are what the rest of the project asks; all
    have a default, so that a kind says only in what it differs from a step that changes nothing.
    """

    kind: ClassVar[str]
    """The key that a step of this kind has, and no other."""
    acts: ClassVar[bool] = True
    """Whether it does something to Envoy: `wait_for: {call: …}` looks for calls since then."""
    ends_envoy: ClassVar[bool] = False
    """Whether Envoy may end because of it, without a fault."""
    is_over_unnoticed: ClassVar[bool] = False
    """Whether it is over before Envoy has noticed: at its end Envoy has, or has not yet."""
    starts_another: ClassVar[bool] = False
    """Whether another Envoy is started, under the name of the step."""
    updates_listeners: ClassVar[bool] = False
    """Whether it changes what the control plane serves; see `served`."""
    prepares_network: ClassVar[bool] = False
    """Whether, before Envoy starts, it needs a network that exists then: `launcher: process`."""
    free: ClassVar[tuple[Path, ...]] = ()
    """Parts of it in which null is a value, not a forgotten one."""

    name: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Name of its phase, for `during` and `at_end_of`; by default its kind.",
    )
    deadline: Duration = Field("10s", description="How long it may take to be over.")

    examples: ClassVar[Mapping[str, str]] = {
        "name": "name: first_update",
        "deadline": "deadline: 30s",
    }

    @property
    def phase(self) -> str:
        """The name of the phase that it begins."""
        return self.name or self.kind

    @property
    def is_before_startup(self) -> bool:
        """Whether it is done before Envoy starts, and so has no phase."""
        return getattr(self, "before", None) is not None

    def lasts_s(self) -> float:
        """Return how many seconds it takes, where it says so itself; else 0."""
        return 0.0

    # What it changes before Envoy starts.

    def limits(self) -> Mapping[str, Any]:
        """Return the limits that Envoy is started with, as `launch.limits.Limits` names them."""
        return {}

    def faults(self) -> Iterable[CallFault]:
        """Return the system calls that are made to fail, or late, from the start on."""
        return ()

    # What Envoy gets by it.

    def configs(
        self, config: dict[str, Any], files: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
        """Yield each further config that an Envoy reads, with its files by name.

        Args:
            config: that of the first Envoy.
            files: its files.

        Raises:
            OverlayError: an overlay does not fit the config.
        """
        if replaced := self.files():
            yield {}, replaced

    def files(self) -> Mapping[str, str]:
        """Return the files that get another content, by their paths."""
        return {}

    def parts(self) -> Iterable[Any]:
        """Return what of a config it has, as data."""
        return ()

    def arguments(self) -> Sequence[str]:
        """Return further arguments of an Envoy that it starts."""
        return ()

    def served(self, listeners: Sequence[Any]) -> Sequence[Any]:
        """Return what the control plane serves after it.

        Args:
            listeners: what it served before.

        Raises:
            OverlayError: the change does not fit; its path is below the step's kind.
        """
        return listeners

    def place_of_listener(self, name: str) -> Path | None:
        """Return where below the step's kind a listener of this name stands, None if nowhere."""
        return None

    # What is wrong with it.

    def misfits(self, xds: Xds) -> Iterable[Objection]:
        """Return what does not fit the control plane of the scenario, below the step's kind."""
        return ()

    def refusals(self) -> Iterable[Objection]:
        """Return what an untrusted scenario may not ask for by it."""
        return ()

    # Clients.

    def selectors(self) -> Iterator[tuple[Path, Selector]]:
        """Yield where clients go, each with its place in the step."""
        yield from ()

    def redirections(self) -> Iterable[ListenerPlace]:
        """Return the addresses whose clients are redirected: as if a listener were there."""
        return ()

    # What the file says, whether or not it is valid as a whole.

    @classmethod
    def holds_clients(cls, data: Mapping[str, Any]) -> bool:  # noqa: ARG003 - others read it
        """Whether the data of a step says that connections are held."""
        return False

    @classmethod
    def uses_clients_of(cls, data: Mapping[str, Any]) -> tuple[Path, str] | None:  # noqa: ARG003 - others read it
        """Return which step's connections the data of a step uses, with the place that says so."""
        return None

    @classmethod
    def contents(cls, data: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Any]]:  # noqa: ARG003 - others read it
        """Yield place, path and content of each file that the data of a step has."""
        yield from ()


class StepProblem(Exception):  # noqa: N818 - not an error of the product, a fact of the run
    """The step could not be carried out at all; its text is the reason."""


@frozen
class StepResult:
    """What came of a step; the members are those of `envoyassert.trace.Phase`."""

    missed: str = ""
    attempts: tuple[ConnectionAttempt, ...] = ()
    update: UpdateResult | None = None
    listeners: tuple[ListenerRecord, ...] | None = None


class LivingEnvoy(Protocol):
    """A process that may end."""

    def exited(self, timeout_s: float = 0.0) -> object | None:
        """Wait up to `timeout_s` for Envoy to end; return how, or None if it runs."""


S = TypeVar("S", bound=Step)
E = TypeVar("E", bound=LivingEnvoy)


class StepDriver(Generic[S, E]):
    """Carries out the steps of one kind in one run; what it keeps between them are its members.

    Args:
        envoy: the Envoy of the run, of several the one that was started last.
        steps: the run's steps of this kind.
    """

    step: ClassVar[type[Step]]
    """The kind."""

    def __init__(self, envoy: E, steps: Sequence[S] = ()) -> None:
        self.envoy = envoy
        self.steps = steps

    def before_start(self) -> None:
        """Do what the steps ask for before Envoy starts.

        Raises:
            LaunchError: it cannot be done.
        """

    def carry_out(self, step: S, deadline_s: float) -> StepResult:
        """Do what a step asks for, and wait until it is over.

        Behaviour of Envoy (a refused connection, an exit) is a fact to be judged.

        Args:
            step: the step.
            deadline_s: how long it may take, in seconds.

        Raises:
            StepProblem: it could not be carried out.
        """
        raise NotImplementedError(step.kind)

    def account(self) -> Mapping[str, Any]:
        """Return what is so at the end of a phase, by the members of `envoyassert.trace.Phase`."""
        return {}
