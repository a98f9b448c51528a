"""What to do about a finding: help in terms of Envoy's config, of Linux, or of the scenario."""

from __future__ import annotations

import os
import re

from envoyassert.errors import guarded
from envoyassert.judge.certificate import CHANNELS_CHECK, CONTESTED, CONTRADICTIONS, LOSSES
from envoyassert.judge.values import Certified
from envoyassert.judge.verdict import Finding, Status
from envoyassert.names import is_crash
from envoyassert.report.envoy_log import cause
from envoyassert.scenario import STAND_IN_OPTION
from envoyassert.texts.findings import words_of
from envoyassert.trace import Outcome
from envoyassert.words.registry import word_named

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
        return _inconclusive(finding)
    failed = sorted({str(event.errno) for event in finding.evidence} & set(_ERRORS))
    if failed:
        return _ERRORS[failed[0]]
    if not outcome.running:
        return _of_process(finding, outcome)
    return _of_atom(finding, outcome)


def advice_or_fault(finding: Finding, outcome: Outcome) -> str:
    """Return the advice, or a line about the fault that kept it from being computed."""
    return guarded(lambda: advice(finding, outcome), str)


def _inconclusive(finding: Finding) -> str:
    names = finding.reason.names if isinstance(finding.reason, Certified) else set()
    if CHANNELS_CHECK in names:
        return _UNOBSERVED
    if names & set(LOSSES):
        return _LOST
    if names & set(CONTRADICTIONS):
        return _CONTRADICTED
    return _CONTESTED if names & set(CONTESTED) else ""


def _of_atom(finding: Finding, outcome: Outcome) -> str:
    if finding.subject.kind == "process":
        return _of_process(finding, outcome)
    word = word_named(finding.path[2]) if len(finding.path) > 2 else None
    said = None if word is None else word.advice(finding)
    if said is not None:
        return said
    # No one binds or listens where there is no socket: who ought to is not the question.
    return _ABSENT if finding.near and not finding.evidence else ""


def _of_process(finding: Finding, outcome: Outcome) -> str:
    if outcome.exit_code:
        return lacking(cause(outcome).text) or _REFUSED
    if outcome.signal is not None:
        return _CRASHED if is_crash(outcome.signal) else _KILLED
    if outcome.live:
        return _LATE if finding.path[-1] == "within" else ""
    return _NOT_LIVE if outcome.running and outcome.live is False else ""


#: Source of what Envoy says: what 1.36.4 and 1.40.0 print.
_PATH = r"'?(?P<path>[^\s']+?)'?"
_NO_FILE = "No such file or directory"
#: A file that Envoy reads, or a directory that it watches.
_READ = re.compile(
    rf"Invalid path: {_PATH}$|file {_PATH.replace('path', 'file')} does not exist"
    r"|incomplete (?:private key|certificate) from path: (?P<pair>\S+)"
    r"|existing path in the system: '(?P<source>[^']+)' does not exist"
    rf"|filesystem watch for file (?P<watch>[^\s:]+): {_NO_FILE}"
)
#: What an ordinary user may not get at.
_NOT_THEIRS = re.compile(
    r"(?:cannot bind|unable to open file|unable to read file:?|filesystem watch for file) "
    rf"{_PATH}(?:: Permission denied|$)"
)
#: A socket or a log that it makes.
_MADE = re.compile(rf"(?:cannot bind|unable to open file) {_PATH}: {_NO_FILE}")
_NO_CLUSTER = re.compile(r"(?i:unknown) (?:gRPC client )?cluster:? '(?P<name>[^']+)'")
_NODE = "node 'id' and 'cluster' are required"


def lacking(said: str) -> str:
    """Return what to do about something that Envoy found missing, "" if it says no such thing.

    Args:
        said: why it ended, in its own words.
    """
    refused = _NOT_THEIRS.search(said)
    if refused and not refused["path"].rpartition(":")[2].isdecimal():
        return (
            f"Envoy is an ordinary user, who may not get at {refused['path']}: have it in the run "
            "directory (`envoy.files`, `envoy.stand_in`), or have Envoy be root: the step "
            "`limit: {uid: 0}` with `before: startup`"
        )
    cluster = _NO_CLUSTER.search(said)
    if cluster:
        return (
            f"`envoy.empty_clusters: [{cluster['name']}]` has Envoy start with a cluster of that "
            f"name without members, as `envoyassert draft CONFIG {STAND_IN_OPTION}` writes it; or "
            "add the cluster to the config"
        )
    made = _MADE.search(said)
    if made:
        place = os.path.dirname(made["path"].rstrip("/")) or "."  # noqa: PTH120 - as Envoy has it
        return (
            f"{place} is not in the run: `envoy.stand_in: {{{place}: directory}}` has Envoy make "
            "its sockets and logs in the run directory, as `envoyassert draft` writes it"
        )
    read = _READ.search(said)
    if read:
        path = next(found for found in read.groups() if found)
        return (
            f"{path} is not in the run, or not for every user to read: `envoyassert draft CONFIG "
            f"{STAND_IN_OPTION}` puts something in its place, by `envoy.stand_in`; a relative name "
            "is looked for where the config lies"
        )
    if _NODE in said:
        return (
            "give the config's `node` an id and a cluster, or `envoy.args: [--service-node, ID, "
            "--service-cluster, CLUSTER]`, as `envoyassert draft` writes them"
        )
    return ""


__all__ = ["advice", "advice_or_fault", "lacking"]
