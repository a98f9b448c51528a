"""A trace file that was edited or damaged is refused, and one that was rewritten passes nothing.

The closing line keeps from accidents. Who writes a closing line of their own is met by what the
rest of the file says: which steps there were to be, when the run began, that Envoy was running.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert.accounts import Witness, WitnessRegistration, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.errors import TraceFileError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import OLD_FORMAT, Phase, Trace
from envoyassert.trace_file import parse_trace, read_trace, trace_lines, write_trace

TRACES = Path(__file__).parents[1] / "traces"
PLACE = Address.inet("127.0.0.1", 80)
BOUND_TWICE = {"listener": {"port": 80}, "bound": {"times": 2}}
BOUND_THRICE = {"listener": {"port": 80}, "bound": {"times": 3}}

Line = dict[str, Any]


def run() -> Trace:
    """Return a run of three phases, whose last step missed what it waited for."""
    builder = TraceBuilder(2)
    fds = builder.reuse_port_listener(str(PLACE))
    account = Witness(
        builder.events[-1].ts_ns + 10,
        tuple(WitnessSocket(builder.main, fd, fd, fd, PLACE, True, True) for fd in fds),
        tuple(
            WitnessRegistration(builder.main, builder.epoll(builder.worker(index)), fd, fd)
            for index, fd in enumerate(fds)
        ),
        begun_ns=builder.events[-1].ts_ns + 5,
    )
    builder.end_phase("startup", "startup", witness=account)
    builder.end_phase("drain", "drain", witness=account)
    builder.end_phase("settled", missed="closed 2 times within 1 s", witness=account)
    trace = builder.build()
    first, last = trace.events[0].ts_ns, trace.phases[-1].end_ns
    trace.header = replace(
        trace.header, steps=("drain", "settled"), began_ns=first - 10, tracer="strace"
    )
    trace.end = replace(trace.end, ended_ns=last + 10)
    return trace


def lines_of(trace: Trace) -> list[Line]:
    return [json.loads(line) for line in trace_lines(trace)]


def at(lines: list[Line], kind: str, number: int = 0) -> int:
    return [index for index, line in enumerate(lines) if kind in line][number]


def rename(lines: list[Line]) -> None:
    lines[at(lines, "phase", 1)]["phase"]["name"] = "other"


def reorder(lines: list[Line]) -> None:
    first, second = at(lines, "phase", 1), at(lines, "phase", 2)
    lines[first], lines[second] = lines[second], lines[first]


def end_twice(lines: list[Line]) -> None:
    lines.insert(-1, lines[at(lines, "end")])


def ask_twice(lines: list[Line]) -> None:
    witness = {"ts_ns": 1, "sockets": [], "registrations": [], "error": ""}
    lines[-1:-1] = [{"witness": witness}, {"witness": witness}]


def shift(lines: list[Line]) -> None:
    for line in lines:
        if "ts" in line:
            line["ts"] += 3


def alter_witness(lines: list[Line]) -> None:
    lines[at(lines, "phase")]["phase"]["witness"]["pid"] = 4711


def remove_witness(lines: list[Line]) -> None:
    lines[at(lines, "phase")]["phase"]["witness"] = None


def without(kind: str, number: int = 0) -> Callable[[list[Line]], None]:
    def remove(lines: list[Line]) -> None:
        del lines[at(lines, kind, number)]

    return remove


EDITS: dict[str, tuple[Callable[[list[Line]], None], str]] = {
    "phase renamed": (rename, "was written for other lines"),
    "phase removed": (without("phase", 1), "counts 3 phases, the file has 2"),
    "last wait removed": (without("phase", 2), "counts 3 phases, the file has 2"),
    "phases in another order": (reorder, "was written for other lines"),
    "two ends": (end_twice, "not a line of a trace file: a second end line"),
    "two witnesses": (ask_twice, "not a line of a trace file: a second witness line"),
    "times shifted": (shift, "was written for other lines"),
    "witness altered": (alter_witness, "was written for other lines"),
    "witness removed": (remove_witness, "counts 3 accounts, the file has 2"),
    "event removed": (without("call", 3), "events, the file has"),
    "line after the closing one": (
        lambda lines: lines.append(lines[1]),
        "not a line of a trace file: it follows the closing line",
    ),
}


@pytest.mark.parametrize("edit, words", EDITS.values(), ids=EDITS)
def test_edited_file_is_refused_with_its_place(
    edit: Callable[[list[Line]], None], words: str, tmp_path: Path
) -> None:
    lines = lines_of(run())
    edit(lines)
    path = tmp_path / "edited.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(TraceFileError) as caught:
        read_trace(path)
    place, _, message = str(caught.value).partition(" error: ")
    assert words in message
    number = int(place.removeprefix(f"{path}:").split(":")[0])
    assert 1 <= number <= len(lines)


CHANGED = ("removed", "doubled", "swapped", "a character")


@settings(deadline=None)
@given(st.data())
def test_any_change_of_any_line_is_refused(data: st.DataObject) -> None:
    lines = list(trace_lines(run()))
    index = data.draw(st.integers(0, len(lines) - 2))
    line, change = lines[index], data.draw(st.sampled_from(CHANGED))
    if change == "removed":
        del lines[index]
    elif change == "doubled":
        lines.insert(data.draw(st.integers(0, len(lines))), line)
    elif change == "swapped":
        lines[index], lines[index + 1] = lines[index + 1], line
    else:
        place = data.draw(st.integers(0, len(line) - 1))
        other = data.draw(st.characters().filter(lambda found: found != line[place]))
        lines[index] = line[:place] + other + line[place + 1 :]
    with pytest.raises(TraceFileError):
        parse_trace(lines)


def test_whole_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    trace = run()
    write_trace(trace, tmp_path / "whole.ndjson")
    assert read_trace(tmp_path / "whole.ndjson") == trace
    (tmp_path / "crlf.ndjson").write_bytes(
        (tmp_path / "whole.ndjson").read_bytes().replace(b"\n", b"\r\n")
    )
    assert read_trace(tmp_path / "crlf.ndjson") == trace


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_file_that_was_cut_off_is_called_so(cut: int) -> None:
    with pytest.raises(TraceFileError, match="so it was cut off"):
        parse_trace(list(trace_lines(run()))[:-cut])


def verdict(trace: Trace, item: dict[str, Any] = BOUND_TWICE) -> Verdict:
    return judge(trace, [(0, parse_expectation(item))], workers=2)


def with_phases(*phases: Phase) -> Trace:
    return replace(run(), phases=phases)


def missing(trace: Trace) -> str:
    return "; ".join(text(check.found) for check in verdict(trace).certificate.missing)


def moved(trace: Trace, ns: int) -> Trace:
    for event in trace.events:
        event.ts_ns += ns
    return trace


STARTUP, DRAIN, SETTLED = run().phases
HOUR_NS = 3_600 * 10**9
#: Less than the time of the first event.
MOMENT_NS = 10**6
REWRITTEN: dict[str, tuple[Callable[[], Trace], str]] = {
    "phase renamed": (
        lambda: with_phases(STARTUP, replace(DRAIN, name="other"), SETTLED),
        "the phase other stands where drain should",
    ),
    "phase removed": (
        lambda: with_phases(STARTUP, SETTLED),
        "the phase settled does not begin where startup ended",
    ),
    "last wait removed": (
        lambda: with_phases(STARTUP, DRAIN),
        "the trace ends before the step settled, and does not say why",
    ),
    "phases in another order": (
        lambda: with_phases(STARTUP, SETTLED, DRAIN),
        "the phase settled does not begin where startup ended",
    ),
    "phases all removed": (
        with_phases,
        "the trace ends before the step startup, and does not say why",
    ),
    "phase added": (
        lambda: with_phases(
            STARTUP,
            DRAIN,
            SETTLED,
            replace(DRAIN, name="more", begin_ns=SETTLED.end_ns + 1, end_ns=SETTLED.end_ns + 2),
        ),
        "no step is called more",
    ),
    "times shifted back": (lambda: moved(run(), -MOMENT_NS), "ns older than the run"),
    "times shifted on": (lambda: moved(run(), HOUR_NS), "ns newer than the run's end"),
}


def test_run_whose_last_wait_was_not_met_is_whole_and_fails() -> None:
    assert missing(run()) == ""
    assert verdict(run()).status is Status.FAIL


@pytest.mark.parametrize("edited, words", REWRITTEN.values(), ids=REWRITTEN)
def test_edited_trace_with_a_closing_line_of_its_own_passes_nothing(
    edited: Callable[[], Trace], words: str
) -> None:
    trace = parse_trace(list(trace_lines(edited())))
    assert words in missing(trace)
    found = verdict(trace)
    assert Status.PASS not in {finding.status for finding in found.findings}
    assert found.status is not Status.PASS


def probed(witness: Witness | None) -> Trace:
    """Return a run without steps as the probes would have recorded it."""
    builder = TraceBuilder(2)
    builder.reuse_port_listener(str(PLACE))
    trace = builder.build()
    trace.header = replace(trace.header, tracer="ebpf")
    trace.witness = witness
    return trace


def test_trace_of_the_probes_without_the_kernels_account_passes_nothing() -> None:
    trace = probed(None)
    found = verdict(trace)
    assert found.status is Status.INCONCLUSIVE
    assert (
        "no account of the kernel, though Envoy was running" in words_of(found.findings[0]).reason
    )
    ended = replace(trace.end, outcome=replace(trace.end.outcome, exit_code=0))
    assert verdict(replace(trace, end=ended)).status is Status.PASS
    for tracer in ("strace", ""):
        other = replace(trace, header=replace(trace.header, tracer=tracer))
        assert verdict(other).status is Status.PASS


def test_phase_of_the_probes_without_the_kernels_account_passes_nothing() -> None:
    trace = run()
    trace.header = replace(trace.header, tracer="ebpf")
    trace.phases = tuple(replace(phase, witness=None) for phase in trace.phases)
    assert "at the end of startup: no account of the kernel" in missing(trace)
    gone = replace(trace.end.outcome, signal=9)
    trace.phases = tuple(replace(phase, outcome=gone) for phase in trace.phases)
    assert missing(trace) == ""


def test_file_of_the_old_format_shows_faults_and_passes_nothing() -> None:
    trace = probed(None)
    trace.header = replace(trace.header, format=OLD_FORMAT, tracer="")
    lines = list(trace_lines(trace))
    assert "closing" not in lines[-1]
    read = parse_trace(lines)
    assert read == trace
    passed = verdict(read)
    assert passed.status is Status.INCONCLUSIVE
    assert words_of(passed.findings[0]).reason == (
        "the file is of the format envoyassert-trace/1, which does not show whether lines were "
        "left out or changed (record the run again)"
    )
    assert verdict(read, BOUND_THRICE).status is Status.FAIL
