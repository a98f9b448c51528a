"""One config of a corpus: drafted, run as drafted, and held against itself."""

from __future__ import annotations

import dataclasses
import enum
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from envoyassert.cli import app
from envoyassert.cli.configs import plan_of_file
from envoyassert.compare.comparison import SAME, compare
from envoyassert.compare.plan_text import summary_words
from envoyassert.compare.profile import profile_of
from envoyassert.errors import EnvoyAssertError, ScenarioError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import validate_config
from envoyassert.launch.source import EnvoySource
from envoyassert.probe import Tracer
from envoyassert.report.envoy_log import cause
from envoyassert.report.headline import reason_line
from envoyassert.report.places import place_finder
from envoyassert.runner import run_plan
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import is_listener, proto_field
from envoyassert.scenario.load import load_scenario, read_text
from envoyassert.scenario.matrix import expand
from envoyassert.trace import Trace
from envoyassert.trace_file import write_trace

_OF_A_BOOTSTRAP = ("static_resources", "dynamic_resources", "admin")
_OF_A_LISTENER = (
    *("filter_chains", "default_filter_chain", "listener_filters", "udp_listener_config"),
    *("internal_listener", "api_listener", "bind_to_port"),
)
#: Messages that hold one another are not deeper than this before a listener is reached.
_DEEPEST = 8
#: Reasons are cut off here: some of Envoy's hold the whole config.
_WIDTH = 300


class Outcome(enum.Enum):
    """What came of a config."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    #: Envoy itself does not take the file.
    REFUSED = "refused by Envoy"
    #: There is no Envoy config in the file.
    NO_CONFIG = "not a config"


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a config.

    Args:
        project: the folder that it is in.
        file: its path below that.
        kind: `bootstrap`, `listeners` (a set of them, or a dump), or "" if it is no config.
        outcome: what came of it.
        reason: why it did not pass, in a line; "" if it did.
        drafted: whether `draft` wrote a scenario for it.
        same: whether `plan` has nothing to report between it and itself; None if not asked.
        difference: what `plan` reports, or why it could not be asked; "" if nothing.
        took_s: seconds for all of it.
    """

    project: str
    file: str
    kind: str
    outcome: Outcome
    reason: str = ""
    drafted: bool = False
    same: bool | None = None
    difference: str = ""
    took_s: float = 0.0


def kind_of(data: Any) -> str:
    """Return what Envoy config a file holds: `bootstrap`, `listeners`, or "" if none.

    Args:
        data: what was read from the file.
    """
    if isinstance(data, dict) and any(
        isinstance(proto_field(data, field), dict) for field in _OF_A_BOOTSTRAP
    ):
        return "bootstrap"
    return "listeners" if _has_listener(data, _DEEPEST) else ""


def _has_listener(value: Any, depth: int) -> bool:
    if depth == 0:
        return False
    if isinstance(value, list):
        return any(_has_listener(one, depth - 1) for one in value)
    if not isinstance(value, dict):
        return False
    typical = any(proto_field(value, field) is not None for field in _OF_A_LISTENER)
    return (
        is_listener(value)
        or (typical and isinstance(value.get("address"), dict))
        or any(_has_listener(one, depth - 1) for one in value.values())
    )


