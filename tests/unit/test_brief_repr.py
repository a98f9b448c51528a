"""The repr of what holds a whole run is short: pytest makes it of each argument of an interrupt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from envoyassert.accounts import EnvoyAccount, Network, NetworkSocket, SecondWitness, Witness
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.fold import fold
from envoyassert.judge import context, selection, target
from envoyassert.judge.judge import judge
from envoyassert.judge.settled import KernelComparison
from envoyassert.symbols import Symbols
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Phase

#: Characters: what no number of calls, sockets or phases makes longer.
LONGEST = 1_500
LISTENERS = 200


def everything() -> list[object]:
    """What a run of many listeners has: its trace, its graph, its verdict."""
    builder = TraceBuilder(workers=2)
    for port in range(10_000, 10_000 + LISTENERS):
        builder.reuse_port_listener(f"127.0.0.1:{port}")
    sockets = tuple(
        NetworkSocket("TCP", Address.inet("::1", port + 1), port) for port in range(500)
    )
    envoy = EnvoyAccount(1, 2, stats={f"gauge_{number}": number for number in range(500)})
    trace = builder.build()
    trace.witness = Witness(3, network=Network(sockets), envoy=envoy, pids=tuple(range(1, 500)))
    trace.symbols = Symbols({f"ip+0x{number:x}": "f" * 100 for number in range(500)})
    trace.second = SecondWitness("strace", 4, events=trace.events)
    trace.phases = tuple(
        Phase(f"step{number}", "pause", 1, 2, trace.end.outcome, trace.witness)
        for number in range(500)
    )
    graph = fold(trace)
    words = {"listener": {"port": 10_000}, "bound": {"times": 2}}
    verdict = judge(trace, [(n, parse_expectation(words)) for n in range(100)], workers=2)
    return [trace, graph, verdict, KernelComparison(sockets=set(graph.sockets))]


def parts(value: object, seen: set[int]) -> Iterator[object]:
    """Yield each dataclass that can be reached from a value."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if dataclasses.is_dataclass(one):
            yield one
            waiting += [getattr(one, field.name) for field in dataclasses.fields(one)]
        elif isinstance(one, Mapping):
            waiting += [*one, *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting += one


def test_repr_of_each_part_of_a_large_run_is_short():
    held, seen = everything(), set[int]()
    lengths: dict[str, int] = {}
    for one in (part for value in held for part in parts(value, seen)):
        name = type(one).__name__
        lengths[name] = max(lengths.get(name, 0), len(repr(one)))
    assert {"Trace", "SocketGraph", "KernelSocket", "Call", "Witness", "Verdict"} <= lengths.keys()
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("name", ["Target", "Context", "Selection", "AddressSockets"])
def test_what_judges_hand_to_each_other_has_a_short_repr(name):
    of = {**vars(context), **vars(selection), **vars(target)}
    assert of[name].__repr__ is brief_repr


def test_text_in_full_numbers_and_how_much_a_collection_holds():
    @frozen
    class Inner:
        a: int

    @frozen
    class Outer:
        text: str
        number: float | None
        many: tuple[int, ...]
        by_name: dict[str, int]
        inner: Inner

        __repr__ = brief_repr

    inner = Inner(1)
    shown = repr(Outer("x" * 100, 1.5, (1, 2, 3), {"a": 1}, inner)).replace(
        "test_text_in_full_numbers_and_how_much_a_collection_holds.<locals>.", ""
    )
    assert shown == (
        f"Outer(text='{'x' * 60}…', number=1.5, many=<tuple of 3>, by_name=<dict of 1>, "
        "inner=<Inner>)"
    )
