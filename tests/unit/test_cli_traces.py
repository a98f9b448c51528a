"""show, import and replay: from a file to text, JSON and exit codes, without root or an Envoy."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from envoyassert.cli import main
from envoyassert.report.results import results_schema
from envoyassert.trace_file import read_trace, write_trace
from tests.unit.cli_words import run_cli

TRACES = Path(__file__).parents[1] / "traces"
LOG = TRACES / "istio-1.11-envoy-1.19.1.bpftrace.txt"
ORIGIN = TRACES / "origin.yaml"
WITHOUT_ASSUMPTIONS = ORIGIN.read_text().replace(
    "assume: [complete, calls_succeeded, comm_is_role]\n", ""
)


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def origin(cli, tmp_path: Path) -> Path:
    trace = tmp_path / "origin.ndjson"
    imported = cli("import", LOG, "-o", trace, "--envoy-version", "1.19.1", "--concurrency", 2)
    assert imported.code == 0, imported.err
    return trace


def reading(file: Path) -> list[tuple[object, ...]]:
    """Commands that read a trace, or a log."""
    replay = ("replay", file, "--scenario", ORIGIN)
    imports = ("import", file, "-o", "x", "--concurrency", 2)
    return [("show", file), ("diff", file, file), replay, imports]


@pytest.mark.parametrize("columns", [60, 120, 200])
def test_show_is_as_wide_as_columns_says(cli, origin, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = cli("show", origin).out.splitlines()
    assert columns - 40 < max(map(len, lines)) <= columns


@pytest.mark.parametrize("columns", ["", "0", "wide", "-7"])
def test_show_has_the_width_of_a_page_where_there_is_no_terminal(cli, origin, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, cli("show", origin).out.splitlines())) <= 100


def test_show_has_width_and_colour_of_its_terminal(origin, monkeypatch):
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    command = [sys.executable, "-m", "envoyassert", "show", str(origin)]
    shown = on_terminal(command, columns=60)
    assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in shown.splitlines()) <= 60
    assert "\x1b[1mProcess and threads\x1b[0m" in shown
    assert "\x1b" not in subprocess.check_output(command, text=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_terminal(command, columns=60)


def on_terminal(command: list[str], columns: int) -> str:
    """Return what a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    with subprocess.Popen(command, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: no one has the other end any more
            while True:
                shown += os.read(ours, 65536)
        assert process.wait() == 0
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("number", range(4))
@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_not_waited_for(cli, tmp_path, number):
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path / "fifo", Path("/dev/zero")):
        done = cli(*reading(file)[number])
        assert (done.code, done.out) == (2 if number == 1 else 4, "")  # 2 is diff's own
        assert f"{file}: error: this is not a regular file" in done.err


