"""This machine, for a session: the probe, loaded when a run needs it, and what a report says.

Besides as whom Envoy runs on it, with which capabilities: a line of the header.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from typing_extensions import Self

import envoyassert
from envoyassert.errors import MachineError
from envoyassert.interrupts import interrupt_on_signals
from envoyassert.launch.limits import USER, Limits, in_container
from envoyassert.launch.sweep import sweep
from envoyassert.probe import Tracer, load_tracer
from envoyassert.report.parts import MachinePart
from envoyassert.scenario.needs import capabilities_of, needs_of
from envoyassert.shown import shown
from envoyassert.steps.registry import limits_at_launch

if TYPE_CHECKING:
    from envoyassert.scenario.plan import RunPlan


class ProbeHolder:
    """Loads the tracer once, remembers why that failed, and closes it; a context manager.

    Args:
        tracer: `ebpf` for the probe, or `strace`.
        witness: `strace` for a second record of each run, or "".
        session: of a worker of xdist's, what all workers of the session have in common, or "".
    """

    def __init__(self, tracer: str = "ebpf", witness: str = "", session: str = "") -> None:
        self._tracer, self._witness, self._session = tracer, witness, session
        self._probe: Tracer | None = None
        self._error: MachineError | None = None

    def load(self) -> Tracer:
        """Return the probe; the first call removes what killed sessions left, and loads it.

        Raises:
            MachineError: the machine is not supported.
        """
        if self._error is not None:
            # A new one each time: pytest adds to the traceback of the one that it is given.
            raise type(self._error)(self._error.message, self._error.remedy) from self._error
        if self._probe is None:
            interrupt_on_signals()
            sweep()
            try:
                self._probe = load_tracer(self._tracer, self._witness, self._session)
            except MachineError as error:
                self._error = error
                raise
        return self._probe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._probe is not None:
            self._probe.close()


def this_machine() -> MachinePart:
    """Return what is to be known of this machine, and the versions of Python and envoyassert."""
    system = platform.system()
    # Not every Linux says what it is (os-release(5)); other systems have no such file.
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return MachinePart(
        kernel=platform.release(),
        architecture=platform.machine(),
        system=system,
        host=platform.node(),
        cpus=os.cpu_count() or 0,
        python=platform.python_version(),
        envoyassert=envoyassert.__version__,
    )


_BY_SCENARIO = "as the scenario says (limit)"
#: How many reasons are listed for a capability.
_REASONS = 3


def privileges_of(plans: Iterable[RunPlan]) -> str:
    """Return as which user and with which capabilities Envoy runs, and in how many runs.

    An image may name another ordinary user.

    Args:
        plans: the runs.
    """
    runs: Counter[tuple[str, tuple[str, ...]]] = Counter()
    reasons: dict[str, set[str]] = defaultdict(set)
    for plan in plans:
        limits = Limits(**limits_at_launch(plan.steps))
        if limits.uid is not None or limits.capabilities is not None:
            runs[_BY_SCENARIO, ()] += 1
            continue
        needs = needs_of(plan)
        names, how = capabilities_of(needs), ""
        if plan.launcher == "docker":
            names = in_container(limits, names, None).capabilities or ()
            how = "in a container as root " if names else ""
        runs[how, names] += 1
        for need in needs:
            reasons[need.capability].add(need.why)
    parts = {
        how if how == _BY_SCENARIO else how + _with(names, reasons): count
        for (how, names), count in runs.items()
    }
    texts = [f"{words} in {count} run{'' if count == 1 else 's'}" for words, count in parts.items()]
    words = "; ".join(sorted(texts)) if len(parts) > 1 else next(iter(parts))
    return shown(f"Envoy is user {USER}, {words}")


def _with(names: tuple[str, ...], reasons: dict[str, set[str]]) -> str:
    if not names:
        return "without capabilities"
    texts = []
    for name in names:
        why = sorted(reasons[name])
        more = f" and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
        texts.append(f"{name} ({', '.join(why[:_REASONS])}{more})")
    return f"with {', '.join(texts)}"
