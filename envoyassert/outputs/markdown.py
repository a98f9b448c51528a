"""A session as a Markdown document, to be pasted into a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from envoyassert.outputs.output import Detail, Option, Output, OutputRefusedError, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

    from envoyassert.outputs import events
    from envoyassert.report.verdict_json import FindingPart

_MARKDOWN = Option(
    "markdown",
    "FILE",
    "Write the session there as Markdown, for a pull request or a wiki: a table of the runs, and "
    "of each that did not pass what was expected and seen, with the calls that show it.",
    "Write the session there as Markdown, for a pull request or a wiki.",
)
#: GitHub takes 65,536 characters for a comment, GitLab 1,000,000.
MAX_LENGTH = 65_000
_ROOM_FOR_NOTE = 200
#: Of a finding; the trace has them all.
_MOST_EVENTS = 20
_EXPLAINED = ("FAIL", "INCONCLUSIVE", "KNOWN_DEFECT")


class Markdown(Output):
    """Writes the document at the end of a session; until then it says that it is not complete.

    Args:
        path: of the document.
    """

    title = "the Markdown"
    options = (_MARKDOWN,)
    is_essential = True
    needs_beginning = True
    wants = frozenset({Detail.JUDGEMENT})

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began: events.SessionBegan | None = None
        self._refused: list[events.FileRefused] = []
        self._phases: dict[str, list[events.PhaseEnded]] = {}
        self._judged: dict[str, events.RunJudged] = {}
        self._ended: dict[str, events.RunEnded] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return it if a file is named."""
        path = settings.options.get(_MARKDOWN.name)
        return cls(Path(path)) if path else None

    def session_began(self, event: events.SessionBegan) -> None:
        """Replace the document of an earlier session.

        Raises:
            OutputRefusedError: the file cannot be written.
        """
        from envoyassert.errors import MachineError

        if event.collects_only:
            return
        self._began = event
        try:
            self._write(["# envoyassert: the session has not ended"])
        except MachineError as error:
            raise OutputRefusedError(f"{_MARKDOWN.flag}: {error}") from error

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of a file that is no valid scenario."""
        self._refused.append(event)

    def phase_ended(self, event: events.PhaseEnded) -> None:
        """Take note of a phase."""
        self._phases.setdefault(event.run.id, []).append(event)

    def run_judged(self, event: events.RunJudged) -> None:
        """Take note of the last verdict on a run."""
        self._judged[event.run.id] = event

    def run_ended(self, event: events.RunEnded) -> None:
        """Take note of a run."""
        if event.record is not None:
            self._ended[event.id] = event

    def session_ended(self, event: events.SessionEnded) -> None:
        """Write the document."""
        from envoyassert.report.github_text import code_block, inline
        from envoyassert.report.summary import summary_lines

        if self._began is None:
            return
        count, *more = summary_lines(event.records.values())
        lines = [f"# envoyassert: {inline(count)}", ""]
        if not event.complete:
            why = f" ({inline(event.stopped)})" if event.stopped else ""
            lines += [f"**The session did not reach its end{why}.**", ""]
        lines += [f"- {inline(line.strip())}" for line in more]
        machine = self._began.machine
        versions = (
            f"envoyassert {machine.envoyassert}, Python {machine.python}, {machine.system}, "
            f"kernel {machine.kernel}, {machine.architecture}"
        )
        lines.append(f"- {inline(versions)}")
        if self._ended:
            lines += ["", "| verdict | run | Envoy | launcher | why |", "|---|---|---|---|---|"]
            lines += [self._row(run) for run in self._ended.values()]
        parts = [
            [f"## ERROR {inline(one.id)}", "", code_block(one.message)] for one in self._refused
        ]
        parts += [[*self._explained(run)] for run in self._ended.values() if _is_explained(run)]
        self._write([*lines, *_that_fit(parts, len("\n".join(lines)))])

    def _write(self, lines: list[str]) -> None:
        from envoyassert.output_file import write_lines

        write_lines(lines, self._path)

    def _row(self, run: events.RunEnded) -> str:
        from envoyassert.report.github_text import inline

        assert run.record is not None
        word = run.word if run.record.outcome != "error" else "ERROR"
        record = run.record
        cells = (word, run.title, record.envoy, record.launcher, record.reason)
        return "| " + " | ".join(inline(cell) for cell in cells) + " |"

    def _explained(self, run: events.RunEnded) -> Iterator[str]:
        """Yield what there is to say of a run that did not pass."""
        from envoyassert.report.github_text import code_block, inline

        judged = self._judged.get(run.id)
        yield f"## {inline(run.word)} {inline(run.title)}"
        yield ""
        if judged is not None:
            envoy = judged.envoy
            build = f", build id {envoy.build_id}" if envoy.build_id else ""
            about = f"Envoy {envoy.version or envoy.source}{build}, launcher {envoy.launcher}"
            yield f"- {inline(f'{about}, concurrency {envoy.concurrency}, kernel {judged.kernel}')}"
            yield f"- certificate: {inline(judged.certificate)}"
        elif run.run is not None:
            asked = run.run.asked
            about = f"Envoy {asked.envoy}, launcher {asked.launcher}"
            yield f"- {inline(f'{about}, concurrency {asked.concurrency}')}"
        if run.run is not None:
            place = run.run.scenario.location
            yield f"- scenario: {inline(f'{place.file}:{place.line}')}"
        phases = self._phases.get(run.id, ())
        if phases:
            yield from ("", "| phase | ended | result |", "|---|---|---|")
            for phase in phases:
                cells = (phase.name, phase.ended, phase.result)
                yield "| " + " | ".join(inline(cell) for cell in cells) + " |"
        findings = () if judged is None or judged.judgement is None else judged.judgement.findings
        said = [one for one in findings if judged is not None and one.status == judged.standing]
        for finding in said:
            yield from _finding(finding)
        if said and judged is not None and judged.baseline is not None:
            of_baseline = judged.baseline.lines()
            yield from ("", code_block("\n".join(of_baseline))) if of_baseline else ()
        # What is no finding: a run that was not judged, a fixture that failed after it.
        for failure in run.failures if not said else ():
            yield from ("", code_block(failure.text))


def _is_explained(run: events.RunEnded) -> bool:
    return bool(run.failures) or run.word in _EXPLAINED


def _finding(finding: FindingPart) -> Iterator[str]:
    """Yield a finding that decides a verdict."""
    from envoyassert.report.github_text import code_block, inline

    yield from ("", f"### {inline(f'{finding.words.subject} {finding.atom}')}", "")
    if finding.location is not None:
        place = finding.location
        yield f"- scenario: {inline(f'{place.file}:{place.line}:{place.column}')}"
    for name, words in (
        ("expected", finding.words.expected),
        ("seen", finding.words.seen),
        ("reason", finding.words.reason),
        ("closest", finding.words.closest),
        ("known defect", finding.words.known_defect),
        ("why", finding.why),
        ("hint", finding.words.hint),
    ):
        if words:
            yield f"- {name}: {inline(words)}"
    events = finding.evidence[:_MOST_EVENTS]
    if events:
        times = ["" if one.at_ms is None else f"{one.at_ms:.3f} ms" for one in events]
        wide, long = max(map(len, times)), max(len(one.thread) for one in events)
        rows = [
            f"{time:>{wide}}  {one.thread:{long}}  {one.call}".lstrip()
            for time, one in zip(times, events, strict=True)
        ]
        more = len(finding.evidence) - len(events)
        yield from ("", code_block("\n".join([*rows, *([f"… and {more} more"] if more else [])])))


def _that_fit(parts: list[list[str]], length: int) -> Iterator[str]:
    """Yield the lines of parts, as far as there is room for them in a comment."""
    for number, part in enumerate(parts):
        length += len("\n".join(part)) + 2
        if length > MAX_LENGTH - _ROOM_FOR_NOTE:
            yield from ("", f"… and the details of {len(parts) - number} more, which the log has")
            return
        yield from ("", *part)
