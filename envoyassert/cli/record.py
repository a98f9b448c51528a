"""`envoyassert record`: run a scenario once and keep the trace, unjudged."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from envoyassert.cli.options import (
    launcher_option,
    trace_output_option,
    tracer_options,
    untrusted_option,
)
from envoyassert.cli.output import say
from envoyassert.cli.plans import choose_run, envoy_of
from envoyassert.cli.where import need_linux
from envoyassert.output_file import check_output
from envoyassert.report.headline import why_ended
from envoyassert.texts.findings import outcome_in_words
from envoyassert.trace import Outcome


@click.command()
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False))
@trace_output_option
@click.option(
    "--run", "wanted", default="", metavar="RUN", help="Which run of the matrix (concurrency=2)."
)
@launcher_option
@click.option("--envoy", metavar="VERSION|IMAGE|BINARY", help="Run this Envoy instead.")
@tracer_options
@untrusted_option
def record(
    scenario: str,
    output: str,
    wanted: str,
    launcher: Any,
    envoy: str | None,
    tracer: str | None,
    witness: str | None,
    untrusted: bool,
) -> None:
    """Run a scenario and save the trace, unjudged.

    Needs root and bcc, or strace.

    Example: sudo envoyassert record scenarios/udp.yaml -o udp.ndjson
    """
    need_linux()
    from envoyassert.launch.sweep import sweep
    from envoyassert.probe import load_tracer, prepare_tracer
    from envoyassert.runner import run_plan
    from envoyassert.scenario.load import load_scenario
    from envoyassert.scenario.matrix import expand
    from envoyassert.trace_file import write_trace

    check_output(output)
    prepare_tracer(tracer or "ebpf", witness or "")
    envoys = [envoy_of(envoy)] if envoy else []
    loaded = load_scenario(Path(scenario), untrusted=untrusted)
    plan = choose_run(expand(loaded, envoys=envoys), wanted)
    sweep()
    with contextlib.closing(load_tracer(tracer or "ebpf", witness or "")) as probe:
        result = run_plan(plan, probe, launcher)
    write_trace(result.trace, output)
    header, outcome = result.trace.header, result.trace.end.outcome
    envoy_text = f"Envoy {header.envoy.version}" if header.envoy.version else header.envoy.source
    say(
        f"{plan.id}: {envoy_text}, launcher {header.launcher}, "
        f"{len(result.trace.events)} events written to {output}",
        err=True,
    )
    if outcome.live is False or not outcome.running:
        say(f"note: Envoy {_trouble(outcome)}", err=True)


def _trouble(outcome: Outcome) -> str:
    if outcome.running:
        return f"was not up and ready: {outcome_in_words(outcome)}"
    return why_ended(outcome)
