"""Assertions for tests in Python, in the words of the YAML scenarios and by the same engine.

def test_sidecar_inbound(envoy):
    assert_listener(
        envoy.trace(),
        port=15006,
        bound={"times": 1, "by": "main"},
        listened={"by": "workers", "via": "dup"},
    )
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

from pydantic import TypeAdapter, ValidationError
from typing_extensions import Unpack

from envoyassert.errors import EnvoyAssertError, Problem
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.outcomes import ExpectationFailed, TraceInconclusive, raise_unless_passed
from envoyassert.scenario.complaint import Complaint, complaints_of, meant_by
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.selector import Selector
from envoyassert.trace import Trace
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.registry import Expectation

__all__ = [
    "ExpectationFailed",
    "TraceInconclusive",
    "assert_calls",
    "assert_expectations",
    "assert_in_order",
    "assert_listener",
    "assert_never",
    "assert_no_others",
    "assert_process",
]

_EXPECTATION: TypeAdapter[Any] = TypeAdapter(Expectation)
_SELECTOR_FIELDS = tuple(Selector.model_fields)
_LISTENER_FIELDS = (
    *_SELECTOR_FIELDS,
    *(
        name
        for name in ListenerExpectation.model_fields
        if name not in ("known_defect", "listener", "when")
    ),
)


class Judging(TypedDict, total=False):
    """How a trace is judged; keyword arguments that the assertions share.

    Args:
        workers: the number of workers that was asked for; None for what the trace's header says.
        assume: what is taken for granted about a trace that did not observe it.
    """

    workers: int | None
    assume: tuple[str, ...]


def assert_listener(
    trace: Trace, *, workers: int | None = None, assume: tuple[str, ...] = (), **fields: Any
) -> None:
    """Assert what one listener's sockets did.

    Args:
        trace: what was observed.
        workers: as in `Judging`.
        assume: as in `Judging`.
        **fields: those of `listener` in a scenario (port, address, name, protocol, path, abstract)
            and of the expectation (bound, listened, sockets, options, …), as plain data.

    Raises:
        ExpectationFailed: an expectation is not met.
        TraceInconclusive: the trace does not show it.
        EnvoyAssertError: the fields are no valid expectation; every problem is named.
    """
    __tracebackhide__ = True
    unknown = [key for key in fields if key not in _LISTENER_FIELDS]
    if unknown:
        # In a scenario the selector's keys stand one level deeper, here next to the others.
        listed = f"keys: {', '.join(_LISTENER_FIELDS)}"
        raise _invalid(
            Complaint(
                (key,),
                f"`{key}` is not a key of assert_listener()",
                f"{meant_by(key, _LISTENER_FIELDS)} {listed}".strip(),
            )
            for key in unknown
        )
    listener = {key: fields.pop(key) for key in list(fields) if key in _SELECTOR_FIELDS}
    assert_expectations(trace, {"listener": listener, **fields}, workers=workers, assume=assume)


def assert_process(trace: Trace, **fields: Any) -> None:
    """Assert the state of the Envoy process: `exits`, `stays_up`, `live`, `within`.

    Raises:
        ExpectationFailed, TraceInconclusive, EnvoyAssertError: as `assert_listener`.
    """
    __tracebackhide__ = True
    assert_expectations(trace, {"process": fields})


def assert_calls(
    trace: Trace,
    call: str | tuple[str, ...],
    *,
    workers: int | None = None,
    assume: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """Assert how many observed calls match a pattern.

    Args:
        trace: what was observed.
        call: name of the system call, or several.
        workers: as in `Judging`.
        assume: as in `Judging`.
        **fields: those of `calls` in a scenario: times, listener, by, errno, succeeds, args.

    Raises:
        ExpectationFailed, TraceInconclusive, EnvoyAssertError: as `assert_listener`.
    """
    __tracebackhide__ = True
    assert_expectations(trace, {"calls": {"call": call, **fields}}, workers=workers, assume=assume)


def assert_never(
    trace: Trace,
    call: str | tuple[str, ...],
    *,
    workers: int | None = None,
    assume: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """Assert that no call matches a pattern; arguments and errors as `assert_calls`."""
    __tracebackhide__ = True
    assert_expectations(trace, {"never": {"call": call, **fields}}, workers=workers, assume=assume)


def assert_in_order(trace: Trace, *steps: dict[str, Any], **how: Unpack[Judging]) -> None:
    """Assert that every call matching a step precedes every call matching the next one.

    Args:
        trace: what was observed.
        *steps: call patterns as data: `{"call": "bind", "listener": {"port": 80}}`.
        **how: see `Judging`.

    Raises:
        ExpectationFailed, TraceInconclusive, EnvoyAssertError: as `assert_listener`.
    """
    __tracebackhide__ = True
    assert_expectations(trace, {"in_order": steps}, **how)


def assert_no_others(trace: Trace, *listeners: dict[str, Any], allow: tuple[str, ...] = ()) -> None:
    """Assert that no socket listens, and no datagram socket is bound, but for these.

    Args:
        trace: what was observed.
        *listeners: selectors as data: `{"port": 80}`.
        allow: classes that are no surprise: `hot_restart`, `admin`.

    Raises:
        ExpectationFailed, TraceInconclusive, EnvoyAssertError: as `assert_listener`.
    """
    __tracebackhide__ = True
    named = [{"listener": listener, "bound": {}} for listener in listeners]
    closed = {"no_others": {"allow": allow} if allow else True}
    assert_expectations(trace, *named, closed)


def assert_expectations(
    trace: Trace, *expectations: dict[str, Any], **how: Unpack[Judging]
) -> None:
    """Assert items of a scenario's `expect`, given as plain data.

    Args:
        trace: what was observed.
        *expectations: the items, as they would stand in YAML.
        **how: see `Judging`.

    Raises:
        ExpectationFailed, TraceInconclusive, EnvoyAssertError: as `assert_listener`.
    """
    __tracebackhide__ = True
    items = [(index, parse_expectation(data)) for index, data in enumerate(expectations)]
    graph = fold(trace)
    workers = how.get("workers")
    count = trace.header.concurrency if workers is None else workers
    verdict = judge(trace, items, workers=count, assume=how.get("assume", ()), graph=graph)
    raise_unless_passed(verdict, trace, graph)


def parse_expectation(data: dict[str, Any]) -> Conditional:
    """Return an expectation given as plain data.

    Raises:
        EnvoyAssertError: it is not valid; every problem is named.
    """
    __tracebackhide__ = True
    try:
        expectation = _EXPECTATION.validate_python(data)
    except ValidationError as error:
        raise _invalid(complaints_of(error, data)) from None
    assert isinstance(expectation, Conditional)
    return expectation


def _invalid(complaints: Iterable[Complaint]) -> EnvoyAssertError:
    """Return the error for arguments that are no expectation: where, what, and what now."""
    lines = []
    for path, message, remedy, _ in complaints:
        # A path of one key says no more than the message.
        where = ".".join(map(str, path)) + ": " if len(path) > 1 else ""
        lines.append(where + Problem("", 0, 0, message, remedy).text)
    return EnvoyAssertError("not a valid expectation: " + "\n  ".join(lines))
