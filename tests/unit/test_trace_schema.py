"""What a line of a trace may say: a value of another type or range is an error with its line.

The files here have a closing line that fits, or are of the format without one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoyassert.errors import TraceFileError
from envoyassert.trace import (
    OLD_FORMAT,
    Trace,
)
from envoyassert.trace_file import parse_trace, read_trace, trace_lines, write_trace
from tests.fuzz.files import closed_again
from tests.whole_trace import whole

Line = dict[str, Any]


def lines_of(trace: Trace) -> list[Line]:
    """Return the lines of a file without its closing line."""
    return [json.loads(line) for line in trace_lines(trace)][:-1]


def refusal(lines: list[str]) -> str:
    """Return why a file is refused."""
    with pytest.raises(TraceFileError) as caught:
        parse_trace(lines)
    return str(caught.value)


def test_of_a_long_key_there_is_its_beginning() -> None:
    lines = [json.dumps(line) for line in lines_of(whole())]
    lines[3] = json.dumps({**json.loads(lines[3]), "k" * 70_000: 1})
    assert len(refusal(lines)) < 500


def edited(kind: str, path: tuple[Any, ...], value: Any) -> tuple[list[str], int]:
    """Return a file with another value in the first line of a kind, and the line's number."""
    lines = lines_of(whole())
    number = next(index for index, line in enumerate(lines) if _is(line, kind))
    owner: Any = lines[number]
    for part in path[:-1]:
        owner = owner[part]
    assert path[-1] in owner or isinstance(owner, list)
    owner[path[-1]] = value
    return closed_again([json.dumps(line) for line in lines]), number + 1


def _is(line: Line, kind: str) -> bool:
    return kind in line if kind in ("format", *LINE_KINDS) else line.get("call") == kind


LINE_KINDS = ("frames", "phase", "witness", "symbols", "second", "end")
ACCOUNT = ("phase", "witness")

