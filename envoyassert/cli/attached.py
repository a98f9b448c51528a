"""What `envoyassert attach` prints and writes of each Envoy."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count as counted
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli.output import page_width, say, say_report
from envoyassert.errors import ScenarioError, guarded
from envoyassert.judge.verdict import Status

if TYPE_CHECKING:
    from envoyassert.attach.recording import Recorded
    from envoyassert.report.story_text import AsItHappens
    from envoyassert.trace import Trace

#: What records, shows and judges: loaded once the probe is armed, see `Reporter.armed`.
_LATER = (
    *("attach.envoy", "attach.recording", "report.story_text", "report.story", "trace_file"),
    *("report.headline", "judge.scopes", "live.traces"),
)


@dataclass(frozen=True)
class Asked:
    """What is done with each trace.

    Args:
        waits_for: what is waited for, in words.
        output: the file of the first trace, or a directory (existing, or with a `/` at its end);
            "" to write none.
        drafted: the scenario that is written of the first one; None for none.
        scenario: what it is judged by; "" for nothing.
        run: which run of that; "" for the one that fits.
        quiet: whether the verdict alone is printed.
        several: whether there may be several Envoys.
    """

    waits_for: str
    output: str = ""
    drafted: Path | None = None
    scenario: str = ""
    run: str = ""
    quiet: bool = False
    several: bool = False


class Reporter:
    """Prints the story while it happens, then shows, writes and judges the trace.

    Args:
        asked: what is to be done.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._lock = threading.Lock()
        self._stories: dict[int, AsItHappens] = {}
        self._faults: set[str] = set()
        #: The status of each verdict.
        self.statuses: list[Status] = []
        #: How many Envoys there were.
        self.count = 0

    def armed(self) -> None:
        """Say that from now on no exec is missed."""
        say(f"armed: waiting for {self._asked.waits_for}", err=True)
        later = [*_LATER]
        if self._asked.scenario:
            later += ["cli.judged", "report.failure"]
        if self._asked.drafted is not None:
            later.append("cli.draft")
        # Not before, for that would put off the arming; and not once it is needed, as the package
        # may have been replaced since. Meanwhile it is looked for Envoys already.
        threading.Thread(target=_load, args=(later,), daemon=True).start()

    def seen(self, number: int, trace: Trace) -> None:
        """Print what is new of an Envoy."""
        if self._asked.quiet:
            return
        from envoyassert.report.story_text import HEADING, AsItHappens

        front = f"[{number}] " if self._asked.several else ""
        with self._lock:
            if not self._stories:
                say(" " * len(front) + HEADING)
            story = self._stories.setdefault(number, AsItHappens())
            lines = guarded(lambda: story.lines(trace), self._fault)
            if lines:
                say(*(front + line for line in lines))
                sys.stdout.flush()

    def phase_ended(self, number: int, name: str) -> None:
        """Say that a phase has ended."""
        with self._lock:
            say(f"{self._title(number)}: the phase {name} is over", err=True)

    def recorded(self, number: int, recorded: Recorded) -> None:
        """Show, write and judge a trace."""
        from envoyassert.report.story_text import AsItHappens

        self.count += 1
        with self._lock:
            self._stories.setdefault(number, AsItHappens())
            self._report(number, recorded)
            sys.stdout.flush()

    def _report(self, number: int, recorded: Recorded) -> None:
        trace, asked = recorded.trace, self._asked
        title = self._title(number)
        # First of all: nothing that is printed may cost the trace, or the verdict.
        path = self._written(number, trace)
        if not asked.quiet:
            say("", *([f"{title}:"] if asked.several else []))
            say_report(*guarded(lambda: _shown(trace), self._fault))
        for note in self._notes(recorded):
            say(f"note: {title}{note}", err=True)
        if path is not None:
            say(f"{title}: {len(trace.events)} events written to {path}", err=True)
        if asked.scenario:
            self._judge(trace, path)
        if asked.drafted is not None:
            _draft(trace, path, _numbered(asked.drafted, number))

    def _fault(self, fault: str) -> list[str]:
        """Return what is printed of a fault: the same one once."""
        if fault in self._faults:
            return []
        self._faults.add(fault)
        return [fault]

    def _title(self, number: int) -> str:
        return f"Envoy {number}" if self._asked.several else "Envoy"

    def _notes(self, recorded: Recorded) -> Iterator[str]:
        yield from (f": {note}" for note in recorded.notes)
        outcome = recorded.trace.end.outcome
        if not outcome.running:
            from envoyassert.report.headline import why_ended

            yield f" {why_ended(outcome)}"
        elif not recorded.settled:
            yield " had not settled when the trace was taken"

    def _written(self, number: int, trace: Trace) -> Path | None:
        output = self._asked.output
        if not output:
            return None
        from envoyassert.live.traces import file_name
        from envoyassert.trace_file import write_trace

        path = _numbered(Path(output), number)
        if is_directory(output):
            names = (file_name(trace, time.time_ns(), again) for again in counted(1))
            path = next(p for name in names if not (p := Path(output, name)).exists())
        write_trace(trace, path)
        return path

    def _judge(self, trace: Trace, path: Path | None) -> None:
        from envoyassert.cli.judged import judged, plan_of_trace, say_differences
        from envoyassert.report.failure import failure_lines
        from envoyassert.report.headline import headline

        try:
            plan = plan_of_trace(trace, Path(self._asked.scenario), self._asked.run)
        except (click.UsageError, ScenarioError) as error:
            # It does not fit this Envoy, and may fit another one.
            reason = error.message if isinstance(error, click.UsageError) else str(error)
            say(f"{Status.INCONCLUSIVE.value} {Path(self._asked.scenario).stem}: {reason}")
            self.statuses.append(Status.INCONCLUSIVE)
            return
        say_differences(plan, trace)
        verdict, graph, context = judged(trace, plan, self._asked.scenario, str(path or ""))
        has_story = not self._asked.quiet
        lines = [""] if has_story else []
        if verdict.status is Status.PASS:
            lines.append(headline(verdict, plan.id))
        else:
            after_story = replace(context, after_story=has_story)
            lines += failure_lines(verdict, trace, graph, after_story)
        say_report(*lines)
        self.statuses.append(verdict.status)


