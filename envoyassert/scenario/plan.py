"""One run of one scenario, decided: what launcher and judge need to know; if it may take place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from envoyassert.addresses import Address
from envoyassert.errors import EnvoyAssertError
from envoyassert.frozen import frozen
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.listeners import admin_address, configured_listeners
from envoyassert.scenario.load import LoadedScenario
from envoyassert.scenario.model import Requires, Scenario
from envoyassert.scenario.overlay import map_text, merge
from envoyassert.scenario.xds import Xds
from envoyassert.steps.base import Step
from envoyassert.versions import satisfies
from envoyassert.words.registry import Expectation

if TYPE_CHECKING:
    from envoyassert.steps.another import Another

_PLACEHOLDER = re.compile(r"\$\{(rundir|concurrency)\}")

#: Names that `${…}` may hold in configs, files, arguments and paths of Unix sockets.
PLACEHOLDERS = ("rundir", "concurrency")

#: What a file of the run directory holds: text, data, what that file holds; None: a directory.
Content = str | dict[str, Any] | Path | None

#: The Envoy of scenarios that name none, in sessions that name none.
DEFAULT_VERSION = "1.40.0"


@frozen
class RunPlan:
    """What to start and what to expect of it.

    Args:
        id: the scenario's name and the values of this run:
            `reuse_port[concurrency=2,enable_reuse_port=false]`.
        loaded: the scenario it comes from, with the places in its file.
        matrix: value of each axis, in the order of the file.
        concurrency: for `--concurrency`; 0 makes Envoy start one worker (see `workers`).
        version: upstream version of Envoy, or "".
        image: Docker image, or "".
        binary: path of an executable, or "". At most one of these three is set; if none is, the
            scenario leaves it to the session.
        pull: when an image is pulled: `never`, `missing`, `always`.
        launcher: `docker`, `process`, or "" if it is left to the session.
        config: bootstrap after all overlays; shared with other plans, do not change it.
        files: what is put into the run directory by name: text, data, a file that is copied, or
            None for a directory.
        args: further arguments.
        agent: a program that starts Envoy, and its arguments; () for none.
        netns: network namespaces to make before the start, by name, and what each is given, as
            `give_addresses` takes it.
        addresses: what the run's own network is given, as `give_addresses` takes them.
        env: environment variables.
        xds: the control plane, None if there is none; what Envoy needs for it is in `config`, and
            its listeners are in `files`, which alone hold what overlays made of them.
        deadline_s: seconds that Envoy may take to become ready.
        timeout_s: seconds for the whole test, None for the session's default.
        expectations: those that apply to this run, each with its index in the file.
        steps: what is done once Envoy is ready.
        admin: configured address of the admin endpoint, None if there is none.
        listeners: the listeners that the config and its files name.
        later: the listeners of all updates.
        stood_in: what takes the place of something that the scenario's config has or asks for.
    """

    id: str
    loaded: LoadedScenario
    matrix: Mapping[str, Any]
    concurrency: int
    version: str
    image: str
    binary: str
    pull: str
    launcher: str
    config: dict[str, Any]
    files: Mapping[str, Content]
    args: tuple[str, ...]
    agent: tuple[str, ...]
    netns: Mapping[str, tuple[str, ...]]
    addresses: tuple[str, ...]
    env: Mapping[str, str]
    xds: Xds | None
    deadline_s: float
    timeout_s: float | None
    expectations: tuple[tuple[int, Expectation], ...]
    steps: tuple[Step, ...]
    admin: Address | None
    listeners: tuple[ListenerRecord, ...]
    later: tuple[ListenerRecord, ...] = ()
    stood_in: tuple[str, ...] = ()

    @property
    def scenario(self) -> Scenario:
        """The scenario as written."""
        return self.loaded.scenario

    @property
    def workers(self) -> int:
        """Number of worker threads that were asked for; Envoy takes 0 for 1."""
        return max(1, self.concurrency)

    @property
    def matrix_text(self) -> dict[str, str]:
        """The matrix values as text, for the header of a trace and for reports."""
        return {axis: plain_text(value) for axis, value in self.matrix.items()}

    def place_of_envoy(self, named: str) -> tuple[str | int, ...] | None:
        """Return where the scenario names a version or an image; None where it does not.

        Args:
            named: the version or image.
        """
        for key in ("version", "image"):
            if getattr(self, key) != named:
                continue
            if key in self.matrix:
                return ("matrix", key, list(self.scenario.matrix[key]).index(self.matrix[key]))
            if getattr(self.scenario.envoy, key) == named:
                return ("envoy", key)
        return None

    def in_rundir(self, rundir: str) -> RunPlan:
        """Return the plan with `${rundir}` and `${concurrency}` replaced everywhere.

        Text that is `${concurrency}` and nothing else becomes a number.

        Args:
            rundir: the run directory as Envoy sees it, without a slash at the end.
        """
        values = {"rundir": rundir, "concurrency": str(self.concurrency)}

        def filled(text: str) -> Any:
            if "${" not in text:
                return text
            if text == "${concurrency}":
                return self.concurrency
            return _PLACEHOLDER.sub(lambda found: values[found[1]], text)

        def filled_text(text: str) -> str:
            return str(filled(text))

        config = map_text(self.config, filled)
        files = {
            name: filled_text(content) if isinstance(content, str) else map_text(content, filled)
            for name, content in self.files.items()
        }
        return replace(
            self,
            config=config,
            files=files,
            args=tuple(map(filled_text, self.args)),
            agent=tuple(map(filled_text, self.agent)),
            env={name: filled_text(value) for name, value in self.env.items()},
            xds=_map_model(self.xds, filled),
            expectations=tuple(
                (index, _map_model(expectation, filled_text))
                for index, expectation in self.expectations
            ),
            steps=tuple(_map_model(step, filled_text) for step in self.steps),
            admin=admin_address(config),
            listeners=configured_listeners(config, files),
        )

    def for_another(self, wanted: Another, rundir: str) -> RunPlan:
        """Return the plan of another Envoy beside this one.

        Args:
            wanted: in what it differs.
            rundir: the run directory as Envoy sees it.

        Raises:
            OverlayError: its overlay does not fit the config.
        """
        workers = self.concurrency if wanted.concurrency is None else wanted.concurrency
        plan = replace(
            self,
            concurrency=workers,
            config=merge(self.config, wanted.overlay) if wanted.overlay else self.config,
            args=_with_arguments(self.args, wanted.args),
        )
        return plan.in_rundir(rundir)

    def config_text(self) -> str:
        """Return the bootstrap as text for Envoy: JSON, which is YAML too."""
        return as_text(self.config)

    def own_files(self) -> dict[str, str | Path | None]:
        """Return what is put into the run directory: text, a file to copy, None: a directory."""
        return {
            name: as_text(content) if isinstance(content, (str, dict)) else content
            for name, content in self.files.items()
        }


def _with_arguments(given: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return arguments with further ones, which take the place of those of the same name."""
    names = {argument.partition("=")[0] for argument in more if argument.startswith("-")}
    kept: list[str] = []
    replaced = False
    for argument in given:
        if argument.startswith("-"):
            replaced = argument.partition("=")[0] in names
        if not replaced:
            kept.append(argument)
    return (*kept, *more)


