"""One config of a corpus: drafted, run as drafted, and held against itself."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import io
import json
import re
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from envoyassert.cli import app
from envoyassert.cli.configs import plan_of_file
from envoyassert.compare.comparison import SAME, compare_profiles
from envoyassert.compare.plan_text import summary_words
from envoyassert.compare.profile import profile_of
from envoyassert.errors import EnvoyAssertError, ScenarioError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import validate_config
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.probe import Tracer
from envoyassert.report.envoy_log import cause
from envoyassert.report.headline import reason_line
from envoyassert.report.places import place_finder
from envoyassert.runner import run_plan
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import is_listener, proto_field
from envoyassert.scenario.load import LoadedScenario, load_scenario, read_text
from envoyassert.scenario.matrix import expand
from envoyassert.trace import Trace
from envoyassert.trace_file import write_trace

_OF_A_BOOTSTRAP = ("static_resources", "dynamic_resources", "admin")
_OF_A_LISTENER = (
    *("filter_chains", "default_filter_chain", "listener_filters", "udp_listener_config"),
    *("internal_listener", "api_listener", "bind_to_port"),
)
_OF_AN_ADDRESS = (
    *("name", "address", "additional_addresses", "additionalAddresses"),
    *("enable_reuse_port", "enableReusePort", "bind_to_port", "bindToPort"),
)
_ECHO = {
    "filters": [
        {
            "name": "envoy.filters.network.echo",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
            },
        }
    ]
}
#: Envoy's words where it refuses a config only when it starts, and ends with 0.
_GIVES_UP = re.compile(r"Skipping initialization of \w+ cluster: (.*)")
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
        stood_in: whether it passed with `--stand-in`, for files that it names are not there.
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
    stood_in: bool = False
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
    return "listeners" if any(_listeners_in(data, _DEEPEST)) else ""


def _listeners_in(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield what looks like a listener, at whatever place."""
    if depth == 0:
        return
    if isinstance(value, dict):
        typical = any(proto_field(value, field) is not None for field in _OF_A_LISTENER)
        if is_listener(value) or (typical and isinstance(value.get("address"), dict)):
            yield value
            return
        value = [*value.values()]
    if isinstance(value, list):
        for one in value:
            yield from _listeners_in(one, depth - 1)


def _addresses_alone(data: Any) -> dict[str, Any]:
    """Return a bootstrap with listeners at the same addresses, of which Envoy may be asked.

    What else they refer to (clusters, secrets) is not in a set of listeners.
    """
    listeners = [
        {
            **{field: one[field] for field in _OF_AN_ADDRESS if field in one},
            "filter_chains": [_ECHO],
        }
        for one in _listeners_in(data, _DEEPEST)
        if "address" in one
    ]
    return {"static_resources": {"listeners": listeners}}


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
        self._log = ""
        self._drafted = False
        self._stand_in = False

    def result(self, project: str, file: str) -> Result:
        try:
            text = read_text(self._path)
            data = parse_envoy_file(text, str(self._path)).data
        except ScenarioError as error:
            return Result(project, file, "", *self._not_run("", _line(str(error))))
        self.kind = kind_of(data)
        if self.kind == "listeners":
            text = json.dumps(_addresses_alone(data))
        if not self.kind:
            return Result(project, file, "", Outcome.NO_CONFIG, "no part of an Envoy config in it")
        outcome, reason = self._drafted_and_run()
        if not self._came_up():
            self._stand_in = True
            self._drafted = False
            first = reason
            outcome, reason = self._drafted_and_run()
            if not self._came_up():
                outcome, reason = self._not_run(text, reason or first)
        if outcome is not Outcome.PASSED:
            return Result(project, file, self.kind, outcome, reason, self._drafted)
        same, difference = self._plan()
        return Result(project, file, self.kind, outcome, "", True, self._stand_in, same, difference)

    def _drafted_and_run(self) -> tuple[Outcome, str]:
        """Draft the config and run that; a second time only if files are stood in for."""
        fault = self._draft()
        if fault:
            return Outcome.FAILED, f"draft: {fault}"
        self._drafted = True
        loaded = load_scenario(self._scenario)
        if self._stand_in and not loaded.scenario.envoy.stand_in:
            return Outcome.FAILED, ""
        return self._run(loaded)

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
        if answer.exit_code != 0:
            return Outcome.REFUSED, _line(cause(answer).text)
        gives_up = _GIVES_UP.search(self._log)
        if gives_up:
            return Outcome.REFUSED, _line(gives_up[1])
        return Outcome.FAILED, reason

    def _draft(self) -> str:
        """Draft the config; return what keeps it from that, or ""."""
        more = ["--stand-in"] if self._stand_in else []
        words = ["draft", str(self._path), "-o", str(self._scenario), "--force", *more]
        done = CliRunner().invoke(app, words, standalone_mode=False)
        if done.exception is None:
            return ""
        if isinstance(done.exception, EnvoyAssertError):
            return _line(str(done.exception).replace(str(self._path), self._path.name))
        raise done.exception

    def _run(self, loaded: LoadedScenario) -> tuple[Outcome, str]:
        (plan,) = expand(loaded, envoys=[self._envoy])
        result = run_plan(plan, self._probe, "process")
        self._trace, self._log, plan = result.trace, result.log_text, result.plan
        verdict = judge(self._trace, plan.expectations, workers=plan.workers)
        return _outcome(verdict), _line(
            reason_line(verdict, self._trace.end.outcome, place_finder(loaded))
        )

    def _came_up(self) -> bool:
        return self._trace is not None and self._trace.end.outcome.running

    def _plan(self) -> tuple[bool, str]:
        """Run the config again as `plan` does; return whether that is the same, and what is not."""
        assert self._trace is not None
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the notes of the draft, once more
                plan = plan_of_file(self._path, [self._envoy], stand_in=self._stand_in)
            again = run_plan(plan, self._probe, "process").trace
        except EnvoyAssertError as error:
            return False, _line(str(error))
        comparison = compare_profiles(profile_of(self._trace), profile_of(again))
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
