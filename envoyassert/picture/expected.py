"""What a scenario expects of a listener, as the same parts of which a map is made.

Only what an expectation says is known: how many kernel sockets, how they reach the threads, which
threads, which options. What it does not say is drawn as few things as agree with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from envoyassert.judge.values import SINGLE, Act, By, Count, Fact, OptionRule, Things
from envoyassert.judge.verdict import Finding
from envoyassert.option_values import value_text
from envoyassert.picture.map_parts import (
    MapDescriptor,
    MapListener,
    MapOption,
    MapSocket,
    MapThread,
    Mark,
    SocketMap,
)

_MOST = 64
#: What of the things that are counted is in the picture of the end.
_AT_END = ("serving", "live")


@dataclass
class _Said:
    """What the findings of one expectation say was asked for; None for what none says."""

    way: str | None = None
    sockets: int | None = None
    descriptors: int | None = None
    role: str | None = None
    options: list[MapOption] = field(default_factory=list)


def expected_map(
    findings: Sequence[Finding], actual: MapListener | None, workers: int
) -> SocketMap | None:
    """Return the map of what an expectation asks of a listener, None if it says too little.

    Args:
        findings: all of one expectation, those that hold too.
        actual: the listener as it is, for its name and address.
        workers: how many workers there should be.
    """
    said = _said(findings)
    threads = _threads(said, workers)
    sockets = _sockets(said, workers, threads)
    if sockets is None or sockets > _MOST or len(threads) > _MOST:
        return None
    way = said.way or (SINGLE if sockets == len(threads) == 1 else "")
    if way == "reuse_port" and not any(one.name == "SO_REUSEPORT" for one in said.options):
        said.options.append(MapOption("SO_REUSEPORT", "1", "before_bind"))
    named = drawn_threads(threads)
    like = MapSocket("expected", None, "TCP", "", "LISTEN", options=tuple(said.options))
    listener = MapListener(
        "expected",
        actual.name if actual else "",
        actual.kind if actual else "static",
        actual.protocol if actual else "TCP",
        actual.address if actual else "",
        way,
        tuple(drawn_sockets(like, sockets, way, [*named], shared=said.descriptors == 1)),
        workers=workers,
    )
    return SocketMap((listener,), named, {}, "as expected")


def _said(findings: Sequence[Finding]) -> _Said:
    said = _Said()
    for finding in findings:
        wanted = finding.wanted
        if isinstance(wanted, Fact) and wanted.code == "served_via":
            said.way = str(wanted["via"])
        elif isinstance(wanted, Count) and wanted.low == wanted.high and wanted.each is None:
            _count(said, wanted)
        elif isinstance(wanted, By) and wanted.act.name in ("serve", "listen", "listened"):
            said.role = wanted.role if wanted.act.name == "serve" else said.role or wanted.role
        elif isinstance(wanted, OptionRule) and wanted.state != "absent":
            value = "1" if wanted.value is None else value_text(wanted.value)
            said.options.append(MapOption(wanted.name, value, wanted.phase or "before_bind"))
    return said


def _count(said: _Said, wanted: Count) -> None:
    of = wanted.of
    if isinstance(of, Things) and of.state in _AT_END and of.noun == "kernel socket":
        said.sockets = wanted.low
    elif isinstance(of, Things) and of.state in _AT_END and of.noun == "descriptor":
        said.descriptors = wanted.low
    elif isinstance(of, Act) and of.name == "bind" and said.sockets is None:
        said.sockets = wanted.low


def _threads(said: _Said, workers: int) -> list[str]:
    role = said.role
    if role in (None, "workers"):
        # A listener is served by every worker, unless something else is asked for.
        return [f"worker_{number}" for number in range(workers)]
    return [] if role == "none" else [str(role)]


def _sockets(said: _Said, workers: int, threads: list[str]) -> int | None:
    if said.sockets is not None:
        return said.sockets
    if said.way == "reuse_port":
        return len(threads) or workers
    if said.way is not None or said.descriptors is not None or len(threads) == 1:
        return 1
    return None


def drawn_sockets(
    like: MapSocket, number: int, way: str, threads: Sequence[str], *, shared: bool = False
) -> Iterator[MapSocket]:
    """Yield kernel sockets of which only their number, and who serves them, is known.

    Args:
        like: what is known of each; its id is the beginning of theirs.
        number: how many there are.
        way: how they reach the threads, as of a `MapListener`.
        threads: ids of those that serve them: with several sockets they take turns.
        shared: whether the threads of a socket share one descriptor.
    """
    marks = like.marks | ({Mark.REUSE_PORT} if way == "reuse_port" else set())
    for place in range(number):
        mine = threads[place::number] if number > 1 else threads
        name = f"{like.id}-{place}"
        yield replace(
            like,
            id=name,
            descriptors=tuple(_descriptors(name, mine, shared=shared or way == "shared_fd")),
            marks=frozenset(marks),
        )


def _descriptors(socket: str, threads: Sequence[str], *, shared: bool) -> Iterator[MapDescriptor]:
    if shared and len(threads) > 1:
        marks = frozenset({Mark.SHARED})
        yield MapDescriptor(socket, None, threads=tuple(threads), marks=marks)
        return
    for place, name in enumerate(threads or [""]):
        copied = place > 0
        yield MapDescriptor(
            f"{socket}.{place}",
            None,
            "dup" if copied else "socket",
            threads=(name,) if name else (),
            marks=frozenset({Mark.DUP} if copied else ()),
        )


def drawn_threads(labels: Iterable[str]) -> dict[str, MapThread]:
    """Return threads of which only the roles are known, by their ids: `t-main`, `t-worker_0`."""
    return {f"t-{one}": MapThread(f"t-{one}", one, one) for one in labels}
