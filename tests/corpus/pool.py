"""Processes that try one config after the other, several at a time.

A config that takes too long, or that takes its process along, costs its own result alone.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from envoyassert.launch.sweep import sweep
from tests.corpus.trial import Outcome, Result

_SPAWN = multiprocessing.get_context("spawn")
#: Seconds that a process has to get ready, and to stop with its Envoy.
_START_S = 120.0
_STOP_S = 20.0

#: Project, and path below it.
Config = tuple[str, str]


class WorkerError(Exception):
    """A process did not get ready; what it printed says why."""


def serve(orders: Connection, trial: Callable[[str, str], Result]) -> None:
    """Say that this process is ready, then try what it is given, until there is no more.

    Args:
        orders: the pipe to the process that asks.
        trial: returns what came of a project's file.
    """
    orders.send(None)
    while True:
        try:
            config = orders.recv()
        except EOFError:
            return
        orders.send(trial(*config))


def try_all(
    configs: Sequence[Config], jobs: int, timeout_s: float, work: Callable[[Connection], None]
) -> Iterator[Result]:
    """Try configs, several at a time; yield each result as it comes.

    Args:
        configs: what to try.
        jobs: how many at a time.
        timeout_s: seconds for one config.
        work: what each process does: it prepares itself and calls `serve`.

    Raises:
        WorkerError: a process did not get ready.
    """
    waiting = list(reversed(configs))
    workers = [_Worker(work) for _ in range(min(jobs, len(configs)))]
    try:
        while busy := [worker for worker in workers if worker.take(waiting, timeout_s)]:
            left_s = min(worker.ends_s for worker in busy) - time.monotonic()
            ready = wait([worker.answers for worker in busy], max(0, left_s))
            for worker in busy:
                if worker.answers in ready or time.monotonic() >= worker.ends_s:
                    yield worker.result(in_time=worker.answers in ready)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and the one that takes its place when a config takes it along."""

    def __init__(self, work: Callable[[Connection], None]) -> None:
        self._work = work
        self._config: Config | None = None
        self._start()

    def _start(self) -> None:
        self._ready = False
        self.answers, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=self._work, args=(theirs,))
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def take(self, waiting: list[Config], timeout_s: float) -> bool:
        """Take the next config if there is none under way; return whether there is one now."""
        if self._config is None and waiting:
            self._get_ready()
            self._config = waiting.pop()
            self._began_s = time.monotonic()
            self.ends_s = self._began_s + timeout_s
            self.answers.send(self._config)
        return self._config is not None

    def _get_ready(self) -> None:
        if not self._ready:
            try:
                self._ready = self.answers.poll(_START_S) and self.answers.recv() is None
            except EOFError:
                self._process.join(_STOP_S)
            if not self._ready:
                raise WorkerError(f"a process did not get ready: it {self._end()}")

    def _end(self) -> str:
        code = self._process.exitcode
        return f"ended with {code}" if code is not None else "takes too long"

    def result(self, *, in_time: bool) -> Result:
        """Return what came of the config; of one that is not over, that."""
        assert self._config is not None
        (project, file), self._config = self._config, None
        took_s = time.monotonic() - self._began_s
        if not in_time:
            self._replace()
            reason = f"not over after {took_s:.1f} s"
            return Result(project, file, "", Outcome.INCONCLUSIVE, reason, took_s=took_s)
        try:
            result = self.answers.recv()
        except EOFError:
            self._process.join(_STOP_S)
            reason = f"the process that tried it {self._end()}"
            self._replace()
            return Result(project, file, "", Outcome.FAILED, reason, took_s=took_s)
        assert isinstance(result, Result)
        return result

    def _replace(self) -> None:
        self._process.terminate()
        self.stop()
        sweep()  # if it had to be killed, its Envoy may live on
        self._start()

    def stop(self) -> None:
        """End the process, and with it its Envoy."""
        self.answers.close()
        if self._config is not None or not self._ready:
            self._process.terminate()
        self._process.join(_STOP_S)
        self._process.kill()
        self._process.join()
