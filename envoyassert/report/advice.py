"""What to do about a finding: help in terms of Envoy's config, of Linux, or of the scenario."""

from __future__ import annotations

from envoyassert.guard import guarded
from envoyassert.judge.certificate import CHANNELS_CHECK, CONTESTED, CONTRADICTIONS, LOSSES
from envoyassert.judge.near import OptionsThere
from envoyassert.judge.values import Certified, OptionRule
from envoyassert.judge.verdict import Finding, Status
from envoyassert.names import is_crash
from envoyassert.report.envoy_log import cause
from envoyassert.report.lacking import lacking
from envoyassert.texts.findings import words_of
from envoyassert.trace import Outcome

# bind(2), listen(2), setsockopt(2), and what Envoy's listeners offer against them.
_ERRORS = {
    "EADDRINUSE": "something has this address already: another process (`ss -lntup` in Envoy's "
    "network namespace shows which), or another listener; sockets share an address only if "
    "all of them have SO_REUSEPORT",
    "EADDRNOTAVAIL": "no interface in Envoy's network namespace has this address; freebind: true "
    "of the listener binds it anyway",
    "EACCES": "a port below net.ipv4.ip_unprivileged_port_start (1024) needs "
    "CAP_NET_BIND_SERVICE, which Envoy has for ports that the config names; a file needs a user "
    "that may write there: `limit: {capabilities: [...]}` or `{uid: 0}`, `before: startup`",
    "EPERM": "this needs a capability that Envoy lacks here (IP_TRANSPARENT: CAP_NET_ADMIN); "
    "`limit: {capabilities: [...]}`, `before: startup`, gives it to Envoy",
    "ENOPROTOOPT": "this kernel knows no such option at this level",
    "EAFNOSUPPORT": "this address family is switched off in Envoy's network namespace",
    "EMFILE": "Envoy has no descriptors left: raise its limit (`ulimit -n`)",
}

# Envoy's listener fields by the option that they set (source/common/network/
# socket_option_factory.cc, and listener_impl.cc for when).
_KEEPALIVE = "`tcp_keepalive` of the listener (Envoy 1.37 and newer)"
_FIELDS = {
    "SO_REUSEPORT": "`enable_reuse_port: true` of the listener (the default since Envoy 1.20)",
    "IP_TRANSPARENT": "`transparent: true` of the listener",
    "IPV6_TRANSPARENT": "`transparent: true` of the listener",
    "IP_FREEBIND": "`freebind: true` of the listener",
    "IPV6_FREEBIND": "`freebind: true` of the listener",
    "IPV6_V6ONLY": "`ipv4_compat` of the listener's socket_address (true: 0, else 1)",
    "TCP_FASTOPEN": "`tcp_fast_open_queue_length` of the listener",
    "SO_KEEPALIVE": _KEEPALIVE,
    "TCP_KEEPIDLE": _KEEPALIVE,
    "TCP_KEEPINTVL": _KEEPALIVE,
    "TCP_KEEPCNT": _KEEPALIVE,
}
_ANY_OPTION = (
    "an entry of the listener's `socket_options` ({level, name, int_value, state: STATE_PREBIND})"
)

_BACKLOG = (
    "listen() gets tcp_backlog_size of the listener, and without it -1, which Linux takes for "
    "net.core.somaxconn; a change of it by LDS reaches the sockets since Envoy 1.40"
)
_LISTEN_BY = (
    "since Envoy 1.20 main calls listen() on all sockets of a listener before the workers start; "
    "up to 1.19 each worker did"
)
_BOUND_BY = (
    "since Envoy 1.20 main binds all sockets of a listener; up to 1.19 each worker bound its own "
    "where reuse_port was on"
)
_REFUSED = (
    "Envoy gave up by itself, and its log says why; `envoyassert check --validate SCENARIO` "
    "has Envoy look at the config without starting it"
)
_CRASHED = (
    "Envoy crashed, and its log has the backtrace; `envoyassert run SCENARIO --envoy VERSION` "
    "shows which versions do"
)
_KILLED = "this comes from outside Envoy: a user, or the kernel for lack of memory (`dmesg` says)"
_NOT_LIVE = (
    "Envoy still waits for something: a management server (`envoy.control_plane: empty` does "
    "without), a cluster, a secret (the end of its log has the phase); if it only needs longer, "
    "raise `envoy.deadline`"
)
_LATE = (
    "it did become live: `envoyassert show TRACE` shows what took how long; on a busy machine "
    "everything takes longer"
)
_ABSENT = (
    "fix the listener's address in the config, or the `listener` that the scenario asks for; "
    "`envoyassert show TRACE` lists what listened"
)
_ORDER = (
    "an order holds if every match of a step comes before every match of the next one; the calls "
    "below are the first of the later step, and those of the earlier one that came after it"
)
_LOST = (
    "run it again: what was lost cannot be judged, and no verdict is guessed; if it happens often, "
    "run fewer at once (-n), or with a lower concurrency"
)
_UNOBSERVED = (
    "record it live (`envoyassert record`), which observes everything; or put the `assume` named "
    "above into the scenario: it takes for granted what this trace does not show, and says so"
)
_CONTRADICTED = (
    "what was recorded and what the kernel showed do not fit together, so nothing is concluded "
    "from it; run it again, and if it stays, report it with the trace"
)
_CONTESTED = (
    "either the trace lacks something, or Envoy is wrong about itself (where a discovery response "
    "flips bind_to_port: state it by `listed_without_socket: true`); `envoyassert show` has both "
    "accounts"
)


