"""What is kept of a run: its trace and Envoy's log, also if something cuts it short."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import EnvoyAssertError, MachineError
from envoyassert.output_file import write_lines
from envoyassert.outputs.events import EvidenceKept
from envoyassert.outputs.stream import artifacts_of
from envoyassert.pytest_plugin.crossing import record, verdicts_of
from envoyassert.pytest_plugin.options import FILE_SUFFIXES
from envoyassert.pytest_plugin.session import session_of, stream_of
from envoyassert.runner import LiveRun, RunResult
from envoyassert.shown import shown

if TYPE_CHECKING:
    from envoyassert.pytest_plugin.collect import ScenarioItem
    from envoyassert.trace import Trace

#: A time-out may strike in a thread of its own, while the run's thread writes the same files.
_ONE_WRITES = threading.Lock()


class CutShortError(EnvoyAssertError):
    """A run was ended before there was a verdict, by a time-out say.

    Args:
        message: what ended it, and where it was, in one line.
        kept: lines that say where its trace and log are.
    """

    def __init__(self, message: str, kept: list[str]) -> None:
        super().__init__(message)
        self.kept = kept

    def __str__(self) -> str:
        return "\n".join([self.message, *self.kept])


def keep(item: ScenarioItem, trace: Trace, log: str) -> tuple[dict[str, str], str]:
    """Write a run's trace and log, and say so to the outputs.

    Args:
        item: the test.
        trace: what was observed.
        log: what Envoy printed.

    Returns:
        Paths by `trace` and `log`, and why one is missing, or "".
    """
    from envoyassert.trace_file import write_trace

    directory, base = _places(item)
    suffix = _suffix(item)
    paths = directory / f"trace{suffix}.ndjson", directory / f"envoy{suffix}.log"
    kept: dict[str, str] = {}
    note = ""
    with _ONE_WRITES:
        try:
            write_trace(trace, paths[0], below=base)
            kept["trace"] = str(paths[0])
            write_lines(log.splitlines(), paths[1], below=base)
            kept["log"] = str(paths[1])
        except MachineError as error:
            # The verdict matters more than its souvenirs.
            note = f"not kept: {error}"
    record(item, EvidenceKept(item.run, shown(kept.get("trace", "")), shown(kept.get("log", ""))))
    return kept, note


def keep_page(item: ScenarioItem, page: str) -> str:
    """Write the page of a run beside its trace, and return its path.

    Args:
        item: the test.
        page: the text of the page.

    Raises:
        MachineError: it cannot be written.
    """
    directory, base = _places(item)
    path = directory / f"run{_suffix(item)}.html"
    write_lines(page.split("\n"), path, below=base)
    return str(path)


def _suffix(item: ScenarioItem) -> str:
    """Return what the names of a run's files have if it is repeated: `.2`."""
    number = len(verdicts_of(item)) + 1
    return f".{number}" if number > 1 else ""


def _places(item: ScenarioItem) -> tuple[Path, Path]:
    """Return the directory for a run's trace and log, and the one above all of a session's.

    Both are relative to where pytest was started. An output may have a place of its own. Else
    `scenarios/udp.envoyassert.yaml::udp[concurrency=2]` has `scenarios/udp/concurrency=2`, and
    `scenarios/udp.yaml::udp` has `scenarios/udp.yaml/udp`: never another run's. A name that is
    long, or cannot be one of a file, is cut and has a digest.
    """
    from envoyassert.report.results import is_short_and_plain, with_digest

    of_output = artifacts_of(stream_of(item.config), item.run.id, item.run.title)
    if of_output is not None:
        return of_output
    base = Path(session_of(item.config).options.artifacts)
    path = os.path.relpath(item.path, item.config.rootpath)
    *parts, file = Path(path).parts
    name = item.name if "[" not in item.name else item.name.partition("[")[2].removesuffix("]")
    own = name if is_short_and_plain(name) else with_digest(name, name)
    if os.pardir in parts:  # not below the root: another file's path may have the same end
        parts, own = [part for part in parts if part != os.pardir], with_digest(name, path + name)
    return Path(base, *parts, file.removesuffix(FILE_SUFFIXES[0]), own), base


class Evidence:
    """Follows one run of a test, to keep what there is of it if it is cut short.

    Args:
        item: the test.
    """

    def __init__(self, item: ScenarioItem) -> None:
        self._item = item
        self._run: LiveRun | None = None
        self._result: RunResult | None = None
        self._lines: list[str] | None = None
        item.stash[_EVIDENCE] = self

    def began(self, run: LiveRun) -> None:
        """Take note of a run; nothing has been started yet."""
        self._run = run

    def cut_short(self, run: LiveRun, error: BaseException) -> None:
        """Keep what was recorded of a run that an exception ends."""
        del run
        self.secure(reason_of(error))

    def over(self, result: RunResult) -> None:
        """Take note of what is to be judged."""
        self._result = result

    @property
    def whereabouts(self) -> str:
        """Where the run is, in words."""
        if self._result is not None:
            return "after the run, while it was judged"
        return "before Envoy was started" if self._run is None else self._run.whereabouts

    def secure(self, why: str) -> list[str]:
        """Keep what there is, once, and return lines that say where it is.

        Args:
            why: what cuts the run short.
        """
        if self._lines is None:
            self._lines = []
            try:
                self._lines += self._secured(why)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide the reason
                self._lines.append(f"not kept: {type(error).__name__}: {error}")
        return self._lines

    def _secured(self, why: str) -> list[str]:
        if self._result is not None:
            trace, log = self._result.trace, self._result.log_text
        elif self._run is not None and self._run.started():
            trace, log = self._run.trace_cut_short(why), self._run.log()
        else:
            return []
        kept, note = keep(self._item, trace, log)
        return [*(f"{what}: {path}" for what, path in kept.items()), *([note] if note else [])]

    def described(self, why: str) -> CutShortError:
        """Return the error that says what cut the run short, where, and what is kept of it."""
        return CutShortError(f"{why.rstrip('.')}: it struck {self.whereabouts}", self.secure(why))


_EVIDENCE = pytest.StashKey[Evidence]()


def evidence_of(item: pytest.Item) -> Evidence | None:
    """Return what follows a test's run, None if there is none."""
    return item.stash.get(_EVIDENCE, None)


def reason_of(error: BaseException) -> str:
    """Return what an exception says, in one line."""
    lines = str(getattr(error, "msg", "") or error).splitlines()
    return lines[0] if lines else type(error).__name__