WRONG: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("format", ("concurrency",), "2", '`header.concurrency`: must be a valid integer, not "2"'),
    ("format", ("concurrency",), True, "`header.concurrency`: must be a valid integer, not true"),
    ("format", ("concurrency",), 2.0, "`header.concurrency`: must be a valid integer, not 2.0"),
    ("format", ("concurrency",), -1, "must be greater than or equal to 0, not -1"),
    ("format", ("concurrency",), 10**30, "`header.concurrency`"),
    ("format", ("concurrency",), 1025, "must be less than or equal to 1024, not 1025"),
    ("phase", ("phase", "envoys", 0, "concurrency"), 10**9, "less than or equal to 1024"),
    ("format", ("concurrency",), None, "must be a valid integer, not null"),
    ("format", ("envoy",), "1.40.0", "`header.envoy`"),
    ("format", ("envoy", "version"), 1.4, "`header.envoy.version`: must be a valid string"),
    ("format", ("steps",), "drain", '`header.steps`: must be a valid array, not "drain"'),
    ("format", ("unobserved",), [1], "`header.unobserved.0`: must be a valid string, not 1"),
    ("format", ("matrix",), [], "`header.matrix`"),
    ("format", ("matrix",), {"a": 1}, "`header.matrix.a`"),
    ("format", ("tracer",), "magic", "`header.tracer`"),
    ("format", ("listeners", 0, "protocol"), "SCTP", "`header.listeners.0.protocol`"),
    ("format", ("listeners", 0, "addresses"), {}, "`header.listeners.0.addresses`"),
    ("format", ("listeners", 0, "addresses", 0, "port"), 65536, "less than 65536, not 65536"),
    ("format", ("listeners", 0, "addresses", 0, "host"), "one.example", "is no IP address"),
    ("format", ("listeners", 0, "addresses", 0, "host"), "::1", "the host is not of AF_INET"),
    ("format", ("listeners", 0, "addresses", 1, "family"), "AF_INET", "host and port are of AF"),
    ("format", ("excerpt",), [], "`header.excerpt`"),
    ("format", ("excerpt", "path"), "expect", "`header.excerpt.path`"),
    ("format", ("excerpt", "events"), -1, "`header.excerpt.events`"),
    ("format", ("given",), {"config": None}, "`header.given.config`"),
    ("socket", ("ts",), -1, "`socket.ts`: must be greater than or equal to 0, not -1"),
    ("socket", ("ts",), 2**64, "`socket.ts`"),
    ("socket", ("pid",), 1.5, "`socket.pid`"),
    ("socket", ("tid",), True, "`socket.tid`: must be a valid integer, not true"),
    ("socket", ("cpu",), 70000, "`socket.cpu`"),
    ("socket", ("call",), "frobnicate", 'unknown call "frobnicate"'),
    ("socket", ("call",), "bind", "`bind.args."),
    ("socket", ("call",), ["bind"], "call"),
    ("socket", ("ret",), "0", '`socket.ret`: must be a valid integer, not "0"'),
    ("socket", ("args",), [], "`socket.args`"),
    ("socket", ("args", "flags"), "SOCK_NONBLOCK", "`socket.args.flags`: must be a valid array"),
    ("socket", ("args", "family"), 2, "`socket.args.family`"),
    ("setsockopt", ("args", "value"), 1.0, "`setsockopt.args.value"),
    ("setsockopt", ("args", "fd"), 2**31, "`setsockopt.args.fd`"),
    ("setsockopt", ("args", "name"), None, "`setsockopt.args.name"),
    ("bind", ("args", "address"), "127.0.0.1:80", "`bind.args.address`"),
    ("bind", ("args", "address", "port"), -1, "`bind.args.address.port`"),
    ("bind", ("args", "address", "port"), "80", "`bind.args.address.port`"),
    ("fork", ("args", "thread"), 1, "`fork.args.thread`: must be a valid boolean, not 1"),
    ("exec", ("args", "argv"), "envoy", "`exec.args.argv`"),
    ("epoll_ctl", ("args", "events"), {"EPOLLIN": 1}, "`epoll_ctl.args.events`"),
    ("frames", ("frames",), "main", "`frames`"),
    ("frames", ("stack",), -1, "`stack`"),
    ("phase", ("phase",), [], "`phase`"),
    ("phase", ("phase", "begin_ns"), "0", "`phase.begin_ns`"),
    ("phase", ("phase", "outcome", "exit_code"), False, "`phase.outcome.exit_code`"),
    ("phase", ("phase", "outcome", "live"), 1, "`phase.outcome.live`: must be a valid boolean"),
    ("phase", ("phase", "outcome", "live_after_s"), "fast", "`phase.outcome.live_after_s`"),
    ("phase", ("phase", "outcome", "live_after_s"), float("nan"), "must be a finite number"),
    ("phase", ("phase", "outcome", "log_tail"), "one", "`phase.outcome.log_tail`"),
    ("phase", ("phase", "attempts", 0, "ok"), "yes", "`phase.attempts.0.ok`"),
    ("phase", ("phase", "attempts", 0, "end"), "lost", "`phase.attempts.0.end`"),
    ("phase", ("phase", "update", "result"), "perhaps", "`phase.update.result`"),
    ("phase", ("phase", "strangers", 0, "inode"), -1, "`phase.strangers.0.inode`"),
    ("phase", ("phase", "envoys", 0, "pid"), None, "`phase.envoys.0.pid`"),
    ("phase", (*ACCOUNT, "sockets", 0, "fd"), "3", "`phase.witness.sockets.0.fd`"),
    ("phase", (*ACCOUNT, "sockets", 0, "listening"), 1, "`phase.witness.sockets.0.listening`"),
    ("phase", (*ACCOUNT, "sockets", 0, "address"), "", "`phase.witness.sockets.0.address`"),
    ("phase", (*ACCOUNT, "sockets", 0, "options"), {"a": True}, "`phase.witness.sockets.0.option"),
    ("witness", ("witness", "ts_ns"), -5, "`witness.ts_ns`"),
    ("witness", ("witness", "registrations", 0, "mask"), 2**32, "`witness.registrations.0.mask`"),
    ("witness", ("witness", "network", "somaxconn"), "4096", "`witness.network.somaxconn`"),
    ("witness", ("witness", "network", "sockets", 0, "queue"), -1, "`witness.network.sockets.0.qu"),
    ("witness", ("witness", "envoy", "stats"), {"a": "1"}, "`witness.envoy.stats.a`"),
    ("witness", ("witness", "pids"), [True], "`witness.pids.0`"),
    ("witness", ("witness", "error"), None, "`witness.error`"),
    ("symbols", ("symbols", "names"), [], "`symbols.names`"),
    ("symbols", ("symbols", "files", "b"), "b", "`symbols.files.b`"),
    ("second", ("second", "until_ns"), "10", "`second.until_ns`"),
    ("second", ("second", "by"), "other", "no second tracer of this name"),
    ("end", ("end", "cpus", 0, "dropped"), "0", "`end.cpus.0.dropped`"),
    ("end", ("end", "drained"), "yes", "`end.drained`: must be a valid boolean"),
    ("end", ("end", "misses"), -1, "`end.misses`"),
]


