"""All lines of the table, in its order: a further one is an entry here."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from tests.bench.lines import (
    commands,
    floors,
    judging,
    library,
    one_run,
    pictures,
    plugin,
    probe_times,
    start,
    storms,
    untraced,
    whole,
)
from tests.bench.lines.line import Line, pairs

LINES = (
    Line("run", "`envoyassert run` of one scenario", one_run.measure, pairs(2, 9, 25)),
    Line("floors", "what `run` cannot be faster than", floors.measure, pairs(2, 9, 25)),
    Line("probe-load", "load and attach the probe", probe_times.measure_load, pairs(2, 9, 25)),
    Line("probe-unload", "detach and unload it", probe_times.measure_unload, pairs(2, 9, 25)),
    Line("check", "`check` of one file", commands.measure_check, pairs(2, 9, 25)),
    Line("version", "`--version`", commands.measure_version, pairs(1, 9, 25)),
    Line("completion", "completion of a command", commands.measure_completion, pairs(2, 9, 25)),
    Line("check-many", "`check` of many files", commands.measure_check_many, pairs(1, 5, 9)),
    Line("collect-many", "collect many files", commands.measure_collect_many, pairs(1, 2, 7)),
    Line(
        "collect-thousand",
        "collect 1,000 files, the baseline too",
        commands.measure_collect_thousand,
        pairs(1, 1, 1),
        opt_in=True,
    ),
    Line("plugin", "other tests, the plugin installed", plugin.measure, pairs(2, 15, 31)),
    Line("start-http", "start of an Envoy that serves HTTP", start.measure_http, pairs(2, 10, 31)),
    Line("start-echo", "start of an Envoy that echoes", start.measure_echo, pairs(2, 10, 31)),
    Line("start-strace", "the same under strace", start.measure_strace, pairs(1, 3, 9)),
    Line("start-bpftrace", "the same under bpftrace", start.measure_bpftrace, pairs(1, 2, 9)),
    Line("start-many", "1,000 listeners × 16 workers", start.measure_many, pairs(1, 5, 15)),
    Line("judging", "decode, fold and judge long records", judging.measure, pairs(2, 7, 15)),
    Line("pictures", "pages of runs, in a browser", pictures.measure, pairs(1, 3, 9)),
    Line("library", "the shipped scenarios on one Envoy", library.measure, pairs(1, 1, 3)),
    Line("untraced", "what untraced processes pay", untraced.measure, pairs(1, 4, 15)),
    Line("storms", "storms of each kind of call", storms.measure, pairs(1, 1, 3), opt_in=True),
    Line("make-test", "`make test`", whole.measure_test, pairs(1, 1, 3), opt_in=True),
    Line(
        "fresh-run", "`make run` of a fresh clone", whole.measure_run, pairs(1, 1, 3), opt_in=True
    ),
)


class ChoiceError(Exception):
    """No line is called so; the text has all names."""


def chosen(patterns: Sequence[str], lines: Sequence[Line] = LINES) -> list[Line]:
    """Return the lines that are meant, in the order of the table.

    Args:
        patterns: names, in which `*` stands for any text; none for all that need no request.
        lines: those to choose from.

    Raises:
        ChoiceError: a pattern matches no line.
    """
    if not patterns:
        return [line for line in lines if not line.opt_in]
    for pattern in patterns:
        if not any(fnmatchcase(line.name, pattern) for line in lines):
            names = ", ".join(line.name for line in lines)
            raise ChoiceError(f"no line is called {pattern}; there are: {names}")
    return [line for line in lines if any(fnmatchcase(line.name, pattern) for pattern in patterns)]