def as_text(content: str | dict[str, Any]) -> str:
    """Return a file's text; data as JSON.

    JSON and not YAML: every YAML reader, Envoy's too, takes it for what it says, while plain YAML
    scalars such as `on` or `0660` depend on the reader.
    """
    if isinstance(content, str):
        return content
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def plain_text(value: object) -> str:
    """Return a plain value as YAML spells it: `true`, `null`, `2`, `text`."""
    return value if isinstance(value, str) else json.dumps(value)


def _map_model(value: Any, change: Any) -> Any:
    """Return a model with `change` applied to the text of its selectors' paths and names."""
    if isinstance(value, BaseModel):
        members = {name: getattr(value, name) for name in value.model_fields_set}
        changed = {
            name: change(member)
            if name in ("name", "path", "abstract", "netns") and isinstance(member, str)
            else _map_model(member, change)
            for name, member in members.items()
        }
        different = {name: new for name, new in changed.items() if new is not members[name]}
        return value.model_copy(update=different) if different else value
    if isinstance(value, tuple):
        elements = tuple(_map_model(element, change) for element in value)
        same = all(new is old for new, old in zip(elements, value, strict=True))
        return value if same else elements
    if isinstance(value, dict):
        # Arguments of call patterns: paths that were unlinked, addresses that were bound.
        return map_text(value, change)
    return value


class RequirementUnmetError(EnvoyAssertError):
    """The scenario says itself that this run cannot show what it is about."""


def unmet(requires: Requires, *, envoy: str, kernel: str, launcher: str) -> str:
    """Return why a run is not what the scenario requires, "" if it is.

    Args:
        requires: what the scenario says.
        envoy: version of the Envoy, "" if it is unknown.
        kernel: release of the kernel: `6.1.0-13-amd64`.
        launcher: `docker` or `process`.
    """
    if requires.launcher is not None and requires.launcher != launcher:
        return f"the scenario requires the launcher {requires.launcher}, not {launcher}"
    if requires.envoy is not None:
        if not envoy:
            return f"the scenario requires Envoy {requires.envoy}; this one's version is unknown"
        if not satisfies(envoy, requires.envoy):
            return f"the scenario requires Envoy {requires.envoy}, this is {envoy}"
    if requires.kernel is not None and not satisfies(kernel, requires.kernel):
        return f"the scenario requires Linux {requires.kernel}, this is {kernel}"
    return ""
