"""A trace: what one run of one scenario observed, and everything needed to judge it again.

In a file it is line-delimited JSON. The first line is the header, then one line per event (with
`{"stack": n, "frames": […]}` lines before the first event that refers to stack n), witness
snapshots, and the end line, without which a file was cut off. The file is the contract between
the half that needs root and a kernel, and the half that needs neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from envoyassert.accounts import Witness, WitnessRegistration, WitnessSocket, parse_witness
from envoyassert.addresses import Address
from envoyassert.errors import TraceFileError
from envoyassert.events import Event

FORMAT = "envoyassert-trace/1"

#: Things a channel can observe. A live probe observes all; an imported log says what it lacks.
CHANNELS = ("completeness", "results", "threads", "epoll", "close", "address_families")


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class ListenerRecord:
    """One listener as the config or the admin endpoint names it; never used to judge flags.

    Args:
        name: the listener's name; `admin` for the admin endpoint (kind tells them apart).
        protocol: `TCP` or `UDP`; `UNIX` for pipes.
        addresses: configured addresses in order, port 0 where the kernel was to choose.
        kind: `static`, `lds` or `admin`.
    """

    name: str
    protocol: str
    addresses: tuple[Address, ...]
    kind: str = "static"


@dataclass(frozen=True)
class Header:
    """First line of a trace.

    Args:
        scenario: name of the scenario, or "".
        run_id: what the traced processes carried in their environment, or "".
        envoy: which Envoy.
        launcher: `docker`, `process`, or "" for an imported log.
        concurrency: the number of workers that was asked for; 0 if unknown.
        kernel: release of the kernel, or "".
        listeners: listeners by the config.
        unobserved: members of CHANNELS that this trace does not cover.
        matrix: the scenario's matrix values of this run, as text.
        rundir: what `${rundir}` stood for, or "".
    """

    scenario: str = ""
    run_id: str = ""
    envoy: EnvoyIdentity = field(default_factory=EnvoyIdentity)
    launcher: str = ""
    concurrency: int = 0
    kernel: str = ""
    listeners: tuple[ListenerRecord, ...] = ()
    unobserved: tuple[str, ...] = ()
    matrix: dict[str, str] = field(default_factory=dict)
    rundir: str = ""


@dataclass(frozen=True)
class CpuCounters:
    """What one CPU recorded for the run.

    Args:
        cpu: the CPU's number.
        emitted: records that the probe wanted to write (each took the next sequence number).
        dropped: of these, records that were lost: they found the ring full, or as below.
        unmarked: of the dropped, processes that could not be marked because a map was full.
    """

    cpu: int
    emitted: int
    dropped: int
    unmarked: int = 0


@dataclass(frozen=True)
class Outcome:
    """How the Envoy process fared during start-up, told by the launcher.

    Args:
        live: whether `/ready` said LIVE (and workers had started) before the deadline; None if the
            config has no admin endpoint.
        live_after_s: seconds from launch to that reply; None if it never came.
        live_asked_ns: CLOCK_MONOTONIC nanoseconds just before `/ready` was asked for the first
            time that it said LIVE, whether or not workers had started; None if it never did.
        live_ns: the same clock just after that reply was received. Envoy became LIVE before it;
            the reply itself was sent between the two.
        exit_code: exit status if it ended by itself; None if it was still running.
        signal: number of the signal that killed it; None if none.
        deadline_s: seconds it was given to become ready.
        log_tail: last lines of Envoy's log, for explanations.
    """

    live: bool | None = None
    live_after_s: float | None = None
    live_asked_ns: int | None = None
    live_ns: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    deadline_s: float | None = None
    log_tail: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether the process was alive at the end of the phase."""
        return self.exit_code is None and self.signal is None


@dataclass(frozen=True)
class End:
    """Last line of a trace: what is needed to know that it is whole.

    Args:
        cpus: counters per CPU; empty for an imported log.
        misses: times the kernel skipped a probe program because it was already running.
        drained: whether every emitted record had been received or was counted as dropped.
        marked: whether a process was seen to carry the run id at its exec.
        outcome: how Envoy fared.
    """

    cpus: tuple[CpuCounters, ...] = ()
    misses: int = 0
    drained: bool = False
    marked: bool = False
    outcome: Outcome = field(default_factory=Outcome)


@dataclass
class Trace:
    """A whole trace, events in time order."""

    header: Header
    events: list[Event]
    end: End
    witness: Witness | None = None


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
    """Yield the lines of a trace file, without line ends."""
    yield json.dumps({"format": FORMAT, **_plain(trace.header)})
    stacks: dict[tuple[str, ...], int] = {}
    encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
    for event in trace.events:
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
        if event.stack:
            number = stacks.get(event.stack)
            if number is None:
                number = stacks[event.stack] = len(stacks)
                yield encode({"stack": number, "frames": list(event.stack)})
            line["stack"] = number
        yield encode(line)
    if trace.witness is not None:
        yield encode({"witness": _plain(trace.witness)})
    yield encode({"end": _plain(trace.end)})


def parse_trace(lines: Iterable[str], path: str = "<trace>") -> Trace:
    """Read a trace file.

    Args:
        lines: its lines.
        path: its name, for messages.

    Raises:
        TraceFileError: not a trace file, another format version, a bad line, or no end line.
    """
    header: Header | None = None
    end: End | None = None
    witness: Witness | None = None
    events: list[Event] = []
    stacks: dict[int, tuple[str, ...]] = {}
    number = 0
    try:
        for text in lines:
            number += 1
            if not text.strip():
                continue
            data = json.loads(text)
            if header is None:
                header = _parse_header(data, path)
            elif "call" in data:
                events.append(_parse_event(data, stacks))
            elif "frames" in data:
                stacks[data["stack"]] = tuple(data["frames"])
            elif "witness" in data:
                witness = parse_witness(data["witness"])
            elif "end" in data:
                end = _parse_end(data["end"])
            else:
                raise ValueError("unknown kind of line")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceFileError(
            f"{path}:{number}:1: error: not a line of a trace file: {error}"
        ) from error
    if header is None:
        raise TraceFileError(f"{path}: error: the file is empty")
    if end is None:
        raise TraceFileError(
            f"{path}: error: the file has no end line, so it was cut off",
            "record the run again; a trace without its end proves nothing",
        )
    return Trace(header, events, end, witness)


def _parse_header(data: dict[str, Any], path: str) -> Header:
    found = data.get("format")
    if found != FORMAT:
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
        listeners=tuple(
            ListenerRecord(
                item["name"],
                item["protocol"],
                tuple(Address.from_json(address) for address in item["addresses"]),
                item["kind"],
            )
            for item in data["listeners"]
        ),
        unobserved=tuple(data["unobserved"]),
        matrix=data["matrix"],
        rundir=data["rundir"],
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


def _parse_end(data: dict[str, Any]) -> End:
    outcome = data["outcome"]
    outcome["log_tail"] = tuple(outcome["log_tail"])
    return End(
        cpus=tuple(CpuCounters(**item) for item in data["cpus"]),
        misses=data["misses"],
        drained=data["drained"],
        marked=data["marked"],
        outcome=Outcome(**outcome),
    )


__all__ = [
    "CHANNELS",
    "FORMAT",
    "CpuCounters",
    "End",
    "EnvoyIdentity",
    "Header",
    "ListenerRecord",
    "Outcome",
    "Trace",
    "Witness",
    "WitnessRegistration",
    "WitnessSocket",
    "parse_trace",
    "trace_lines",
]
