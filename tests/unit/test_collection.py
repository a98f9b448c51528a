"""Garbage is not looked for while much is made that is kept, and is again afterwards."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from envoyassert import collection
from envoyassert.collection import collection_paused
from envoyassert.graph.fold import fold
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace


@pytest.fixture(autouse=True)
def _as_at_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collect as Python does by default, and have nothing frozen; then all is as it was."""
    frozen, thresholds = gc.get_freeze_count() > 0, gc.get_threshold()
    gc.unfreeze()
    monkeypatch.setattr(collection, "_frozen", collection._Frozen())
    gc.set_threshold(700, 10, 10)
    gc.enable()
    yield
    gc.enable()
    gc.set_threshold(*thresholds)
    if frozen:
        gc.freeze()


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


@contextmanager
def _searches() -> Iterator[list[int]]:
    """Give the generations of the searches that begin meanwhile."""
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield generations
    finally:
        gc.callbacks.remove(note)


def _long_trace() -> Trace:
    trace = TraceBuilder(workers=2)
    listener = trace.shared_listener("127.0.0.1:10000")
    for number in range(2000):
        trace.call(trace.worker(0), "accept4", 1000 + number, fd=listener[0], flags=[])
        trace.close(trace.worker(0), 1000 + number)
    return trace.build()


def test_fold_does_not_look_at_its_graph() -> None:
    trace = _long_trace()
    gc.collect()

    with _searches() as generations:
        graph = fold(trace)
        # The next search of young objects does not look at the graph either.
        young = gc.get_objects(generation=0) + gc.get_objects(generation=1)

    assert len(graph.sockets) == 2001
    assert generations == []
    assert not any(one is graph.sockets[-1] for one in young)


def test_graphs_that_no_one_has_any_more_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = _long_trace()
    gc.collect()
    fold(trace)
    made = collection._left.objects
    gc.collect()
    # No fold makes just as many as another: neither two nor three of them are near the limit.
    monkeypatch.setattr(collection, "MOST_LEFT", made * 5 // 2)

    with _searches() as generations:
        graphs = [weakref.ref(fold(trace)) for _ in range(6)]

    assert made > 10_000
    assert generations == [2]  # when the fourth began: three were left
    assert [ref() is not None for ref in graphs] == [False] * 3 + [True] * 3


def test_what_was_made_before_a_pause_is_not_left_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST_LEFT", 1000)
    gc.set_threshold(1_000_000)
    gc.collect()
    kept: list[list[int]] = [[] for _ in range(5000)]

    with _searches() as generations:
        for _ in range(2):
            with collection_paused(cycles=True):
                pass

    assert len(kept) == 5000
    assert generations == []


@pytest.mark.parametrize("before", [1, 2])
def test_what_a_search_looked_at_is_not_left(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = _long_trace()
    gc.collect()
    fold(trace)
    monkeypatch.setattr(collection, "MOST_LEFT", collection._left.objects * 3 // 2)
    gc.collect()
    for _ in range(before):
        fold(trace)
    gc.collect()

    with _searches() as generations:
        for _ in range(2):
            fold(trace)

    assert generations == []


def test_what_a_library_froze_stays_frozen_and_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gc.freeze()
    counts = [frozen := gc.get_freeze_count()]
    counted = gc.get_freeze_count
    try:
        with monkeypatch.context() as patched:
            patched.setattr(gc, "get_freeze_count", counts.pop)
            for _ in range(3):
                with collection_paused():
                    pass

        assert counts == []
        assert counted() == frozen
    finally:
        gc.unfreeze()
