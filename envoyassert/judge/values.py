"""What findings are made of: typed values, from which `texts.findings` makes every text.

What was asked, what was seen, why it is INCONCLUSIVE, what comes close and what it means are values
of these classes. Nothing that judges, compares or looks for a remedy reads a text. A word of the
language normally uses `Count`, `Number`, `By` and `Threads`, and a `Fact` for all that is its own:
a code with typed details, of which the texts are in one table (`texts.facts`).
"""

from __future__ import annotations

from typing import Any, Literal

from envoyassert.fact import Fact as Fact  # noqa: PLC0414 - one of the values
from envoyassert.fact import Quote as Quote  # noqa: PLC0414 - one of the values
from envoyassert.frozen import frozen
from envoyassert.graph.model import KernelSocket, Thread
from envoyassert.option_values import OptionValue
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.selector import Selector

TopicKind = Literal[
    "listener", "process", "calls", "never", "order", "time", "duration", "start", "update",
    "clients", "others", "step", "when", "invariant", "phase", "envoy", "item", "config",
]  # fmt: skip


@frozen
class Topic:
    """What a finding is about.

    Args:
        kind: of what sort it is.
        name: its name: of a step, an invariant, a phase, an Envoy, or "".
        listener: how the scenario names the listener, if it is one.
        address: the one address of that listener, if each is judged by itself.
        calls: the pattern, if it is about calls.
    """

    kind: TopicKind
    name: str = ""
    listener: Selector | None = None
    address: str = ""
    calls: CallPattern | None = None


@frozen
class Scope:
    """To which part of a run a finding is confined.

    Args:
        envoy: the Envoy that is asked about, of several.
        during: the phase whose calls alone count.
        at_end_of: the phase at whose end it was judged.
        whole_run: whether it is about all of a run that has steps.
    """

    envoy: str | None = None
    during: str | None = None
    at_end_of: str | None = None
    whole_run: bool = False


@frozen
class TimeSpan:
    """A stretch of time, in ns; negative where the second came before the first."""

    ns: int


@frozen
class Certified:
    """Checks of the certificate that failed, as a reason.

    Args:
        checks: their names and what each found.
    """

    checks: tuple[tuple[str, Fact], ...]

    @property
    def names(self) -> set[str]:
        """The names of the checks."""
        return {name for name, _ in self.checks}


# what is counted


@frozen
class Act:
    """Something that threads do to a listener.

    Args:
        name: what they do.
        errno: with what it failed, or None.
        by_listen: whether listen() stands for it, since epoll was not observed.
    """

    name: Literal[
        "bind", "bind_failed", "listen", "listened", "serve", "accept", "accept_failed", "handle"
    ]
    errno: str | None = None
    by_listen: bool = False


@frozen
class Calls:
    """Calls that match a pattern; `which` says whether each of them is meant, or one."""

    pattern: CallPattern
    which: Literal["every", "first", "last"] = "every"


@frozen
class Things:
    """Sockets, descriptors or connections of some kind: `serving`, `created`, `refused`."""

    noun: Literal["kernel socket", "descriptor", "socket", "attempt"]
    state: str


Counted = Act | Calls | Things


@frozen
class Count:
    """How often or how many are asked for: from `low` to `high`.

    Args:
        of: what is counted.
        low: the least; None if it grows with the workers and their number is not known.
        high: the most; None is without limit.
        each: whether it is counted for each socket or worker by itself.
    """

    of: Counted
    low: int | None
    high: int | None
    each: str | None = None


@frozen
class Number:
    """How often or how many were seen."""

    of: Counted
    number: int


# who


@frozen
class ThreadName:
    """A thread by its role.

    Args:
        role: `main`, `worker` or `other`.
        number: of a worker.
        name: of an other thread, its own name.
        process: of an other thread of another process than Envoy's, its number.
    """

    role: str
    number: int | None = None
    name: str = ""
    process: int | None = None

    @property
    def word(self) -> str:
        """The role as a scenario names it: `worker_1`."""
        return self.role if self.number is None else f"{self.role}_{self.number}"


@frozen
class SocketName:
    """A kernel socket by its order of birth, and its address if it has one."""

    number: int
    address: str | None


