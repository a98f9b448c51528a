"""What the lines of a trace file may say: their members, types and ranges.

The dataclasses of a trace are the schema of most lines (`envoyassert.ranges` has the ranges), the
rows of `envoyassert.calls` that of the arguments; here is how a line is read by all of that.
Pydantic reads it in strict mode, where `true` and `1.0` are no whole numbers and a text is no list.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from envoyassert.accounts import Witness
from envoyassert.calls import CALLS
from envoyassert.events import Event
from envoyassert.ranges import I64, U16, U32, Flags, Natural, Pid
from envoyassert.symbols import Symbols
from envoyassert.trace import End, Header, Phase

_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _dict_of(name: str, members: Mapping[str, Any]) -> Any:
    """Return the type of a JSON object; of its members those with a `?` may be missing."""
    made = TypedDict(  # type: ignore[misc]  # its members are data
        name,
        {
            key.removesuffix("?"): NotRequired[kind] if key.endswith("?") else kind
            for key, kind in members.items()
        },
    )
    made.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]  # pydantic reads it
    return made


def _event_of(call: str) -> object:
    return _dict_of(
        call,
        {
            "ts": Natural,
            "pid": Pid,
            "tid": Pid,
            "call": Literal[call],
            "ret": I64 | None,
            "args": with_config(_CONFIG)(CALLS[call].arguments),
            "cpu": U16,
            "seq": U32,
            "fault?": bool,
            "stack?": Natural,
            "by?": str,
        },
    )


#: The lines that are no events, by the member that each has; the header's is `format`.
_LINES: dict[str, dict[str, Any]] = {
    "frames": {"stack": Natural, "frames": list[str]},
    "phase": {"phase": Phase},
    "witness": {"witness": Witness},
    "symbols": {"symbols": Symbols},
    "second": {"second": _dict_of("second", {"by": str, "until_ns": Natural, "problems": Flags})},
    "end": {"end": End},
    "closing": {
        "closing": _dict_of(
            "closing",
            {
                **dict.fromkeys(
                    ("events", "phases", "steps", "accounts", "second_events", "ends"), Natural
                ),
                "sha256": str,
            },
        )
    },
}
#: The members by which a kind of line is known.
KINDS = tuple(_LINES)

#: Members that files written by earlier versions lack.
_LATER = frozenset(
    {
        *("tracer", "excerpt", "steps", "began_ns", "stood_in", "given", "ended_ns", "unmarked"),
        *("begun_ns", "pid", "pids", "network", "envoy", "limits", "filtered", "others", "mask"),
        *("options", "cookie", "device", "v6only", "envoys", "strangers", "since_ns", "live_ns"),
        *("live_asked_ns", "live_unknown", "waits_for", "deadline_s", "kind"),
        *("code", "wanted", "expected", "capped", "processes", "threads", "holders"),
        *("where", "inner_pids", "config"),
    }
)


def read_line(kind: str, text: str) -> object:
    """Return what a line says: of an event a dict, of another line the value of its member.

    Args:
        kind: `call` for an event, `format` for the header, else the member that shows the kind.
        text: the line. A key that it has twice is not noticed here, see `members_of`.

    Raises:
        ValueError: a member is unknown or has another type or range; the message says which.
    """
    try:
        return reader(kind)(text)
    except ValidationError as error:
        raise ValueError(words_of(error)) from error


def event_line(event: Event) -> dict[str, object]:
    """Return the members of an event's line, but for its stack."""
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


def check_event(event: Event) -> None:
    """Hold an event that was read from another log against what a trace may say.

    Raises:
        ValueError: a trace file with it could not be read; the message says why.
    """
    try:
        _events().validate_python(event_line(event))
    except ValidationError as error:
        raise ValueError(words_of(error)) from error


@functools.cache
def _events() -> TypeAdapter[Any]:
    members = tuple(_event_of(call) for call in CALLS)
    one_of: Any = Annotated[Union[members], Field(discriminator="call")]  # noqa: UP007 - of a tuple
    return TypeAdapter(one_of)


@functools.cache
def reader(kind: str) -> Callable[[str], Any]:
    """Return what reads a line of a kind, see `read_line`; it raises pydantic's errors."""
    if kind == "call":
        read_event: Callable[[str], object] = _events().validator.validate_json
        return read_event
    if kind == "format":
        # A dataclass by itself cannot be given a configuration.
        header = TypeAdapter(_dict_of("line", {"header": Header})).validator
        return lambda text: header.validate_json(f'{{"header":{text}}}')["header"]
    line = TypeAdapter(_dict_of("line", _LINES[kind])).validator
    return lambda text: line.validate_json(text)[kind]


def members_of(text: str) -> dict[str, object]:
    """Return the members of a line as they stand there.

    Raises:
        ValueError: it is no JSON object, an object in it has a key twice, or a number in it is
            longer than any that a trace has.
    """
    try:
        found = _decode(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _no_key_twice(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        keys = [key for key, _ in members]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


#: The largest number of a trace, 2**64, has 20 digits.
_MOST_DIGITS = 40
_decode = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_int=_whole_number).decode


def left_out(raw: Any, written: Any) -> str:
    """Return the name of a member that a line must have and has not, "" if there is none.

    Args:
        raw: the value as it stands in the file.
        written: the same value as it is written now, so with every member.
    """
    if isinstance(written, Mapping):
        missing = written.keys() - raw.keys() - _LATER
        deeper = [(raw[key], value) for key, value in written.items() if key in raw]
    elif isinstance(written, list):
        missing, deeper = frozenset(), list(zip(raw, written, strict=True))
    else:
        return ""
    return min(missing, default="") or next(filter(None, (left_out(*one) for one in deeper)), "")


def words_of(error: ValidationError) -> str:
    """Return the first fault that was found, with the member that has it."""
    fault = error.errors(include_url=False)[0]
    if fault["type"] == "union_tag_invalid":
        return f"unknown call {_shown(fault['ctx']['tag'])}"
    if fault["type"] == "json_invalid":
        return str(fault["msg"])
    where = ".".join(str(part) for part in fault["loc"])
    what = re.sub("^(Input|String) should", "must", fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"`{where}` is missing"
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"`{where}` is unknown"
    return f"`{where}`: {what}, not {_shown(fault['input'])}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 40 else f"{text[:39]}…"
