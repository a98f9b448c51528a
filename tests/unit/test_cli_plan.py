"""plan --traces: tables, pictures and judgements from recorded traces, without root or an Envoy."""

import dataclasses
import json
from pathlib import Path

import pytest

from envoyassert.testing import TraceBuilder
from envoyassert.trace_file import write_trace
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "tests" / "traces"
SHARED = TRACES / "pairs" / "istio_sidecar_shared-1.40.0.ndjson"
REUSE_PORT = TRACES / "istio_sidecar-1.40.0.ndjson"
SCENARIO = ROOT / "scenarios" / "istio_sidecar.yaml"

INBOUND = """\
0.0.0.0:15006 (virtualInbound)
                          before         after
 *  kernel sockets        1              2
    open descriptors      2              2
 *  reach the workers by  dup            reuse_port
    served by             2 workers      2 workers
    bind()                1 by main      2 by main
    listen()              2 by main      2 by main
 *  dup()                 1 by main      none
    backlog               -1             -1
    SO_REUSEADDR          1 before bind  1 before bind
 *  SO_REUSEPORT          none           1 before bind

  before                                          after
  socket 1 -+- descriptor       --- worker_0      socket 1 --- descriptor --- worker_0
            '- descriptor (dup) --- worker_1      socket 2 --- descriptor --- worker_1

  an accept queue per worker: the kernel spreads connections over them by a hash of the addresses,
  and those of a busy worker wait for it

4 listeners change, 1 unchanged
"""


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def save(tmp_path):
    def write(trace: TraceBuilder, name: str, lost: tuple[int, ...] = ()) -> Path:
        path: Path = tmp_path / name
        write_trace(trace.build(lost=lost), path)
        return path

    return write


def test_plan_of_a_reuse_port_change_shows_table_and_picture_of_each_listener(cli):
    done = cli("plan", "--traces", SHARED, REUSE_PORT, "--all")
    assert (done.code, done.err) == (1, "")
    assert done.out.endswith(INBOUND)
    assert done.out.count(" *  reach the workers by  dup            reuse_port") == 4
    assert done.out.count("an accept queue per worker: ") == 4
    assert "one accept queue" not in done.out
    assert "  reach the workers by  a single descriptor  a single descriptor" in done.out  # admin


def test_plan_shows_by_default_only_what_changes(cli):
    done = cli("plan", "--traces", SHARED, REUSE_PORT)
    assert (done.code, done.err) == (1, "")
    assert "(admin)" not in done.out
    assert "served by" not in done.out
    assert done.out.count(" *  reach the workers by  dup        reuse_port") == 4
    assert done.out.endswith("\n4 listeners change, 1 unchanged\n")


def test_plan_without_a_change_says_that_nothing_differs_at_start_up(cli):
    done = cli("plan", "--traces", SHARED, SHARED)
    assert done.code == 0
    assert done.out.endswith("no start-up differences: 5 listeners\n")


def test_plan_as_json_has_the_same_facts(cli):
    done = cli("plan", "--traces", SHARED, REUSE_PORT, "--format", "json")
    data = json.loads(done.out)
    assert (done.code, data["format"]) == (1, "envoyassert-plan/2")
    assert (data["verdict"], data["model"]) == (None, None)
    (inbound,) = [one for one in data["run"]["listeners"] if "15006" in one["listener"]]
    assert inbound["changed"] == ["sockets", "dup", "shape", "option SO_REUSEPORT"]
    sockets = [inbound[when]["sockets"] for when in ("before", "after")]
    assert sockets == [[{"count": 1}], [{"count": 2}]]
    assert inbound["before"]["dup"] == [{"count": 1, "by": "main"}]
    assert inbound["after"]["backlog"] == [{"count": 2, "of": 2, "value": -1}]
    assert inbound["after"]["option SO_REUSEPORT"] == [
        {"count": 2, "of": 2, "value": 1, "when": "before_bind"}
    ]
    assert inbound["picture"]["after"] == [
        "socket 1 --- descriptor --- worker_0",
        "socket 2 --- descriptor --- worker_1",
    ]


def test_plan_judges_the_new_one_by_a_scenario(cli):
    good = cli("plan", "--traces", SHARED, REUSE_PORT, "--expect", SCENARIO)
    assert good.code == 0
    assert good.out.endswith("\nPASS istio_sidecar[concurrency=2]\n")
    bad = cli("plan", "--traces", REUSE_PORT, SHARED, "--expect", SCENARIO)
    assert bad.code == 1
    assert (
        "FAIL istio_sidecar[concurrency=2]: listener metrics (0.0.0.0:15090): expected" in bad.out
    )
    data = json.loads(
        cli("plan", "--traces", REUSE_PORT, SHARED, "--expect", SCENARIO, "--format", "json").out
    )
    assert data["verdict"]["status"] == "FAIL"


