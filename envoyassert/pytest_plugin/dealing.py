"""Which runs the processes of a session take, and in which order (`-n`).

A run that waits for a timer of Envoy's needs no processor meanwhile. So each process gets its share
of the long waits. Every other one begins with them; those between do what needs a processor, and
end with theirs. A process that has none left takes some from the end of another's (`--dist
worksteal` of pytest-xdist).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan

    _Code = pytest.ExitCode | int | None

#: Key under which a worker of xdist learns that it is to order its runs.
_DEALT = "envoyassert_dealt"
#: Options of Envoy's that set a timer, in whole seconds.
_TIMERS = ("--drain-time-s", "--parent-shutdown-time-s")


class Dealing:
    """A plugin of the process that deals out the runs, for `envoyassert run`."""

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, _Code, _Code]:
        """Choose how, where the user did not: before xdist makes its own choice."""
        option = config.option
        if getattr(option, "numprocesses", None) and option.dist == "no":
            option.dist = "worksteal"
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Have a worker of xdist order them."""
        node.workerinput[_DEALT] = node.config.option.dist == "worksteal"


class Ordering:
    """A plugin of a worker of xdist whose runs are dealt out so."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Order what is left once others have chosen; each worker comes to the same order."""
        workers: int = session.config.workerinput["workercount"]  # type: ignore[attr-defined]  # xdist's
        waits_s = [wait_s_of(getattr(item, "plan", None)) for item in session.items]
        session.items[:] = [session.items[place] for place in dealt(waits_s, workers)]


def ordering(config: pytest.Config) -> Ordering | None:
    """Return the plugin of a worker of xdist, None if its runs are not dealt out so."""
    return Ordering() if getattr(config, "workerinput", {}).get(_DEALT, False) else None


def dealt(waits_s: Sequence[float], workers: int) -> list[int]:
    """Return in which order to deal out what waits for so long.

    Args:
        waits_s: how long each waits, in seconds; 0 for what needs a processor most of its time.
        workers: how many get as many as the others, next to each other, as xdist deals them.

    Returns:
        Places in `waits_s`. What does not wait keeps its order.
    """
    sizes = [(len(waits_s) + worker) // workers for worker in range(workers)]
    piles: list[list[int]] = [[] for _ in sizes]
    sums_s = [0.0] * workers
    for place in sorted(
        filter(waits_s.__getitem__, range(len(waits_s))), key=lambda p: -waits_s[p]
    ):
        least = min((w for w in range(workers) if len(piles[w]) < sizes[w]), key=sums_s.__getitem__)
        piles[least].append(place)
        sums_s[least] += waits_s[place]
    others = (place for place, wait_s in enumerate(waits_s) if not wait_s)
    found: list[int] = []
    for worker, (pile, size) in enumerate(zip(piles, sizes, strict=True)):
        rest = [*islice(others, size - len(pile))]
        found += [*rest, *pile] if worker % 2 else [*pile, *rest]
    return found


def wait_s_of(plan: RunPlan | None) -> float:
    """Return how long a run may wait for what it asks for itself, in seconds.

    Args:
        plan: the run; None for a test that is none.
    """
    if plan is None:
        return 0.0
    waits_s = [step.lasts_s() for step in plan.steps]
    for name, value in zip(plan.args, plan.args[1:], strict=False):
        if name in _TIMERS:
            with contextlib.suppress(ValueError):  # Envoy refuses it
                waits_s.append(float(value))
    return sum(waits_s)
