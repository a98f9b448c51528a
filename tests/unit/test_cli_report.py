"""report: the traces of a directory, together by listeners and by what they did."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.compare import survey as surveys
from envoyassert.graph.fold import fold
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Outcome
from envoyassert.trace_file import read_trace, write_trace
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "tests" / "traces"
REUSE_PORT = TRACES / "reuse_port_on-1.40.0.ndjson"
SIDECAR = TRACES / "istio_sidecar-1.40.0.ndjson"
SIDECAR_SHARED = TRACES / "pairs" / "istio_sidecar_shared-1.40.0.ndjson"
SCENARIO = ROOT / "scenarios" / "reuse_port_on.yaml"


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current directory; a function copies a trace into it."""
    monkeypatch.chdir(tmp_path)

    def put(trace, *names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(trace, name)

    return put


def built(path, *, shared=True, lost=(), workers=2, address="0.0.0.0:80", outcome=None):
    host, _, port = address.partition(":")
    web = ListenerRecord("web", "TCP", (Address.inet(host, int(port)),))
    trace = TraceBuilder(workers, listeners=(web,))
    (trace.shared_listener if shared else trace.reuse_port_listener)(address)
    made = trace.build(lost=lost)
    if outcome is not None:
        made = replace(made, end=replace(made.end, outcome=outcome))
    write_trace(made, path)


def groups_of(done):
    return [[group["traces"] for group in one["groups"]] for one in json.loads(done.out)["sets"]]


def test_traces_that_behave_the_same_stand_together_and_the_odd_one_differs(cli, place):
    place(SIDECAR_SHARED, "traces/node-a/odd.ndjson")
    place(
        SIDECAR, "traces/node-a/web.ndjson", "traces/node-b/web.ndjson", "traces/node-c/web.ndjson"
    )
    place(REUSE_PORT, "traces/node-c/other.ndjson")
    done = cli("report", "traces", "--format", "json")
    assert (done.code, done.err) == (0, "")
    assert groups_of(done) == [
        [
            [f"traces/node-{node}/web.ndjson" for node in "abc"],
            ["traces/node-a/odd.ndjson"],
        ],
        [["traces/node-c/other.ndjson"]],
    ]
    (odd,) = (
        group
        for group in json.loads(done.out)["sets"][0]["groups"]
        if group["traces"] == ["traces/node-a/odd.ndjson"]
    )
    diff = cli("diff", SIDECAR, SIDECAR_SHARED, "--format", "json")
    assert odd["differences"] == json.loads(diff.out)["differences"] != []


def test_report_as_text_has_envoy_workers_sockets_and_how_they_reach_the_workers(cli, place):
    place(SIDECAR, "a.ndjson", "b.ndjson")
    place(SIDECAR_SHARED, "odd.ndjson")
    done = cli("report", ".")
    lines = done.out.splitlines()
    assert lines[0] == "3 traces, 1 set of listeners; 3 whole"
    assert lines[2] == "Set 1: 5 listeners in 3 traces"
    rows = [line.split("  ") for line in lines]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["0.0.0.0:15006 (virtualInbound)", "2", "reuse_port", "2 workers"] in cells
    assert ["1.40.0", "2", "9", "live", "whole", "a.ndjson"] in cells
    assert ["1.40.0", "2", "5", "live", "whole", "odd.ndjson"] in cells
    assert "  2 traces, no difference" in lines
    assert "  1 trace, different from the first group" in lines
    assert "      SO_REUSEPORT no longer set before bind" in lines


def test_what_is_no_trace_by_its_name_is_left_alone(cli, place):
    place(REUSE_PORT, "t/a.ndjson", "t/.hidden.ndjson", "t/.partial/b.ndjson", "t/notes.txt")
    done = cli("report", "t", "--format", "json")
    assert [run["trace"] for run in json.loads(done.out)["traces"]] == ["t/a.ndjson"]
    place(REUSE_PORT, "t/named.txt")
    done = cli("report", "t/named.txt", "--format", "json")
    assert [run["trace"] for run in json.loads(done.out)["traces"]] == ["t/named.txt"]


@pytest.mark.parametrize("output", ["text", "markdown", "json"])
def test_file_that_is_no_trace_is_one_line_and_costs_none_of_the_others(cli, place, output):
    place(REUSE_PORT, "a.ndjson", "cut.ndjson", "z.ndjson")
    lines = Path("cut.ndjson").read_text().splitlines()
    Path("cut.ndjson").write_text("\n".join(lines[:20]) + "\n")
    Path("empty.ndjson").touch()
    done = cli("report", ".", "--format", output)
    assert done.code == 4
    errors = [line for line in done.err.splitlines() if ": error: " in line]
    assert [line.partition(":")[0] for line in errors] == ["cut.ndjson", "empty.ndjson"]
    assert "a.ndjson" in done.out
    assert "z.ndjson" in done.out


def test_directory_that_cannot_be_read_is_one_line_and_costs_none_of_the_others(
    cli, place, monkeypatch
):
    place(REUSE_PORT, "t/closed/a.ndjson", "t/open/b.ndjson")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = cli("report", "t")
    assert (done.code, done.err) == (4, "t/closed: error: cannot be read: Permission denied\n")
    assert "t/open/b.ndjson" in done.out


def test_trace_that_is_named_twice_is_shown_once(cli, place):
    place(REUSE_PORT, "t/a.ndjson")
    done = cli("report", "t", "t/a.ndjson", "--format", "json")
    assert [run["trace"] for run in json.loads(done.out)["traces"]] == ["t/a.ndjson"]


def test_trace_that_is_not_whole_never_counts_as_surely_the_same(cli, place):
    built("a-lossy.ndjson", lost=(3,))
    built("b-whole.ndjson")
    built("c-whole.ndjson")
    done = cli("report", ".", "--format", "json")
    assert groups_of(done) == [[["b-whole.ndjson", "c-whole.ndjson", "a-lossy.ndjson"]]]
    found = json.loads(done.out)
    assert found["sets"][0]["groups"][0]["sure"] is False
    assert [run["whole"] for run in found["traces"]] == [True, True, False]
    text = cli("report", ".").out
    assert "3 traces, 1 set of listeners; 2 whole, 1 NOT whole" in text
    assert "3 traces, no difference (1 NOT whole, so not sure)" in text
    assert "a-lossy.ndjson: NOT whole (received: 1 of " in text


def test_difference_that_a_loss_may_have_made_is_marked(cli, place):
    built("whole.ndjson")
    trace = TraceBuilder(2)
    trace.shared_listener("0.0.0.0:80")
    whole = trace.build()
    last = [event.call for event in whole.events].count("listen")
    assert last > 1
    place_of = [n for n, event in enumerate(whole.events) if event.call == "listen"][-1]
    built("lossy.ndjson", lost=(place_of,))
    done = cli("report", ".")
    assert "1 trace, perhaps different from the first group (1 NOT whole, so not sure)" in done.out
    assert "(not sure: see `incomplete`)" in done.out


def test_node_and_pod_are_shown_where_a_trace_has_them(cli, place):
    place(REUSE_PORT, "plain.ndjson", "pod.ndjson")
    trace = read_trace("pod.ndjson")
    where = {"node": "node-a", "namespace": "shop", "pod": "web-0"}
    write_trace(replace(trace, header=replace(trace.header, where=where)), "pod.ndjson")
    rows = [line.split() for line in cli("report", ".").out.splitlines()]
    assert ["node", "pod", "Envoy", "workers", "sockets", "state", "certificate", "trace"] in rows
    assert ["-", "-", "1.40.0", "2", "3", "live", "whole", "plain.ndjson"] in rows
    assert ["node-a", "shop/web-0", "1.40.0", "2", "3", "live", "whole", "pod.ndjson"] in rows
    found = json.loads(cli("report", ".", "--format", "json").out)["traces"]
    assert [run["where"] for run in found] == [{}, where]


def test_envoy_that_ended_shows_so(cli, place):
    built("ended.ndjson", outcome=Outcome(live=False, exit_code=1))
    done = cli("report", ".", "--format", "json")
    assert [run["state"] for run in json.loads(done.out)["traces"]] == ["exited with 1"]


@pytest.mark.parametrize("names, code", [("on", 0), ("on off", 1), ("lossy", 10), ("lossy off", 1)])
def test_exit_code_is_that_of_run_for_the_verdicts(cli, place, names, code):
    built("lossy.ndjson", shared=False, lost=(5,))
    built("on.ndjson", shared=False)
    built("off.ndjson")
    Path("s.yaml").write_text(
        "name: s\nenvoy: {config: {static_resources: {}}, concurrency: 2}\n"
        "expect:\n- listener: {port: 80}\n  sockets: {ever: workers}\n  descriptors: workers\n"
    )
    paths = [f"{name}.ndjson" for name in names.split()]
    done = cli("report", *paths, "--scenario", "s.yaml", "--format", "json")
    assert done.code == code, done.err + done.out
    assert cli("report", *paths, "--scenario", "s.yaml").code == code


def test_verdicts_come_with_their_reasons_and_equal_reasons_are_said_once(cli, place):
    place(REUSE_PORT, "on.ndjson")
    place(TRACES / "reuse_port_off-1.40.0.ndjson", "off-1.ndjson", "off-2.ndjson")
    done = cli("report", ".", "--scenario", SCENARIO)
    assert done.code == 1
    assert "3 whole; 2 FAIL, 1 PASS" in done.out
    reasons = [line for line in done.out.splitlines() if ": FAIL: " in line]
    assert len(reasons) == 1
    assert reasons[0].startswith("    off-1.ndjson and 1 more: FAIL: ")
    verdicts = {
        run["trace"]: (run["verdict"], bool(run["reason"]))
        for run in json.loads(cli("report", ".", "--scenario", SCENARIO, "--format", "json").out)[
            "traces"
        ]
    }
    failed = ("FAIL", True)
    assert verdicts == {
        "on.ndjson": ("PASS", False),
        "off-1.ndjson": failed,
        "off-2.ndjson": failed,
    }


def test_trace_of_no_run_of_the_scenario_is_not_judged_and_a_run_can_be_named(cli, place):
    place(REUSE_PORT, "a.ndjson")
    trace = read_trace("a.ndjson")
    write_trace(
        replace(trace, header=replace(trace.header, matrix={"concurrency": "9"})), "a.ndjson"
    )
    done = cli("report", ".", "--scenario", SCENARIO)
    assert done.code == 4
    assert "not judged: the trace's matrix values (concurrency=9)" in " ".join(done.out.split())
    named = cli("report", ".", "--scenario", SCENARIO, "--run", "concurrency=2")
    assert (named.code, named.err) == (0, "")
    wrong = cli("report", ".", "--scenario", SCENARIO, "--run", "concurrency=77")
    assert (wrong.code, wrong.out) == (4, "")
    assert wrong.err.count("no run of the scenario is `concurrency=77`") == 1


def test_directory_without_traces_is_code_5(cli, place):
    Path("t").mkdir()
    done = cli("report", "t")
    assert (done.code, done.out, done.err) == (5, "", "no traces (*.ndjson) found\n")


def test_markdown_has_tables_and_the_differences_as_a_block(cli, place):
    place(SIDECAR, "a.ndjson")
    place(SIDECAR_SHARED, "odd.ndjson")
    done = cli("report", ".", "--format", "markdown", "--scenario", SCENARIO)
    lines = done.out.splitlines()
    assert lines[0] == "# 2 traces, 1 set of listeners; 2 whole; 2 FAIL"
    assert "| Envoy | workers | sockets | state | certificate | verdict | trace |" in lines
    assert "| 1.40.0 | 2 | 5 | live | whole | FAIL | odd.ndjson |" in lines
    start, end = lines.index("```text"), lines.index("```")
    assert "  SO_REUSEPORT no longer set before bind" in lines[start:end]


@pytest.mark.parametrize("listener", ["{port: 80}", "{name: web}"])
def test_scenario_without_an_envoy_judges_what_attach_recorded(cli, place, listener):
    built("on.ndjson", shared=False)
    built("off.ndjson")
    Path("s.yaml").write_text(
        f"name: s\nexpect:\n- listener: {listener}\n  sockets: {{ever: workers}}\n"
    )
    done = cli("report", ".", "--scenario", "s.yaml", "--format", "json")
    verdicts = {run["trace"]: run["verdict"] for run in json.loads(done.out)["traces"]}
    assert (done.code, verdicts) == (1, {"on.ndjson": "PASS", "off.ndjson": "FAIL"})


def test_invalid_scenario_is_said_once_and_nothing_is_read(cli, place):
    place(REUSE_PORT, "a.ndjson", "b.ndjson")
    Path("s.yaml").write_text("name: s\nexpect:\n- listner: {port: 80}\n")
    done = cli("report", ".", "--scenario", "s.yaml")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("`listner` is not") == 1


@pytest.mark.usefixtures("faults_become_lines")
def test_fault_of_ours_with_one_trace_costs_none_of_the_others_and_is_code_3(
    cli, place, monkeypatch
):
    place(REUSE_PORT, "a.ndjson", "b.ndjson")
    whole = fold

    def broken(trace, calls=[]):  # noqa: B006 - the first call alone
        calls.append(trace)
        if len(calls) == 1:
            raise RuntimeError("not a graph")
        return whole(trace)

    monkeypatch.setattr(surveys, "fold", broken)
    done = cli("report", ".")
    assert done.code == 3
    assert done.err.startswith("a.ndjson: error: not computed: RuntimeError: not a graph")
    assert "b.ndjson" in done.out