@pytest.mark.parametrize(
    "kind, path, value, words", WRONG, ids=[f"{k}-{p[-1]}-{v!r}"[:50] for k, p, v, _ in WRONG]
)
def test_value_of_another_type_or_range_is_an_error_with_its_line(
    kind: str, path: tuple[Any, ...], value: Any, words: str
) -> None:
    lines, number = edited(kind, path, value)
    said = refusal(lines)
    # What an event of the second tracer belongs to is found wrong at the event.
    later = kind == "second" and path[-1] == "by"
    assert said.startswith(f"<trace>:{number + later}:1: error: not a line of a trace file: ")
    assert words in said


def with_line(change: Callable[[str], str], kind: str) -> list[str]:
    """Return a file in which the text of the first line of a kind is another."""
    lines = lines_of(whole())
    texts = [json.dumps(line, separators=(",", ":")) for line in lines]
    number = next(index for index, line in enumerate(lines) if _is(line, kind))
    texts[number] = change(texts[number])
    return closed_again(texts)


ODD: dict[str, tuple[str, Callable[[str], str], str]] = {
    "key twice": ("bind", lambda t: t.replace('"fd":', '"fd":1,"fd":'), "'fd' is there twice"),
    "key twice, apart": ("close", lambda t: t.replace('"cpu":', '"cpu" :9,"cpu":'), "'cpu' is th"),
    "key twice in a header": (
        "format",
        lambda t: t.replace('"launcher":', '"launcher":"docker","launcher":'),
        "the key 'launcher' is there twice",
    ),
    "key twice in an account": (
        "witness",
        lambda t: t.replace('"inode":', '"inode":1,"inode":', 1),
        "the key 'inode' is there twice",
    ),
    "5,000 digits": ("bind", lambda t: t.replace('"cpu":', '"cpu":' + "9" * 5000), "JSON"),
    "5,000 digits in an account": (
        "witness",
        lambda t: t.replace('"ts_ns":', '"ts_ns":' + "9" * 5000, 1),
        "a number of 50",
    ),
    "half a surrogate": ("exec", lambda t: t.replace('"envoy"', '"\\ud800"'), "JSON"),
    "half a surrogate in a header": (
        "format",
        lambda t: t.replace('"built"', '"\\udc80"'),
        "JSON",
    ),
    "deep": ("end", lambda t: t.replace("[", "[" * 100_000, 1), "nested too deep"),
    "deep event": ("bind", lambda t: t.replace('"args":', '"args":' + "[" * 9000), "JSON"),
    "a list": ("end", lambda t: f"[{t}]", "it is no JSON object"),
    "a number": ("end", lambda t: "7", "it is no JSON object"),
    "unknown member": ("bind", lambda t: t[:-1] + ',"more":1}', "`bind.more` is unknown"),
    "unknown argument": ("bind", lambda t: t.replace('"fd"', '"df":1,"fd"'), "`bind.args.df` is u"),
    "unknown member of the header": ("format", lambda t: t[:-1] + ',"x":1}', "`header.x` is unkn"),
    "unknown kind": ("end", lambda t: '{"what":1}', "unknown kind of line"),
    "two kinds": ("end", lambda t: t[:-1] + ',"phase":{}}', "phase"),
    "argument missing": ("bind", lambda t: t.replace('"fd":', '"epfd":'), "`bind.args.fd` is mis"),
    "member missing": ("phase", lambda t: t.replace('"missed":"",', ""), "`missed` is missing"),
    "member of the header missing": (
        "format",
        lambda t: t.replace('"unobserved":[],', ""),
        "`unobserved` is missing",
    ),
    "two tables of names": ("symbols", lambda t: f"{t}\n{t}", "a second symbols line"),
    "two second tracers": ("second", lambda t: f"{t}\n{t}", "a second second line"),
    "stack twice": ("frames", lambda t: f"{t}\n{t}", "a second stack 0"),
    "stack not defined": (
        "rename",
        lambda t: t[:-1] + ',"stack":7}',
        "its stack is not defined before it",
    ),
}


