"""Commands that start nothing: `check`, `--version`, completion, and a thousand files."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tests.bench.builds import Build, kept_bytecode
from tests.bench.configs import scenario, write_scenarios
from tests.bench.processes import run
from tests.bench.row import Row, both, figure, ratios
from tests.bench.session import Session, alternated

LIMIT = 0.5
#: Seconds of `--version` over the interpreter itself.
OVER_PYTHON_S = 0.12
FILES, FEWER, MANY_LIMIT = 1000, 100, 0.4
#: How much more than in proportion the second half of the files may take.
GROWTH = 1.2
_COLLECT = ("run", "--collect-only", "-q")
#: What a shell asks for when a word is to be completed.
_COMPLETION = {"_ENVOYASSERT_COMPLETE": "bash_complete", "COMP_WORDS": "envoyassert ch"}


def _command_s(
    session: Session, words: Sequence[str], build: Build, env: dict[str, str] | None = None
) -> float:
    return _wall_s(session, build.command(*words), env)


def _wall_s(session: Session, command: Sequence[str], env: dict[str, str] | None = None) -> float:
    return run(command, cwd=session.directory, env={**kept_bytecode(), **(env or {})}).wall_s


def _unknown_s(session: Session, words: Sequence[str], build: Build) -> float:
    """Return the time of a command that has no notes of what was found valid before."""
    with tempfile.TemporaryDirectory(dir=session.directory) as cache:
        return _command_s(session, words, build, {"ENVOYASSERT_CACHE": cache})


_Timed = Callable[[Session, Sequence[str], Build], float]


def measure_check(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time of `check` of one file: as it was the last time, and never checked before."""
    path = session.directory / "one.yaml"
    path.write_text(scenario("one"), "utf-8")
    words = ("check", str(path))
    yield from _against_before(session, line, "`check` of one file, unchanged", pairs, words)
    before, now = session.pairs(pairs, partial(_unknown_s, session, words))
    what, seen = "`check` of one file, new or changed", both(before, now, "s")
    yield Row(line, what, session.against, ratios(before, now), "", LIMIT, seen)


def measure_version(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time of `--version`, against the commit and over the interpreter's own start."""
    yield from _against_before(session, line, "`--version`", pairs, ("--version",))
    python, ours = alternated(
        pairs,
        partial(_wall_s, session, [session.now.python, "-c", "pass"]),
        partial(_wall_s, session, session.now.command("--version")),
    )
    over = tuple(new - old for old, new in zip(python, ours, strict=True))
    what = "`--version` over `python -c pass`"
    yield Row(line, what, "python", over, "s", OVER_PYTHON_S, both(python, ours, "s"))


def measure_completion(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the time to complete a command."""
    env = {**_COMPLETION, "COMP_CWORD": "1"}
    yield from _against_before(session, line, "completion of a command", pairs, (), env)


def measure_check_many(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield `check` of a thousand files, and whether its time grows with their number."""
    for known, measure in ((", unchanged", _command_s), (", new or changed", _unknown_s)):
        yield _many(session, line, "`check`", ("check",), FILES, pairs, known=known, time=measure)
        yield _growth(session, line, "`check`", ("check",), pairs, known=known, time=measure)


def measure_collect_many(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the collection of files, and whether its time grows with their number.

    The baseline's grows with the square: its thousand take many minutes, so fewer are compared.
    """
    yield _many(session, line, "`run --collect-only`", _COLLECT, FEWER, pairs)
    yield _growth(session, line, "`run --collect-only`", _COLLECT, max(1, pairs // 3))


def measure_collect_thousand(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield the collection of a thousand files, against the commit."""
    yield _many(session, line, "`run --collect-only`", _COLLECT, FILES, pairs, warm=False)


def _many(
    session: Session,
    line: str,
    name: str,
    words: Sequence[str],
    count: int,
    pairs: int,
    *,
    warm: bool = True,
    known: str = "",
    time: _Timed = _command_s,
) -> Row:
    """Return the time of a command for so many files, against the commit."""
    directory = str(write_scenarios(session.directory / f"{line} {count} files{known}", count))
    measure = partial(time, session, (*words, directory))
    before, now = alternated(
        pairs, lambda: measure(session.before), lambda: measure(session.now), warm=warm
    )
    what, seen = f"{name} of {count:,} files{known}", both(before, now, "s")
    return Row(line, what, session.against, ratios(before, now), "", MANY_LIMIT, seen)


def _growth(
    session: Session,
    line: str,
    name: str,
    words: Sequence[str],
    times: int,
    *,
    known: str = "",
    time: _Timed = _command_s,
) -> Row:
    """Return how much the second half of a thousand files takes, relative to the first half."""
    sizes = (1, FILES // 2, FILES)
    places = [session.directory / f"{line} {size}{known}" for size in sizes]
    directories = [write_scenarios(*each) for each in zip(places, sizes, strict=True)]
    for directory in directories:
        _command_s(session, (*words, str(directory)), session.now)
    found: list[list[float]] = [[], [], []]
    for _ in range(times):
        for directory, seconds in zip(directories, found, strict=True):
            seconds.append(time(session, (*words, str(directory)), session.now))
    growth = tuple(
        (all_s - half_s) / (half_s - one_s) for one_s, half_s, all_s in zip(*found, strict=True)
    )
    seen = ", ".join(
        f"{size:,}: {figure(statistics.median(seconds), 's')}"
        for size, seconds in zip(sizes, found, strict=True)
    )
    what = f"{name} of {FILES:,} files{known}: second half"
    return Row(line, what, "first half", growth, "", GROWTH, seen)


def _against_before(
    session: Session,
    line: str,
    what: str,
    pairs: int,
    words: Sequence[str],
    env: dict[str, str] | None = None,
) -> Iterator[Row]:
    measure: Callable[[Build], float] = partial(_command_s, session, words, env=env)
    before, now = session.pairs(pairs, measure)
    yield Row(line, what, session.against, ratios(before, now), "", LIMIT, both(before, now, "s"))
