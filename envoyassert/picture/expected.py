"""What a scenario expects of a listener, as the same parts of which a map is made.

Only what an expectation says is known: how many kernel sockets, how they reach the threads, which
threads, which options. What it does not say is drawn as few things as agree with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from envoyassert.judge.values import Act, By, Count, Fact, OptionRule, Things
from envoyassert.judge.verdict import Finding
from envoyassert.option_values import value_text
from envoyassert.picture.map_parts import (
    SINGLE,
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
    listener = MapListener(
        "expected",
        actual.name if actual else "",
        actual.kind if actual else "static",
        actual.protocol if actual else "TCP",
        actual.address if actual else "",
        way,
        tuple(_drawn(said, sockets, way, threads)),
        workers=workers,
    )
    named = {f"t-{one}": MapThread(f"t-{one}", one, one) for one in threads}
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


def _drawn(said: _Said, sockets: int, way: str, threads: list[str]) -> Iterator[MapSocket]:
    for number in range(sockets):
        yield MapSocket(
            f"expected-{number}",
            None,
            "TCP",
            "",
            "LISTEN",
            options=tuple(said.options),
            descriptors=tuple(_descriptors(said, number, sockets, way, threads)),
            marks=frozenset({Mark.REUSE_PORT} if way == "reuse_port" else ()),
        )


def _descriptors(
    said: _Said, number: int, sockets: int, way: str, threads: list[str]
) -> Iterator[MapDescriptor]:
    mine = threads[number::sockets] if sockets > 1 else threads
    names = [f"t-{one}" for one in mine]
    one = f"expected-{number}"
    if way == "shared_fd" or (said.descriptors == 1 and len(names) > 1):
        yield MapDescriptor(one, None, threads=tuple(names), marks=frozenset({Mark.SHARED}))
        return
    for place, name in enumerate(names or [""]):
        copied = place > 0
        yield MapDescriptor(
            f"{one}.{place}",
            None,
            "dup" if copied else "socket",
            threads=(name,) if name else (),
            marks=frozenset({Mark.DUP} if copied else ()),
        )
