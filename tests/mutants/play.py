"""Run a mutant against a scenario, and return the result."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from envoyassert.errors import EnvoyAssertError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.probe import Tracer
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.texts.findings import words_of
from envoyassert.trace_file import write_trace
from tests.mutants.mutant import Counters, Mutant

SCENARIOS = Path(__file__).parents[2] / "scenarios"
#: Every mutant meets these: quick ones that together say most of what the library says.
CORE = (
    "reuse_port_on", "reuse_port_default", "reuse_port_off", "unix_path", "udp",
    "additional_addresses", "istio_sidecar", "admin_only", "lds_full_update", "lds_add_remove",
    "clean_exit", "connection_limit", "reuse_port_spread", "held_connections",
)  # fmt: skip
#: Runs where workers can differ.
_WORKERS = 2
#: Axes of which one value is enough here: how Envoy got a listener is not what a mutant changes.
_FIRST_OF = ("xds.via",)


@dataclass(frozen=True)
class Played:
    """The result of one run.

    Args:
        run: the run's id.
        outcome: `PASS`, `FAIL`, `INCONCLUSIVE`, `KNOWN_DEFECT`, or `ERROR`.
        fired: how often each rule of the mutant took effect.
        killers: the expectations that failed, in words.
        reason: of what is neither PASS nor a kill.
        took_s: seconds.
        tried: whether any rule was tried, even if to no effect.
    """

    run: str
    outcome: str
    fired: tuple[int, ...] = ()
    killers: tuple[str, ...] = ()
    reason: str = ""
    took_s: float = 0.0
    tried: bool = True

    @property
    def scenario(self) -> str:
        """The scenario's name."""
        return self.run.partition("[")[0]

    @property
    def killed(self) -> bool:
        """Whether the mutant took effect and an expectation failed: no error, no open question."""
        return self.outcome == Status.FAIL.value and bool(self.killers) and any(self.fired)

    @property
    def sound(self) -> bool:
        """Whether it is what a sound Envoy gives."""
        return self.outcome in (Status.PASS.value, Status.KNOWN_DEFECT.value)


@cache
def plans_of(scenario: str) -> tuple[RunPlan, ...]:
    """Return the runs of a shipped scenario with two workers."""
    plans = expand(load_scenario(SCENARIOS / f"{scenario}.yaml"))
    first = {axis: plans[0].matrix.get(axis) for axis in _FIRST_OF}
    return tuple(
        plan
        for plan in plans
        if plan.concurrency == _WORKERS
        and all(plan.matrix.get(axis) == value for axis, value in first.items())
    )


def whole_library() -> tuple[str, ...]:
    """Return the names of the scenarios whose waits Envoy does not impose."""
    loaded = [load_scenario(path) for path in sorted(SCENARIOS.glob("*.yaml"))]
    return tuple(one.scenario.name for one in loaded if "slow" not in one.scenario.marks)


def jobs(mutant: Mutant, core: tuple[str, ...] = CORE) -> Iterator[RunPlan]:
    """Yield the runs of a mutant: all of its own scenarios, and one of each of the core."""
    for scenario in mutant.scenarios:
        yield from plans_of(scenario)
    if not mutant.alone:
        for scenario in core:
            if scenario not in mutant.scenarios:
                yield from plans_of(scenario)[:1]


def play(
    mutant: Mutant, plan: RunPlan, probe: Tracer, shim: Path, keep: Path | None = None
) -> Played:
    """Run a mutant once and judge it by the scenario's expectations.

    Args:
        mutant: what Envoy does differently.
        plan: the run.
        probe: a loaded tracer.
        shim: the compiled shim, in a directory that Envoy may read.
        keep: a directory for the trace if the run does not pass.
    """
    counters = Counters(shim.with_name(secrets.token_hex(8)))
    env = {
        **plan.env,
        "LD_PRELOAD": str(shim),
        "ENVOY_MUTANT": mutant.rules,
        "ENVOY_MUTANT_FIRED": str(counters.path),
    }
    config = added(plan.config, mutant.config)
    try:
        changed = replace(plan, env=env, config=config, args=(*plan.args, *mutant.args))
        result = run_plan(changed, probe, "process")
    except EnvoyAssertError as error:
        fired = counters.read(mutant)
        return Played(plan.id, "ERROR", fired, reason=str(error), tried=counters.tried)
    ran = result.plan
    verdict = judge(result.trace, ran.expectations, workers=ran.workers, assume=ran.scenario.assume)
    played = replace(played_by(plan.id, counters.read(mutant), verdict), tried=counters.tried)
    if keep is not None and not played.sound:
        keep.mkdir(parents=True, exist_ok=True)
        write_trace(result.trace, keep / f"{mutant.name}-{plan.id}.ndjson")
    return played


def added(config: Any, more: Any) -> Any:
    """Return a config and what is added to it: mappings merge, lists grow."""
    if isinstance(config, dict) and isinstance(more, Mapping):
        return {
            **config,
            **{key: added(config[key], new) if key in config else new for key, new in more.items()},
        }
    return [*config, *more]


def played_by(run: str, fired: tuple[int, ...], verdict: Verdict) -> Played:
    """Return what a verdict says about a mutant.

    Args:
        run: the run's id.
        fired: how often each rule took effect.
        verdict: of the run.
    """
    failed = verdict.with_status(Status.FAIL)
    killers = [finding for finding in failed if finding.path and finding.path[0] == "expect"]
    doubts = [
        words_of(f).reason or words_of(f).seen for f in verdict.with_status(Status.INCONCLUSIVE)
    ]
    reasons = dict.fromkeys(doubts + [_words(f) for f in failed if f not in killers])
    return Played(
        run,
        verdict.status.value,
        fired,
        tuple(dict.fromkeys(map(_words, killers))),
        "; ".join(reasons),
    )


def _words(finding: Finding) -> str:
    return f"{words_of(finding).subject}: {words_of(finding).expected}: {words_of(finding).seen}"
