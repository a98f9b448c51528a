"""The fixtures. None is autouse; what is heavy is imported when one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from envoyassert.errors import EnvoyAssertError

if TYPE_CHECKING:
    from envoyassert.probe import Tracer
    from envoyassert.pytest_plugin.execute import Judged
    from envoyassert.runner import LiveRun
    from envoyassert.scenario.plan import RunPlan
    from envoyassert.trace import Trace


@pytest.fixture(scope="session")
def _envoyassert_probe(pytestconfig: pytest.Config) -> Iterator[Callable[[], Tracer]]:
    """A function that loads the tracer at its first call; errors are raised at every call."""
    from envoyassert.pytest_plugin.machine import ProbeHolder
    from envoyassert.pytest_plugin.session import session_of

    options = session_of(pytestconfig).options
    # xdist gives this to each of its workers.
    session = getattr(pytestconfig, "workerinput", {}).get("testrunuid", "")
    with ProbeHolder(options.tracer, options.witness, session) as holder:
        yield holder.load


@pytest.fixture
def socket_probe(
    request: pytest.FixtureRequest, _envoyassert_probe: Callable[[], Tracer]
) -> Tracer:
    """The loaded eBPF probe, one for the session; skips where the machine does not support it."""
    __tracebackhide__ = True
    from envoyassert.errors import MachineError
    from envoyassert.pytest_plugin.session import session_of

    try:
        return _envoyassert_probe()
    except MachineError as error:
        session_of(request.config).lacks(error, request.node)


@pytest.fixture
def _envoyassert_run(
    request: pytest.FixtureRequest, _envoyassert_probe: Callable[[], Tracer]
) -> Judged:
    """The judged run of a scenario file's item."""
    __tracebackhide__ = True
    from envoyassert.pytest_plugin.execute import execute

    return execute(request.node, _envoyassert_probe)


@pytest.fixture
def scenario(request: pytest.FixtureRequest) -> RunPlan:
    """The plan of the scenario file's run that is being tested, for fixtures that adapt to it."""
    plan: RunPlan | None = getattr(request.node, "plan", None)
    if plan is None:
        raise EnvoyAssertError(
            "the fixture `scenario` is for the runs of scenario files, not for tests in Python",
            "ask for it in a fixture that scenario files use; here, `envoy_factory` starts Envoys",
        )
    return plan


@pytest.fixture
def envoy_factory(
    request: pytest.FixtureRequest, _envoyassert_probe: Callable[[], Tracer]
) -> Iterator[Callable[..., LiveRun]]:
    """A function that starts a traced Envoy and waits until it is ready, has ended, or is late.

    Its arguments are the fields of `envoy` in a scenario (config, concurrency, overlay, files,
    args, env, version, image, binary, deadline) and `launcher`. Relative files are looked for next
    to the test. All Envoys are stopped after the test.
    """
    from envoyassert.pytest_plugin.factory import EnvoyFactory

    with EnvoyFactory(request.node, _envoyassert_probe) as factory:
        yield factory.start


@pytest.fixture
def envoy(request: pytest.FixtureRequest, envoy_factory: Callable[..., LiveRun]) -> LiveRun:
    """The traced Envoy that `@pytest.mark.envoy(config=..., ...)` describes."""
    arguments: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("envoy"))):
        arguments.update(marker.kwargs)
    if "config" not in arguments:
        raise EnvoyAssertError(
            "the fixture `envoy` does not know which Envoy to start",
            'put @pytest.mark.envoy(config="envoy.yaml") on the test, its class or module',
        )
    return envoy_factory(**arguments)


@pytest.fixture
def socket_trace(envoy: LiveRun) -> Trace:
    """The trace of the start-up of the `envoy` fixture's Envoy."""
    return envoy.trace()
