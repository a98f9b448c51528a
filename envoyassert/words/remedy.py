"""What a word may say of a finding that failed: advice, values that a remedy tries, a config field.

What is here is what several words share; each word says the rest itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from envoyassert.fact import Fact
from envoyassert.frozen import frozen
from envoyassert.judge.verdict import Finding

if TYPE_CHECKING:
    from envoyassert.judge.values import ThreadName, Value

Place = tuple[str | int, ...]


@frozen
class Change:
    """One value of a scenario, changed.

    Args:
        path: where it stands: `("expect", 0, "bound", "times")`.
        before: the value that failed; None where the scenario does not say it.
        after: the value that holds on the same trace.
    """

    path: Place
    before: Any
    after: Any


@frozen
class Failed:
    """A key of an expectation, a value of which failed.

    Args:
        finding: what failed.
        now: its value; None if it is not said.
        workers: the number of workers that was asked for.
        ended: whether Envoy ended, or a call failed: that nothing came of it is then what is wrong.
    """

    finding: Finding
    now: Any
    workers: int
    ended: bool


Advice = Callable[[Finding], str | None]
"""Returns what to do about a FAIL; "" if there is nothing to say, None for the general advice."""
Tries = Callable[[Failed], Iterator[Any]]
"""Yields values that may make an expectation hold, the likeliest first."""
Config = Callable[[Change, int], str]
"""Returns the field of Envoy's config that does what a value asks for, by the number of workers."""

#: In the keys of a word: any that the scenario names itself.
ANY = "*"
REUSE_PORT, NO_REUSE_PORT = "enable_reuse_port: true", "enable_reuse_port: false"


def at_place(texts: Mapping[Place, str]) -> Advice:
    """Return advice by the place of a finding below its word, where sockets are there."""
    return lambda finding: None if finding.near else texts.get(finding.path[3:])


def numbers(failed: Failed) -> Iterator[int]:
    """Yield the numbers that were seen of what a finding asks for."""
    from envoyassert.judge.values import Groups, Number, Options

    match failed.finding.seen:
        case Number(number=number):
            yield number
        case Groups(members=members):
            yield from dict.fromkeys(number for _, number in members)
        case Options(ways=ways):
            yield from (one.value for way in ways for one in way if isinstance(one.value, int))
        case Fact(code="backlog_seen" | "backlog_held") as seen:
            yield from seen["numbers"]
        case Fact(code="exited") as seen:
            yield seen["status"]
        case Fact(code="no_socket_bound" | "no_socket_listens" | "none_of"):
            yield 0


def counts(failed: Failed) -> Iterator[int | str]:
    """Yield how many were seen, in terms of the workers where the scenario says it so."""
    for number in numbers(failed):
        if number or not failed.ended:
            of_workers = number == failed.workers > 1 and failed.now == "workers"
            yield "workers" if of_workers else number


def roles(failed: Failed) -> Iterator[str]:
    """Yield who was seen to do it, in the words of the expectation language."""
    threads = list(_threads(failed.finding))
    yield from dict.fromkeys(thread.word for thread in threads)
    if any(thread.number is not None for thread in threads):
        yield "workers"


def shapes(failed: Failed) -> Iterator[str]:
    """Yield how sockets can come about, first as was seen."""
    from envoyassert.judge.values import Shape

    seen: Value = failed.finding.seen
    if isinstance(seen, Shape) and seen.name:
        yield seen.name
    yield from ("reuse_port", "dup", "shared_fd")


def turned(failed: Failed) -> Iterator[list[Any]]:
    """Yield a list the other way round."""
    if isinstance(failed.now, (list, tuple)):
        yield list(reversed(failed.now))


def opposite(failed: Failed) -> Iterator[bool]:
    """Yield the other of true and false, if it is one of them."""
    if isinstance(failed.now, bool):
        yield not failed.now


def _errnos(failed: Failed) -> Iterator[str]:
    """Yield the errors with which calls failed that a finding names."""
    from envoyassert.judge.near import FailedBinds, NearCall, NearListener

    found: list[str] = []
    for near in failed.finding.near:
        match near:
            case NearListener(errno=str(errno)):
                found.append(errno)
            case FailedBinds(errnos=errnos):
                found += errnos
            case NearCall():
                differs = [d for d in near.differs if d.field in ("errno", "succeeds")]
                found += [d.seen for d in differs if d.seen]
    yield from dict.fromkeys(found)


def _threads(finding: Finding) -> Iterator[ThreadName]:
    """Yield the threads that a finding names, those that were seen first."""
    from envoyassert.judge.near import FailedBinds, NearCall, NearListener
    from envoyassert.judge.values import Threads

    if isinstance(finding.seen, Threads):
        yield from finding.seen.threads
        if finding.seen.note is not None:
            yield from finding.seen.note.details.get("threads", ())
    for near in finding.near:
        match near:
            case NearListener():
                yield from (*near.bound_by, *near.served_by)
            case FailedBinds():
                yield from near.by
            case NearCall():
                yield from (one.seen for one in near.differs if one.field == "by")


#: What is tried for the keys of what words share: ranges, acts, patterns of calls.
SHARED: Mapping[str, Tries] = {
    "by": roles,
    "errno": _errnos,
    "times": counts,
    "at_least": numbers,
    "at_most": numbers,
    "value": numbers,
}
#: What is tried for counts by kind.
TALLY: Mapping[str, Tries] = dict.fromkeys(("ever", "live", "serving", "spare"), counts)


def field_of_shape(change: Change, _: int) -> str:
    """Return the field by which the sockets of a listener come about as was asked for."""
    if change.path[-1] != "via":
        return ""
    return {"reuse_port": REUSE_PORT, "dup": NO_REUSE_PORT}.get(str(change.before), "")


def field_of_number(change: Change, workers: int) -> str:
    """Return the field by which a listener has as many sockets as was asked for."""
    fields = {1: NO_REUSE_PORT, workers: REUSE_PORT}
    wanted = _number(change.before, workers)
    if workers < 2 or change.path[-1] not in ("sockets", "times", "live") or wanted is None:
        return ""
    return fields.get(wanted, "") if _number(change.after, workers) in fields else ""


def _number(count: Any, workers: int) -> int | None:
    """Return which number a count asks for, None if it leaves a choice."""
    if isinstance(count, dict):
        if "workers" in count:
            return int(count["workers"]) * workers + int(count.get("plus", 0))
        return _number(count.get("exactly"), workers)
    return workers if count == "workers" else count if isinstance(count, int) else None