def try_config(
    folder: Path, project: str, file: str, envoy: str, probe: Tracer, keep: Path | None = None
) -> Result:
    """Draft a config, run the draft, and hold the config against itself; no fault escapes.

    Args:
        folder: the corpus.
        project: a folder in it.
        file: the config's path below that.
        envoy: version of Envoy.
        probe: a loaded tracer.
        keep: where the draft and the trace of one that does not pass are kept; None for nowhere.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="envoyassert-corpus-") as directory:
        trial = _Trial(folder / project / file, EnvoySource(version=envoy), probe, Path(directory))
        try:
            result = trial.result(project, file)
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is a result
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__} in {Path(where.filename).name}: {error}"
            result = Result(project, file, trial.kind, Outcome.FAILED, _line(reason))
        if keep is not None and result.outcome in (Outcome.FAILED, Outcome.INCONCLUSIVE):
            trial.keep(keep / project / file)
    return dataclasses.replace(result, took_s=time.monotonic() - begun)


class _Trial:
    def __init__(self, path: Path, envoy: EnvoySource, probe: Tracer, scratch: Path) -> None:
        self.kind = "?"
        self._path = path
        self._envoy = envoy
        self._probe = probe
        self._scratch = scratch
        self._scenario = scratch / "drafted.yaml"
        self._trace: Trace | None = None

    def result(self, project: str, file: str) -> Result:
        try:
            text = read_text(self._path)
            self.kind = kind_of(parse_envoy_file(text, str(self._path)).data)
        except ScenarioError as error:
            return Result(project, file, "", *self._not_run("", _line(str(error))))
        if not self.kind:
            return Result(project, file, "", Outcome.NO_CONFIG, "no part of an Envoy config in it")
        fault = self._draft()
        if fault:
            return Result(project, file, self.kind, *self._not_run(text, f"draft: {fault}"))
        outcome, reason = self._run()
        if outcome is Outcome.PASSED:
            same, difference = self._plan()
            return Result(
                project, file, self.kind, outcome, "", True, same=same, difference=difference
            )
        if outcome is Outcome.FAILED and not self._came_up():
            outcome, reason = self._not_run(text, reason)
        return Result(project, file, self.kind, outcome, reason, drafted=True)

    def keep(self, place: Path) -> None:
        """Copy the draft, and write the trace if there is one."""
        place.mkdir(parents=True, exist_ok=True)
        for one in self._scratch.iterdir():
            (place / one.name).write_bytes(one.read_bytes())
        if self._trace is not None:
            write_trace(self._trace, place / "trace.ndjson")

    def _not_run(self, text: str, reason: str) -> tuple[Outcome, str]:
        """Return what came of a config that Envoy did not come up with; Envoy itself decides."""
        answer = validate_config(self._envoy, text, preference="process")
        if self.kind == "listeners" or answer.exit_code == 0:
            return Outcome.FAILED, reason
        return Outcome.REFUSED, _line(cause(answer).text)

    def _draft(self) -> str:
        """Draft the config; return what keeps it from that, or ""."""
        done = CliRunner().invoke(
            app, ["draft", str(self._path), "-o", str(self._scenario)], standalone_mode=False
        )
        if done.exception is None:
            return ""
        if isinstance(done.exception, EnvoyAssertError):
            return _line(str(done.exception).replace(str(self._path), self._path.name))
        raise done.exception

    def _run(self) -> tuple[Outcome, str]:
        loaded = load_scenario(self._scenario)
        (plan,) = expand(loaded, envoys=[self._envoy])
        result = run_plan(plan, self._probe, "process")
        self._trace, plan = result.trace, result.plan
        verdict = judge(self._trace, plan.expectations, workers=plan.workers)
        return _outcome(verdict), _line(
            reason_line(verdict, self._trace.end.outcome, place_finder(loaded))
        )

    def _came_up(self) -> bool:
        assert self._trace is not None
        return self._trace.end.outcome.running

    def _plan(self) -> tuple[bool, str]:
        """Run the config again as `plan` does; return whether that is the same, and what is not."""
        assert self._trace is not None
        stand_in = self._scenario.with_name("drafted.envoy.yaml")
        file = stand_in if stand_in.exists() else self._path
        try:
            plan = plan_of_file(file, [self._envoy], "")
            again = run_plan(plan, self._probe, "process").trace
        except EnvoyAssertError as error:
            return False, _line(str(error))
        comparison = compare(profile_of(self._trace), profile_of(again))
        same = comparison.result == SAME
        return same, "" if same else _line(
            "; ".join(d.words for d in comparison.differences) or summary_words(comparison)
        )


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.status is Status.PASS:
        return Outcome.PASSED
    return Outcome.INCONCLUSIVE if verdict.status is Status.INCONCLUSIVE else Outcome.FAILED


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[:_WIDTH]} …"
