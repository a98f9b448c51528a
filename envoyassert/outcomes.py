"""What a test raises when a verdict is not PASS.

A FAIL is an AssertionError, so pytest counts a failure. An INCONCLUSIVE is not: the plugin reports
it as an error, and an xfail mark does not swallow it.
"""

from __future__ import annotations

from envoyassert.errors import guarded
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.failure import RunContext, failure_lines
from envoyassert.report.headline import deciding, reason_line
from envoyassert.report.places import Place
from envoyassert.shown import joined, shown
from envoyassert.steps.registry import unasked_outcome
from envoyassert.trace import Trace


class NotPassed(Exception):  # noqa: N818 - the verdicts' own words, as pytest has Failed and Skipped
    """A verdict that is not PASS, with its text.

    Args:
        verdict: the judgement.
        lines: the whole text, the headline first.
        summary: the reason in one line, for lists of failed tests.
        place: where the scenario file says what was not met; None where there is no file.
    """

    def __init__(
        self, verdict: Verdict, lines: list[str], summary: str, place: Place | None = None
    ) -> None:
        super().__init__(joined(lines))
        self.verdict = verdict
        self.lines = [shown(line) for line in lines]
        self.summary = shown(summary)
        self.place = place


class ExpectationFailed(NotPassed, AssertionError):  # noqa: N818 - as above
    """An expectation was not met."""


class BaselineDiffers(NotPassed, AssertionError):  # noqa: N818 - as above
    """The run did something else than its baseline says, or has none."""


class TraceInconclusive(NotPassed):
    """The trace does not show whether the expectations are met."""


def raise_unless_passed(
    verdict: Verdict,
    trace: Trace,
    graph: SocketGraph,
    context: RunContext | None = None,
    note: str = "",
) -> None:
    """Return if the verdict is PASS.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: its socket graph.
        context: places and paths for the text.
        note: a last line for the text, or "".

    Raises:
        ExpectationFailed: the verdict is FAIL, or KNOWN_DEFECT: whoever takes the latter for green
            does not come here with it.
        TraceInconclusive: the verdict is INCONCLUSIVE.
    """
    __tracebackhide__ = True
    if verdict.status is Status.PASS:
        return
    context = context or RunContext()
    failed = verdict.status is not Status.INCONCLUSIVE
    kind = ExpectationFailed if failed else TraceInconclusive
    listeners = trace.header.listeners
    reason = guarded(
        lambda: reason_line(
            verdict, unasked_outcome(trace), context.place, context.blame, listeners
        ),
        lambda fault: f"the reason: {fault}",
    )
    raise kind(
        verdict,
        failure_lines(verdict, trace, graph, context) + (note.split("\n") if note else []),
        reason if failed else f"INCONCLUSIVE: {reason}",
        guarded(lambda: _place(verdict, context), lambda _: None),
    )


def _place(verdict: Verdict, context: RunContext) -> Place | None:
    findings = deciding(verdict, context.place)
    return context.place(findings[0].path) if findings else None
