"""Our bpftrace program and its logs; `sockets.bpftrace.txt` is one that bpftrace 0.17 printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from envoyassert.addresses import Address
from envoyassert.bpftrace.form import FORMAT, MACHINES, MEMBERS, WORDS, recorded
from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.bpftrace.log import UNOBSERVED
from envoyassert.bpftrace.script import ScriptError, script_text
from envoyassert.calls import CALLS, NOTED, SOURCES
from envoyassert.cli import app
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import certify
from envoyassert.judge.verdict import Certificate
from envoyassert.trace import Trace
from envoyassert.trace_file import parse_trace, read_trace, trace_lines

LINES = (
    (Path(__file__).parents[1] / "traces" / "sockets.bpftrace.txt").read_text("utf-8").splitlines()
)
HEADER = f"{FORMAT} x86_64 pids -"
EXEC = "exec 10 0 1 7 7 /bin/envoy"
CLOSE = "call 20 0 2 7 7 3 0 3 0 0 0 0 0 0 0"
BIND = "call 30 0 2 7 7 49 0 3 7f00 10 0 0 0 0 16"
DATA = "data 0 2 0 100007f50000002 0" + " 0" * (WORDS - 2)
UNREAD = (
    "note: how often the kernel skipped the program is not known for the last events (wait two "
    "seconds after them, then end bpftrace)"
)
SKIPPED = ["skipped 90 1", "pos:\t0", "prog_type:\t5", "recursion_misses:\t0", "skipped end"]
END = ["end 100", "@seq[0]: 2", "@count[3]: 1"]


def read(*lines: str) -> Trace:
    return parse_bpftrace_log(lines, "log")


@pytest.fixture(scope="module")
def real() -> Trace:
    return read(*LINES)


def calls(trace: Trace, name: str) -> list[Event]:
    return [event for event in trace.events if event.call == name]


def certificate(trace: Trace) -> Certificate:
    return certify(trace, fold(trace))


def test_log_of_a_whole_life_is_whole(real: Trace) -> None:
    assert real.header.unobserved == UNOBSERVED
    assert real.header.tracer == "bpftrace"
    assert (real.end.marked, real.end.drained, real.end.misses) == (True, True, 0)
    assert certificate(real).whole


def test_log_has_addresses_of_each_family_and_results(real: Trace) -> None:
    seen = [(event.args["address"], event.errno) for event in calls(real, "bind")]
    assert seen == [
        (Address.inet("127.0.0.1", 19099), None),
        (Address.inet("::1", 19099), None),
        (Address.inet("127.0.0.1", 19099), "EADDRINUSE"),
        (Address.unix("/tmp/ea-listener"), None),
        (Address.unix("@ea\0name"), None),
    ]


def test_log_has_values_of_options(real: Trace) -> None:
    assert [(e.args["name"], e.args["value"]) for e in calls(real, "setsockopt")] == [
        ("SO_REUSEPORT", 1),
        ("SO_LINGER", {"onoff": 1, "linger_s": 5}),
        ("TCP_CONGESTION", "cubic"),
        ("IPV6_V6ONLY", 1),
    ]


def test_log_has_threads_processes_and_their_ends(real: Trace) -> None:
    (thread, process) = calls(real, "fork")
    assert (thread.args["thread"], process.args["thread"]) == (True, False)
    (name,) = calls(real, "rename")
    assert name.args == {"tid": thread.args["child_tid"], "name": "wrk:worker_0"}
    ends = [(e.pid == process.args["child_pid"], e.args) for e in calls(real, "exit")]
    assert ends == [
        (False, {"status": 0, "last": False}),
        (True, {"status": 3, "last": True}),
        (False, {"status": 0, "last": True}),
    ]


def test_log_has_descriptors_that_travel_and_paths_that_are_moved(real: Trace) -> None:
    (sent,), (received,) = calls(real, "sendmsg"), calls(real, "recvmsg")
    assert len(sent.args["fds"]) == len(received.args["fds"]) == 2
    (moved,) = calls(real, "renameat2")
    assert (moved.args["path"], moved.args["to"]) == ("/tmp/ea-listener", "/tmp/ea-listener-moved")
    assert [e.args["path"] for e in calls(real, "unlink")][-1] == "/tmp/ea-listener-moved"
    assert [e.args["mode"] for e in calls(real, "chmod")] == [0o660]


def test_log_has_epolls_and_copies_of_descriptors(real: Trace) -> None:
    (copy,), (added,) = calls(real, "fcntl"), calls(real, "epoll_ctl")
    assert added.args["fd"] == copy.ret
    assert (added.args["op"], added.args["events"]) == ("EPOLL_CTL_ADD", ["EPOLLIN"])
    (wait,) = calls(real, "epoll_wait")
    assert (wait.tid, wait.args["epfd"], wait.ret) == (added.tid, added.args["epfd"], None)


def test_imported_log_survives_a_trace_file(real: Trace) -> None:
    assert parse_trace(trace_lines(real)) == real


@pytest.mark.parametrize(
    "at",
    [
        at
        for at, line in enumerate(LINES)
        if line.split(" ")[0] in ("call", "data", "wait", "fork", "exit", "rename")
    ],
)
def test_every_line_that_is_gone_is_seen_to_be_lost(at: int) -> None:
    trace = read(*LINES[:at], *LINES[at + 1 :])
    assert sum(counters.dropped for counters in trace.end.cpus) == 1
    assert not certificate(trace).whole


@pytest.mark.parametrize(
    ("lines", "check"),
    [
        ([HEADER, EXEC, CLOSE, *SKIPPED, END[0]], "received"),
        ([HEADER, EXEC, CLOSE, *SKIPPED], "received"),
        ([HEADER, EXEC, CLOSE, *SKIPPED, END[0], "@seq[0]: 3"], "received"),
        ([HEADER, EXEC, CLOSE, *SKIPPED, *END, "@seq[1]: 1"], "received"),
        ([HEADER, EXEC, CLOSE, *END], "every channel"),
        (
            [HEADER, EXEC, CLOSE, SKIPPED[0].replace("90", "19"), *SKIPPED[1:], *END],
            "every channel",
        ),
        (
            [HEADER, EXEC, CLOSE, SKIPPED[0].replace(" 1", " 2"), *SKIPPED[1:], *END],
            "every channel",
        ),
        ([HEADER, EXEC, CLOSE, *SKIPPED[:2], *SKIPPED[3:], *END], "every channel"),
        ([HEADER, EXEC, CLOSE, *SKIPPED[:3], SKIPPED[4], *END], "every channel"),
        (
            [HEADER, EXEC, CLOSE, *SKIPPED[:3], "recursion_misses:\t4", SKIPPED[4], *END],
            "not skipped",
        ),
        ([HEADER.replace("pids -", "pids 7"), EXEC, CLOSE, *SKIPPED, *END], "marked"),
        ([HEADER, EXEC.replace("exec", "exit"), CLOSE, *SKIPPED, *END], "received"),
    ],
)
def test_log_that_does_not_show_all_is_not_whole(lines: list[str], check: str) -> None:
    lines = [line.replace("/bin/envoy", "0") if line.startswith("exit") else line for line in lines]
    found = certificate(read(*lines))
    failed = {check.name for check in found.checks if check.ok is False}
    assert failed & {check, "marked"}
    assert certificate(read(HEADER, EXEC, CLOSE, *SKIPPED, *END)).whole


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"{FORMAT[:-1]}2 x86_64 pids -", EXEC], "log:1:1: error: not the beginning of a log of"),
        ([HEADER.replace("x86_64", "mips"), EXEC], "log:1:1: error: not the beginning of a log of"),
        ([HEADER], "log: error: no event in the log"),
        ([HEADER, *END], "log: error: no event in the log"),
        ([EXEC, HEADER], "log:1:1: error: a line before the beginning"),
        ([HEADER, EXEC, HEADER], "log:3:1: error: a second log begins here"),
        ([HEADER, "hello", EXEC], "log:2:1: error: not a line of a log of"),
        ([HEADER, "pos:\t0", EXEC], "log:2:1: error: a descriptor outside of `skipped` lines"),
        ([HEADER, EXEC, CLOSE[:-2]], "log:3:35: error: `size` of a `call` line is the end"),
        ([HEADER, EXEC, CLOSE + " 1"], "log:3:36: error: a `call` line goes on behind its end"),
        ([HEADER, EXEC, CLOSE.replace("20", "-20")], "log:3:6: error: `ts` of a `call` line is"),
        ([HEADER, EXEC, CLOSE.replace("20", "2" * 5000)], "log:3:6: error: `ts` of a `call` line"),
        ([HEADER, EXEC, CLOSE.replace("20", "2" * 20)], "log:3:1: error: `close.ts`"),
        ([HEADER, EXEC, CLOSE.replace("7 7 3", "7 7 39")], "log:3:1: error: the program does not"),
        ([HEADER, EXEC, BIND.replace(" 0 16", " 8 16"), DATA], "log:3:38: error: `from` of a"),
        ([HEADER, EXEC, BIND.replace("7f00", "7g00"), DATA], "log:3:24: error: `a1` of a `call`"),
        ([HEADER, EXEC, BIND, DATA.replace("2 0 1", "2 9 1")], "log:4:10: error: `chunk` of a"),
        ([HEADER, EXEC.replace(" 0 1", " 65536 1")], "log:2:1: error: `exec.cpu`"),
        ([HEADER, EXEC, "fork 20 0 2 7 7 99999999999 0"], "log:3:1: error: `"),
    ],
)
def test_bad_log_is_refused_with_its_place(lines: list[str], message: str) -> None:
    with pytest.raises(TraceFileError) as caught:
        read(*lines)
    assert str(caught.value).startswith(message)
    assert "remedy" in str(caught.value)
    assert len(str(caught.value)) < 700


def test_call_of_an_address_is_read_from_its_data_line() -> None:
    (bind,) = calls(read(HEADER, EXEC, BIND, DATA), "bind")
    assert bind.args == {"fd": 3, "address": Address.inet("127.0.0.1", 80)}


def test_file_of_a_network_namespace_is_named_by_the_open_before() -> None:
    path = b"/run/netns/blue\0"
    words = [int.from_bytes(path[at : at + 8], "little") for at in (0, 8)]
    opened = "call 20 0 2 7 7 257 5 ffffff9c 7f00 0 0 0 0 0 128"
    data = " ".join(["data 0 2 0", *(f"{word:x}" for word in words), *["0"] * (WORDS - 2)])
    entered = "call 30 0 3 7 7 308 0 5 40000000 0 0 0 0 0 0"
    trace = read(HEADER, EXEC, opened, data, entered, "end 40", "@seq[0]: 3")
    (setns,) = calls(trace, "setns")
    assert (setns.args["path"], setns.args["age_ns"]) == ("/run/netns/blue", 10)
    assert [(event.call, event.seq) for event in trace.events] == [("exec", 1), ("setns", 2)]
    assert sum(counters.dropped for counters in trace.end.cpus) == 0


def test_file_that_is_read_after_the_kernel_was_asked_leaves_the_log_whole() -> None:
    # Envoy reads a file each second, so some reading is always before the last of these.
    opened = "call 95 0 3 7 7 257 5 ffffff9c 7f00 0 0 0 0 0 128"
    path = "data 0 3 0 6f7270" + " 0" * (WORDS - 1)
    closed = "call 96 0 4 7 7 3 0 5 0 0 0 0 0 0 0"
    end = ["end 100", "@seq[0]: 4", "@count[257]: 1", "@count[3]: 2"]
    log = [HEADER, EXEC, CLOSE, *SKIPPED, opened, path, closed]
    assert certificate(read(*log, *end)).whole
    again = "call 97 0 5 7 7 3 0 5 0 0 0 0 0 0 0"
    found = read(*log, again, "end 100", "@seq[0]: 5", "@count[257]: 1", "@count[3]: 3")
    assert "completeness" in found.header.unobserved


def test_note_that_comes_twice_takes_no_number_twice() -> None:
    opened = "call 20 0 2 7 7 257 5 ffffff9c 0 0 0 0 0 0 0"
    trace = read(HEADER, EXEC, opened, opened, CLOSE.replace("20 0 2", "30 0 3"), *END)
    assert [(event.call, event.seq) for event in trace.events] == [("exec", 1), ("close", 2)]
    assert parse_trace(trace_lines(trace)) == trace


def test_loss_that_bpftrace_itself_says_is_no_bad_line() -> None:
    trace = read("Attaching 13 probes...", HEADER, EXEC, "Lost 12 events", *END)
    assert [(c.emitted, c.dropped) for c in trace.end.cpus] == [(2, 1)]


@pytest.mark.parametrize("machine", MACHINES)
def test_program_records_what_the_probe_records(machine: str) -> None:
    script = script_text("envoy", (), machine, 2)
    assert "<<" not in script.replace("<< ((", "").replace("<< (", "").replace("<< 32", "")
    numbers = {int(found) for found in re.findall(r"@calls\[(\d+)\] = 1;", script)}
    assert numbers == set(recorded(machine))
    constants = {*recorded(machine).values()}
    known = {source.constant for source, _ in SOURCES.values()} | NOTED.keys()
    assert constants <= known
    names = {row.name for source, row in SOURCES.values() if source.constant in constants}
    assert {"bind", "listen", "setsockopt", "epoll_ctl", "close", "accept4"} <= names <= set(CALLS)


def test_page_shows_the_members_of_each_line() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bpftrace.md").read_text("utf-8")
    shown = dict(re.findall(r"^\| `(\w+)` \| ([a-z0-9 ]+)", page, re.MULTILINE))
    for kind, members in MEMBERS.items():
        plain = [name for name in members if not re.fullmatch(r"w\d+", name)]
        assert shown[kind].split()[: len(plain)] == plain, kind


def test_program_looks_for_a_name_or_a_path() -> None:
    assert 'comm == "cilium-envoy-st"' in script_text("cilium-envoy-starter", (), "x86_64", 1)
    assert '@path[pid] == "/usr/bin/envoy"' in script_text("/usr/bin/envoy", (), "x86_64", 1)
    running = script_text("", (12, 13), "x86_64", 1)
    assert "@marked[13] = 1;" in running
    assert "pids 12 13" in running


@pytest.mark.parametrize("exe", ['a"b', "a b", "a\\", "/" + "x" * 63, "ü" * 3])
def test_program_that_bpftrace_could_not_read_is_refused(exe: str) -> None:
    with pytest.raises(ScriptError) as caught:
        script_text(exe, (), "x86_64", 1)
    assert caught.value.remedy


def test_command_prints_the_program() -> None:
    command = ["bpftrace-script", "--machine", "aarch64", "--processors", "3"]
    done = CliRunner().invoke(app, command)
    assert done.output == script_text("envoy", (), "aarch64", 3)
    done = CliRunner().invoke(app, ["bpftrace-script", "--pid", "5", "--machine", "x86_64"])
    assert "if (0) { @marked[pid] = 1; }" in done.output


@pytest.mark.parametrize("exe", ["", "a b"])
def test_command_refuses_a_name_in_one_line(exe: str) -> None:
    done = CliRunner().invoke(app, ["bpftrace-script", "--exe", exe])
    assert done.exit_code == 2
    assert "Invalid value for --exe" in done.output


@pytest.mark.parametrize(
    ("gone", "note"),
    [
        ("call 52847567913844 ", ""),
        (r"call (\S+ ){5}41 ", "note: 1 event not in the log: 1 socket"),
        (r"call (\S+ ){5}257 ", "note: 1 event not in the log: 1 open"),
        ("wait ", "note: 1 event not in the log: 1 epoll_wait"),
        ("fork ", "note: 1 event not in the log"),
        (
            r"skipped \d",
            UNREAD,
        ),
    ],
)
def test_import_says_which_calls_are_lost(tmp_path: Path, gone: str, note: str) -> None:
    at = next((at for at, line in enumerate(LINES) if re.match(gone, line)), len(LINES))
    # With it goes all that belongs to it.
    end = LINES.index("skipped end") if gone.startswith("skipped") else at
    log, trace = tmp_path / "log", tmp_path / "trace"
    log.write_text("\n".join([*LINES[:at], *LINES[end + 1 :]]) + "\n")
    done = CliRunner().invoke(app, ["import", str(log), "--concurrency", "1", "-o", str(trace)])
    assert done.exit_code == 0
    assert done.output.splitlines()[1:] == ([note] if note else [])


def test_config_of_a_log_names_its_listeners(tmp_path: Path) -> None:
    config, log, trace = tmp_path / "envoy.yaml", tmp_path / "log", tmp_path / "trace"
    log.write_text("\n".join(LINES) + "\n")
    address = "{socket_address: {address: 127.0.0.1, port_value: 19099}}"
    config.write_text(
        f"static_resources: {{listeners: [{{name: l, address: {address}, filter_chains: []}}]}}\n"
    )
    command = ["import", str(log), "--concurrency", "1", "-o", str(trace)]
    done = CliRunner().invoke(app, [*command, "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert [record.name for record in read_trace(trace).header.listeners] == ["l"]