def test_file_that_is_far_too_large_is_not_read(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("envoyassert.trace_file.MAX_BYTES", 3 << 20)
    with (tmp_path / "large").open("wb") as file:
        file.truncate((3 << 20) + 1)
    done = cli("show", tmp_path / "large")
    assert (done.code, done.out) == (4, "")
    assert done.err == f"{tmp_path / 'large'}: error: the file is larger than 3 MiB\n"


def test_import_then_replay_passes_and_says_what_was_assumed(cli, origin):
    done = cli("replay", origin, "--scenario", ORIGIN)
    assert (done.code, done.err) == (0, "")
    first, *certificate = done.out.splitlines()
    assert first == "PASS (assumed: complete, calls_succeeded, comm_is_role) origin"
    assert "  n/a  received        not counted" in certificate


def test_replay_without_assumptions_is_inconclusive_with_code_10(cli, origin, tmp_path):
    (tmp_path / "origin.yaml").write_text(WITHOUT_ASSUMPTIONS)
    done = cli("replay", origin, "--scenario", tmp_path / "origin.yaml")
    assert done.code == 10
    assert done.out.startswith("INCONCLUSIVE origin: port 15001 bound.times (and ")
    assert "): losses would not have been noticed" in done.out


def test_command_that_a_long_failure_names_shows_every_finding_in_full(cli, origin, tmp_path):
    scenario = tmp_path / "origin.yaml"
    scenario.write_text(WITHOUT_ASSUMPTIONS)
    short = cli("replay", origin, "--scenario", scenario)
    (line,) = (one for one in short.out.splitlines() if "all in full: " in one)
    words = shlex.split(line.partition("all in full: ")[2])
    assert words[0] == "envoyassert"
    whole = cli(*words[1:])
    asked = json.loads(cli("replay", origin, "--scenario", scenario, "--format", "json").out)
    assert whole.code == short.code
    assert whole.out.count("  expected  ") == len(asked["findings"])
    assert short.out.count("  expected  ") < len(asked["findings"])


def test_replay_of_an_expectation_not_met_fails_with_place_and_code_1(cli, origin, tmp_path):
    wrong = ORIGIN.read_text().replace("listened: {by: main}", "listened: {by: workers}")
    (tmp_path / "origin.yaml").write_text(wrong)
    done = cli("replay", origin, "--scenario", tmp_path / "origin.yaml")
    assert done.code == 1
    assert done.out.startswith("FAIL origin: port 15000: expected listened by ")
    line = wrong.splitlines().index("    listened: {by: workers}") + 1
    assert f"origin.yaml:{line}:16" in done.out
    assert "event 4  main    18  listen(18, ?) = ?" in done.out


def test_replay_as_json_has_findings_with_evidence(cli, origin):
    done = cli("replay", origin, "--scenario", ORIGIN, "--format", "json")
    data = json.loads(done.out)
    jsonschema_rs.validate(results_schema(), data)
    assert (done.code, data["status"], data["assumed"][0]) == (0, "PASS", "complete")
    first = data["findings"][0]
    assert (first["atom"], first["words"]["subject"]) == ("bound.times", "port 15001")
    assert first["values"]["subject"]["listener"] == {"port": 15001}
    assert first["evidence"][0]["call"] == "bind(31, 0.0.0.0:15001) = ?"
    assert first["evidence"][0]["stack"][0] == "bind+11"


def test_show_as_text_and_json_show_the_same_sockets(cli, origin):
    text = cli("show", origin)
    story = json.loads(cli("show", origin, "--format", "json").out)
    assert text.code == 0
    assert [item["address"] for item in story["listening"]] == [
        "127.0.0.1:15000",
        "0.0.0.0:15090",
        "0.0.0.0:15021",
        "0.0.0.0:15001",
        "0.0.0.0:15006",
    ]
    assert all(f"  {item['address']}" in text.out for item in story["listening"])
    assert "MISSING  every channel" in text.out


RECORDED = sorted(TRACES.glob("*.ndjson"))


@pytest.mark.parametrize("trace", RECORDED, ids=lambda path: path.stem)
def test_replay_of_a_recorded_run_passes_by_the_scenario_that_it_is_of(cli, trace):
    scenario = read_trace(trace).header.scenario
    done = cli("replay", trace, "--scenario", f"{TRACES.parents[1]}/scenarios/{scenario}.yaml")
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.startswith(f"PASS {scenario}[")


@pytest.mark.parametrize("output", ["text", "json"])
def test_replay_of_a_trace_of_another_config_and_envoy_says_so_and_judges_it(cli, tmp_path, output):
    trace = read_trace(RECORDED[0])
    scenario = tmp_path / f"{trace.header.scenario}.yaml"
    shipped = (TRACES.parents[1] / "scenarios" / scenario.name).read_text()
    # A comment is no other config, one more listener is.
    more = shipped.replace("      listeners:\n", "      listeners:\n      - {name: more}\n")
    scenario.write_text(more.replace("envoy:\n", "envoy:\n  version: 1.36.4\n", 1))
    done = cli("replay", RECORDED[0], "--scenario", scenario, "--format", output)
    assert done.code == 0, done.out
    version = trace.header.envoy.version
    assert done.err.splitlines() == [
        "note: the trace is of other listeners than the scenario's config has now",
        f"note: the trace is of Envoy {version}, the scenario asks for 1.36.4",
    ]
    given = {"config": "0", "files": "1", "arguments": "2", "steps": "3"}
    trace.header = replace(trace.header, given=given)
    write_trace(trace, tmp_path / "t.ndjson")
    assert read_trace(tmp_path / "t.ndjson").header.given == given
    done = cli("replay", tmp_path / "t.ndjson", "--scenario", scenario, "--format", output)
    assert "note: the trace is of another config, other files, " in done.err


def test_recorded_runs_exist():
    assert len(RECORDED) >= 3


def test_replay_against_a_scenario_without_such_a_run_asks_which(cli, tmp_path):
    trace = read_trace(RECORDED[0])
    trace.header.matrix["concurrency"] = "7"
    write_trace(trace, tmp_path / "t.ndjson")
    scenario = f"{TRACES.parents[1]}/scenarios/{trace.header.scenario}.yaml"
    done = cli("replay", tmp_path / "t.ndjson", "--scenario", scenario)
    assert done.code == 4
    assert "concurrency=7" in done.err
    chosen = cli("replay", tmp_path / "t.ndjson", "--scenario", scenario, "--run", "concurrency=2")
    assert chosen.code == 0
    wrong = cli("replay", tmp_path / "t.ndjson", "--scenario", scenario, "--run", "concurrency=9")
    assert wrong.code == 4
    assert "no run of the scenario is `concurrency=9`; there are" in wrong.err


def cut(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-1])


