"""Envoys for tests in Python, started from the same plans as those of scenario files."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import Self

from envoyassert.errors import EnvoyAssertError, MachineError, ScenarioError
from envoyassert.launch.choose import choose_launcher, preference_of, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.pytest_plugin.session import session_of
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RequirementUnmetError, RunPlan

if TYPE_CHECKING:
    from envoyassert.probe import Tracer


class EnvoyFactory:
    """Starts Envoys for one test and stops them after it; a context manager.

    Args:
        node: the test.
        load_probe: returns the session's probe.
    """

    def __init__(self, node: pytest.Item, load_probe: Callable[[], Tracer]) -> None:
        self._node = node
        self._load_probe = load_probe
        self._stack = contextlib.ExitStack()

    def start(self, *, launcher: str = "", **envoy: Any) -> LiveRun:
        """Start an Envoy; see the fixture `envoy_factory`.

        Raises:
            EnvoyAssertError: the arguments are not valid; every problem is named.
            MachineError: this machine lacks something that it must not lack.
            LaunchError: Envoy could not be started at all.
        """
        __tracebackhide__ = True
        options = session_of(self._node.config).options
        plan = plan_of(
            self._node,
            envoy,
            options.envoys[:1],
            launcher or options.launchers[0],
            untrusted=options.untrusted,
        )
        try:
            place = self._stack.enter_context(
                choose_launcher(preference_of(plan, "auto"), source_of(plan))
            )
            return self._stack.enter_context(
                LiveRun(plan, self._load_probe(), place, options.debug_dirs)
            )
        except RequirementUnmetError as error:
            pytest.skip(error.message)
        except MachineError as error:
            session_of(self._node.config).lacks(error, self._node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def plan_of(
    node: pytest.Item,
    envoy: dict[str, Any],
    overriding: tuple[str, ...],
    launcher: str,
    *,
    untrusted: bool = False,
) -> RunPlan:
    """Return the plan for the arguments of `envoy_factory`, checked as a scenario file is.

    Args:
        node: the test; relative files are next to it.
        envoy: the fields of `envoy`.
        overriding: the Envoy that the session says, at most one.
        launcher: `auto`, `docker` or `process`.
        untrusted: as `load_scenario` takes it.

    Raises:
        EnvoyAssertError: the fields are not valid; every problem is named.
    """
    name = re.sub(r"\W+", "_", node.name.partition("[")[0].lower()).strip("_") or "test"
    if isinstance(envoy.get("config"), Path):
        envoy = {**envoy, "config": str(envoy["config"])}
    data = {
        "name": name,
        "envoy": envoy,
        # A plan has expectations; those of the test are in the test.
        "expect": [{"process": {"stays_up": True}}],
    }
    # JSON is YAML: the arguments take the same way as a file, and get the same messages.
    text = json.dumps(data, indent=1, default=str)
    here = node.path.parent
    path = here / f"{name}.yaml"
    envoys = [parse_envoy_argument(argument) for argument in overriding]
    try:
        loaded = parse_scenario(text, path, directory=here, untrusted=untrusted)
        (plan,) = expand(loaded, envoys=envoys, launchers=(launcher,))
    except ScenarioError as error:
        # There is no file that holds the arguments: the test's own place is shown with this.
        faults = [p.text if p.path == str(path) else str(p) for p in error.problems]
        raise EnvoyAssertError("no Envoy can be described so: " + "\n  ".join(faults)) from None
    return plan
