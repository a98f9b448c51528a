"""`envoyassert doctor`: what this machine can do, and the remedy for what it cannot."""

from __future__ import annotations

import os
import platform
from typing import Protocol

import click

from envoyassert.cli import exits
from envoyassert.cli.options import format_option
from envoyassert.cli.output import say, say_json
from envoyassert.report.table import columns
from envoyassert.shown import shown


class _Check(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...
    @property
    def remedy(self) -> str: ...


#: Without the others nothing can be run. Docker is one of two launchers, strace a second tracer; a
#: compiled program that is kept saves time alone.
_OPTIONAL = frozenset({"program cache", "docker", "strace"})
#: By whether there is something: the mark of its line, and the colour; None is optional.
_MARKS = {True: ("ok", "green"), None: ("-", None), False: ("MISSING", "red")}


@click.command()
@format_option()
def doctor(output: str) -> int:
    """Show what this machine can do, or the remedy.

    Exit code: 0 if scenarios can be run here, 1 if not. Docker is optional, as Envoy can be
    started as a local process.

    Example: sudo envoyassert doctor
    """
    checks = _checks()
    able = all(check.ok for check in checks if check.name not in _OPTIONAL)
    if output == "json":
        data = [
            {
                "name": check.name,
                "ok": check.ok,
                "optional": check.name in _OPTIONAL,
                "detail": check.detail,
                "remedy": check.remedy,
            }
            for check in checks
        ]
        say_json({"able": able, "checks": data})
        return exits.PASSED if able else exits.FAILED
    rows, marks = [], []
    for check in checks:
        marks.append(_MARKS[check.ok or (None if check.name in _OPTIONAL else False)])
        rows.append([marks[-1][0], check.name, check.detail])
        if not check.ok and check.remedy:
            rows.append(["", "", f"remedy: {check.remedy}"])
    marked = iter(marks)
    for line in columns(rows):
        # A remedy, and what is wrapped, have no mark.
        mark, colour = ("", None) if line.startswith(" ") else next(marked)
        click.echo(_coloured(mark, colour) + shown(line[len(mark) :]))
    say("scenarios can be run here" if able else _instead(checks))
    return exits.PASSED if able else exits.FAILED


def _checks() -> list[_Check]:
    # The three kinds of check are named tuples of the same form.
    if platform.system() != "Linux":
        from envoyassert.errors import Capability

        detail = f"{platform.system()} has no eBPF"
        return [Capability("kernel", False, detail, "run envoyassert on Linux, or in a Linux VM")]
    from envoyassert.launch.engine import docker_capability, envoy_capability
    from envoyassert.probe import probe_capability, program_cache_capability
    from envoyassert.probe.strace_tracer import strace_capability

    return [
        *probe_capability(),
        program_cache_capability(),
        envoy_capability(),
        docker_capability(),
        strace_capability(),
    ]


def _instead(checks: list[_Check]) -> str:
    """Return what can be done where scenarios cannot be run by the probe."""
    able = {check.name: check.ok for check in checks}
    if not able.get("envoy", True) and sum(not able[name] for name in able.keys() - _OPTIONAL) == 1:
        return "without an Envoy no scenario can be run here; attach records those that are started"
    if able.get("strace") and able.get("envoy"):
        return "scenarios cannot be run here by eBPF; with --tracer strace they can"
    return "scenarios cannot be run here"


def _coloured(mark: str, colour: str | None) -> str:
    """Colour a mark, which the terminal alone shows, unless NO_COLOR asks for none."""
    if colour is None or os.environ.get("NO_COLOR"):
        return mark
    return click.style(mark, fg=colour)
