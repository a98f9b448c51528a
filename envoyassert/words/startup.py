"""How long the parts of a start take: figures for reports, and budgets that are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.naming import STARTUP
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.timing import Lasts
from envoyassert.words.word import Example, Fault, Part, Word

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket, SocketGraph
    from envoyassert.judge.context import Context
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding
    from envoyassert.trace import Trace

#: The parts of a start.
FIGURES = ("first_listen", "bind_to_listen", "listen_to_served", "served_to_live")


class Startup(Model):
    """How long the parts of a start take; of several sockets the slowest counts."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [figure]} for figure in FIGURES]}
    )

    listener: Selector | None = Field(
        None, description="Only this listener; by default all but the admin endpoint."
    )
    first_listen: Lasts | None = Field(
        None, description="From Envoy's exec until the first socket listens."
    )
    bind_to_listen: Lasts | None = Field(None, description="From bind until the socket listens.")
    listen_to_served: Lasts | None = Field(
        None, description="From when a socket listens until a thread waits for it in an epoll."
    )
    served_to_live: Lasts | None = Field(
        None,
        description="From when the last socket is served until the first LIVE reply. LIVE may come "
        "first: only `at_least` forbids it.",
    )

    @model_validator(mode="after")
    def _some_figure(self) -> Startup:
        if not self.model_fields_set & set(FIGURES):
            raise ValueError(f"give one of {', '.join(FIGURES)}")
        return self


class StartupExpectation(Conditional):
    """How long Envoy takes to start."""

    startup: Startup = Field(description="The parts of the start, each with its budget.")


@dataclass(frozen=True)
class Figure:
    """How long one part of a start took.

    Args:
        low_ns: at least this long; negative where the second came before the first.
        high_ns: at most this long; differs from `low_ns` for a reply, which is known only from
            its question to its receipt.
        problem: why it is not known, or None.
        never: what never happened, so that there is no figure, or None.
    """

    low_ns: int = 0
    high_ns: int = 0
    problem: Reason | None = None
    never: Fact | None = None

    @property
    def known(self) -> bool:
        """Whether there is a figure."""
        return not self.problem and not self.never

    @property
    def value(self) -> Fact:
        """The figure as what was seen."""
        from envoyassert.judge.context import NOT_KNOWN
        from envoyassert.judge.values import TimeSpan

        if not self.known:
            return self.never or NOT_KNOWN
        return Fact("took", low=TimeSpan(self.low_ns), high=TimeSpan(self.high_ns))


def startup_figures(trace: Trace, graph: SocketGraph) -> dict[str, Figure]:
    """Return how long each part of the start took, by its name in the scenario language.

    Of all listeners but the admin endpoint; of several sockets the slowest counts. A trace that
    is not whole gives the figures of what is left of it: see its certificate.

    Args:
        trace: the trace.
        graph: what it folds into.
    """
    from envoyassert.judge.context import Context

    context = Context(trace, graph, 0, by_listen="epoll" in trace.header.unobserved)
    return _figures(context, _listeners(context))


