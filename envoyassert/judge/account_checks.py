"""The lines of the certificate that hold the accounts of kernel and Envoy against the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from envoyassert.accounts import Witness
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.envoy_account import differences
from envoyassert.judge.interval import plural
from envoyassert.judge.kernel_account import compare, name_of_stranger, strangers
from envoyassert.judge.settled import KernelComparison
from envoyassert.judge.verdict import Check
from envoyassert.scenario.selector import Selector
from envoyassert.trace import Trace

KERNEL_CHECK = "kernel agrees"
ENVOY_CHECK = "Envoy agrees"
_SHOWN = 3


@dataclass(frozen=True)
class AccountChecks:
    """What the accounts of one process at one time say.

    Args:
        kernel, envoy: the lines of the certificate.
        comparison: what came of comparing the kernel's, None if there was nothing to compare.
    """

    kernel: Check
    envoy: Check
    comparison: KernelComparison | None = None


def check_accounts(
    trace: Trace, graph: SocketGraph, *, owed: bool = True, unbacked: Sequence[Selector] = ()
) -> AccountChecks:
    """Hold the accounts of a trace's witness against its graph.

    The graph may hold what came after the accounts: they are compared as of their time, and only
    what comes later shows what was in flight then.

    Args:
        trace: the trace as it was when they were taken.
        graph: what the whole trace folds into.
        owed: whether a trace of the probes without them lacks something, if Envoy was running.
        unbacked: the listeners that the scenario states to be listed without a socket.
    """
    envoy = _envoy(trace, graph, unbacked)
    witness = trace.witness
    if witness is None:
        if owed and trace.header.tracer == "ebpf" and trace.end.outcome.running:
            said = "no account of the kernel, though Envoy was running"
            return AccountChecks(Check(KERNEL_CHECK, False, said), envoy)
        return AccountChecks(Check(KERNEL_CHECK, None, "not asked"), envoy)
    if witness.error:
        if trace.end.outcome.running:
            said = f"could not be asked: {witness.error}"
            return AccountChecks(Check(KERNEL_CHECK, False, said), envoy)
        return AccountChecks(Check(KERNEL_CHECK, None, "the process had ended"), envoy)
    comparison = compare(trace, witness, graph)
    found = comparison.disagreements
    if found:
        said = found[0] + more(found)
        if witness.filtered:
            said += "; a seccomp filter may have answered calls in the kernel's place"
        return AccountChecks(Check(KERNEL_CHECK, False, said), envoy, comparison)
    said = _compared(trace, witness, comparison)
    return AccountChecks(Check(KERNEL_CHECK, True, said), envoy, comparison)


def uncompared(comparisons: Collection[KernelComparison]) -> dict[KernelSocket, str]:
    """Return the sockets of which the kernel's account settles nothing, and why.

    Args:
        comparisons: those of one time, of all processes that were asked.
    """
    seen = {socket for one in comparisons for socket in one.sockets}
    return {
        **{s: why for one in comparisons for s, why in one.unasked.items() if s not in seen},
        **{s: why for one in comparisons for s, why in one.doubtful.items()},
    }


def with_uncompared(
    check: Check, sockets: Mapping[KernelSocket, str], comparisons: Collection[KernelComparison]
) -> Check:
    """Return the kernel's line of the certificate with what could not be compared.

    Args:
        check: that line.
        sockets: what `uncompared` found.
        comparisons: all of a trace.
    """
    parts = []
    if sockets:
        reasons = Counter(sockets.values())
        texts = [f"{why} ({plural(count, 'socket')})" for why, count in reasons.items()]
        parts.append(f"{'; '.join(texts[:_SHOWN])}{more(texts[_SHOWN - 1 :])}")
    untold: Counter[str] = Counter()
    for one in comparisons:
        untold |= one.untold
    if untold:
        values = plural(untold.total(), "option value")
        parts.append(f"{values} that the kernel does not return ({', '.join(sorted(untold))})")
    unnoted = sum((one.unnoted for one in comparisons), Counter())
    parts += [f"{plural(count, what)} that were not asked for" for what, count in unnoted.items()]
    if not parts or check.ok is not True:
        return check
    return replace(check, detail=f"{check.detail}; not compared: {'; '.join(parts)}")


def more(found: Sequence[object]) -> str:
    """Return how many more there are than the first."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""


def _compared(trace: Trace, witness: Witness, comparison: KernelComparison) -> str:
    """Return what the kernel was asked, and who else has sockets for clients in Envoy's network."""
    counts = comparison.compared
    parts = [plural(counts["socket descriptor"], "socket descriptor")]
    parts += [plural(counts[what], what) for what in _FURTHER if counts[what]]
    detail = f"{', '.join(parts)} compared"
    network = witness.network
    if network is None:
        return detail
    if network.error:
        return f"{detail}; {network.error}"
    detail += f", {plural(len(network.sockets), 'socket')} in its network"
    others = strangers(witness)
    if others:
        names = [f"{socket.protocol} {name_of_stranger(trace, socket)}" for socket in others]
        shown = ", ".join(names[:_SHOWN])
        rest = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
        detail += f", of others than Envoy at that instant: {shown}{rest}"
    return detail


_FURTHER = ("option value", "epoll registration")


def _envoy(trace: Trace, graph: SocketGraph, unbacked: Sequence[Selector]) -> Check:
    """Check what Envoy says of itself; that it does not answer is no contradiction."""
    account = None if trace.witness is None else trace.witness.envoy
    if account is None:
        return Check(ENVOY_CHECK, None, "not asked")
    if account.error:
        lively = trace.end.outcome.live and trace.end.outcome.running
        return Check(ENVOY_CHECK, False if lively else None, account.error)
    pid = 0 if trace.witness is None else trace.witness.pid
    found, said = differences(trace, account, graph, pid, unbacked)
    if found:
        return Check(ENVOY_CHECK, False, found[0] + more(found))
    return Check(ENVOY_CHECK, True, said)
