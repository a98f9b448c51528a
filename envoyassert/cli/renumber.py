"""`envoyassert run --update`: rewrites the numbers of scenarios that their runs do not meet."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from envoyassert.cli.judged import plan_of_trace
from envoyassert.cli.output import say
from envoyassert.graph.fold import fold
from envoyassert.output_file import write_text
from envoyassert.outputs import events
from envoyassert.outputs.output import Output
from envoyassert.renumber import Renumbered, TracedRun, renumbered
from envoyassert.report.summary import ERROR, FAILED, INCONCLUSIVE
from envoyassert.scenario.load import load_scenario
from envoyassert.trace_file import read_trace


class Renumbering(Output):
    """Takes the traces of a session, of which numbers are rewritten when it is over.

    Args:
        yes: whether to write without a question.
    """

    title = "the update of scenarios"

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes
        self._traces: dict[str, dict[str, str]] = {}
        self._others: dict[str, str] = {}
        #: Files of runs that are not green, and whether a baseline is why.
        self._red: set[str] = set()
        self._lacks_baseline = False
        self._is_complete = False

    def run_judged(self, event: events.RunJudged) -> None:
        """Take the trace of a run, the last one if it is repeated."""
        path = event.run.scenario.location.file
        self._traces.setdefault(path, {})[event.run.title] = event.trace
        self._lacks_baseline |= event.baseline is not None and bool(event.baseline.reason)

    def run_ended(self, event: events.RunEnded) -> None:
        """Take note of a run that is not green, or was not judged."""
        path = "" if event.run is None else event.run.scenario.location.file
        if event.record is not None and event.record.outcome in (FAILED, INCONCLUSIVE, ERROR):
            self._red.add(path)
        if path and event.record is not None and event.record.outcome == ERROR:
            self._others[path] = event.title

    def session_ended(self, event: events.SessionEnded) -> None:
        """Take note of whether every run was made."""
        self._is_complete = event.complete

    def offer(self) -> bool:
        """Show what would be rewritten, and write it if that is wanted.

        Returns:
            Whether every run was made, and each that was not green is by what was written.

        Raises:
            MachineError: a file cannot be written.
        """
        found = dict(self._offers())
        for path, one in found.items():
            for line in one.left:
                say(f"{path} is left as it is: {line}" if not one.changes else f"{path}: {line}")
        changed = {path: one for path, one in found.items() if one.changes}
        for path, one in changed.items():
            _show(path, one)
        if not changed or not self._is_wanted(len(changed)):
            return False
        for path, one in changed.items():
            mark = "\ufeff" if Path(path).read_bytes().startswith(b"\xef\xbb\xbf") else ""
            write_text(mark + one.text, path)
            say(f"written: {path}")
        left = any(one.left for one in found.values()) or self._lacks_baseline
        return self._is_complete and self._red <= changed.keys() and not left

    def _offers(self) -> Iterator[tuple[str, Renumbered]]:
        for path, traces in self._traces.items():
            loaded = load_scenario(Path(path))
            if path in self._others or not all(traces.values()):
                lacking = [title for title, trace in traces.items() if not trace]
                title = self._others.get(path) or lacking[0]
                text = loaded.document.text
                yield path, Renumbered(text, text, left=(f"there is no trace of {title}",))
                continue
            runs = []
            for title, file in traces.items():
                trace = read_trace(file)
                plan = plan_of_trace(trace, Path(path), "")
                runs.append(TracedRun(title, plan, trace, fold(trace)))
            found = renumbered(loaded, runs)
            if found.changes or found.left:
                yield path, found

    def _is_wanted(self, number: int) -> bool:
        if self._yes:
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            say("nothing was written: --yes writes it")
            return False
        files = "this file" if number == 1 else f"these {number} files"
        return click.confirm(f"write {files}?", default=False)


def _show(path: str, one: Renumbered) -> None:
    texts = one.before.splitlines(), one.text.splitlines()
    for line in difflib.unified_diff(*texts, path, path, lineterm="", n=2):
        say(line)


def refuse_in_ci() -> None:
    """Refuse to rewrite scenarios where no one reviews it.

    Raises:
        click.UsageError: `CI` is set.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false", "no"):
        raise click.UsageError("--update rewrites scenarios, and is for a desk: CI is set")
