"""`envoyassert inspect`: the sockets of an Envoy that runs already, from the kernel's state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from envoyassert.cli import exits
from envoyassert.cli.judged import judged, plan_of_trace
from envoyassert.cli.options import format_option, refuse_beside, seconds_of
from envoyassert.cli.output import page_width, say, say_json, say_report
from envoyassert.cli.selectors import SELECTORS, selector_options
from envoyassert.cli.where import need_linux
from envoyassert.errors import NoProcessError
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.judge.verdict import Status
from envoyassert.live.selection import ProcessSelection
from envoyassert.output_file import check_output
from envoyassert.report.certificate import certificate_part
from envoyassert.report.failure import failure_lines
from envoyassert.report.headline import headline
from envoyassert.report.state import with_watch
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.report.verdict_json import verdict_json
from envoyassert.trace import Trace
from envoyassert.trace_file import write_trace


@click.command()
@click.option("--pid", type=click.IntRange(1), metavar="N", help="The process, as seen from here.")
@selector_options
@click.option("--all", "everyone", is_flag=True, help="Of several that match: each.")
@click.option(
    "--watch",
    "watch_s",
    metavar="DURATION",
    callback=seconds_of,
    help="Watch its calls for so long (3s), and show who accepts; needs the probe.",
)
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judge the state by this scenario, which needs no section `envoy`.",
)
@format_option(to_file="Write the state here, for `show`, `replay` and `draft`.")
def inspect(
    pid: int | None,
    everyone: bool,
    watch_s: float | None,
    scenario: Path | None,
    target: str | None,
    output: str,
    **selectors: Any,
) -> int:
    """Show the sockets of an Envoy that runs already.

    All is asked of the kernel, and of Envoy's admin endpoint: descriptors, who serves them, by
    which epoll, options, queues. Nothing is started, stopped or changed. What needs the start of
    Envoy (who called bind, in which order) is not known, and INCONCLUSIVE where it is judged.

    Exit code: 0 shown, or as expected; 1 not as --scenario says; 4 invalid usage or file; 5 no
    such Envoy; 10 inconclusive; 77 not permitted.

    Example: sudo envoyassert inspect --pid 4242
    """
    need_linux()
    from envoyassert.attach.session import chosen_running
    from envoyassert.witness.running import state_of

    if target is not None:
        check_output(target)
    if pid is not None:
        refuse_beside("--pid", "exe", *SELECTORS, "everyone")
    pids = (
        [pid]
        if pid is not None
        else chosen_running(ProcessSelection(**selectors), everyone=everyone)
    )
    if target is not None and len(pids) > 1:
        raise click.UsageError("-o is for one Envoy; leave out --all")
    if watch_s is not None and (scenario is not None or len(pids) > 1):
        raise click.UsageError("--watch shows one Envoy; leave out --scenario and --all")
    traces = states_of(pids, state_of)
    if target is not None:
        write_trace(traces[0], target)
        say(f"state written to {target}", err=True)
    if scenario is None:
        _show(traces, output, watch_s)
        return exits.PASSED
    return max((_judge(trace, scenario, output) for trace in traces), key=_RANK.index)


def states_of(pids: Sequence[int], state_of: Callable[[int], Trace]) -> list[Trace]:
    """Return the states of Envoys; one of several may end meanwhile, which a note says.

    Args:
        pids: their processes.
        state_of: returns the state of one.

    Raises:
        NoProcessError: none of them is there any more.
    """
    found = [_attempt(pid, state_of) for pid in pids]
    states = [one for one in found if isinstance(one, Trace)]
    ended = [one for one in found if isinstance(one, NoProcessError)]
    if not states:
        raise ended[-1]
    for error in ended:
        say(f"note: {error}", err=True)
    return states


def _attempt(pid: int, state_of: Callable[[int], Trace]) -> Trace | NoProcessError:
    try:
        return state_of(pid)
    except NoProcessError as error:
        return error


#: The exit codes of verdicts, the one that counts most last.
_RANK = (exits.PASSED, exits.INCONCLUSIVE, exits.FAILED)


def _show(traces: list[Trace], output: str, watch_s: float | None) -> None:
    stories = []
    for trace in traces:
        graph = fold(trace)
        story = story_of(trace, graph, certify_phases(trace, graph))
        if watch_s is not None and trace.witness is not None:
            from envoyassert.witness.watch import watch

            def begun() -> None:
                say(f"watching for {watch_s:g} s", err=True)

            story = with_watch(story, watch(trace.witness.pid, watch_s, begun))
        stories.append(story)
    if output == "json":
        say_json(stories[0] if len(stories) == 1 else stories)
        return
    for number, story in enumerate(stories):
        say_report(*([""] if number else []), *story_lines(story, page_width()))


def _judge(trace: Trace, scenario: Path, output: str) -> int:
    """Judge a state, print the verdict, and return the exit code."""
    plan = plan_of_trace(trace, scenario, "")
    verdict, graph, context = judged(trace, plan, str(scenario), "")
    context = dataclasses.replace(context, title=f"{plan.id} ({trace.header.envoy.source})")
    if output == "json":
        say_json(verdict_json(verdict, trace, graph, context))
    elif verdict.status is Status.PASS:
        part = certificate_part(verdict.certificate, full=True)
        say_report(headline(verdict, context.title), *part)
    else:
        say_report(*failure_lines(verdict, trace, graph, context))
    return exits.OF_STATUS[verdict.status]
