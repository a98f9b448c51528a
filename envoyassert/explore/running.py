"""What an Envoy has after each step of a case, as the model says."""

from __future__ import annotations

from collections.abc import Sequence

from envoyassert.explore.case import OF_OVERLOAD, OVERLOAD, Case, Listener, Step
from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Change, Kind, Side, Way
from envoyassert.predict.prediction import Prediction
from envoyassert.predict.push import Listeners
from envoyassert.predict.start import predict_start

_TAKEN_AWAY = (Kind.REFUSED, Kind.DROPPED)


class Running:
    """An Envoy that has started, and goes on from step to step.

    Args:
        case: what is done.
        version: of Envoy.

    Raises:
        PredictError: nothing can be predicted of its start.
    """

    def __init__(self, case: Case, version: str) -> None:
        self._case = case
        self.version = version
        #: What the control plane serves, and what of it Envoy has not refused.
        self.served: tuple[Listener, ...] = case.listeners
        self.has: tuple[Listener, ...] = ()
        self.workers = case.concurrency
        #: Whether it has no listener any more, and takes none.
        self.is_stopped = False
        #: Whether it is overloaded, so that workers are to accept nothing.
        self.is_overloaded = False
        self.listeners = Listeners(self.workers, version)
        #: What was predicted when it started last.
        self.started = self._start()

    def done(self, step: Step) -> Change | None:
        """Do a step, and return what it changes; None where it is another start, or no change.

        Raises:
            PredictError: nothing can be predicted of it.
        """
        if step.listeners is not None:
            return self._push(step.listeners)
        workers = step.concurrency or self.workers
        if step.kind == "hot_restart":
            return self._hot_restart(workers)
        if step.kind == "restart":
            self.workers, self.is_stopped = workers, False
            self.started = self._start()
        elif step.kind == "plain_drain":
            self.is_stopped = True
        elif step.kind in OF_OVERLOAD:
            self.is_overloaded = step.kind == OVERLOAD
        return None

    def start_of(self, listeners: Sequence[Listener]) -> Prediction:
        """Return what a start with listeners has."""
        return predict_start(
            self._case.bootstrap,
            concurrency=self.workers,
            version=self.version,
            discovered=listeners,
        )

    def _start(self) -> Prediction:
        found = self.start_of(self.served)
        self.has = tuple(one for one in self.served if one["name"] not in found.left_out)
        mine = {one["name"]: one for one in self.has}
        self.listeners = Listeners.started(mine, self.workers, self.version)
        return found

    def _push(self, after: tuple[Listener, ...]) -> Change:
        change = self._changed(self.has, after, self.workers, Way.PUSH)
        # What it had given up before it has no more, whatever is refused of it.
        had = {one["name"]: one for one in self.has if one["name"] in self.listeners.active}
        kinds = {one.name: one.kind for one in change.listeners}
        has = [
            had.get(one["name"]) if kinds[one["name"]] is Kind.REFUSED else one
            for one in after
            if kinds[one["name"]] is not Kind.DROPPED
        ]
        self.served, self.has = after, tuple(one for one in has if one is not None)
        return change

    def _hot_restart(self, workers: int) -> Change:
        change = self._changed(self.has, self.served, workers, Way.HOT_RESTART)
        gone = {one.name for one in change.listeners if one.kind in _TAKEN_AWAY}
        self.workers = workers
        self.has = tuple(one for one in self.served if one["name"] not in gone)
        return change

    def _changed(
        self, before: Sequence[Listener], after: Sequence[Listener], workers: int, way: Way
    ) -> Change:
        old = Side(self._case.bootstrap, tuple(before), self.workers)
        new = Side(self._case.bootstrap, tuple(after), workers)
        return predict_change(old, new, way, version=self.version, at=self.listeners)