def _load(modules: Iterable[str]) -> None:
    for module in modules:
        # Who needs it then fails with that.
        with contextlib.suppress(Exception):
            import_module(f"envoyassert.{module}")


def _shown(trace: Trace) -> list[str]:
    """Return what `show` prints of a trace."""
    from envoyassert.graph.fold import fold
    from envoyassert.judge.scopes import certify_phases
    from envoyassert.report.story import story_of
    from envoyassert.report.story_text import story_lines

    graph = fold(trace)
    return story_lines(story_of(trace, graph, certify_phases(trace, graph)), page_width())


def is_directory(output: str) -> bool:
    """Return whether traces go into a directory: one that is there, or with a `/` at its end."""
    return output.endswith("/") or Path(output).is_dir()


def _draft(trace: Trace, path: Path | None, scenario: Path) -> None:
    import tempfile

    from envoyassert.cli.draft import draft
    from envoyassert.trace_file import write_trace

    with contextlib.ExitStack() as stack:
        if path is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(directory, f"{scenario.name.partition('.')[0]}.ndjson")
            write_trace(trace, path)
        click.get_current_context().invoke(
            draft, source=str(path), arguments=(), output=scenario, pod=""
        )


def _numbered(path: Path, number: int) -> Path:
    """Return the file of one of several: the first one has the name itself."""
    if number == 1:
        return path
    stem, dot, rest = path.name.partition(".")
    return path.with_name(f"{stem}_{number}{dot}{rest}")
