"""Trace files: their form, and on disk, read whole and written whole or not at all.

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
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from envoyassert.accounts import SecondWitness, Witness
from envoyassert.addresses import Address
from envoyassert.collection import collection_paused
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.output_file import write_lines
from envoyassert.symbols import Symbols
from envoyassert.trace import FORMAT, OLD_FORMAT, End, Header, Phase, Trace
from envoyassert.trace_schema import (
    KINDS,
    event_line,
    left_out,
    members_of,
    read_line,
    reader,
    words_of,
)


def _plain(value: Any) -> Any:
    """Return `value` as JSON types; addresses by their own form, and text as UTF-8 can have it."""
    if isinstance(value, str):
        # A path of the file system that is no UTF-8, say.
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
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
        line = event_line(event)
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
            yield encode({**event_line(event), "by": second.by})
    yield encode({"end": _plain(trace.end)})


@collection_paused()
def parse_trace(lines: Iterable[str], path: str = "<trace>") -> Trace:
    """Read a trace file; every line is held against `envoyassert.trace_schema`.

    Args:
        lines: its lines.
        path: its name, for messages.

    Raises:
        TraceFileError: not a trace file, another format version, a bad line, no closing line, or
            one that was written for other lines.
    """
    reader = _Reader()
    number, text = 0, ""
    try:
        for text in lines:
            number += 1
            reader.read(text)
    except _OtherFormatError as error:
        raise TraceFileError(f"{path}:{number}:1: error: {error}", _REMEDY) from error
    except ValueError as error:
        said, remedy = str(error)[:_LONGEST], ""  # a key may be as long as the line
        if not _is_json(text):
            said, remedy = "it is not JSON", _REMEDY if reader.header is None else _CUT_OFF
        raise TraceFileError(
            f"{path}:{number}:1: error: not a line of a trace file: {said}", remedy
        ) from error
    header, end = reader.header, reader.end
    if header is None:
        raise TraceFileError(f"{path}: error: the file is empty")
    if end is None or (reader.closing is None and header.format == FORMAT):
        raise TraceFileError(
            f"{path}: error: the file has no {'end' if end is None else 'closing'} line, so it was "
            "cut off",
            "record the run again; a trace without its end proves nothing",
        )
    symbols = reader.symbols or Symbols()
    phases = tuple(reader.phases)
    trace = Trace(header, reader.events, end, reader.witness, phases, symbols, reader.second)
    if reader.closing is not None:
        problem = _disagreement(
            reader.closing, {**_contents(trace), "sha256": reader.digest.hexdigest()}
        )
        if problem:
            raise TraceFileError(
                f"{path}:{number}:1: error: {problem}",
                "use the file as it was written, or record the run again; a trace that was edited "
                "proves nothing",
            )
    return trace


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        pass  # its numbers or its depth are beyond Python's limits
    return True


#: How the lines of events begin that are written here; those of other files are found by `call`.
_EVENT = '{"ts":'
#: Of what is wrong with a line, so many characters are shown.
_LONGEST = 400
_CUT_OFF = "record the run again; the file was cut off or edited"
_REMEDY = "pass a file written by `envoyassert record` or `envoyassert import`"


class _OtherFormatError(ValueError):
    """The first line is no header of a format that is read here."""


class _Reader:
    """What the lines of a trace file have said so far."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.events: list[Event] = []
        self.phases: list[Phase] = []
        self.witness: Witness | None = None
        self.symbols: Symbols | None = None
        self.second: SecondWitness | None = None
        self.end: End | None = None
        self.closing: dict[str, object] | None = None
        self.digest = hashlib.sha256()
        self._stacks: dict[int, tuple[str, ...]] = {}
        self._read_event = reader("call")

    def read(self, text: str) -> None:
        """Read one line.

        Raises:
            ValueError: it is not one, or not at this place.
        """
        is_event = text.startswith(_EVENT) and self.header is not None
        if not is_event and not text.strip():
            return
        if self.closing is not None:
            raise ValueError("it follows the closing line")
        if is_event:
            self._add_event(text)
        else:
            members = members_of(text)
            if self.header is None:
                self._read_header(text, members)
            elif "call" in members:
                self._add_event(text)
            else:
                self._read_other(text, members)
        if self.closing is None:
            _add(self.digest, text.rstrip("\r\n"))

    def _read_header(self, text: str, members: dict[str, Any]) -> None:
        found = members.get("format")
        if found not in (FORMAT, OLD_FORMAT):
            shown = repr(found)[:60]
            raise _OtherFormatError(f"expected a header with format {FORMAT}, found {shown}")
        self.header = _whole("format", text, members)

    def _add_event(self, text: str) -> None:
        try:
            data = self._read_event(text)
        except ValidationError as error:
            raise ValueError(words_of(error)) from error
        args = data["args"]
        address = args.get("address")
        keys = len(data) + len(args) + (3 if address is not None else 0)
        if text.count(":") != keys:
            # Each key has a colon. So as many colons as keys that were read means that none came
            # twice, and was lost; with more of them it takes a closer look, and a slower one.
            members_of(text)
        owner = self.events
        if "by" in data:
            if self.second is None or self.second.by != data["by"]:
                raise ValueError("there is no second tracer of this name before it")
            owner = self.second.events
        stack: tuple[str, ...] = ()
        if "stack" in data:
            if data["stack"] not in self._stacks:
                raise ValueError("its stack is not defined before it")
            stack = self._stacks[data["stack"]]
        owner.append(
            Event(
                data["ts"],
                data["pid"],
                data["tid"],
                data["call"],
                data["ret"],
                args,
                data["cpu"],
                data["seq"],
                data.get("fault", False),
                stack,
            )
        )

    def _read_other(self, text: str, members: dict[str, Any]) -> None:
        kind = next((kind for kind in KINDS if kind in members), "")
        if not kind:
            raise ValueError("unknown kind of line")
        said = _whole(kind, text, members)
        if kind == "phase":
            self.phases.append(said)
        elif kind == "frames":
            number = members["stack"]
            if number in self._stacks:
                raise ValueError(f"a second stack {number}")
            self._stacks[number] = tuple(said)
        elif getattr(self, kind) is not None:
            raise ValueError(f"a second {kind} line")
        elif kind == "second":
            self.second = SecondWitness(said["by"], said["until_ns"], tuple(said["problems"]))
        else:
            setattr(self, kind, said)