@pytest.mark.parametrize("kind, change, words", ODD.values(), ids=ODD)
def test_line_of_another_form_is_an_error_with_its_line(
    kind: str, change: Callable[[str], str], words: str
) -> None:
    texts = [text for part in with_line(change, kind)[:-1] for text in part.split("\n")]
    said = refusal(closed_again(texts))
    assert said.startswith("<trace>:")
    assert ":1: error: not a line of a trace file: " in said
    assert words in said
    assert len(said) < 300


@pytest.mark.parametrize("count", [True, 1.0, "1", -1, None])
def test_closing_line_counts_in_whole_numbers(count: Any) -> None:
    lines = list(trace_lines(whole()))
    closing = json.loads(lines[-1])
    closing["closing"]["ends"] = count
    assert "`closing.ends`" in refusal([*lines[:-1], json.dumps(closing)])


@pytest.mark.parametrize("found", ["envoyassert-trace/3", 2, None, ["x"], "y" * 9000])
def test_another_format_is_named_shortly(found: Any) -> None:
    lines = lines_of(whole())
    lines[0]["format"] = found
    said = refusal([json.dumps(line) for line in lines])
    assert said.startswith("<trace>:1:1: error: expected a header with format envoyassert-trace/2")
    assert len(said) < 300


def test_whole_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = whole()
    write_trace(trace, tmp_path / "whole.ndjson")
    assert read_trace(tmp_path / "whole.ndjson") == trace


def test_old_format_is_checked_too() -> None:
    trace = whole()
    trace.header = replace(trace.header, format=OLD_FORMAT)
    lines = [json.loads(line) for line in trace_lines(trace)]
    assert parse_trace(map(json.dumps, lines)) == trace
    lines[0]["run_id"] = 7
    assert "<trace>:1:1: error: " in refusal([json.dumps(line) for line in lines])


def test_file_of_an_earlier_version_lacks_what_came_later() -> None:
    lines = lines_of(whole())
    for later in ("tracer", "excerpt", "steps", "began_ns", "stood_in", "given"):
        del lines[0][later]
    read = parse_trace(closed_again([json.dumps(line) for line in lines]))
    assert read.header.tracer == "ebpf"


def test_name_that_is_no_utf_8_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    trace = whole()
    trace.header = replace(trace.header, rundir="/tmp/\udcff")
    write_trace(trace, tmp_path / "whole.ndjson")
    assert read_trace(tmp_path / "whole.ndjson").header.rundir == "/tmp/\\udcff"


@given(st.data())
def test_no_key_comes_twice_however_it_is_written(data: st.DataObject) -> None:
    lines = [json.dumps(line) for line in lines_of(whole())]
    number = data.draw(st.integers(1, len(lines) - 1))
    members = json.loads(lines[number])
    key = data.draw(st.sampled_from(sorted(members)))
    blank = data.draw(st.sampled_from(["", " ", "\t"]))
    again = f"{json.dumps(key)}{blank}:{json.dumps(members[key])}"
    lines[number] = f"{lines[number][:-1]},{again}}}"
    said = refusal(closed_again(lines))
    assert f"<trace>:{number + 1}:1: error: " in said
    assert f"the key {key!r} is there twice" in said
