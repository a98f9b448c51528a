"""Every error that is raised on purpose; and `guarded`, by which one that is not costs no verdict.

`Capability` is what a machine can or cannot do.

EnvoyAssertError                 the user can act on it; the CLI prints it without a traceback
├── ScenarioError                one or more problems in a scenario file, each with line and column
├── TraceFileError               a trace file that cannot be read, or was cut off
├── MachineError                 this machine lacks something; carries the remedy
│   ├── ProbeUnavailableError    no root, no bcc, the wrong bcc, no tracefs, kernel too old
│   ├── StraceUnavailableError   no strace, too old, or tracing is not allowed
│   ├── ProbeLoadError           the BPF program was refused; carries the compiler's words
│   ├── EnvoyUnavailableError    this Envoy is not here: not downloaded, binary or image absent
│   │   └── NoSuchEnvoyError     no machine has it: no index or registry holds what was named
│   └── DockerUnavailableError   no engine, a remote engine, no permission
├── NoProcessError               no such process, or it is no Envoy, or it ended meanwhile
│   └── SeveralProcessesError    several, where one was to be named
├── LaunchError                  Envoy could not be started at all; carries the end of its log
└── JudgingError                 a trace could not be judged, by a fault of envoyassert
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

from envoyassert.frozen import frozen
from envoyassert.shown import joined, shown

#: Of compiler, verifier and Envoy output; the end is where the reason stands.
_LAST_LINES = 15
#: Of a value that is quoted from a file; its beginning is enough to find it there.
_LONG_QUOTATION = r"(`[^`]{200})[^`]+`"
#: Of a problem, whatever it quotes: more is not read.
_LONGEST = 2_000


class EnvoyAssertError(Exception):
    """Base of all errors that are meant for the user.

    Args:
        message: one sentence that says what is wrong.
        remedy: what to do about it, one or more sentences; empty if nothing is known.
    """

    #: Whether the message begins with a place in a file, and with `error:`.
    names_place: ClassVar[bool] = False

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        lines = self.message.split("\n")
        return joined([*lines, *(f"  remedy: {self.remedy}".split("\n") if self.remedy else [])])


@frozen
class Problem:
    """One fault in a file.

    Args:
        path: the file as the user named it.
        line: 1-based line, 0 if the fault is the file as a whole.
        column: 1-based column, 0 as above.
        message: what is wrong.
        remedy: what to write instead, or "".
    """

    path: str
    line: int
    column: int
    message: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """What is wrong and what to write instead, without the place; what is long is cut."""
        text = f"{self.message} ({self.remedy})" if self.remedy else self.message
        text = re.sub(_LONG_QUOTATION, r"\1…`", text)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

    def __str__(self) -> str:
        return self.as_line("error")

    def as_line(self, kind: str) -> str:
        """Return it in one line, `one.yaml:3:5: warning: …`.

        Args:
            kind: `error` or `warning`.
        """
        where = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return shown(f"{where}: {kind}: {self.text}")


#: More of them are not read.
_MOST_PROBLEMS = 100


class ScenarioError(EnvoyAssertError):
    """A scenario file is not valid; `problems` holds the faults found, in file order.

    Of many it holds the first hundred, and how many more there are.
    """

    names_place = True

    def __init__(self, problems: list[Problem]) -> None:
        more = len(problems) - _MOST_PROBLEMS
        if more > 0:
            last = Problem(problems[0].path, 0, 0, f"{more} more problems", "these are the first")
            problems = [*problems[:_MOST_PROBLEMS], last]
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TraceFileError(EnvoyAssertError):
    """A trace file cannot be read: not a trace, another version, or incomplete."""

    names_place = True


class MachineError(EnvoyAssertError):
    """The machine does not support what was asked; `remedy` says what it lacks."""


class ProbeUnavailableError(MachineError):
    """The eBPF probe cannot be used here."""


class StraceUnavailableError(MachineError):
    """strace was asked for, and cannot be used on this machine."""


class ProbeLoadError(MachineError):
    """The BPF program did not compile or was refused.

    Args:
        message: one sentence.
        remedy: what to do.
        compiler_output: what clang or the verifier printed, for a bug report.
    """

    def __init__(self, message: str, remedy: str = "", compiler_output: str = "") -> None:
        super().__init__(message, remedy)
        self.compiler_output = compiler_output


class EnvoyUnavailableError(MachineError):
    """The Envoy that was asked for is unavailable."""


class NoSuchEnvoyError(EnvoyUnavailableError):
    """The index or the registry answered that there is no such Envoy: whoever named it is wrong.

    Args:
        message: one sentence.
        remedy: what to do.
        named: the version or image, as it was named.
    """

    def __init__(self, message: str, remedy: str = "", named: str = "") -> None:
        super().__init__(message, remedy)
        self.named = named


class DockerUnavailableError(MachineError):
    """No usable Docker engine answers."""


class BrowserUnavailableError(MachineError):
    """There is no browser for the tests of pages."""


class NoProcessError(EnvoyAssertError):
    """There is no process as it was asked for: none at all, none that is an Envoy, or no more."""


class SeveralProcessesError(NoProcessError):
    """Several processes are as it was asked for, and one was to be named."""


class LaunchError(EnvoyAssertError):
    """Envoy could not be started at all (an Envoy that starts and exits is judged instead).

    Args:
        message: one sentence.
        remedy: what to do.
        log_tail: the last lines that Envoy or the engine printed.
    """

    def __init__(self, message: str, remedy: str = "", log_tail: str = "") -> None:
        super().__init__(message, remedy)
        self.log_tail = log_tail


class JudgingError(EnvoyAssertError):
    """A trace could not be judged, by a fault of envoyassert; `remedy` says where it is kept."""


def text_with_output(error: EnvoyAssertError) -> str:
    """Return message and remedy, and the end of what compiler, verifier or Envoy printed."""
    more = ""
    if isinstance(error, LaunchError):
        more = error.log_tail
    elif isinstance(error, ProbeLoadError):
        more = error.compiler_output
    lines = more.splitlines()[-_LAST_LINES:]
    return "\n".join([str(error), *(shown(f"  | {line}") for line in lines)])


class Capability(NamedTuple):
    """One thing a machine can or cannot do.

    Args:
        name: what it is about: `docker`, `tracefs`.
        ok: whether it can.
        detail: what was found.
        remedy: what to do if it cannot, or "".
    """

    name: str
    ok: bool
    detail: str
    remedy: str


Result = TypeVar("Result")

#: By which a fault of ours is known in any text.
FAULT = "a fault of envoyassert"


def guarded(compute: Callable[[], Result], instead: Callable[[str], Result]) -> Result:
    """Return what a function computes, or what takes its place if it raises.

    So what is computed apart from a verdict costs nothing else: a fault in it is a line.

    For hints, remedies, pictures, summaries and annotations, and for a single expectation, which
    becomes INCONCLUSIVE. What pytest raises to end a test goes through: it is no `Exception`.

    Args:
        compute: the function.
        instead: returns the replacement, from one line that says what the fault is.
    """
    try:
        return compute()
    except Exception as error:  # noqa: BLE001 - whatever it is, the verdict matters more
        return instead(fault_words(error))


def fault_words(error: Exception) -> str:
    """Return one line about an exception that nothing in envoyassert may raise, with its place."""
    # Not above: each command would load it.
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"not computed: {words}{place} ({FAULT}; please report it with the trace)"