BROKEN_TRACES = {
    "empty": (lambda text: "", "{path}: error: the file is empty"),
    "cut off": (cut, "{path}: error: the file has no closing line, so it was cut off"),
    "not a trace": (lambda text: '{"a": 1}\n', "{path}:1:1: error: expected a header with format"),
    "not JSON": (
        lambda text: text + "oops\n",
        "{path}:{last}:1: error: not a line of a trace file: it is not JSON\n  remedy: record",
    ),
    "cut off in a line": (
        lambda text: text[:-9],
        "{path}:{last}:1: error: not a line of a trace file: it is not JSON\n  remedy: record",
    ),
    "a config": (
        lambda text: "node: {id: a}\n",
        "{path}:1:1: error: not a line of a trace file: it is not JSON\n  remedy: pass a file",
    ),
    "another version": (
        lambda text: text.replace("envoyassert-trace/2", "envoyassert-trace/9", 1),
        "{path}:1:1: error: expected a header with format envoyassert-trace/2, found 'envoya",
    ),
}


@pytest.mark.parametrize("change, message", BROKEN_TRACES.values(), ids=BROKEN_TRACES.keys())
@pytest.mark.parametrize("command", ["show", "replay"])
def test_broken_trace_file_is_refused_with_place_and_code_4(
    cli, origin, tmp_path, command, change, message
):
    path = tmp_path / "broken.ndjson"
    path.write_text(change(origin.read_text()))
    last = len(path.read_text().splitlines())
    more = ("--scenario", ORIGIN) if command == "replay" else ()
    done = cli(command, path, *more)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(message.format(path=path, last=last)), done.err


def test_trace_file_that_is_not_text_is_refused(cli, tmp_path):
    (tmp_path / "t").write_bytes(b"\xff\xfe\x00")
    done = cli("show", tmp_path / "t")
    assert done.code == 4
    assert "not a text file: byte 0 is not UTF-8" in done.err


def test_bad_log_is_refused_and_nothing_is_written(cli, tmp_path):
    (tmp_path / "log").write_text("watched envoy pid: 1\nhello\n")
    done = cli("import", tmp_path / "log", "-o", tmp_path / "out", "--concurrency", 2)
    assert done.code == 4
    assert done.err.startswith(f"{tmp_path}/log:2:1: error: not a line of a bpftrace log: 'hello'")
    assert not (tmp_path / "out").exists()


def test_trace_that_does_not_fit_leaves_nothing_and_says_so(tmp_path):
    """The limit on file sizes stands in for a full disk: write(2) fails half-way."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from envoyassert.cli import main; main(sys.argv[1:])"
    )
    target = tmp_path / "out" / "t.ndjson"
    arguments = ["import", str(LOG), "-o", str(target), "--concurrency", "2"]
    # -B: bytecode would be cut off as well, and be taken for whole by whoever imports it next.
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 77
    assert done.stderr.startswith(f"envoyassert: error: {target} cannot be written: File too large")
    assert "remedy: free some space" in done.stderr
    assert list(target.parent.iterdir()) == []


def test_trace_that_replaces_another_is_swapped_in_whole(cli, origin, tmp_path):
    before = origin.read_text()
    imported = cli("import", LOG, "-o", origin, "--concurrency", 3)
    assert imported.code == 0
    assert origin.read_text() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["origin.ndjson"]


def test_main_without_arguments_uses_those_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["envoyassert", "--version"])
    monkeypatch.setattr("envoyassert.cli.command_line._end", sys.exit)  # it would end this process
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("envoyassert, version ")


def test_replay_by_a_scenario_without_envoy_names_the_trace_s_listeners(tmp_path, capsys):
    path = tmp_path / "up.yaml"
    path.write_text("name: up\nexpect:\n  - listener: {name: ingress}\n    bound: {times: 1}\n")
    trace = TRACES / "reuse_port_off-1.40.0.ndjson"
    (name,) = {one.name for one in read_trace(trace).header.listeners if one.kind != "admin"}
    path.write_text(path.read_text().replace("ingress", name))
    assert run_cli(capsys, "replay", trace, "--scenario", path).code == 0
    path.write_text(path.read_text().replace(name, "another"))
    done = run_cli(capsys, "replay", trace, "--scenario", path)
    assert done.code == 10
    has = f"the config has no listener 'another'; it has: admin, {name}"
    assert has in " ".join(done.out.split())
