"""The form of a trace in a file.

Line-delimited JSON: the header, then one line per event (with `{"stack": n, "frames": […]}` lines
before the first event that refers to stack n), one line per phase if the scenario has steps, the
witness, the names of the functions in stacks, what a second tracer recorded (its events say by
whom), the end line, and the closing line, without which a file was cut off. The closing line counts
what there is and has the SHA-256 of all lines before it, each with a line feed: so a file that lost
a line or was edited is refused. It keeps from accidents and is no signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from envoyassert.accounts import SecondWitness, Witness, parse_witness
from envoyassert.addresses import Address
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.excerpt import Excerpt
from envoyassert.symbols import Symbols
from envoyassert.trace import (
    FORMAT,
    OLD_FORMAT,
    ConnectionAttempt,
    CpuCounters,
    End,
    EnvoyIdentity,
    Header,
    ListenerRecord,
    Member,
    Outcome,
    Phase,
    Stranger,
    Trace,
    UpdateResult,
)


def _plain(value: Any) -> Any:
    """Return `value` as JSON types; addresses by their own form."""
    if isinstance(value, Address):
        return value.to_json()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def trace_lines(trace: Trace) -> Iterator[str]:
    """Yield the lines of a trace file, without line ends.

    A trace that was read from a file of the old format remains one.
    """
    lines = _lines(trace)
    yield from closed(lines, trace) if trace.header.format == FORMAT else lines


def closed(lines: Iterable[str], trace: Trace) -> Iterator[str]:
    """Yield the lines of a trace, and after them the closing line."""
    digest = hashlib.sha256()
    for line in lines:
        _add(digest, line)
        yield line
    yield json.dumps({"closing": {**_contents(trace), "sha256": digest.hexdigest()}})


def _add(digest: Any, line: str) -> None:
    digest.update(line.encode("utf-8", "surrogatepass") + b"\n")


def _contents(trace: Trace) -> dict[str, int]:
    """Return how many there are of what a trace is made of."""
    second = trace.second
    return {
        "events": len(trace.events),
        "phases": len(trace.phases),
        "steps": len(trace.header.steps),
        "accounts": sum(1 for _ in trace.accounts()),
        "second_events": 0 if second is None else len(second.events),
        "ends": 1,
    }


def _lines(trace: Trace) -> Iterator[str]:
    head = _plain(trace.header)
    yield json.dumps({"format": head.pop("format"), **head})
    stacks: dict[tuple[str, ...], int] = {}
    encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
    for event in trace.events:
        line = _event_line(event)
        if event.stack:
            number = stacks.get(event.stack)
            if number is None:
                number = stacks[event.stack] = len(stacks)
                yield encode({"stack": number, "frames": list(event.stack)})
            line["stack"] = number
        yield encode(line)
    yield from (encode({"phase": _plain(phase)}) for phase in trace.phases)
    if trace.witness is not None:
        yield encode({"witness": _plain(trace.witness)})
    if trace.symbols.files:
        yield encode({"symbols": trace.symbols.to_json()})
    second = trace.second
    if second is not None:
        head = {"by": second.by, "until_ns": second.until_ns, "problems": second.problems}
        yield encode({"second": head})
        for event in second.events:
            yield encode({**_event_line(event), "by": second.by})
    yield encode({"end": _plain(trace.end)})


def _event_line(event: Event) -> dict[str, Any]:
    line: dict[str, Any] = {
        "ts": event.ts_ns,
        "pid": event.pid,
        "tid": event.tid,
        "call": event.call,
        "ret": event.ret,
        "args": event.args,
        "cpu": event.cpu,
        "seq": event.seq,
    }
    if event.fault:
        line["fault"] = True
    return line


def parse_trace(lines: Iterable[str], path: str = "<trace>") -> Trace:
    """Read a trace file.

    Args:
        lines: its lines.
        path: its name, for messages.

    Raises:
        TraceFileError: not a trace file, another format version, a bad line, no closing line, or
            one that was written for other lines.
    """
    header: Header | None = None
    end: End | None = None
    witness: Witness | None = None
    phases: list[Phase] = []
    symbols = Symbols()
    second: list[SecondWitness] = []
    events: list[Event] = []
    stacks: dict[int, tuple[str, ...]] = {}
    closing: dict[str, Any] | None = None
    digest = hashlib.sha256()
    number = 0
    try:
        for text in lines:
            number += 1
            if not text.strip():
                continue
            data = json.loads(text)
            if closing is not None:
                raise ValueError("it follows the closing line")
            if "closing" not in data:
                _add(digest, text.rstrip("\r\n"))
            if header is None:
                header = _parse_header(data, path)
            elif "call" in data:
                owner = events if "by" not in data else second[-1].events
                owner.append(_parse_event(data, stacks))
            elif "frames" in data:
                stacks[data["stack"]] = tuple(data["frames"])
            elif "phase" in data:
                phases.append(_parse_phase(data["phase"]))
            elif "witness" in data:
                _once("witness", witness)
                witness = parse_witness(data["witness"])
            elif "symbols" in data:
                symbols = Symbols.from_json(data["symbols"])
            elif "second" in data:
                found = data["second"]
                problems = tuple(found["problems"])
                second = [SecondWitness(found["by"], found["until_ns"], problems)]
            elif "end" in data:
                _once("end", end)
                end = _parse_end(data["end"])
            elif "closing" in data:
                closing = dict(data["closing"])
            else:
                raise ValueError("unknown kind of line")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TraceFileError(
            f"{path}:{number}:1: error: not a line of a trace file: {error}"
        ) from error
    if header is None:
        raise TraceFileError(f"{path}: error: the file is empty")
    if end is None or (closing is None and header.format == FORMAT):
        raise TraceFileError(
            f"{path}: error: the file has no {'end' if end is None else 'closing'} line, so it was "
            "cut off",
            "record the run again; a trace without its end proves nothing",
        )
    other = second[-1] if second else None
    trace = Trace(header, events, end, witness, tuple(phases), symbols, other)
    if closing is not None:
        problem = _amiss(closing, {**_contents(trace), "sha256": digest.hexdigest()})
        if problem:
            raise TraceFileError(
                f"{path}:{number}:1: error: {problem}",
                "use the file as it was written, or record the run again; a trace that was edited "
                "proves nothing",
            )
    return trace


def _once(kind: str, known: object) -> None:
    if known is not None:
        raise ValueError(f"a second {kind} line")


def _amiss(closing: dict[str, Any], found: dict[str, Any]) -> str:
    """Return what a closing line says that the lines before it do not; "" if they agree."""
    for name, number in found.items():
        if name != "sha256" and closing.get(name) != number:
            what = name.replace("_", " ")
            return f"the closing line counts {closing.get(name)} {what}, the file has {number}"
    if closing.get("sha256") != found["sha256"]:
        return "the closing line was written for other lines: the file was edited or damaged"
    return ""


def _parse_header(data: dict[str, Any], path: str) -> Header:
    found = data.get("format")
    if found not in (FORMAT, OLD_FORMAT):
        raise TraceFileError(
            f"{path}:1:1: error: expected a header with format {FORMAT}, found {found!r}",
            "pass a file written by `envoyassert record` or `envoyassert import`",
        )
    return Header(
        scenario=data["scenario"],
        run_id=data["run_id"],
        envoy=EnvoyIdentity(**data["envoy"]),
        launcher=data["launcher"],
        concurrency=data["concurrency"],
        kernel=data["kernel"],
        listeners=_parse_listeners(data["listeners"]),
        unobserved=tuple(data["unobserved"]),
        matrix=data["matrix"],
        rundir=data["rundir"],
        tracer=data.get("tracer", "ebpf"),
        excerpt=Excerpt.from_json(data.get("excerpt")),
        steps=tuple(data.get("steps", ())),
        began_ns=data.get("began_ns", 0),
        format=found,
        stood_in=tuple(data.get("stood_in", ())),
        given=data.get("given", {}),
    )


def _parse_event(data: dict[str, Any], stacks: dict[int, tuple[str, ...]]) -> Event:
    args = data["args"]
    address = args.get("address")
    if address is not None:
        args["address"] = Address.from_json(address)
    return Event(
        data["ts"],
        data["pid"],
        data["tid"],
        data["call"],
        data["ret"],
        args,
        data["cpu"],
        data["seq"],
        data.get("fault", False),
        stacks[data["stack"]] if "stack" in data else (),
    )


def _parse_listeners(data: list[dict[str, Any]]) -> tuple[ListenerRecord, ...]:
    return tuple(
        ListenerRecord(
            item["name"],
            item["protocol"],
            tuple(Address.from_json(address) for address in item["addresses"]),
            item["kind"],
        )
        for item in data
    )


def _parse_outcome(data: dict[str, Any]) -> Outcome:
    return Outcome(**{**data, "log_tail": tuple(data["log_tail"])})


def _parse_phase(data: dict[str, Any]) -> Phase:
    listeners, witness, update = data["listeners"], data["witness"], data["update"]
    return Phase(
        name=data["name"],
        kind=data["kind"],
        begin_ns=data["begin_ns"],
        end_ns=data["end_ns"],
        outcome=_parse_outcome(data["outcome"]),
        witness=None if witness is None else parse_witness(witness),
        listeners=None if listeners is None else _parse_listeners(listeners),
        missed=data["missed"],
        problem=data["problem"],
        attempts=tuple(_parse_attempt(item) for item in data["attempts"]),
        update=None if update is None else UpdateResult(**update),
        envoys=tuple(_parse_member(item) for item in data.get("envoys", ())),
        strangers=tuple(
            Stranger(**{**item, "address": Address.from_json(item["address"])})
            for item in data.get("strangers", ())
        ),
    )


def _parse_member(data: dict[str, Any]) -> Member:
    witness = data["witness"]
    return Member(
        data["name"],
        data["pid"],
        data["concurrency"],
        _parse_outcome(data["outcome"]),
        None if witness is None else parse_witness(witness),
    )


def _parse_attempt(data: dict[str, Any]) -> ConnectionAttempt:
    local = data["local"]
    addresses = {
        "address": Address.from_json(data["address"]),
        "local": None if local is None else Address.from_json(local),
    }
    return ConnectionAttempt(**{**data, **addresses})


def _parse_end(data: dict[str, Any]) -> End:
    return End(
        cpus=tuple(CpuCounters(**item) for item in data["cpus"]),
        misses=data["misses"],
        drained=data["drained"],
        marked=data["marked"],
        outcome=_parse_outcome(data["outcome"]),
        ended_ns=data.get("ended_ns", 0),
    )
