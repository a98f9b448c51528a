"""A pytester directory in which scenarios run on a made-up Envoy: neither root nor bcc is needed.

The inner conftest replaces the function that runs Envoy: it returns a made-up trace. The
environment of the scenario decides which one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.plugin.forked import ForkedModule

INNER_CONFTEST = """
import dataclasses

from envoyassert.errors import DockerUnavailableError, ProbeLoadError, ProbeUnavailableError
from envoyassert.errors import EnvoyUnavailableError, LaunchError, NoSuchEnvoyError
from envoyassert.probe import program
from envoyassert.pytest_plugin import collect, execute, machine
from envoyassert.runner import RunResult
from envoyassert.scenario.plan import RequirementUnmetError
from envoyassert.testing import TraceBuilder
from envoyassert.trace import EnvoyIdentity

RAISES = {
    "no_bpf": ProbeUnavailableError("bcc is not installed", "install python3-bpfcc"),
    "no_docker": DockerUnavailableError("there is no Docker engine", "start one"),
    "no_envoy": EnvoyUnavailableError("no such Envoy", "name another"),
    "refused": ProbeLoadError("the verifier refused", "report it", "line 1\\nlast line"),
    "crash": LaunchError("Envoy cannot be executed", "check it", "log line"),
    "unmet": RequirementUnmetError("the scenario requires Linux >=9.9"),
}


TIMES = {}


def run_plan(plan, probe, preference, **more):
    # `lossy>shared` is lossy at first and shared whenever it is repeated.
    fakes = plan.env.get("FAKE", "shared").split(">")
    times = TIMES[plan.id] = TIMES.get(plan.id, 0) + 1
    fake = fakes[min(times, len(fakes)) - 1]
    if fake in RAISES:
        raise RAISES[fake]
    if plan.version == "8.8.8":
        raise NoSuchEnvoyError("there is no Envoy 8.8.8", "name another", "8.8.8")
    trace = TraceBuilder(plan.workers)
    getattr(trace, "reuse_port_listener" if fake == "reuse_port" else "shared_listener")(
        "0.0.0.0:15006"
    )
    built = trace.build(lost=range(9, len(trace.events)) if fake == "lossy" else ())
    version = plan.version or "1.40.0"
    built.header = dataclasses.replace(
        built.header,
        scenario=plan.scenario.name,
        matrix=plan.matrix_text,
        launcher=plan.launcher or "process",
        envoy=EnvoyIdentity(version, "ab12", f"version {version}"),
    )
    return RunResult(plan.in_rundir("/run"), built, "Envoy says hello\\n")


execute.run_plan = run_plan
machine.ProbeHolder.load = lambda self: None
program.load_early = lambda: None
collect.nothing_would_run = lambda items: False
"""

SCENARIO = """\
name: {name}
{head}
envoy:
  env: {{FAKE: {fake}}}
  config:
    static_resources:
      listeners:
      - name: ingress
        address: {{socket_address: {{address: 0.0.0.0, port_value: 15006}}}}
expect:
  - listener: {{port: 15006}}
    bound: {{times: 1, by: main}}
    listened: {{by: workers, via: dup}}
"""


@pytest.fixture(autouse=True)
def _a_desk(monkeypatch):
    """What the outer session is given must not reach the inner ones."""
    github = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    own = ("ENVOYASSERT_REQUIRE", "ENVOYASSERT_LAUNCHER", "ENVOYASSERT_ENVOY")
    for name in ("CI", *github, *own):
        monkeypatch.delenv(name, raising=False)
    # Only the plugins that matter here: the others take most of the time of a short session.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,pytest_timeout")


@pytest.fixture
def pytester(pytester, monkeypatch):
    """pytest's own, with `python -m ...` in a fork that has the imports done."""
    popen = pytester.popen

    def forked(command, stdout, stderr, **more):
        match [os.fspath(word) for word in command]:
            # pytester itself writes the name without a space.
            case [sys.executable, "-mpytest", *rest] | [sys.executable, "-m", "pytest", *rest]:
                module = "pytest"
            case [sys.executable, "-m", module, *rest]:
                pass
            case _:
                return popen(command, stdout=stdout, stderr=stderr, **more)
        return ForkedModule(module, rest, Path(stdout.name), Path(stderr.name), os.environ)

    monkeypatch.setattr(pytester, "popen", forked)
    return pytester


@pytest.fixture
def fake_envoy(pytester: pytest.Pytester) -> pytest.Pytester:
    """The directory, with the made-up Envoy."""
    pytester.makeconftest(INNER_CONFTEST)
    return pytester


@pytest.fixture
def write_scenario(fake_envoy) -> Callable[..., str]:
    """A function that writes a scenario file and returns its name."""

    def write(name="one", fake="shared", head="", suffix=".envoyassert.yaml", more="") -> str:
        text = SCENARIO.format(name=name, fake=fake, head=dedent(head)) + more
        (fake_envoy.path / f"{name}{suffix}").write_text(text)
        return f"{name}{suffix}"

    return write