def advice(finding: Finding, outcome: Outcome) -> str:
    """Return what to do about a finding that is not PASS, or "" if nothing general can be said.

    Args:
        finding: one of the verdict's.
        outcome: what happened to Envoy.
    """
    if finding.cause is not None:
        return words_of(finding).hint
    if finding.status is Status.INCONCLUSIVE:
        return _undecided(finding)
    failed = sorted({str(event.errno) for event in finding.evidence} & set(_ERRORS))
    if failed:
        return _ERRORS[failed[0]]
    if not outcome.running:
        return _of_process(finding, outcome)
    return _of_atom(finding, outcome)


def advice_or_fault(finding: Finding, outcome: Outcome) -> str:
    """Return the advice, or a line about the fault that kept it from being computed."""
    return guarded(lambda: advice(finding, outcome), str)


def _undecided(finding: Finding) -> str:
    names = finding.reason.names if isinstance(finding.reason, Certified) else set()
    if CHANNELS_CHECK in names:
        return _UNOBSERVED
    if names & set(LOSSES):
        return _LOST
    if names & set(CONTRADICTIONS):
        return _CONTRADICTED
    return _CONTESTED if names & set(CONTESTED) else ""


def _of_atom(finding: Finding, outcome: Outcome) -> str:
    words = finding.path[2:]
    word = words[0] if words else ""
    if word == "process":
        return _of_process(finding, outcome)
    if word == "options" and len(words) > 1:
        return _of_option(str(words[1]), finding)
    by_place = {
        ("bound", "by"): _BOUND_BY,
        ("listen_by",): _LISTEN_BY,
        ("listen_calls", "by"): _LISTEN_BY,
        ("backlog",): _BACKLOG,
        ("backlog", "requested"): _BACKLOG,
    }
    if word == "in_order":
        return _ORDER if finding.evidence and not finding.near else ""
    if finding.near:
        # No one binds or listens where there is no socket: who ought to is not the question.
        return "" if finding.evidence else _ABSENT
    return by_place.get(tuple(map(str, words)), "")


def _of_process(finding: Finding, outcome: Outcome) -> str:
    if outcome.exit_code:
        return lacking(cause(outcome).text) or _REFUSED
    if outcome.signal is not None:
        return _CRASHED if is_crash(outcome.signal) else _KILLED
    if outcome.live:
        return _LATE if finding.path[-1] == "within" else ""
    return _NOT_LIVE if outcome.running and outcome.live is False else ""


def _of_option(name: str, finding: Finding) -> str:
    there = any(isinstance(near, OptionsThere) for near in finding.near)
    if not finding.evidence and not there:
        return ""  # no socket at all
    wanted = finding.wanted
    if (isinstance(wanted, OptionRule) and wanted.state == "absent") or finding.near:
        return f"{_FIELDS.get(name, _ANY_OPTION)} sets it"
    if name == "IPV6_V6ONLY":
        return f"{_FIELDS[name]} sets it; where an entry of socket_options does, its int_value"
    return (
        "the `state` of an entry of socket_options says when: STATE_PREBIND before bind, "
        "STATE_BOUND after it, STATE_LISTENING after listen; its int_value says to what"
    )


__all__ = ["advice", "advice_or_fault"]