def judge_startup(
    context: Context, index: int, expectation: StartupExpectation
) -> Iterator[Finding]:
    """Judge the budgets of a start."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.instants import FAR_NS
    from envoyassert.judge.order import bounds_ns, wanted_span
    from envoyassert.judge.selection import select
    from envoyassert.judge.values import Topic

    wanted = expectation.startup
    subject = Subject(Topic("start"), ("expect", index, "startup"), expectation.why or "")
    problem = None
    if wanted.listener is None:
        sockets = _listeners(context)
    else:
        selection = select(
            wanted.listener, context.graph, context.trace.header.listeners, total=True
        )
        sockets, problem = list(selection.sockets), selection.problem
    figures = _figures(context, sockets)
    for name in FIGURES:
        lasts = getattr(wanted, name)
        if lasts is None:
            continue
        figure = figures[name]
        expected = Fact("figure", name=name, lasts=wanted_span(lasts))
        low, high = bounds_ns(lasts)
        if name == "served_to_live" and lasts.at_least is None:
            low = -FAR_NS
        reason = problem or figure.problem
        if reason or context.doubt:
            status = Status.INCONCLUSIVE
        elif figure.never:
            status = Status.FAIL
        else:
            status = _compare(figure, low, high)
            reason = Fact("reply_inexact")
        yield context.finding(
            subject.at(name),
            status,
            expected,
            figure.value,
            reason=reason,
            evidence=[call.event for socket in sockets for call in socket.listens],
        )


def _compare(figure: Figure, low_ns: int, high_ns: int | None) -> Status:
    if figure.high_ns < low_ns or (high_ns is not None and figure.low_ns > high_ns):
        return Status.FAIL
    inside = figure.low_ns >= low_ns and (high_ns is None or figure.high_ns <= high_ns)
    return Status.PASS if inside else Status.INCONCLUSIVE


def _listeners(context: Context) -> list[KernelSocket]:
    """Return the sockets of all listeners but the admin endpoint."""
    from envoyassert.judge.matching import admin_traffic

    admin = admin_traffic(context)
    return [
        socket
        for socket in context.graph.listening()
        if id(socket) not in admin and not socket.is_hot_restart
    ]


def _figures(context: Context, sockets: list[KernelSocket]) -> dict[str, Figure]:
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.judge.timeline import (
        bound_spans,
        first_ns,
        listening_spans,
        merged,
        served_spans,
    )

    listens = [first_ns(listening_spans(socket)) for socket in sockets]
    binds = [first_ns(bound_spans(socket)) for socket in sockets]
    served = [
        first_ns(merged(span for spans in served_spans([socket]).values() for span in spans))
        for socket in sockets
    ]
    blind = Figure(problem=EPOLL_UNOBSERVED)
    return {
        "first_listen": _first_listen(context, listens),
        "bind_to_listen": _longest(binds, listens, Fact("never_listens")),
        "listen_to_served": blind
        if context.by_listen
        else _longest(listens, served, Fact("never_served")),
        "served_to_live": blind if context.by_listen else _served_to_live(context, served),
    }


def _first_listen(context: Context, listens: list[int | None]) -> Figure:
    from envoyassert.judge.instants import instants_of

    start = instants_of(context, "start")
    if start.problem:
        return Figure(problem=start.problem)
    known = [time for time in listens if time is not None]
    if not known or not start.members:
        return Figure(never=Fact("no_socket_listens"))
    return Figure(min(known) - start.members[0].high_ns, min(known) - start.members[0].low_ns)


def _longest(begins: list[int | None], ends: list[int | None], never: Fact) -> Figure:
    if not begins or None in ends or None in begins:
        return Figure(never=never if begins else Fact("no_socket_listens"))
    found = max(b - a for a, b in zip(begins, ends, strict=True) if a is not None and b is not None)
    return Figure(found, found)


def _served_to_live(context: Context, served: list[int | None]) -> Figure:
    from envoyassert.judge.instants import instants_of

    live = instants_of(context, "live")
    if live.problem:
        return Figure(problem=live.problem)
    known = [time for time in served if time is not None]
    if not live.members:
        return Figure(never=Fact("never_live"))
    if not known or len(known) < len(served):
        return Figure(never=Fact("never_served"))
    (reply,) = live.members
    return Figure(reply.low_ns - max(known), reply.high_ns - max(known))


def _faults(item: Mapping[str, object]) -> Iterator[Fault]:
    for word in ("during", "at_end_of"):
        if item.get(word) not in (None, STARTUP):
            yield Fault((word,), "`startup` is about start-up", f"leave out `{word}`")


WORD = Word(
    name="startup",
    model=StartupExpectation,
    judge=judge_startup,
    about="start",
    faults=_faults,
    examples={
        "startup": Example(
            "startup: {first_listen: {at_most: 5s}, served_to_live: {at_most: 1s}}",
            "shared",
            "slowly_live",
        ),
    },
    parts=(
        Part(
            Startup,
            "`startup`",
            "[{startup: {%}}]",
            {
                "listener": Example(
                    "listener: {port: 15006}, first_listen: {at_most: 5s}",
                    "shared",
                    "shared_after_another",
                ),
                "first_listen": Example("first_listen: {at_most: 5s}", "shared", "shared_slowly"),
                "bind_to_listen": Example(
                    "bind_to_listen: {at_most: 100ms, tolerance: 50ms}", "shared", "slow_listen"
                ),
                "listen_to_served": Example(
                    "listen_to_served: {at_most: 1s}", "shared", "slowly_served"
                ),
                "served_to_live": Example("served_to_live: {at_most: 1s}", "shared", "slowly_live"),
            },
        ),
    ),
)