def test_plan_judges_by_a_file_with_only_expectations_and_names_its_lines(cli, tmp_path):
    item = tmp_path / "my-wishes.yaml"
    item.write_text(
        "expect:\n  - listener: {name: virtualInbound}\n    listened: {by: workers, via: dup}\n"
    )
    assert cli("plan", "--traces", REUSE_PORT, SHARED, "--expect", item).code == 0
    done = cli("plan", "--traces", SHARED, REUSE_PORT, "--expect", item)
    assert done.code == 1
    assert f"{item}:3:29" in done.out


@pytest.mark.parametrize(
    "text, place",
    [
        ("expect:\n  - listner: {port: 80}\n", ":2:5: error: "),
        ("expect:\n  - listener: {name: unknown}\n    sockets: 1\n", ":2:22: error: "),
        ("expect: [\n", ":2:1: error: "),
    ],
)
def test_expectations_that_are_wrong_are_trouble_with_their_own_place(cli, tmp_path, text, place):
    item = tmp_path / "my-wishes.yaml"
    item.write_text(text)
    done = cli("plan", "--traces", SHARED, REUSE_PORT, "--expect", item)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"{item}{place}")


def test_plan_of_an_incomplete_trace_is_trouble(cli, save):
    whole, lossy = TraceBuilder(2), TraceBuilder(2)
    for trace in (whole, lossy):
        trace.shared_listener("0.0.0.0:80")
    done = cli("plan", "--traces", save(whole, "a"), save(lossy, "b", lost=(12,)))
    assert done.code == 2
    assert "incomplete: " in done.out


def test_plan_of_an_envoy_that_does_not_come_up_is_a_refusal_and_shows_its_log(cli, save):
    good, bad = TraceBuilder(2), TraceBuilder(0, concurrency=2)
    good.shared_listener("0.0.0.0:80")
    bad.outcome = dataclasses.replace(
        bad.outcome, live=False, exit_code=1, log_tail=("error initializing configuration",)
    )
    done = cli("plan", "--traces", save(good, "a"), save(bad, "b"))
    assert done.code == 3
    assert done.out.endswith(
        "1 listener changes, 0 unchanged\n"
        "after: Envoy exited with 1\n"
        "  Envoy said\n"
        "    error initializing configuration\n"
    )
    assert "(no socket)" in done.out


def test_picture_of_many_workers_is_cut_and_says_so(cli, save):
    few, many = TraceBuilder(1), TraceBuilder(12)
    for trace in (few, many):
        trace.shared_listener("0.0.0.0:80")
    done = cli("plan", "--traces", save(few, "a"), save(many, "b"))
    (last,) = [line for line in done.out.splitlines() if "…" in line]
    assert last.split("  ")[-1] == "… and 5 more descriptors"
    assert "worker_6" in done.out
    assert "worker_7" not in done.out
    assert "the run\n  12 workers instead of 1\n" in done.out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "Missing argument 'OLD [NEW]'"),
        ((SCENARIO,), "give two files, or one and --set"),
        ((SCENARIO, SCENARIO, SCENARIO), "give two files, or one and --set"),
        (("--traces", SHARED), "--traces takes two traces, and no --set"),
        (("--traces", SHARED, SHARED, "--set", "a=1"), "--traces takes two traces, and no --set"),
        (("--traces", SHARED, "nope"), "there is no file nope"),
        (("nope", "--set", "a=1"), "there is no file nope"),
        ((SCENARIO, "--set", "transparent=true"), "say with --which which of these is meant"),
        (
            (SCENARIO, "--which", "concurrency=2", "--set", "transparnt=true"),
            "did you mean `transparent`?",
        ),
    ],
)
def test_wrong_use_is_trouble_with_a_message(cli, arguments, message):
    done = cli("plan", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_config_that_is_not_valid_is_trouble_with_its_place(cli, tmp_path):
    config = tmp_path / "envoy-new.yaml"
    config.write_text("admin: {address: 1\nstatic: }\n")
    done = cli("plan", config, "--set", "transparent=true")
    assert done.code == 2
    assert done.err.startswith(f"{config}:")
    assert ": error: " in done.err
