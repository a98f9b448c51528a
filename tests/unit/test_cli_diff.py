"""diff: exit codes of diff(1), text and JSON, without root or an Envoy."""

import json
from pathlib import Path

import pytest

from envoyassert.testing import TraceBuilder
from envoyassert.trace_file import read_trace, write_trace
from tests.unit.cli_words import run_cli

TRACES = Path(__file__).parents[1] / "traces"
SHARED = TRACES / "reuse_port_off-1.40.0.ndjson"
SIDECAR = TRACES / "istio_sidecar-1.40.0.ndjson"
SIDECAR_SHARED = TRACES / "pairs" / "istio_sidecar_shared-1.40.0.ndjson"


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def lossy(tmp_path):
    trace = TraceBuilder(2)
    trace.shared_listener("0.0.0.0:80")
    write_trace(trace.build(lost=(3,)), tmp_path / "lossy.ndjson")
    return tmp_path / "lossy.ndjson"


def test_diff_of_a_trace_with_itself_is_0(cli):
    done = cli("diff", SHARED, SHARED)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "same: 6 addresses, 6 sockets"


def test_diff_of_reuse_port_traces_is_1_and_groups_listeners(cli):
    done = cli("diff", SIDECAR_SHARED, SIDECAR)
    assert (done.code, done.err) == (1, "")
    names = (
        "15090 (metrics), 0.0.0.0:15021 (health), 0.0.0.0:15001 (virtualOutbound), 0.0.0.0:15006"
    )
    lines = done.out.splitlines()
    heading = lines.index(f"0.0.0.0:{names}")
    assert lines[heading + 1] == "(virtualInbound)"
    assert lines[heading + 2] == "  +1 socket: 2 instead of 1"
    assert lines[-2:] == ["  SO_REUSEPORT now set before bind", "different: 16 differences"]


def test_diff_with_an_incomplete_trace_is_2_and_says_what_it_lacks(cli, lossy):
    done = cli("diff", lossy, lossy)
    assert (done.code, done.err) == (2, "")
    text = " ".join(done.out.split())
    assert "lossy.ndjson: 1 of " in text
    assert "events lost (1 found the ring full)" in text
    assert done.out.splitlines()[-1].startswith("unknown: no difference was seen, but")


@pytest.mark.parametrize(
    "arguments",
    [("nope", "nope"), (SHARED,), (SHARED, __file__), (SHARED, SHARED, "--tolerance", "soon")],
    ids=["no such file", "one file", "no trace", "no duration"],
)
def test_diff_with_any_trouble_is_2_with_a_message(cli, arguments):
    done = cli("diff", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "error" in done.err.lower()


def test_diff_as_json_says_the_same(cli):
    done = cli("diff", SIDECAR_SHARED, SIDECAR, "--format", "json")
    data = json.loads(done.out)
    assert (done.code, data["result"], data["format"]) == (1, "different", "envoyassert-diff/1")
    assert data["differences"][0] == {
        "subject": "0.0.0.0:15090 (metrics)",
        "aspect": "sockets",
        "before": "1",
        "after": "2",
        "words": "+1 socket: 2 instead of 1",
        "sure": True,
    }
    assert data["before"]["whole"] is data["after"]["whole"] is True


def test_times_decide_only_if_asked(cli, tmp_path):
    slow = read_trace(SHARED)
    assert slow.events[0].call == "exec"
    slow.events[0].ts_ns -= 80_000_000
    write_trace(slow, tmp_path / "slow.ndjson")
    done = cli("diff", SHARED, tmp_path / "slow.ndjson")
    assert done.code == 0
    assert "  first bind 80 ms later: " in done.out
    assert cli("diff", SHARED, tmp_path / "slow.ndjson", "--fail-on-times").code == 1
    quiet = cli("diff", SHARED, tmp_path / "slow.ndjson", "--fail-on-times", "--tolerance", "1s")
    assert quiet.code == 0
    assert "later" not in quiet.out
