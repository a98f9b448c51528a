"""A scenario's matrix to the runs it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pydantic import ValidationError

from envoyassert.durations import parse_duration
from envoyassert.errors import Problem, ScenarioError
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.absent import longest_wait_s
from envoyassert.scenario.axes import ENVOY_AXES, KNOWN_AXES, SOURCES
from envoyassert.scenario.complaint import problems_of
from envoyassert.scenario.conditional import ENVOY_CONDITION
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovers_listeners,
)
from envoyassert.scenario.load import LoadedScenario
from envoyassert.scenario.model import Envoy
from envoyassert.scenario.needs import client_complaints
from envoyassert.scenario.overlay import OverlayError, merge, set_at
from envoyassert.scenario.own_namespaces import namespace_complaints
from envoyassert.scenario.plan import RunPlan, plain_text
from envoyassert.scenario.selector import selected_names
from envoyassert.scenario.served import Served, served
from envoyassert.scenario.untrusted import refused
from envoyassert.scenario.vocabulary import did_you_mean
from envoyassert.shown import shown
from envoyassert.words.registry import Expectation

#: How long an Envoy that waits for no server may take to become ready.
DEADLINE_S = 10.0
#: More runs than this of one scenario are a mistake.
MAX_RUNS = 1024
#: Of the configs of all runs, which are derived and checked one by one.
MAX_VALUES = 1_000_000


class EnvoyChoice(Protocol):
    """An Envoy that takes the place of the one in the scenario; `str()` of it is shown in ids."""

    @property
    def version(self) -> str:
        """Upstream version, or ""."""

    @property
    def image(self) -> str:
        """Docker image, or ""."""

    @property
    def binary(self) -> str:
        """Path of an executable, or ""."""


def expand(
    loaded: LoadedScenario,
    *,
    envoys: Sequence[EnvoyChoice] = (),
    launchers: Sequence[str] = (),
    once: bool = False,
) -> list[RunPlan]:
    """Return the runs of a scenario: the cross product of its axes, in the order of the file.

    Args:
        loaded: the scenario.
        envoys: if any, each run is made with each of these instead of the scenario's own, and
            axes over version, image or binary are left out, and so is its agent.
        launchers: if any, each run is made with each of these.
        once: whether each axis has the value in the middle of its list alone.

    Raises:
        ScenarioError: an axis or an overlay does not fit the config, no expectation applies to
            some run, a selector names a listener that is not there, or the scenario is untrusted
            and asks for more than what is known to be harmless.
    """
    expansion = _Expansion(loaded)
    axes = expansion.axes(dropped=SOURCES if envoys else ())
    if once:
        axes = [axis.in_the_middle() for axis in axes]
    plans = []
    for values, config in expansion.configs(axes):
        for envoy in envoys or (None,):
            for launcher in launchers or ("",):
                plan = expansion.plan(values, config, envoy, launcher)
                if plan is not None:
                    plans.append(plan)
    if loaded.untrusted:
        expansion.problems += refused(plans, own_envoy=not envoys)
    if expansion.problems:
        raise ScenarioError(sorted(expansion.problems, key=lambda p: (p.line, p.column)))
    return plans


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis: its name in the file, the name in ids, its values."""

    name: str
    label: str
    values: tuple[Any, ...]
    overlays: dict[str, dict[str, object]] | None = None

    def in_the_middle(self) -> _Axis:
        """Return the axis with the middle one of its values; of two that is the first."""
        return replace(self, values=(self.values[(len(self.values) - 1) // 2],))


@dataclass(eq=False, repr=False)
class _Expansion:
    loaded: LoadedScenario
    problems: list[Problem] = field(default_factory=list)

    def _complain(
        self,
        path: tuple[str | int, ...],
        message: str,
        remedy: str = "",
        at_value: bool = False,
    ) -> None:
        problem = self.loaded.document.problem(path, message, remedy, at_value=at_value)
        if problem not in self.problems:
            self.problems.append(problem)

    def axes(self, dropped: tuple[str, ...]) -> list[_Axis]:
        """Return the axes without those that are overridden, after checking each."""
        matrix = self.loaded.scenario.matrix
        last = [name.rsplit(".", 1)[-1] for name in matrix]
        axes = []
        for name, values in matrix.items():
            short = name.rsplit(".", 1)[-1]
            label = short if last.count(short) == 1 else name
            if isinstance(values, dict):
                axis = _Axis(name, label, tuple(values), values)
            else:
                axis = _Axis(name, label, values)
            self._check(axis)
            if name not in dropped or axis.overlays is not None:
                axes.append(axis)
        runs = 1
        for axis in axes:
            runs *= len(axis.values)
        if runs > MAX_RUNS:
            self._complain(("matrix",), f"the matrix makes {runs} runs, more than {MAX_RUNS}")
        elif runs > 1 and (size := count_values(self.loaded.config)) * runs > MAX_VALUES:
            self._complain(
                ("matrix",),
                f"the matrix makes {runs} runs of a config of {size} values, more than "
                f"{MAX_VALUES} in all",
                "make fewer runs, or take out of the config what has nothing to do with sockets",
            )
        return [] if self.problems else axes

    def _check(self, axis: _Axis) -> None:
        if axis.overlays is not None:
            if axis.name in KNOWN_AXES:
                self._complain(
                    ("matrix", axis.name),
                    f"`{axis.name}` takes a list of values, not overlays",
                    "write a list, or give the axis a name of its own",
                )
        elif axis.name in ENVOY_AXES:
            self._check_envoy_axis(axis)

    def _check_envoy_axis(self, axis: _Axis) -> None:
        envoy = self.loaded.scenario.envoy
        others = [
            other
            for other in SOURCES
            if axis.name in SOURCES
            and other != axis.name
            and (getattr(envoy, other) or other in self.loaded.scenario.matrix)
        ]
        if others:
            self._complain(
                ("matrix", axis.name),
                f"the matrix varies `{axis.name}`, but `{others[0]}` says which Envoy is run",
                "keep one of the two",
            )
        for index, value in enumerate(axis.values):
            for problem in _faults_of_field(axis.name, value, self.loaded):
                self._complain(("matrix", axis.name, index), problem.message, problem.remedy)

    def configs(self, axes: list[_Axis]) -> Iterator[tuple[dict[_Axis, Any], Any]]:
        """Yield the values and the config of every combination."""
        if self.problems:
            return
        config = self.loaded.config
        if self.loaded.scenario.envoy.xds is not None:
            # Overlays and axes reach what the control plane serves as they reach the bootstrap.
            config = {**config, "xds": self.loaded.document.data["envoy"]["xds"]}
        try:
            config = merge(config, self.loaded.scenario.envoy.overlay)
        except OverlayError as error:
            self._complain(("envoy", "overlay", *error.path), error.message, error.remedy)
            return
        yield from self._combinations(axes, config, {})

    def _combinations(
        self, axes: list[_Axis], config: Any, values: dict[_Axis, Any]
    ) -> Iterator[tuple[dict[_Axis, Any], Any]]:
        if not axes:
            yield values, config
            return
        axis, *rest = axes
        for value in axis.values:
            try:
                varied = self._vary(config, axis, value)
            except OverlayError as error:
                path = ("matrix", axis.name)
                place = path if axis.overlays is None else (*path, value, *error.path)
                self._complain(place, error.message, error.remedy)
                continue
            yield from self._combinations(rest, varied, {**values, axis: value})

    def _vary(self, config: Any, axis: _Axis, value: Any) -> Any:
        if axis.overlays is not None:
            return merge(config, axis.overlays[value])
        if axis.name in ENVOY_AXES:
            return config
        if "." in axis.name:
            return set_at(config, tuple(axis.name.split(".")), value)
        parts = [part for part in ("static_resources", "xds") if _has_listeners(config, part)]
        if not parts:
            raise OverlayError(
                (),
                f"`{axis.name}` varies the static listeners, but the config has none",
                "write a path into the config, or overlays by value",
            )
        for part in parts:
            config = set_at(config, (part, "listeners", "*", axis.name), value)
        return config

    def plan(
        self,
        values: dict[_Axis, Any],
        config: dict[str, Any],
        envoy: EnvoyChoice | None,
        launcher: str,
    ) -> RunPlan | None:
        """Return one run, or None if it has a problem, which is recorded."""
        scenario = self.loaded.scenario
        own = scenario.envoy
        matrix = {axis.name: value for axis, value in values.items()}
        which: object = own if envoy is None else envoy
        chosen = matrix if envoy is None else {}
        sources = {name: str(chosen.get(name, getattr(which, name)) or "") for name in SOURCES}
        binary = sources["binary"]
        if envoy is None and binary and not binary.startswith("~"):
            binary = str(self.loaded.path.parent / binary)
        xds, config, files, later, _, stood_in = self._served(config)
        agent = own.agent or ()
        if agent and envoy is not None:
            # Whoever says which Envoy is run does not ask for what starts another.
            stood_in = (*stood_in, f"envoy.agent: not used, as {envoy} was named in its place")
            agent = ()
        listeners = configured_listeners(config, files)
        run = _in_brackets(values, envoy, launcher)
        expectations = self._applicable(matrix, sources, overridden=envoy is not None)
        if not expectations:
            said = f"no expectation applies to the run {run or scenario.name}"
            self._complain(("expect",), said, "every one has a `when` that excludes it")
            return None
        self._check_names(expectations, config, (*listeners, *later))
        return RunPlan(
            id=shown(scenario.name + run),
            loaded=self.loaded,
            matrix=matrix,
            concurrency=matrix.get("concurrency", own.concurrency),
            version=sources["version"],
            image=sources["image"],
            binary=binary,
            pull=matrix.get("pull", own.pull),
            launcher=launcher,
            config=config,
            files=files,
            args=own.args,
            agent=agent,
            netns={one.name: one.addresses for one in own.namespaces},
            addresses=own.addresses,
            env=own.env,
            xds=xds,
            deadline_s=_deadline_s(matrix.get("deadline", own.deadline), config),
            timeout_s=None if scenario.timeout is None else parse_duration(scenario.timeout),
            expectations=expectations,
            steps=scenario.steps,
            admin=admin_address(config),
            listeners=listeners,
            later=later,
            stood_in=stood_in,
        )

    def _served(self, config: dict[str, Any]) -> Served:
        """Return what is served to a run with a config, after all overlays; record its problems."""
        loaded = self.loaded
        run = served(loaded.scenario, config, loaded.directory, loaded.folder)
        for complaint in (
            *namespace_complaints(loaded.scenario.envoy.namespaces, config),
            *run.faults,
            *client_complaints(loaded.scenario, run.config, run.files, run.later),
        ):
            self._complain(*complaint)
        return run

    def _applicable(
        self, matrix: dict[str, object], sources: dict[str, str], *, overridden: bool
    ) -> tuple[tuple[int, Expectation], ...]:
        """Return the expectations whose `when` holds, with their indexes in the file."""
        chosen = []
        for index, expectation in enumerate(self.loaded.scenario.expect):
            holds = True
            for axis, wanted in expectation.when.items():
                if axis == ENVOY_CONDITION:
                    continue  # which Envoy it was is in the trace
                value = matrix.get(axis)
                if overridden and axis in SOURCES and axis not in matrix:
                    value = sources[axis]
                    if not value:
                        self._complain(
                            ("expect", index, "when", axis),
                            f"`when` asks for `{axis}`, which is not known of the Envoy that was "
                            "given in its place",
                            f"give a {axis}, or say what is needed in requires.envoy",
                        )
                options = wanted if isinstance(wanted, tuple) else (wanted,)
                holds = holds and plain_text(value) in map(plain_text, options)
            if holds:
                chosen.append((index, expectation))
        return tuple(chosen)

    def _check_names(
        self,
        expectations: tuple[tuple[int, Expectation], ...],
        config: dict[str, object],
        listeners: tuple[ListenerRecord, ...],
    ) -> None:
        """Check names of listeners where every listener of the run is known."""
        if not self.loaded.own_envoy:
            return  # of each Envoy that it is held against, the trace says what it has
        names = [record.name for record in listeners]
        if discovers_listeners(config) and not any(r.kind == "lds" for r in listeners):
            return
        for index, expectation in expectations:
            for path, name in selected_names(expectation):
                if name not in names:
                    self._complain(
                        ("expect", index, *path),
                        f"the config has no listener `{name}`",
                        did_you_mean(name, names) or f"it has: {', '.join(names) or 'none'}",
                        at_value=True,
                    )


def _in_brackets(values: dict[_Axis, object], envoy: EnvoyChoice | None, launcher: str) -> str:
    """Return what distinguishes a run from the others of its scenario, as its id has it."""
    # An axis may be called envoy or launcher, too.
    parts = [(axis.label, plain_text(value)) for axis, value in values.items()]
    parts += [("envoy", str(envoy))] if envoy is not None else []
    parts += [("launcher", launcher)] if launcher else []
    return f"[{','.join(f'{name}={value}' for name, value in parts)}]" if parts else ""


def count_values(data: object) -> int:
    """Return how many values there are in data, mappings and lists among them."""
    members = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return 1 + sum(map(count_values, members))


def _deadline_s(own: float | str | None, config: dict[str, Any]) -> float:
    """Return a scenario's own deadline, else one that exceeds what the config makes Envoy wait."""
    return DEADLINE_S + longest_wait_s(config) if own is None else parse_duration(own)


def _has_listeners(config: dict[str, Any], part: str) -> bool:
    holder = config.get(part)
    return isinstance(holder, dict) and bool(holder.get("listeners"))


def _faults_of_field(name: str, value: object, loaded: LoadedScenario) -> list[Problem]:
    """Return what is wrong with a value of a field of `envoy`."""
    try:
        Envoy.model_validate({"config": {}, name: value})
    except ValidationError as error:
        return problems_of(error, loaded.document)
    return []


__all__ = ["EnvoyChoice", "RunPlan", "expand"]