def socket_name(socket: KernelSocket) -> SocketName:
    """Return a kernel socket by its order of birth and its address."""
    address = socket.address
    return SocketName(socket.number, None if address is None else str(address))


def role_name(thread: Thread) -> ThreadName:
    """Return a thread by its role alone."""
    role, _, number = thread.role.partition("_")
    return ThreadName(role, int(number) if number else None)


def thread_name(thread: Thread) -> ThreadName:
    """Return a thread by its role, one that has none of Envoy's by its own name."""
    if thread.role != "other":
        return role_name(thread)
    name = thread.name or str(thread.tid)
    return ThreadName("other", None, name, None if thread.of_envoy else thread.pid)


@frozen
class BoundSocket:
    """A socket by its protocol and address; "" if it has none."""

    protocol: str
    address: str


@frozen
class ListenerAddress:
    """One address of a listener of the config."""

    listener: str
    address: str


@frozen
class DescriptorName:
    """A descriptor, by its number and whose it is."""

    fd: int
    process: int


@frozen
class By:
    """That threads of one role do something, and no one else.

    Args:
        act: what they do.
        role: `main`, `workers`, `worker_<i>`, `other` or `none`.
        workers: how many workers there should be.
    """

    act: Act
    role: str
    workers: int


@frozen
class Threads:
    """Who was seen to do something.

    Args:
        act: what they did.
        threads: who, main first, then the workers by number.
        note: what is wrong with them beside that, if anything.
    """

    act: Act
    threads: tuple[ThreadName, ...]
    note: Fact | None = None


@frozen
class Groups:
    """What was seen for each socket or worker by itself.

    Args:
        of: what was counted.
        each: for what.
        members: the first of those that decide, each with its number.
        deciding: how many decide.
        total: how many there are.
    """

    of: Counted
    each: str
    members: tuple[tuple[ThreadName | SocketName, int], ...]
    deciding: int
    total: int


# options


@frozen
class OptionRule:
    """What is asked of one option on every socket.

    Args:
        name: its name, or level/number.
        state: whether it must be set, absent, or have a value.
        value: the value, if one is asked for.
        phase: when it must be set, relative to bind and listen; None at any time.
    """

    name: str
    state: Literal["set", "absent", "value"]
    value: Any = None
    phase: str | None = None


@frozen
class Option:
    """An option that was set, or is asked for.

    Args:
        name: its name, or its number if it has none.
        value: what it was set to.
        phase: `before_bind`, `bound` or `listening`.
        any_value: whether any value will do.
    """

    name: int | str
    value: OptionValue
    phase: str
    any_value: bool = False


@frozen
class Options:
    """Options as they were set on some of a listener's sockets.

    Args:
        name: the one option that is asked about; None for all.
        ways: the different ways in which they are set.
        sockets: on how many sockets.
        total: of how many.
        unexpected: those that are set and not asked for, where all are asked for; None elsewhere.
        missing: those that are asked for and not set; None as above.
    """

    name: str | None
    ways: tuple[tuple[Option, ...], ...]
    sockets: int
    total: int
    unexpected: tuple[Option, ...] | None = None
    missing: tuple[Option, ...] | None = None


@frozen
class Shape:
    """By what kernel sockets and descriptors threads serve a listener.

    Args:
        name: `reuse_port`, `dup`, `shared_fd`, or "" if it is none of them.
        sockets, descriptors, threads: how many there are of each.
        reuse: how many of the sockets have SO_REUSEPORT.
        workers: how many workers there are, if fewer or more than those serve it; else None.
    """

    name: str
    sockets: int
    reuse: int
    descriptors: int
    threads: int
    workers: int | None = None


#: The shape of one thread that serves one socket by one descriptor, without SO_REUSEPORT: to
#: expectations it is `dup`, and `shared_fd` too, since they do not differ then.
SINGLE = "single"

Reason = Fact | Certified
Value = Fact | Quote | Count | Number | By | Threads | Groups | OptionRule | Options | Shape | Calls


def fault(said: str) -> Fact:
    """Return a fault of ours, in one line, as something that a finding can say."""
    return Fact("fault", said=Quote(said))


def both(reasons: list[Fact]) -> Fact:
    """Return several reasons as one."""
    return reasons[0] if len(reasons) == 1 else Fact("several", reasons=tuple(reasons))
