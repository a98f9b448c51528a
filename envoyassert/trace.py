"""A trace: what one run of one scenario observed, and everything needed to judge it again.

It is the contract between the half that needs root and a kernel, and the half that needs neither;
`trace_lines` has its form in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from envoyassert.accounts import SecondWitness, Witness
from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.excerpt import Excerpt
from envoyassert.frozen import brief_repr, frozen
from envoyassert.naming import ATTACHED as ATTACHED  # noqa: PLC0414 - part of a trace
from envoyassert.naming import EACH as EACH  # noqa: PLC0414 - part of a trace
from envoyassert.naming import FIRST as FIRST  # noqa: PLC0414 - part of a trace
from envoyassert.naming import LAST as LAST  # noqa: PLC0414 - part of a trace
from envoyassert.naming import SEEN_KINDS as SEEN_KINDS  # noqa: PLC0414 - part of a trace
from envoyassert.naming import STARTUP as STARTUP  # noqa: PLC0414 - part of a trace
from envoyassert.naming import ListenerRecord as ListenerRecord  # noqa: PLC0414 - part of a trace
from envoyassert.naming import namespaces_of as namespaces_of  # noqa: PLC0414 - part of a trace
from envoyassert.ranges import (
    I32,
    U16,
    U64,
    AttemptEnd,
    AttemptProtocol,
    ListenerProtocol,
    Natural,
    Pid,
    Seconds,
    Tracer,
    UpdateAnswer,
    Workers,
)
from envoyassert.symbols import Symbols

FORMAT = "envoyassert-trace/2"
#: Without a closing line: what is left out of such a file, or changed in it, is not noticed.
OLD_FORMAT = "envoyassert-trace/1"

#: Things a channel can observe. A live probe observes all; an imported log says what it lacks.
CHANNELS = (
    *("completeness", "results", "threads", "epoll", "close", "address_families"),
    *("socket_states", "stacks", "durations"),
)


#: Unobserved where a trace was made up from the state of an Envoy that ran already
#: (`envoyassert.state`): its calls lead to that state, and Envoy may have made others.
HISTORY = "history"


@frozen
class EnvoyIdentity:
    """Which Envoy ran.

    Args:
        version: `1.40.0`, or "" if it could not be learned.
        build_id: GNU build id of the executable, hex; for upstream builds the git commit.
        source: how it was asked for: `version 1.40.0`, `image x/y:z`, `binary /path`.
        image_digest: digest of the image, or "".
    """

    version: str = ""
    build_id: str = ""
    source: str = ""
    image_digest: str = ""


@frozen
class Header:
    """First line of a trace.

    Args:
        scenario: name of the scenario, or "".
        run_id: what the traced processes carried in their environment, or "".
        envoy: which Envoy.
        launcher: `docker`, `process`, `attach` if something else started Envoy, or "" for an
            imported log.
        concurrency: the number of workers that was asked for; 0 if unknown.
        kernel: release of the kernel, or "".
        listeners: listeners by the config.
        unobserved: members of CHANNELS that this trace does not cover; HISTORY of a state.
        matrix: the scenario's matrix values of this run, as text.
        rundir: what `${rundir}` stood for, or "".
        tracer: `ebpf` for the probe, `strace`, `bpftrace`; "" for a log of the older form, and for
            a trace that was built or edited, of which kernel and Envoy cannot have said anything.
        excerpt: what it shows, if it is an excerpt of a trace; None if it is a whole one.
        steps: names of the steps that were to be carried out, in order.
        began_ns: CLOCK_MONOTONIC nanoseconds before Envoy was started; 0 if unknown.
        format: of the file that it was read from, or is written to.
        stood_in: what took the place of something that the scenario's config has or asks for.
        given: SHA-256 of config, files, arguments and steps, by their names; {} if unknown.
        where: of an Envoy that something else started: `node`, `namespace`, `pod`, `pod_uid`,
            `container` (its id), `container_name`, `image` (its name) and `image_id`, as far as
            they are known.
        inner_pids: the number that a process has in its own pid namespace, by its number here.
        config: what of Envoy's config decides about its sockets, as `envoyassert.predict.deciding`
            has it; None if the config is not known.
    """

    scenario: str = ""
    run_id: str = ""
    envoy: EnvoyIdentity = field(default_factory=EnvoyIdentity)
    launcher: str = ""
    concurrency: Workers = 0
    kernel: str = ""
    listeners: tuple[ListenerRecord, ...] = ()
    unobserved: tuple[str, ...] = ()
    matrix: dict[str, str] = field(default_factory=dict)
    rundir: str = ""
    tracer: Tracer = "ebpf"
    excerpt: Excerpt | None = None
    steps: tuple[str, ...] = ()
    began_ns: Natural = 0
    format: str = FORMAT
    stood_in: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    inner_pids: dict[str, Pid] = field(default_factory=dict)
    config: dict[str, Any] | None = None

    __repr__ = brief_repr


@frozen
class CpuCounters:
    """What one CPU recorded for the run.

    Args:
        cpu: the CPU's number.
        emitted: records that the probe wanted to write (each took the next sequence number).
        dropped: of these, records that were lost: they found the ring full, or as below.
        unmarked: of the dropped, processes that could not be marked because a map was full.
        capped: of the dropped, records past the limit of the run; it ended with the first.
    """

    cpu: U16
    emitted: Natural
    dropped: Natural
    unmarked: Natural = 0
    capped: Natural = 0


#: Exit status of a process of which it was seen that it ended, and not how.
UNKNOWN_STATUS = -1


@frozen
class Outcome:
    """What happened to the Envoy process during start-up, from the launcher.

    Args:
        live: whether `/ready` said LIVE before the deadline; None if it could not be asked.
        live_unknown: why it could not, "" where the config has no admin endpoint.
        live_after_s: seconds from launch to that reply; None if it never came.
        live_asked_ns: CLOCK_MONOTONIC nanoseconds just before `/ready` was asked for the first
            time that it said LIVE; None if it never did.
        live_ns: the same clock just after that reply was received. Envoy became LIVE before it;
            the reply itself was sent between the two.
        exit_code: exit status if it ended by itself; None if it was still running; UNKNOWN_STATUS
            if how it ended was not seen.
        signal: number of the signal that killed it; None if none.
        deadline_s: seconds it was given to become ready.
        log_tail: last lines of Envoy's log, for explanations.
        waits_for: what it still waited for when it was asked last, `cluster slow`; () if it was
            live, or could not be asked.
    """

    live: bool | None = None
    live_unknown: str = ""
    live_after_s: Seconds | None = None
    live_asked_ns: Natural | None = None
    live_ns: Natural | None = None
    exit_code: I32 | None = None
    signal: U16 | None = None
    deadline_s: Seconds | None = None
    log_tail: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()

    @property
    def why_not_asked(self) -> str:
        """Why Envoy was not asked whether it is LIVE, "" if it was."""
        if self.live is not None:
            return ""
        return self.live_unknown or "the config has no admin endpoint to ask"

    @property
    def running(self) -> bool:
        """Whether the process was alive at the end of the phase."""
        return self.exit_code is None and self.signal is None


@frozen
class End:
    """Last line of a trace: what is needed to know that it is whole.

    Args:
        cpus: counters per CPU; empty for an imported log.
        misses: times the kernel skipped a probe program because it was already running.
        drained: whether every emitted record had been received or was counted as dropped.
        marked: whether a process was seen to carry the run id at its exec.
        outcome: what happened to Envoy.
        ended_ns: CLOCK_MONOTONIC nanoseconds after the last record was read; 0 if unknown.
    """

    cpus: tuple[CpuCounters, ...] = ()
    misses: Natural = 0
    drained: bool = False
    marked: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    ended_ns: Natural = 0


@frozen
class ConnectionAttempt:
    """One attempt of the driver to reach a listener, made once and recorded as it went.

    Args:
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`.
        address: where to.
        ok: whether connect() succeeded; for UDP, whether the datagram could be sent.
        errno: name of the error if it did not, or "".
        local: the driver's own address, which is the peer that accept4() returns; None if unknown.
        first_byte: whether anything came back before the end.
        end: `held` (still open at the end of the phase), `closed` (by the driver), `eof` (by
            Envoy), `reset` (by Envoy or the kernel), or "" if there was no connection.
        began_ns: CLOCK_MONOTONIC nanoseconds before connect().
        ended_ns: the same clock when it was over, or at the end of the step.
    """

    protocol: AttemptProtocol
    address: Address
    ok: bool
    errno: str = ""
    local: Address | None = None
    first_byte: bool = False
    end: AttemptEnd = ""
    began_ns: Natural = 0
    ended_ns: Natural = 0


@frozen
class UpdateResult:
    """What Envoy said of a configuration that was pushed to it.

    Args:
        result: `ack` or `nack`.
        version: the version of the resources.
        message: Envoy's error text, or "".
    """

    result: UpdateAnswer
    version: str = ""
    message: str = ""


@frozen
class ForeignSocket:
    """A socket that the driver put into Envoy's network and that is not Envoy's.

    Args:
        protocol: `TCP` or `UDP`.
        address: what it is bound to.
        listening: whether it listens.
        reuse_port: whether it set SO_REUSEPORT before it was bound.
        inode: its inode, by which the kernel's account shows it.
        since_ns: CLOCK_MONOTONIC nanoseconds when it listened, or was bound; None if not noted.
    """

    protocol: ListenerProtocol
    address: Address
    listening: bool
    reuse_port: bool
    inode: U64
    since_ns: Natural | None = None


@frozen
class Member:
    """One of several Envoys of a run, as it was at the end of a phase.

    Args:
        name: `first`, or the name of the step that started it.
        pid: its process.
        concurrency: the number of workers that was asked for.
        outcome: what happened to it until then.
        witness: the kernel's and its own account; None if it had ended.
    """

    name: str
    pid: Pid
    concurrency: Workers
    outcome: Outcome
    witness: Witness | None = None

    __repr__ = brief_repr


@frozen
class Phase:
    """A stretch of a run: start-up, or one step of the scenario.

    Args:
        name: `startup`, or the step's name.
        kind: `startup`, or the kind of step: `connect`, `drain`, …
        begin_ns: CLOCK_MONOTONIC nanoseconds: when the phase before ended.
        end_ns: the same clock after all that was asked at its end.
        outcome: what happened to Envoy until its end; of several, the one that was started last.
        witness: the kernel's and that Envoy's account at its end; None if it had ended.
        listeners: the listeners by the config at its end, None if they are those of the header.
        missed: what Envoy should have done for the step to be over, and did not; "" if it did.
        problem: why the step could not be carried out at all, "" if it was.
        attempts: the connections that the driver tried.
        update: what Envoy said of a configuration that was pushed, None if none was.
        envoys: all Envoys that were started, if there were several.
        strangers: the driver's own sockets that held ports at its end.
    """

    name: str
    kind: str
    begin_ns: Natural
    end_ns: Natural
    outcome: Outcome
    witness: Witness | None = None
    listeners: tuple[ListenerRecord, ...] | None = None
    missed: str = ""
    problem: str = ""
    attempts: tuple[ConnectionAttempt, ...] = ()
    update: UpdateResult | None = None
    envoys: tuple[Member, ...] = ()
    strangers: tuple[ForeignSocket, ...] = ()

    __repr__ = brief_repr


@dataclass
class Trace:
    """A whole trace, events in time order; phases only if the scenario has steps.

    With it go the names of the functions in its stacks.
    """

    header: Header
    events: list[Event]
    end: End
    witness: Witness | None = None
    phases: tuple[Phase, ...] = ()
    symbols: Symbols = field(default_factory=Symbols)
    second: SecondWitness | None = None

    __repr__ = brief_repr

    def accounts(self) -> Iterator[Witness]:
        """Yield what kernel and Envoy said, at the end of each phase and of the run."""
        taken = [self.witness, *(phase.witness for phase in self.phases)]
        # The last of several Envoys is the one of the phase itself.
        taken += [m.witness for phase in self.phases for m in phase.envoys[:-1]]
        yield from (witness for witness in taken if witness is not None)
