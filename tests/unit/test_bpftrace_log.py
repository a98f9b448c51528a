from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.bpftrace.imported import parse_bpftrace_log
from envoyassert.errors import TraceFileError
from envoyassert.trace import CHANNELS, Trace
from envoyassert.trace_file import parse_trace, trace_lines

LOG = Path(__file__).parents[1] / "traces" / "istio-1.11-envoy-1.19.1.bpftrace.txt"


@pytest.fixture
def origin() -> Trace:
    return parse_bpftrace_log(
        LOG.read_text().splitlines(), LOG.name, envoy_version="1.19.1", concurrency=2
    )


def calls(trace: Trace, name: str):
    return [event for event in trace.events if event.call == name]


def test_header_of_a_log_lists_every_channel_but_stacks_as_unobserved(origin):
    assert set(CHANNELS) - set(origin.header.unobserved) == {"stacks"}
    assert (origin.header.envoy.version, origin.header.concurrency) == ("1.19.1", 2)
    assert not origin.end.marked
    assert not origin.end.drained


def test_binds_of_the_origin_are_five_by_main_with_descriptors(origin):
    assert [(str(e.args["address"]), e.args["fd"]) for e in calls(origin, "bind")] == [
        ("127.0.0.1:15000", 18),
        ("0.0.0.0:15090", 21),
        ("0.0.0.0:15021", 22),
        ("0.0.0.0:15001", 31),
        ("0.0.0.0:15006", 32),
    ]
    assert {e.tid for e in calls(origin, "bind")} == {e.pid for e in origin.events}


def test_dups_of_the_origin_give_each_worker_its_own_descriptors(origin):
    names = {e.args["tid"]: e.args["name"] for e in calls(origin, "rename")}
    by_worker: dict[str, list[int]] = {}
    for event in calls(origin, "dup"):
        by_worker.setdefault(names[event.tid], []).append(event.ret)
    assert by_worker == {"wrk:worker_0": [33, 34, 38, 39], "wrk:worker_1": [35, 36, 37, 40]}


def test_listens_of_the_origin_are_nine_without_result_or_backlog(origin):
    found = calls(origin, "listen")
    assert len(found) == 9
    assert {(e.ret, e.args["backlog"]) for e in found} == {(None, None)}


def test_options_of_the_origin_have_names(origin):
    assert {(e.args["level"], e.args["name"]) for e in calls(origin, "setsockopt")} == {
        ("SOL_SOCKET", "SO_REUSEADDR"),
        ("IPPROTO_TCP", "TCP_NODELAY"),
    }


def test_stack_of_a_call_is_the_frames_printed_below_it(origin):
    by_port = {e.args["address"].port: e for e in calls(origin, "bind")}
    assert by_port[15006].stack[0] == "bind+11"
    assert "main+44" in by_port[15006].stack
    assert any("GrpcMuxImpl::onDiscoveryResponse" in frame for frame in by_port[15006].stack)
    assert not any("GrpcMux" in frame for frame in by_port[15090].stack)
    assert all(e.stack == () for e in calls(origin, "setsockopt"))


def test_time_of_an_event_is_its_place_in_the_log(origin):
    assert [e.ts_ns for e in origin.events] == list(range(1, len(origin.events) + 1))


def test_imported_trace_survives_a_trace_file(origin):
    again = parse_trace(trace_lines(origin))
    assert again == origin


HEAD = "Attaching 8 probes...\nwatched envoy pid: 7\n"
BIND = "comm:envoy           : bind AF_INET: ip:127.0.0.1        port:80 fd=3 \n"


def test_smallest_log_reads_as_one_bind():
    trace = parse_bpftrace_log((HEAD + BIND).splitlines())
    (event,) = calls(trace, "bind")
    assert event.args == {"fd": 3, "address": Address.inet("127.0.0.1", 80)}
    assert (event.pid, event.tid) == (7, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log: error: no `watched"),
        (HEAD, "log: error: no `watched"),
        (BIND, "log:1:1: error: a call before the `watched"),
        (HEAD + "hello\n" + BIND, "log:3:1: error: not a line of a bpftrace log: 'hello'"),
        (HEAD + BIND + "comm:envoy : bind AF_INET: ip:127", "log:4:1: error: a call of an unknown"),
        (HEAD + BIND.replace("127.0.0.1", "300.0.0.1"), "log:3:1: error: '300.0.0.1'"),
        (HEAD + BIND.replace("127.0.0.1", "3" * 5000), "log:3:1: error: '333333"),
        (HEAD + BIND.replace("port:80", "port:65536"), "log:3:1: error: `bind.args.address"),
        (HEAD + BIND.replace("fd=3", "fd=4294967296"), "log:3:1: error: `bind.args.fd`: must"),
        (HEAD + BIND.replace("fd=3", "fd=" + "3" * 5000), "log:3:1: error: a call of an unknown"),
        (HEAD.replace("7", "7" * 5000) + BIND, "log:2:1: error: not a line of a bpftrace log"),
        (HEAD.replace("7", "7" * 12) + BIND, "log:3:1: error: `"),
    ],
)
def test_bad_log_is_refused_with_its_line(text, message):
    with pytest.raises(TraceFileError) as caught:
        parse_bpftrace_log(text.splitlines(), "log")
    assert str(caught.value).startswith(message)
    assert "remedy" in str(caught.value)
    assert len(str(caught.value)) < 700
