"""Choosing one run of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envoyassert.errors import EnvoyUnavailableError
from envoyassert.scenario.plan import RunPlan

if TYPE_CHECKING:
    from envoyassert.launch.envoy_source import EnvoySource
    from envoyassert.trace import Header


def envoy_of(argument: str, option: str = "--envoy") -> EnvoySource:
    """Return the Envoy that an option names.

    Args:
        argument: its value.
        option: the option, for the message.

    Raises:
        click.UsageError: it names none, or a file that is not there or may not be executed.
    """
    from envoyassert.launch.envoy_source import parse_envoy_argument

    try:
        return parse_envoy_argument(argument)
    except EnvoyUnavailableError as error:
        raise click.UsageError(f"{option}: {error}") from error


def choose_run(plans: Sequence[RunPlan], wanted: str, option: str = "--run") -> RunPlan:
    """Return the run that the user means.

    Args:
        plans: the runs of a scenario.
        wanted: an id, or the part of it in brackets, or a part of that (`concurrency=2`); "" if
            there is only one.
        option: the option that says it, for the message.

    Raises:
        click.UsageError: none or several fit.
    """
    words = [word for word in wanted.partition("[")[2].rstrip("]").split(",") if word]
    if "[" not in wanted:
        words = [word.strip() for word in wanted.split(",") if word.strip()]
    fitting = [plan for plan in plans if wanted == plan.id or set(words) <= set(_values(plan))]
    if len(fitting) == 1:
        return fitting[0]
    ids = "\n  ".join(plan.id for plan in (fitting or plans))
    if not fitting:
        raise click.UsageError(f"no run of the scenario is `{wanted}`; there are\n  {ids}")
    raise click.UsageError(f"say with {option} which of these is meant\n  {ids}")


def _values(plan: RunPlan) -> list[str]:
    return plan.id.partition("[")[2].rstrip("]").split(",")


def run_of_trace(plans: Sequence[RunPlan], header: Header) -> RunPlan:
    """Return the run of a scenario that a trace is of.

    Args:
        plans: the runs of the scenario.
        header: the trace's.

    Raises:
        click.UsageError: the scenario has several runs, and none has the trace's matrix values.
    """
    if len(plans) == 1:
        return plans[0]
    fitting = [plan for plan in plans if plan.matrix_text == header.matrix]
    if len(fitting) == 1:
        return fitting[0]
    if not header.matrix:
        # An imported log knows its concurrency, if nothing else.
        fitting = [plan for plan in plans if plan.workers == header.concurrency]
        if len(fitting) == 1:
            return fitting[0]
    values = ", ".join(f"{axis}={value}" for axis, value in header.matrix.items()) or "none"
    raise click.UsageError(
        f"the trace's matrix values ({values}) are those of no single run of the scenario; "
        "say with --run which is meant"
    )
