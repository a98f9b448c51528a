"""The events of a session, in the order in which an output gets them.

`SessionBegan`, `RunsFound`, then for each run `RunBegan`, `RunPlanned`, for each time that it was
executed and judged its `EvidenceKept`, `PhaseEnded` and `RunJudged`, `RunNotJudged` if it has no
verdict, and `RunEnded`; and `SessionEnded`. `FileRefused` and `SessionStopping` come at any time.
Under xdist the runs overlap. A run that the end of the session cut off has no `RunEnded`.

The attribute `handler` is the name of the method of an output that takes the event.

What judges and words a run is not loaded here: every session has events, and few an output that
wants findings and figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from envoyassert.errors import Problem
from envoyassert.frozen import frozen
from envoyassert.report.parts import AskedPart, EnvoyPart, MachinePart, ScenarioPart, StatusWord
from envoyassert.report.summary import RunRecord
from envoyassert.scenario.grammar import Later

if TYPE_CHECKING:
    from envoyassert.baseline.answer import BaselineAnswer
    from envoyassert.report.figures import Figures
    from envoyassert.report.verdict_json import Judgement

    LaterJudgement: TypeAlias = Judgement
    LaterFigures: TypeAlias = Figures
    LaterBaselineAnswer: TypeAlias = BaselineAnswer
else:

    def _judgement() -> type[Judgement]:
        from envoyassert.report.verdict_json import Judgement

        return Judgement

    def _figures() -> type[Figures]:
        from envoyassert.report.figures import Figures

        return Figures

    def _baseline_answer() -> type[BaselineAnswer]:
        from envoyassert.baseline.answer import BaselineAnswer

        return BaselineAnswer

    LaterJudgement = Annotated[Any, Later(_judgement)]
    LaterFigures = Annotated[Any, Later(_figures)]
    LaterBaselineAnswer = Annotated[Any, Later(_baseline_answer)]


@frozen
class SessionAsked:
    """With what scenarios are to be run in a session.

    Args:
        launchers: `docker`, `process`, `auto`.
        envoys: the Envoys; empty for each scenario's own.
        tracer: what records: `ebpf`, `strace`.
        witness: what records beside it, or "".
        untrusted: whether the scenario files are untrusted.
    """

    launchers: tuple[str, ...]
    envoys: tuple[str, ...]
    tracer: str
    witness: str
    untrusted: bool


@frozen
class SessionBegan:
    """The session begins.

    Args:
        machine: where.
        started_s: when, in seconds since 1970.
        asked: with what scenarios are to be run.
        collects_only: whether nothing will be run.
        verbosity: 0 by default, 1 for `-v`, -1 for `-q`.
        part: which part of the runs it has, and of how many; None if it has all.
    """

    handler: ClassVar[str] = "session_began"

    machine: MachinePart
    started_s: float
    asked: SessionAsked
    collects_only: bool = False
    verbosity: int = 0
    part: tuple[int, int] | None = None


@frozen
class RunsFound:
    """It is known which runs there will be; under xdist each worker finds them.

    Args:
        total: how many, tests in Python among them.
        has_scenarios: whether any is of a scenario.
        privileges: as whom Envoy runs, in words; "" if that is not known: under xdist.
    """

    handler: ClassVar[str] = "runs_found"

    total: int
    has_scenarios: bool = False
    privileges: str = ""


@frozen
class FileRefused:
    """A file cannot be collected: a scenario that is not valid, above all.

    Args:
        id: pytest's name of the file.
        message: all of what is wrong, with places.
        problems: the same one by one, if it is a scenario file.
    """

    handler: ClassVar[str] = "file_refused"

    id: str
    message: str
    problems: tuple[Problem, ...] = ()


@frozen
class RunBegan:
    """A run begins, or a test in Python.

    Args:
        id: pytest's name of it: `scenarios/udp.yaml::udp[concurrency=2]`.
        title: `udp[concurrency=2]`.
    """

    handler: ClassVar[str] = "run_began"

    id: str
    title: str


@frozen
class Run:
    """Which run of a scenario file an event is about, and with what it was to be made.

    Args:
        id: pytest's name of it.
        title: `udp[concurrency=2]`.
        scenario: name, place and matrix values.
        asked: Envoy, launcher and concurrency.
    """

    id: str
    title: str
    scenario: ScenarioPart
    asked: AskedPart


@frozen
class RunPlanned:
    """It is known what a run is to be made with.

    Args:
        run: the run.
        doubts: what its scenario says that is likely not meant; each run of the file has the same.
    """

    handler: ClassVar[str] = "run_planned"

    run: Run
    doubts: tuple[Problem, ...] = ()
    event: Literal["run_planned"] = "run_planned"


@frozen
class PhaseEnded:
    """A phase of the scenario is over: a step was carried out, or could not be.

    Args:
        run: the run.
        name: of the step.
        kind: of the step.
        ended: when, since Envoy's first instruction: `12.3 ms`.
        result: what came of it, in words; may be empty.
    """

    handler: ClassVar[str] = "phase_ended"

    run: Run
    name: str
    kind: str
    ended: str
    result: str
    event: Literal["phase_ended"] = "phase_ended"


@frozen
class EvidenceKept:
    """Trace and log of a run are kept, also of one that was cut short.

    Args:
        run: the run.
        trace, log: their paths, or "".
    """

    handler: ClassVar[str] = "evidence_kept"

    run: Run
    trace: str
    log: str
    event: Literal["evidence_kept"] = "evidence_kept"


@frozen
class RunJudged:
    """A run was executed and judged; several times if it is repeated.

    Args:
        run: the run.
        status: the verdict.
        words: the verdict with what it relies on, as it is printed.
        reason: why it is not PASS, in one line; may be empty.
        envoy: which Envoy ran.
        kernel: release of the kernel.
        certificate: what is known of completeness, in one line.
        whole: whether nothing is missing.
        defect: the known defect that explains it, as the scenario states it; "" if none does.
        seen: what was seen of that defect, in one line.
        stood_in: what stood in for files that this machine lacks.
        trace, log, page: paths of what is kept, or "".
        judgement: every finding, if an output wants it.
        figures: the figures, if an output wants them.
        story: lines of its story and of its coverage, if an output wants them.
        baseline: what came of holding it against its baseline; None if the session has none.
        map: its sockets as Mermaid, if an output wants that; "" for a run that passed.
    """

    handler: ClassVar[str] = "run_judged"

    run: Run
    status: StatusWord
    words: str
    reason: str
    envoy: EnvoyPart
    kernel: str
    certificate: str
    whole: bool
    defect: str = ""
    seen: str = ""
    stood_in: tuple[str, ...] = ()
    trace: str = ""
    log: str = ""
    page: str = ""
    judgement: LaterJudgement | None = None
    figures: LaterFigures | None = None
    story: tuple[str, ...] = ()
    baseline: LaterBaselineAnswer | None = None
    map: str = ""
    event: Literal["run_judged"] = "run_judged"

    @property
    def standing(self) -> StatusWord:
        """The verdict; of a run that would be green, what its baseline makes of it."""
        answer = self.baseline
        if self.status in ("FAIL", "INCONCLUSIVE") or answer is None or not answer.reason:
            return self.status
        return "FAIL" if answer.failed else "INCONCLUSIVE"


@frozen
class RunNotJudged:
    """A run ended without a verdict.

    Args:
        id: pytest's name of it.
        title: `udp[concurrency=2]`.
        outcome: `skipped` or `error`.
        reason: why, in one line.
    """

    handler: ClassVar[str] = "run_not_judged"

    id: str
    title: str
    outcome: str
    reason: str


@frozen
class Failure:
    """What went wrong in a run, as it is printed.

    Args:
        status: FAIL, INCONCLUSIVE, or ERROR if Envoy was not judged or a fixture failed.
        phase: in which phase of the test: `setup`, `call` or `teardown`.
        path: the file; absolute, or relative to the current directory.
        line: 1-based.
        reason: why, in one line.
        text: the whole text.
    """

    status: str
    phase: str
    path: str
    line: int
    reason: str
    text: str


@frozen
class RunEnded:
    """A run is over, or a test in Python.

    Args:
        id: pytest's name of it.
        title: `udp[concurrency=2]`.
        word: the verdict, or PASS, SKIP, ERROR.
        started_s: when it began, in seconds since 1970.
        duration_s: seconds for everything, fixtures included.
        record: how it counts; None for a test in Python.
        run: None for a test in Python, and where the process died that ran it.
        failures: what went wrong; empty if nothing did.
    """

    handler: ClassVar[str] = "run_ended"

    id: str
    title: str
    word: str
    started_s: float
    duration_s: float
    record: RunRecord | None = None
    run: Run | None = None
    failures: tuple[Failure, ...] = ()


@frozen
class SessionStopping:
    """The session ends before its time: Ctrl-C, SIGTERM, a fault."""

    handler: ClassVar[str] = "session_stopping"

    reason: str


@frozen
class SessionEnded:
    """The session is over.

    Args:
        records: the runs by pytest's name of them, in the order in which they were first reported.
        complete: whether the session came to its end.
        stopped: why not every run was reached (`-x`, Ctrl-C), or "".
        nothing_ran: whether every test was skipped for what this machine lacks.
        machine_errors: how many tests ended in an error of the machine.
        scenario_errors: how many ended in an error of their scenario.
        whole: whether every run was made of all that was named: nothing was left out by `-k`,
            `--once` and the like.
        asked: absolute paths of what was named; empty if single tests were.
        division: of a session with a part of the runs, a name of what was divided, and how.
        interrupted: how many runs were not executed since the session was interrupted.
    """

    handler: ClassVar[str] = "session_ended"

    records: Mapping[str, RunRecord]
    complete: bool
    stopped: str = ""
    nothing_ran: bool = False
    machine_errors: int = 0
    scenario_errors: int = 0
    whole: bool = False
    asked: tuple[str, ...] = ()
    division: str = ""
    interrupted: int = 0


#: What is known first in the process that makes a run; all else where the reports arrive.
RunEvent = Annotated[
    RunPlanned | PhaseEnded | EvidenceKept | RunJudged, Field(discriminator="event")
]
Event = (
    SessionBegan
    | RunsFound
    | FileRefused
    | RunBegan
    | RunPlanned
    | PhaseEnded
    | EvidenceKept
    | RunJudged
    | RunNotJudged
    | RunEnded
    | SessionStopping
    | SessionEnded
)
