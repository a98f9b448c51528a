"""What Envoy was given in a run, as digests: whether a trace is of what a scenario says now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Header
from envoyassert.versions import satisfies

_WORDS = {
    "config": "another config",
    "files": "other files",
    "arguments": "other arguments, variables or network namespaces",
    "steps": "other steps",
}


def digests_of(plan: RunPlan) -> dict[str, str]:
    """Return the SHA-256 of each part of what a run gives to Envoy, by its name.

    Args:
        plan: the run, with `${rundir}` replaced; expectations do not count.
    """
    parts = {
        "config": plan.config,
        # Of what is copied the name counts: the trace may be judged where the file is not.
        "files": {name: _plain(content) for name, content in plan.files.items()},
        "arguments": [plan.args, plan.agent, dict(plan.env), _namespaces(plan)],
        "steps": [step.model_dump(mode="json", exclude_unset=True) for step in plan.steps],
    }
    return {name: _digest(part) for name, part in parts.items()}


def _plain(content: Any) -> Any:
    return "" if isinstance(content, Path) else content


def _digest(part: object) -> str:
    text = json.dumps(part, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def given_differences(plan: RunPlan, header: Header) -> Iterator[str]:
    """Yield in words in what a trace is of something else than a run of a scenario.

    Args:
        plan: the run, with the trace's own `${rundir}`.
        header: the trace's.
    """
    if header.given:
        now = digests_of(plan)
        parts = [word for name, word in _WORDS.items() if header.given.get(name) != now[name]]
        if parts:
            yield f"the trace is of {', '.join(parts)} than the scenario has now"
    elif header.run_id and header.listeners != plan.listeners:
        yield "the trace is of other listeners than the scenario's config has now"
    if header.concurrency and header.concurrency != plan.workers:
        yield f"the trace is of {header.concurrency} workers, the scenario asks for {plan.workers}"
    yield from _of_envoy(plan, header)


def _of_envoy(plan: RunPlan, header: Header) -> Iterator[str]:
    envoy, wanted = header.envoy, plan.scenario.requires.envoy
    for kind in ("image", "binary"):
        asked = getattr(plan, kind)
        if asked and envoy.source not in ("", f"{kind} {asked}"):
            yield f"the trace is of {envoy.source}, the scenario asks for {kind} {asked}"
    if plan.version and envoy.version not in ("", plan.version):
        yield f"the trace is of Envoy {envoy.version}, the scenario asks for {plan.version}"
    if wanted and envoy.version and not satisfies(envoy.version, wanted):
        yield f"the trace is of Envoy {envoy.version}, the scenario requires {wanted}"


def _namespaces(plan: RunPlan) -> list[object]:
    return [[name, *given] if given else name for name, given in plan.netns.items()]
