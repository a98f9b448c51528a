"""What one pytest session shares: options, the rule for what a machine lacks, and the counts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest

from envoyassert.errors import (
    BrowserUnavailableError,
    DockerUnavailableError,
    EnvoyAssertError,
    EnvoyUnavailableError,
    MachineError,
    NoSuchEnvoyError,
    ProbeUnavailableError,
    ScenarioError,
)
from envoyassert.outputs.output import OutputRefusedError, Settings
from envoyassert.outputs.registry import OUTPUTS
from envoyassert.outputs.stream import Stream
from envoyassert.pytest_plugin.console import PytestConsole
from envoyassert.pytest_plugin.options import Options, output_values, read_options
from envoyassert.shown import shown

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan

#: Name of the user property that says which capability a skipped test lacked.
LACKS = "envoyassert_lacks"
#: Name of the user property that says which error of the machine ended a test.
MACHINE_ERROR = "envoyassert_machine_error"
#: Name of the user property that says that a run is an error of its scenario.
SCENARIO_ERROR = "envoyassert_scenario_error"
#: Key under which a worker of xdist says how many tests it left out.
DESELECTED = "envoyassert_deselected"
#: Key under which a worker of xdist names what it was given a part of.
DIVISION = "envoyassert_division"
#: Attribute of a report that says in which phase of the test an error arose.
SHOWN_PHASE = "envoyassert_phase"

_CAPABILITY_OF: tuple[tuple[type[MachineError], str], ...] = (
    (ProbeUnavailableError, "bpf"),
    (DockerUnavailableError, "docker"),
    (EnvoyUnavailableError, "envoy"),
    (BrowserUnavailableError, "browser"),
)


class Session:
    """State of one session in one process.

    Args:
        options: what the user asked for.
        in_ci: whether this is continuous integration, where nothing may be skipped silently.
    """

    def __init__(self, options: Options, in_ci: bool) -> None:
        self.options = options
        self.in_ci = in_ci
        #: Whether skipping what lacks a capability would leave nothing to run.
        self.nothing_would_run = False
        #: Whether a scenario file was collected.
        self.has_scenarios = False
        #: How many tests were collected and left out (`-k`), also by workers of xdist.
        self.deselected = 0
        #: What is divided between machines, and how, as one name; "" if nothing is.
        self.division = ""

    def is_whole(self, config: pytest.Config) -> bool:
        """Return whether all is run that the session was asked for by path.

        Args:
            config: pytest's.
        """
        left_out = ("lf", "ignore", "ignore_glob")
        return not (
            self.deselected
            or self.options.once
            or any(config.getoption(name, None) for name in left_out)
        )

    def lacks(self, error: MachineError, node: pytest.Item) -> NoReturn:
        """Skip a test whose machine lacks something; on a desk, that is.

        Args:
            error: what is lacking.
            node: the test.

        Raises:
            ScenarioError: no machine has the Envoy that the scenario names.
            MachineError: in CI, if the capability is required, if the user named the Envoy that
                is unavailable, if everything would be skipped, or if it is a fault rather than a
                capability.
        """
        __tracebackhide__ = True
        if isinstance(error, NoSuchEnvoyError) and not self.options.envoys:
            plan = getattr(node, "plan", None)
            raise (error if plan is None else _of_scenario(error, plan)) from None
        capability = next((name for kind, name in _CAPABILITY_OF if isinstance(error, kind)), "")
        reason = self.must_have(capability, node) if capability else ""
        if reason:
            raise type(error)(f"{error.message} ({reason})", error.remedy) from error
        if not capability:
            raise error
        node.user_properties.append((LACKS, capability))
        pytest.skip(shown(f"{error.message}; {error.remedy}"))

    def must_have(self, capability: str, node: pytest.Item) -> str:
        """Return why a capability may not be missing for a test, "" if it may."""
        if capability in self.options.require:
            return f"{capability} is required"
        image = getattr(getattr(node, "plan", None), "image", "")
        if self.options.envoys and (capability == "envoy" or (capability == "docker" and image)):
            return "an error because this Envoy was named explicitly"
        if self.in_ci:
            return "an error because CI is set"
        if self.nothing_would_run:
            return "an error because nothing else would run"
        return ""


def _of_scenario(error: NoSuchEnvoyError, plan: RunPlan) -> EnvoyAssertError:
    """Return the error of a scenario that names an Envoy that there is not, with its place."""
    place = plan.place_of_envoy(error.named)
    if place is None:
        return error
    fault = plan.loaded.document.problem(place, error.message, error.remedy, at_value=True)
    return ScenarioError([fault])


_SESSION = pytest.StashKey[Session]()
_CONSOLE = pytest.StashKey[PytestConsole]()
_STREAM = pytest.StashKey[Stream]()
#: Whether `envoyassert run` prints the runs, and not pytest.
IS_COMMAND = pytest.StashKey[bool]()


def session_of(config: pytest.Config) -> Session:
    """Return the session's state, made at the first call.

    Raises:
        pytest.UsageError: an option is not valid.
    """
    session = config.stash.get(_SESSION, None)
    if session is None:
        session = Session(read_options(config), _in_ci())
        config.stash[_SESSION] = session
    return session


def console_of(config: pytest.Config) -> PytestConsole:
    """Return where the outputs of a session print."""
    return config.stash.setdefault(_CONSOLE, PytestConsole(config))


def stream_of(config: pytest.Config) -> Stream:
    """Return the stream of a session with its outputs, made at the first call.

    Raises:
        pytest.UsageError: an output cannot be made so.
    """
    stream = config.stash.get(_STREAM, None)
    if stream is None:
        console = console_of(config)
        settings = Settings(
            output_values(config),
            os.environ,
            console,
            config.pluginmanager.hasplugin,
            is_command=config.stash.get(IS_COMMAND, False),
            in_ci=_in_ci(),
        )
        with refusing():
            made = [output.of(settings) for output in OUTPUTS]
        stream = Stream([output for output in made if output is not None], console)
        config.stash[_STREAM] = stream
    return stream


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Make pytest's usage error of an output's."""
    try:
        yield
    except OutputRefusedError as error:
        raise pytest.UsageError(str(error)) from error


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")
