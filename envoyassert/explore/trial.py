"""One case: predicted, run on a real Envoy, and judged."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envoyassert.explore.case import Case
from envoyassert.explore.difference import CRASH, Difference
from envoyassert.explore.scenario import foreseen, scenario_text
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.names import signal_text
from envoyassert.predict.prediction import Prediction
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import predict_start
from envoyassert.probe import Tracer
from envoyassert.report.envoy_log import messages, reason_of
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP

#: What a line of a log has that quotes a config.
_QUOTES = re.compile(r"[{}`\"]")
#: Lines of a log before a crash that are shown, and their greatest width.
_LINES, _LINE = 3, 200


class Outcome(enum.Enum):
    """What came of a case."""

    AGREES = "as predicted"
    DIFFERS = "different"
    #: Envoy does not take the config; the model does not say which it takes.
    REFUSED = "refused by Envoy"
    CRASHED = "crashed"
    #: Something could not be observed.
    OPEN = "inconclusive"


@dataclass(frozen=True)
class Tried:
    """What came of a case.

    Args:
        outcome: the outcome.
        compared: how many facts were compared.
        declined: how many facts the model declines.
        differences: facts that are not as predicted.
        said: why it was refused or is open, or how Envoy crashed; "" if it did not.
        text: the case as a scenario.
        foreseen: of a case that is as predicted: what the model of change says of its pushes.
        log: what Envoy said last before it crashed, without anything of its config.
    """

    outcome: Outcome
    compared: int = 0
    declined: int = 0
    differences: tuple[Difference, ...] = ()
    said: str = ""
    text: str = ""
    log: tuple[str, ...] = ()
    foreseen: tuple[str, ...] = ()


def try_case(case: Case, version: str, probe: Tracer) -> Tried:
    """Predict what Envoy does with a case, run it, and compare the two.

    Args:
        case: what is tried.
        version: of Envoy.
        probe: a loaded tracer.

    Raises:
        MachineError: this machine lacks something.
        LaunchError: Envoy could not be started at all.
    """
    served = case.listeners if case.served else ()
    predicted = predict_start(
        case.config, concurrency=case.concurrency, version=version, served=served
    )
    tried = try_text(scenario_text(case, version), predicted, version, probe)
    if tried.outcome is Outcome.AGREES and case.steps:
        return replace(tried, foreseen=tuple(foreseen(case, version)))
    return tried


def try_text(
    text: str, predicted: Prediction, version: str, probe: Tracer, directory: Path | None = None
) -> Tried:
    """Run a scenario that says what is predicted, and judge it.

    Args:
        text: the scenario.
        predicted: what it says; what is declined of it is counted.
        version: of Envoy.
        probe: a loaded tracer.
        directory: where the files lie that it names; None for none.

    Raises:
        ScenarioError: the scenario is not valid.
        MachineError: this machine lacks something.
        LaunchError: Envoy could not be started at all.
    """
    declined = len(predicted.unknown) + sum(map(declined_facts, predicted.sets))
    loaded = parse_scenario(text, (directory or Path()) / "explored.yaml", directory=directory)
    (plan,) = expand(loaded, envoys=[EnvoySource(version)])
    result = run_plan(plan, probe, "process")
    outcome = result.trace.end.outcome
    if outcome.signal is not None:
        return _crashed(result, text)
    if not outcome.running and len(result.trace.phases) < 2:
        said = reason_of(outcome.log_tail).text
        return Tried(Outcome.REFUSED, compared=bool(predicted.refused), said=said, text=text)
    if predicted.refused:
        refused = Difference("start", "refused", "Envoy", f"refused: {predicted.refused}", "LIVE")
        return Tried(Outcome.DIFFERS, 1, 0, (refused,), text=text)
    verdict = judge(result.trace, result.plan.expectations, workers=result.plan.workers)
    differences = tuple(difference_of(finding) for finding in verdict.with_status(Status.FAIL))
    open_ = verdict.with_status(Status.INCONCLUSIVE)
    came = Outcome.DIFFERS if differences else Outcome.OPEN if open_ else Outcome.AGREES
    said = words_of(open_[0]).reason if open_ else ""
    return Tried(came, len(verdict.findings), declined, differences, said, text)


def _crashed(result: RunResult, text: str) -> Tried:
    outcome = result.trace.end.outcome
    assert outcome.signal is not None
    said = f"Envoy was killed by {signal_text(outcome.signal)}{place_of_crash(result.log_text)}"
    seen = Difference("start", CRASH, "Envoy", "Envoy stays up", said)
    return Tried(Outcome.CRASHED, 1, 0, (seen,), said, text, crash_lines(result.log_text))


def place_of_crash(log: str) -> str:
    """Return where in Envoy's program a crash was, "" if its log does not say.

    Which is the same for each crash of a kind, as long as it is the same build (backtrace.h).
    """
    mapping = re.search(r"Address mapping: ([0-9a-f]+)-([0-9a-f]+) ", log)
    if mapping is None:
        return ""
    first, end = (int(number, 16) for number in mapping.groups())
    frames = (int(number, 16) for number in re.findall(r"#\d+: .*?\[?0x([0-9a-f]+)\]?", log))
    place = next((frame - first for frame in frames if first <= frame < end), None)
    return "" if place is None else f" at {place:#x} of its program"


def crash_lines(log: str) -> tuple[str, ...]:
    """Return what Envoy said last before it crashed, and of what it crashed.

    What may quote its config is left out.

    Args:
        log: what Envoy printed.
    """
    before, caught, rest = log.partition("[backtrace]")
    said = [record.text for record in messages(before.splitlines()[:-1]) if record.text]
    kept = [line for line in said if not _QUOTES.search(line) and len(line) <= _LINE]
    reason = rest.partition("\n")[0].partition("] ")[2] if caught else ""
    return (*kept[-_LINES:], *([reason] if reason else []))


def difference_of(finding: Finding) -> Difference:
    """Return a finding as a difference."""
    words = words_of(finding)
    scope = finding.scope
    phase = STARTUP if scope is None else scope.at_end_of or scope.during or STARTUP
    way = "start" if phase == STARTUP else phase.rstrip("_0123456789")
    return Difference(way, finding.code, words.subject, words.expected, words.seen)


def declined_facts(one: SocketSet) -> int:
    """Return how many facts of the sockets of one address the model declines."""
    several_workers = one.role == "workers" and one.sockets != one.descriptors
    unsaid: Sequence[bool] = (
        not one.bound_by,
        one.descriptors is None,
        not one.role,
        several_workers and not one.via,
        not one.exact,
    )
    return sum(unsaid)
