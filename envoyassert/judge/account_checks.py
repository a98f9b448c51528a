"""The lines of the certificate that hold the accounts of kernel and Envoy against the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from envoyassert.accounts import Witness
from envoyassert.fact import Fact, Quote, first_of
from envoyassert.frozen import frozen
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.envoy_account import differences
from envoyassert.judge.kernel_account import compare, foreign_sockets, is_put_by_scenario
from envoyassert.judge.settled import KernelComparison
from envoyassert.judge.values import both
from envoyassert.judge.verdict import Check
from envoyassert.scenario.selector import Selector
from envoyassert.trace import Trace

KERNEL_CHECK = "kernel agrees"
ENVOY_CHECK = "Envoy agrees"
_SHOWN = 3


@frozen
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
            return AccountChecks(Check(KERNEL_CHECK, False, Fact("no_kernel_account")), envoy)
        return AccountChecks(Check(KERNEL_CHECK, None, Fact("no_account")), envoy)
    if witness.error:
        if trace.end.outcome.running:
            error = Fact("could_not_be_asked", said=Quote(witness.error))
            return AccountChecks(Check(KERNEL_CHECK, False, error), envoy)
        return AccountChecks(Check(KERNEL_CHECK, None, Fact("process_had_ended")), envoy)
    comparison = compare(trace, witness, graph)
    found = comparison.disagreements
    if found:
        differs = first_of(found)
        if witness.filtered:
            differs = both([differs, Fact("filter_may_answer")])
        return AccountChecks(Check(KERNEL_CHECK, False, differs), envoy, comparison)
    compared = _compared(trace, witness, comparison)
    return AccountChecks(Check(KERNEL_CHECK, True, compared), envoy, comparison)


def uncompared(comparisons: Collection[KernelComparison]) -> dict[KernelSocket, Fact]:
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
    check: Check, sockets: Mapping[KernelSocket, Fact], comparisons: Collection[KernelComparison]
) -> Check:
    """Return the kernel's line of the certificate with what could not be compared.

    Args:
        check: that line.
        sockets: what `uncompared` found.
        comparisons: all of a trace.
    """
    parts = []
    if sockets:
        whys = [
            Fact("sockets_not_compared", why=why, sockets=count)
            for why, count in Counter(sockets.values()).items()
        ]
        parts += [
            *whys[: _SHOWN - 1],
            *([first_of(whys[_SHOWN - 1 :])] if whys[_SHOWN - 1 :] else []),
        ]
    untold: Counter[str] = Counter()
    for one in comparisons:
        untold |= one.untold
    if untold:
        names = tuple(sorted(untold))
        parts.append(Fact("options_not_returned", number=untold.total(), names=names))
    unnoted = sum((one.unnoted for one in comparisons), Counter())
    parts += [Fact("not_asked_for", number=count, of=what) for what, count in unnoted.items()]
    if not parts or check.ok is not True:
        return check
    return replace(check, found=Fact("compared_but", found=check.found, but=tuple(parts)))


def _compared(trace: Trace, witness: Witness, comparison: KernelComparison) -> Fact:
    """Return what the kernel was asked, and who else has sockets for clients in Envoy's network."""
    counts = comparison.compared
    further = {what: counts[what] for what in _FURTHER if counts[what]}
    compared = {"socket descriptor": counts["socket descriptor"], **further}
    network = witness.network
    if network is None:
        return Fact("kernel_compared", numbers=compared)
    if network.error:
        error = Fact("network_not_asked", said=Quote(network.error))
        return both([Fact("kernel_compared", numbers=compared), error])
    others = tuple(
        Fact(
            "socket_of_others",
            protocol=socket.protocol,
            address=socket.address,
            by_scenario=is_put_by_scenario(trace, socket),
        )
        for socket in foreign_sockets(witness)
    )
    network_ = {"sockets": len(network.sockets), "others": others}
    return Fact("kernel_compared", numbers=compared, **network_)


_FURTHER = ("option value", "epoll registration")


def _envoy(trace: Trace, graph: SocketGraph, unbacked: Sequence[Selector]) -> Check:
    """Check what Envoy says of itself; that it does not answer is no contradiction."""
    account = None if trace.witness is None else trace.witness.envoy
    if account is None:
        return Check(ENVOY_CHECK, None, Fact("no_account"))
    if account.error:
        lively = trace.end.outcome.live and trace.end.outcome.running
        error = Fact("account_error", said=Quote(account.error))
        return Check(ENVOY_CHECK, False if lively else None, error)
    pid = 0 if trace.witness is None else trace.witness.pid
    found, compared = differences(trace, account, graph, pid, unbacked)
    return Check(ENVOY_CHECK, not found, first_of(found) if found else compared)