def _whole(kind: str, text: str, members: dict[str, Any]) -> Any:
    """Return what a line says that is no event.

    Raises:
        ValueError: a member is unknown, missing, or has another type or range.
    """
    said = read_line(kind, text)
    missing = left_out(members if kind == "format" else members[kind], _plain(said))
    if missing:
        raise ValueError(f"`{missing}` is missing")
    return said


def _disagreement(closing: dict[str, object], found: dict[str, object]) -> str:
    """Return what a closing line says that the lines before it do not; "" if they agree."""
    for name, number in found.items():
        if name != "sha256" and closing.get(name) != number:
            what = name.replace("_", " ")
            return f"the closing line counts {closing.get(name)} {what}, the file has {number}"
    if closing.get("sha256") != found["sha256"]:
        return "the closing line was written for other lines: the file was edited or damaged"
    return ""


#: A trace has about 250 bytes for each event, and a run some hundreds of these.
MAX_BYTES = 256 << 20


def read_trace(path: str | Path) -> Trace:
    """Read a trace file.

    Raises:
        TraceFileError: it cannot be read, or is no complete trace file.
    """
    return parse_trace(read_lines(path), str(path))


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        TraceFileError: it cannot be read, is no regular file, is far too large, or is not UTF-8
            text.
    """
    try:
        return read_file(Path(path), MAX_BYTES).decode("utf-8").splitlines()
    except UnfitFileError as error:
        raise TraceFileError(f"{path}: error: {error}") from error
    except OSError as error:
        raise TraceFileError(f"{path}: error: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceFileError(
            f"{path}: error: not a text file: byte {error.start} is not UTF-8",
            "pass a file written by `envoyassert record` or `envoyassert import`",
        ) from error


def write_trace(trace: Trace, path: str | Path, *, below: Path | None = None) -> None:
    """Write a trace file, replacing what is there; see `write_lines`.

    Raises:
        MachineError: it cannot be written; then nothing is left of it.
    """
    write_lines(trace_lines(trace), path, below=below)
