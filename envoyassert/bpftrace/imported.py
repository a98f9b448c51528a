"""A log of bpftrace as a trace, in whichever of the forms that are read it is.

The older one, which is read here, is that of the script behind Envoy's "listener and socket"
write-ups: a banner per call, a `comm:` line with the arguments, and a user stack by name. Such a
log knows less than a trace of our own: it saw calls at entry (no results but dup's), named threads
by `comm` alone, printed IPv4 addresses only, and does not say what it lost. The header of the trace
lists all of that as unobserved, so judging it is inconclusive until a scenario states what it
assumes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from envoyassert.addresses import Address
from envoyassert.bpftrace.form import is_header
from envoyassert.bpftrace.log import lost_calls, parse_log
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.judge.interval import plural
from envoyassert.names import level_name, option_name
from envoyassert.trace import CHANNELS, End, EnvoyIdentity, Header, Trace
from envoyassert.trace_schema import check_event


def parse_bpftrace_log(
    lines: Iterable[str], path: str = "<log>", *, envoy_version: str = "", concurrency: int = 0
) -> Trace:
    """Read a bpftrace log: of our own program, or of the script before it.

    Args:
        lines: its lines.
        path: its name, for messages.
        envoy_version: version of the Envoy that was watched, `1.19.1`, if it is known.
        concurrency: the number of workers that it was started with; 0 if unknown.

    Raises:
        TraceFileError: it is in neither form.
    """
    found = list(lines)
    parse = parse_log if any(map(is_header, found)) else parse_article_log
    return parse(found, path, envoy_version=envoy_version, concurrency=concurrency)


def notes_on(trace: Trace, lines: Iterable[str], path: str) -> list[str]:
    """Return what a log of our program lacks, `2 events not in the log: 1 bind, 1 close`.

    Args:
        trace: what the log was read as.
        lines: the log.
        path: its name.
    """
    notes = []
    lost = sum(counters.dropped for counters in trace.end.cpus)
    if lost:
        calls = ", ".join(f"{count} {name}" for name, count in lost_calls(lines, path).items())
        notes.append(f"{plural(lost, 'event')} not in the log" + (f": {calls}" if calls else ""))
    if trace.end.cpus and "completeness" in trace.header.unobserved:
        notes.append(
            "how often the kernel skipped the program is not known for the last events "
            "(wait two seconds after them, then end bpftrace)"
        )
    return notes


# No number of a trace has more digits than 20.
_MAIN = "envoy"
_WATCHED = re.compile(r"watched \S+ pid: (\d{1,20})$")
_COMM = re.compile(r"comm:(?P<comm>\S+)\s*: (?P<rest>.*)$")
_CALLS = {
    "setsockopt": re.compile(
        r"setsockopt: level=(?P<level>\d{1,20}), fd=(?P<fd>\d{1,20}), optname=(?P<name>\d{1,20}), "
        r"optval=(?P<value>-?\d{1,20}), optlen=(?P<length>\d{1,20})\.$"
    ),
    "bind": re.compile(
        r"bind AF_INET: ip:(?P<host>\S+)\s+port:(?P<port>\d{1,20}) fd=(?P<fd>\d{1,20})$"
    ),
    "listen": re.compile(r"listen\(\) fd=(?P<fd>\d{1,20}), ip:\S+\s*, port:\d{1,20}$"),
    "dup": re.compile(r"duping_fd=(?P<fd>\d{1,20}), new_fd=(?P<new>\d{1,20})$"),
}
# Lines that carry nothing of their own: banners, the note that precedes a listen, the cut that the
# log's author marked, and the maps that bpftrace dumps at its end.
_SILENT = re.compile(
    r"Attaching \d{1,20} probes?\.\.\.$|#+ .* #+$|stack:$|\.\.\.$|\^C$|@\w+(\[[^\]]*\])?: .*$"
    r"|comm:\S+\s*: listen\(\) on an \S+ old_fd=\d{1,20}$"
)
#: Of what is wrong with a line, so many characters are shown.
_LONGEST = 400
_REMEDY = "pass the log as bpftrace printed it; lines may be left out, but not changed"


def parse_article_log(
    lines: Iterable[str], path: str = "<log>", *, envoy_version: str = "", concurrency: int = 0
) -> Trace:
    """Read a bpftrace log.

    The order of the lines is the only time the log has, so event n has the time n ns. Threads get
    the process id plus a number by order of appearance; the one named `envoy` is the main thread.

    Args:
        lines: its lines.
        path: its name, for messages.
        envoy_version: version of the Envoy that was watched, `1.19.1`, if it is known.
        concurrency: the number of workers that it was started with; 0 if unknown.

    Raises:
        TraceFileError: a line that does not belong to such a log, no process id, or no call.
    """
    reader = _Reader(path)
    for number, line in enumerate(lines, 1):
        reader.read(number, line.rstrip("\n"))
    reader.finish_stack()
    if reader.pid is None or not reader.calls:
        raise TraceFileError(
            f"{path}: error: no `watched … pid:` line and no call: not a bpftrace log", _REMEDY
        )
    header = Header(
        envoy=EnvoyIdentity(version=envoy_version, source=f"bpftrace log {path}"),
        concurrency=concurrency,
        unobserved=tuple(channel for channel in CHANNELS if channel != "stacks"),
        tracer="",
    )
    return Trace(header, reader.events, End())


class _Reader:
    """The state between two lines: threads seen so far, and the stack being read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid: int | None = None
        self.events: list[Event] = []
        self.calls = 0
        self._tids: dict[str, int] = {}
        self._frames: list[str] = []

    def read(self, number: int, line: str) -> None:
        """Read one line."""
        text = line.strip()
        if self.calls and line.startswith((" ", "\t")) and text:
            self._frames.append(text)
            return
        self.finish_stack()
        if not text or _SILENT.match(text):
            return
        if watched := _WATCHED.match(text):
            self.pid = int(watched[1])
            return
        found = _COMM.match(text)
        if found is None:
            raise self._error(number, f"not a line of a bpftrace log: {text[:60]!r}")
        if self.pid is None:
            raise self._error(number, "a call before the `watched … pid:` line")
        for call, pattern in _CALLS.items():
            if match := pattern.match(found["rest"]):
                self._add(call, found["comm"], match.groupdict(), number)
                return
        raise self._error(number, f"a call of an unknown form: {found['rest'][:60]!r}")

    def finish_stack(self) -> None:
        """Give the frames read since the last call to that call."""
        if self._frames:
            self.events[-1].stack = tuple(self._frames)
            self._frames = []

    def _add(self, call: str, comm: str, fields: dict[str, str], number: int) -> None:
        tid = self._tid_of(comm)
        ret: int | None = None
        args: dict[str, object] = {"fd": int(fields["fd"])}
        if call == "setsockopt":
            level = int(fields["level"])
            args["level"] = level_name(level)
            args["name"] = option_name(level, int(fields["name"]))
            args["value"] = int(fields["value"])
            args["length"] = int(fields["length"])
        elif call == "bind":
            try:
                args["address"] = Address.inet(fields["host"], int(fields["port"]))
            except ValueError as error:
                raise self._error(number, str(error)) from error
        elif call == "listen":
            args["backlog"] = None
        else:
            ret = int(fields["new"])
        self._append(tid, call, ret, args)
        try:
            check_event(self.events[-1])
        except ValueError as error:
            raise self._error(number, str(error)) from error
        self.calls += 1

    def _tid_of(self, comm: str) -> int:
        """Return the thread id that stands for a name, and add a new one to the trace."""
        assert self.pid is not None
        tid = self._tids.get(comm)
        if tid is None:
            others = sum(name != _MAIN for name in self._tids)
            tid = self._tids[comm] = self.pid if comm == _MAIN else self.pid + 1 + others
            self._append(self.pid, "rename", None, {"tid": tid, "name": comm})
        return tid

    def _append(self, tid: int, call: str, ret: int | None, args: dict[str, object]) -> None:
        assert self.pid is not None
        number = len(self.events) + 1
        self.events.append(Event(number, self.pid, tid, call, ret, args, seq=number))

    def _error(self, number: int, message: str) -> TraceFileError:
        # A number or an address may be as long as the line.
        return TraceFileError(f"{self.path}:{number}:1: error: {message[:_LONGEST]}", _REMEDY)
