"""`envoyassert plan --transition`: OLD is started, and really changed to NEW under clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli.exits import TROUBLE
from envoyassert.cli.output import say, say_json
from envoyassert.cli.pictures import deliver
from envoyassert.predict.effects import Way
from envoyassert.shown import joined

if TYPE_CHECKING:
    from envoyassert.probe import Probe
    from envoyassert.scenario.plan import RunPlan
    from envoyassert.transition.outcome import Report

#: What `--transition` takes.
WAYS = (*(way.value for way in Way), "all")
#: Exit codes, by the result.
CODES = {"none": 0, "changes": 1, "loses": 3, "trouble": TROUBLE}


def ways_of(wanted: str) -> tuple[Way, ...]:
    """Return the ways that a value of `--transition` means."""
    return tuple(Way) if wanted == "all" else (Way(wanted),)


def try_transition(old: RunPlan, new: RunPlan, way: Way, probe: Probe) -> Report:
    """Run a change, and return what it did and what the model says of it.

    Args:
        old: the run of the config that is to be changed.
        new: that of the other one.
        way: how the change reaches Envoy.
        probe: the loaded probe.

    Raises:
        EnvoyAssertError: it cannot be run on this machine.
    """
    from envoyassert.runner import run_plan
    from envoyassert.transition.outcome import report_of
    from envoyassert.transition.scenario import transition_of

    made = transition_of(old, new, way)
    run = run_plan(made.run, probe, "process").trace
    queue = run_plan(made.queue, probe, "process").trace if made.queue else None
    return report_of(made, run, queue)


def try_transitions(
    plans: tuple[RunPlan, RunPlan],
    wanted: str,
    names: tuple[str, str],
    output: str,
    target: str | None = None,
    *,
    everything: bool = False,
) -> int:
    """Change OLD to NEW in each wanted way, say what happened, and return the exit code.

    Args:
        plans: OLD and NEW.
        wanted: the value of `--transition`.
        names: of OLD and NEW.
        output: `text`, `markdown` or `json`.
        target: the file to write Markdown into, None for the standard output.
        everything: whether listeners to which nothing happens are shown too.

    Raises:
        EnvoyAssertError: it cannot be run on this machine, or the file cannot be written.
    """
    from envoyassert.launch.sweep import sweep
    from envoyassert.output_file import check_output
    from envoyassert.probe import Probe
    from envoyassert.transition import text
    from envoyassert.transition.outcome import result_of

    if target is not None:
        check_output(target)
    sweep()
    reports = []
    with Probe.load() as probe:
        for way in ways_of(wanted):
            report = try_transition(*plans, way, probe)
            reports.append(report)
            if output == "text":
                lines = text.report_lines(report, *names, everything=everything)
                say(*([""] if len(reports) > 1 else []), *lines)
    if output == "json":
        say_json(text.transitions_json(reports, *names))
    if output == "markdown":
        deliver(joined(text.markdown_lines(reports, *names)), target)
    return CODES[result_of(reports)]


def refuse_launcher(launcher: Any) -> None:
    """Refuse a launcher by which no change can be made.

    Raises:
        click.UsageError: it is `docker`: two epochs need one network.
    """
    if launcher == "docker":
        raise click.UsageError(
            "--transition starts Envoys beside each other: use the launcher process"
        )
