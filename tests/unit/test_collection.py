"""Garbage is not looked for while much is made that is kept, and is again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from envoyassert.collection import collection_paused
from envoyassert.graph.fold import fold
from envoyassert.testing import TraceBuilder


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_collection_goes_on_after_an_error() -> None:
    states = []

    @collection_paused()
    def fail() -> None:
        states.append(gc.isenabled())
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        fail()

    assert [*states, gc.isenabled()] == [False, True]


def test_pause_within_a_pause_does_not_end_it() -> None:
    with collection_paused():
        with collection_paused():
            pass
        assert not gc.isenabled()

    assert gc.isenabled()


def test_who_has_no_collection_gets_none() -> None:
    gc.disable()

    with collection_paused():
        pass

    assert not gc.isenabled()


def test_fold_does_not_look_at_its_graph_again_and_again() -> None:
    trace = TraceBuilder(workers=2)
    listener = trace.shared_listener("127.0.0.1:10000")
    for number in range(2000):
        trace.call(trace.worker(0), "accept4", 1000 + number, fd=listener[0], flags=[])
        trace.close(trace.worker(0), 1000 + number)
    built = trace.build()
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note)
    try:
        graph = fold(built)
    finally:
        gc.callbacks.remove(note)

    assert len(graph.sockets) == 2001
    # At most what is left for when it is over.
    assert len(generations) <= 1
