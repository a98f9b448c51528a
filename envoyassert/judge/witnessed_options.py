"""The values of socket options, as the kernel returns them, against those that the trace set."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.accounts import Witness, WitnessSocket
from envoyassert.fact import Fact
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.settled import KernelComparison, Settled
from envoyassert.option_read_back import Surroundings, reads_back
from envoyassert.option_values import OptionValue


class OptionComparison:
    """The options of one account against one graph.

    Args:
        witness: the account.
        settled: the graph at that time.
        result: receives how many values were compared, and which could not be.
    """

    def __init__(self, witness: Witness, settled: Settled, result: KernelComparison) -> None:
        self._witness = witness
        self._settled = settled
        self._result = result
        self._known: set[int] = set()

    def differing(self, socket: KernelSocket, entry: WitnessSocket) -> Iterator[tuple[Fact, bool]]:
        """Yield each option that has another value than the trace set.

        Each socket is compared once, whatever number of descriptors it has.

        Yields:
            What differs, and whether a call that was in flight explains it.
        """
        if entry.inode in self._known:
            return
        self._known.add(entry.inode)
        place = self._place(socket)
        changes: dict[tuple[int | str, int | str], list[tuple[int, OptionValue]]] = {}
        for option in socket.options:
            key = option.level, option.name
            changes.setdefault(key, []).append((option.call.event.ts_ns, option.value))
        for (level, name), values in changes.items():
            # A list stands for the value, so that what was not set yet differs from unread.
            possible = self._settled.possible([(ts, [value]) for ts, value in values], start=[])
            held = [value for one in possible.held for value in one]
            late = [value for one in possible.in_flight for value in one]
            if not held and not late:
                continue  # set later
            if entry.options is None:
                self._result.unnoted["option value"] += 1
                continue
            seen = entry.options.get(f"{level}/{name}")
            answers = [reads_back(level, name, value, seen, place) for value in held]
            late_answers = [reads_back(level, name, value, seen, place) for value in late]
            if seen is None or None in (*answers, *late_answers):
                self._result.untold[str(name)] += 1
            elif True in answers:
                self._result.compared["option value"] += 1
            elif [] not in possible.held:
                differs = Fact(
                    "option_differs", fd=entry.fd, name=name, kernel=seen, trace=held[-1]
                )
                yield differs, True in late_answers

    def _place(self, socket: KernelSocket) -> Surroundings:
        limits = dict(self._witness.limits)
        network = self._witness.network
        most = None if network is None else network.limit_of(socket.netns)
        if most is not None:
            limits["net.core.somaxconn"] = most
        beside = frozenset(option.name for option in socket.options)
        return Surroundings(socket.protocol_name, socket.address, limits, beside)
