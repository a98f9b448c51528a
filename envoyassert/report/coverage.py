"""What of a run no expectation constrains: listeners, sockets and options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.selection import parts_of, select
from envoyassert.report.verdict_json import Unconstrained
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import models_in
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.of_listener.options import is_named
from envoyassert.words.registry import word_of


def coverage(
    trace: Trace, graph: SocketGraph, expectations: Iterable[tuple[int, Conditional]]
) -> Unconstrained:
    """Return what no expectation is about. Envoy's own sockets for hot restart are left out.

    A socket is constrained if some expectation selects its listener; an option if a `listener`
    expectation that selects its socket names it. Expectations about the run as a whole
    (`no_others`, `never`, `invariants`) constrain none of them in particular.

    Args:
        trace: the run.
        graph: what it folds into.
        expectations: those that apply to the run, with their places.
    """
    items = [
        part
        for _, item in expectations
        for part in (item, *(one.item for one in word_of(item).stands_for(item, trace)))
    ]
    listeners = trace.header.listeners
    named: set[int] = set()
    rules: dict[int, set[str]] = {}
    every: set[int] = set()
    for item in items:
        for selector in models_in(item, Selector):
            chosen = select(selector, graph, listeners, total=True)
            named |= {id(socket) for socket in chosen.sockets}
        if isinstance(item, ListenerExpectation):
            for socket in select(item.listener, graph, listeners, total=True).sockets:
                rules.setdefault(id(socket), set()).update(item.options or ())
                if item.only_options is not None:
                    every.add(id(socket))
    sockets = [socket for socket in graph.listening() if not socket.is_hot_restart]
    options: dict[str, None] = {}
    for socket in sockets:
        for option in () if id(socket) in every else socket.options:
            known = rules.get(id(socket), ())
            if not any(is_named(option, name) for name in known):
                options[f"{option.name} on {_words(socket)}"] = None
    return Unconstrained(
        listeners=tuple(
            record.name for record in listeners if not _is_named(record, trace, graph, named, items)
        ),
        sockets=tuple(_words(socket) for socket in sockets if id(socket) not in named),
        options=tuple(options),
    )


def coverage_lines(found: Unconstrained) -> list[str]:
    """Return the report as lines for people."""
    lines = []
    for kind, names in found:
        head = f"{kind} that no expectation constrains: "
        unique = [f"{name} (×{n})" if n > 1 else name for name, n in _counted(names)]
        lines.append(head + ("none" if not names else str(len(names))))
        lines += [f"  {name}" for name in unique]
    return lines


def _counted(names: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for name in dict.fromkeys(names):
        yield name, names.count(name)


def _words(socket: KernelSocket) -> str:
    return f"{socket.protocol_name} {socket.address or 'unbound'}"


def _is_named(
    record: ListenerRecord,
    trace: Trace,
    graph: SocketGraph,
    named: set[int],
    items: list[Conditional],
) -> bool:
    """Whether an expectation is about a listener: by its name, its address or its sockets."""
    for item in items:
        for selector in models_in(item, Selector):
            if selector.name == record.name:
                return True
            if selector.name is not None or selector.port is None:
                continue
            if any(address.port == selector.port for address in record.addresses):
                return True
    return any(
        id(socket) in named
        for part in parts_of(record, graph, trace.header.listeners)
        for socket in part.sockets
    )
