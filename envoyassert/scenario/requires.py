"""Whether a run may take place: what a scenario requires against what there is."""

from __future__ import annotations

from envoyassert.errors import EnvoyAssertError
from envoyassert.scenario.bounds import satisfies
from envoyassert.scenario.model import Requires


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
