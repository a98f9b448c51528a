"""One case: predicted, run on a real Envoy, and judged."""

from __future__ import annotations

import enum
import errno
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envoyassert.explore.case import Case
from envoyassert.explore.difference import CRASH, SPINS, Difference
from envoyassert.explore.scenario import foreseen, scenario_text
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.names import signal_text
from envoyassert.naming import ListenerRecord
from envoyassert.predict.prediction import PROCESS, Prediction
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import predict_start
from envoyassert.probe import Tracer
from envoyassert.report.envoy_log import messages, reason_of
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.scope import is_at
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, Trace
from envoyassert.trace import Outcome as EnvoyOutcome

#: What a line of a log has that quotes a config.
_QUOTES = re.compile(r"[{}`\"]")
#: Lines of a log before a crash that are shown, and their greatest width.
_LINES, _LINE = 3, 200
#: So many failures one after the other are no chance.
_WITHOUT_END = 1000


class Outcome(enum.Enum):
    """What came of a case."""

    AGREES = "as predicted"
    DIFFERS = "different"
    #: Envoy does not take the config, as the model says, or the model does not know.
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
    if tried.outcome is Outcome.REFUSED and not predicted.refused and not _is_open(predicted):
        seen = Difference("start", "refused", "Envoy", "Envoy takes the config", tried.said)
        return replace(tried, outcome=Outcome.DIFFERS, compared=1, differences=(seen,))
    if tried.outcome is Outcome.AGREES and case.steps:
        return replace(tried, foreseen=tuple(foreseen(case, version)))
    return tried


def _is_open(predicted: Prediction) -> bool:
    """Whether it is not known if Envoy takes the config."""
    return any(one.fact == PROCESS for one in predicted.unknown)


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
    crashed = killed(result.trace)
    if crashed is not None:
        return _crashed(result, crashed, text)
    if spins(result.trace):
        return _spinning(result.trace, text)
    if not outcome.running and len(result.trace.phases) < 2:
        said = reason_of(outcome.log_tail).text
        return Tried(Outcome.REFUSED, compared=bool(predicted.refused), said=said, text=text)
    if predicted.refused:
        refused = Difference("start", "refused", "Envoy", f"refused: {predicted.refused}", "LIVE")
        return Tried(Outcome.DIFFERS, 1, 0, (refused,), text=text)
    verdict = judge(result.trace, result.plan.expectations, workers=result.plan.workers)
    known = records_of(result.trace)
    failed = verdict.with_status(Status.FAIL)
    differences = tuple(difference_of(finding, known) for finding in failed)
    open_ = verdict.with_status(Status.INCONCLUSIVE)
    came = Outcome.DIFFERS if differences else Outcome.OPEN if open_ else Outcome.AGREES
    said = words_of(open_[0]).reason if open_ else ""
    return Tried(came, len(verdict.findings), declined, differences, said, text)


def killed(trace: Trace) -> EnvoyOutcome | None:
    """Return the end of the Envoy of a run that a signal killed, the first of several; or None."""
    ended = [member.outcome for phase in trace.phases for member in phase.envoys]
    return next((one for one in (*ended, trace.end.outcome) if one.signal is not None), None)


def _crashed(result: RunResult, outcome: EnvoyOutcome, text: str) -> Tried:
    assert outcome.signal is not None
    is_last = outcome.signal == result.trace.end.outcome.signal
    log = result.log_text if is_last else "\n".join(outcome.log_tail)
    said = f"Envoy was killed by {signal_text(outcome.signal)}{place_of_crash(log)}"
    way = _way_of(result.trace.phases[-1].name) if result.trace.phases else STARTUP
    seen = Difference(way, CRASH, "Envoy", "Envoy stays up", said)
    return Tried(Outcome.CRASHED, 1, 0, (seen,), said, text, crash_lines(log))


def spins(trace: Trace) -> bool:
    """Return whether Envoy never came to rest, for workers accept from what does not listen."""
    last = trace.phases[-1] if trace.phases else None
    if last is None or not last.problem:
        return False
    calls = Counter(
        event.call
        for event in trace.events
        if event.ts_ns >= last.begin_ns and event.ret == -errno.EINVAL
    )
    return calls["accept4"] >= _WITHOUT_END


def _spinning(trace: Trace, text: str) -> Tried:
    said = "workers call accept4 without end, which fails with EINVAL"
    way = _way_of(trace.phases[-1].name)
    seen = Difference(way, SPINS, "Envoy", "its workers wait for clients", said)
    return Tried(Outcome.DIFFERS, 1, 0, (seen,), said, text)


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


def records_of(trace: Trace) -> tuple[ListenerRecord, ...]:
    """Return the listeners of a run, in each form that they had."""
    later = [one for phase in trace.phases for one in phase.listeners or ()]
    return tuple(dict.fromkeys((*trace.header.listeners, *later)))


def difference_of(finding: Finding, known: Sequence[ListenerRecord] = ()) -> Difference:
    """Return a finding as a difference.

    Args:
        finding: what failed.
        known: the listeners of the run, in each form that they had.
    """
    words = words_of(finding)
    scope = finding.scope
    phase = STARTUP if scope is None else scope.at_end_of or scope.during or STARTUP
    said = (words.subject, words.expected, words.seen)
    return Difference(_way_of(phase), finding.code, *said, _listener_of(finding, known))


def _listener_of(finding: Finding, known: Sequence[ListenerRecord]) -> str:
    """Return the name of the listener that a finding is about, "" if that is none or several."""
    selector = finding.subject.listener
    if selector is None or selector.name is not None:
        return "" if selector is None else selector.name or ""
    names = {
        record.name
        for record in known
        for address in record.addresses
        if is_at(selector, record, address)
    }
    return names.pop() if len(names) == 1 else ""


def _way_of(phase: str) -> str:
    """Return what was done in a phase: `start`, or a kind of step."""
    return "start" if phase == STARTUP else re.split(r"_\d", phase)[0]


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
