"""Stacks of a real program: names from the binary, from a separate debug file, or none."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.launch.elf import read_build_id
from envoyassert.probe import Arm
from envoyassert.symbolize import symbolize
from envoyassert.symbols import DEPTH, Symbols
from envoyassert.texts.findings import words_of
from envoyassert.trace import End, Header, Outcome, Trace
from envoyassert.trace_file import parse_trace, trace_lines
from envoyassert.words.calls import CallsExpectation
from envoyassert.words.never import NeverExpectation
from tests.bpf.conftest import CHILD_S, DRAIN_S, environment

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ (setup/install-packages.sh)"),
]

SOURCE = Path(__file__).parent / "programs" / "listeners.cc"
#: Where code lies in the file and in memory is the same number by default, and must not be taken
#: for the same: `shifted` has it elsewhere.
LINKED = {"plain": [], "shifted": ["-no-pie", "-Wl,-Ttext-segment=0x7000000"]}


def build(directory: Path, *options: str) -> Path:
    """Compile the program; it has symbols and a build id."""
    program = directory / "listeners"
    command = ["g++", "-O1", "-fno-omit-frame-pointer", "-Wl,--build-id=sha1", *options]
    subprocess.run([*command, "-o", program, SOURCE], check=True, timeout=CHILD_S)
    return program


def strip(program: Path, debug: Path | None) -> None:
    """Take the symbols out of a program, into a separate debug file if one is named."""
    if debug is not None:
        debug.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", "--strip-all", program], check=True)


@contextlib.contextmanager
def running(program: Path, arm: Arm) -> Iterator[None]:
    """Run the program until it has made its sockets, and end it afterwards."""
    with subprocess.Popen(
        [program], env=environment(arm.run_id), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield
        child.stdin.close()
        assert child.wait(CHILD_S) == 0


Recorded = Callable[..., Trace]


@pytest.fixture
def recorded(arm: Arm) -> Recorded:
    """Return a function that runs a program traced and returns the trace, read from its file."""

    def record(program: Path, *debug_dirs: Path, outlived: bool = False) -> Trace:
        with running(program, arm):
            arm.drain(DRAIN_S)
            snapshot = arm.snapshot()
            symbols = symbolize(snapshot.events, debug_dirs)
        if outlived:
            symbols = symbolize(snapshot.events, debug_dirs)
        end = End(
            snapshot.cpus, snapshot.misses, snapshot.drained, snapshot.marked, Outcome(exit_code=0)
        )
        trace = Trace(Header(concurrency=1), snapshot.events, end, symbols=symbols)
        return parse_trace(trace_lines(trace))

    return record


def stacks(trace: Trace, call: str) -> list[tuple[str, ...]]:
    """Return the functions of the stacks of a call."""
    return [trace.symbols.functions_of(e.stack) for e in trace.events if e.call == call]


def finding_of(trace: Trace, word: str = "calls", **pattern: Any) -> Finding:
    """Judge one pattern of calls."""
    form = CallsExpectation if word == "calls" else NeverExpectation
    expectation = form.model_validate({word: pattern})
    (finding,) = judge(trace, [(0, expectation)], workers=1).findings
    return finding


def through(method: str, step: str, *before: str) -> tuple[str, ...]:
    return (method, f"demo::{step}", *(f"demo::{name}" for name in before), "main")


EXPECTED = {
    "socket": [
        *[through("socket", "Sockets::open()", "ListenerImpl::start(int)")] * 2,
        through("socket", "Sockets::open()", "startAdmin()"),
    ],
    "listen": [
        *[through("listen", "ListenerImpl::listening(int, int)", "ListenerImpl::start(int)")] * 2,
        through("listen", "startAdmin()"),
    ],
}


@pytest.mark.parametrize("linked", LINKED)
def test_frames_of_a_program_with_symbols_have_the_names_of_its_source(linked, recorded, tmp_path):
    trace = recorded(build(tmp_path, *LINKED[linked]))
    for call, expected in EXPECTED.items():
        # What the C library calls its own start is its own affair.
        cut = [stack[: stack.index("main") + 1] for stack in stacks(trace, call)]
        assert cut == expected


def test_frames_of_a_program_that_has_ended_have_names_too(recorded, tmp_path):
    trace = recorded(build(tmp_path), outlived=True)
    assert any("demo::startAdmin()" in stack for stack in stacks(trace, "bind"))


@pytest.mark.parametrize("layout", [".build-id", "flat"])
def test_stripped_program_with_a_separate_debug_file_has_names(layout, recorded, tmp_path):
    program = build(tmp_path, *LINKED["shifted"])
    build_id = read_build_id(program)
    debug_dir = tmp_path / "debug"
    name = f".build-id/{build_id[:2]}/{build_id[2:]}.debug" if layout == ".build-id" else "x.debug"
    strip(program, debug_dir / name)
    trace = recorded(program, debug_dir)
    assert trace.symbols.files[build_id].problem == ""
    assert any("demo::startAdmin()" in stack for stack in stacks(trace, "bind"))


def test_debug_file_of_another_build_is_not_used(recorded, tmp_path):
    program = build(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    build(other, "-DOTHER", "-g")
    debug_dir = tmp_path / "debug"
    strip(other / "listeners", debug_dir / "x.debug")
    strip(program, None)
    assert read_build_id(debug_dir / "x.debug") != read_build_id(program)
    assert not any("demo" in str(stack) for stack in stacks(recorded(program, debug_dir), "bind"))


def test_pattern_of_a_stack_counts_the_calls_that_came_from_there(recorded, tmp_path):
    trace = recorded(build(tmp_path))
    start = {"contains": ["ListenerImpl::start", "Sockets::bound"]}
    assert finding_of(trace, call="bind", stack=start, times=2).status is Status.PASS
    wrong = finding_of(trace, call="bind", stack=start, times=3)
    assert (wrong.status, words_of(wrong).seen[-7:]) == (Status.FAIL, "2 times")
    assert finding_of(trace, "never", call="bind", stack=start).status is Status.FAIL


def test_function_that_is_on_no_stack_is_known_to_be_absent(recorded, tmp_path):
    trace = recorded(build(tmp_path))
    elsewhere = {"contains": "Listener::start"}
    assert finding_of(trace, "never", call="bind", stack=elsewhere).status is Status.PASS
    assert finding_of(trace, call="bind", stack=elsewhere).status is Status.FAIL
    # Reached through the C library, which has no frame of its own caller.
    direct = {"contains": "Sockets::open"}
    assert finding_of(trace, "never", call="socket", stack=direct).status is Status.FAIL


def test_pattern_of_a_stack_is_skipped_with_the_reason_without_symbols(recorded, tmp_path):
    program = build(tmp_path)
    strip(program, None)
    trace = recorded(program)
    for word in ("calls", "never"):
        finding = finding_of(trace, word, call="bind", stack={"contains": "ListenerImpl"})
        assert finding.status is Status.SKIPPED
        assert str(program) in words_of(finding).reason
        assert read_build_id(program) in words_of(finding).reason
        assert "--envoyassert-debug-dir" in words_of(finding).reason
    # Nothing else was asked, so nothing was shown.
    expectation = NeverExpectation.model_validate(
        {"never": {"call": "bind", "stack": {"contains": "ListenerImpl"}}}
    )
    assert judge(trace, [(0, expectation)], workers=1).status is Status.INCONCLUSIVE


def test_call_sites_distinguish_callers_without_symbols(recorded, tmp_path):
    program = build(tmp_path)
    strip(program, None)
    trace = recorded(program)
    binds = [e for e in trace.events if e.call == "bind"]
    names = [trace.symbols.functions_of(e.stack) for e in binds]
    assert not any("demo" in name for stack in names for name in stack)
    same = {"same_as": {"call": "bind"}}
    assert finding_of(trace, call="bind", stack=same, times=3).status is Status.PASS
    assert finding_of(trace, call="socket", stack=same, times=0).status is Status.PASS


def test_depth_is_that_of_the_probe():
    header = (Path(__file__).parents[2] / "bpf" / "events.h").read_text()
    assert f"#define EA_FRAME_COUNT {DEPTH}\n" in header


def test_events_without_stacks_have_no_symbols():
    assert symbolize([]) == Symbols()
