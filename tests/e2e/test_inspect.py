"""The state of real Envoys that run is the end of their whole traces, field by field."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.errors import NoProcessError
from envoyassert.judge.account_checks import ENVOY_CHECK, KERNEL_CHECK
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Trace
from envoyassert.witness import running as running_module
from envoyassert.witness import take_witness
from envoyassert.witness.running import state_of
from envoyassert.witness.watch import watch
from tests.e2e.launching import VERSION, bootstrap, echo_listener
from tests.e2e.shipped import SCENARIOS, plan_of
from tests.socket_table import known_in_state, option_faults, shown_by_state, table_of

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

KINDS = (
    *("reuse_port_off", "reuse_port_on", "unix_path", "unix_abstract", "udp", "quic", "mptcp"),
    *("ipv6", "listener_netns", "hot_restart", "drain_listeners", "tcp_keepalive", "transparent"),
    *("tcp_fast_open", "lds_options_update", "socket_options_by_state", "port_unprivileged"),
)


def observed(plan: RunPlan, probe: Probe, launcher: Any = "process") -> tuple[Trace, Trace]:
    """Run a plan; return the state of its newest Envoy at the end, and the whole trace."""
    with (
        choose_launcher(launcher, source_of(plan)) as place,
        LiveRun(plan, probe, place) as run,
    ):
        run.carry_out_steps()
        state = state_of(run.pid)
        return state, run.trace()


def check_table(state: Trace, whole: Trace) -> None:
    witness = state.witness
    assert witness is not None
    shown, table = table_of(state), table_of(whole)
    names = {row["address"]: row["listener"] for row in shown}
    known = known_in_state(table, set(witness.pids))
    assert [{**row, "listener": names[row["address"]]} for row in known] == shown_by_state(shown)
    assert option_faults(shown, table) == []


def check_verdicts(state: Trace, whole: Trace, plan: RunPlan) -> Verdict:
    """Make sure that a state answers as the trace, or leaves open; return its verdict."""
    found = judge(state, plan.expectations, workers=plan.workers)
    answers = {
        (*f.path, f.subject.address): f
        for f in judge(whole, plan.expectations, workers=plan.workers).findings
    }
    for finding in found.findings:
        if finding.status is not Status.INCONCLUSIVE:
            place = (*finding.path, finding.subject.address)
            assert finding.status is answers[place].status, finding
    return found


@pytest.mark.parametrize("name", KINDS)
def test_state_is_the_end_of_the_whole_trace(name: str, probe: Probe) -> None:
    plan = plan_of(name)
    state, whole = observed(plan, probe)
    check_table(state, whole)
    verdict = check_verdicts(state, whole, plan)
    checks = {check.name: check for check in verdict.certificate.checks}
    assert checks[KERNEL_CHECK].ok is True, checks[KERNEL_CHECK]
    envoy = checks[ENVOY_CHECK]
    # While it drains, Envoy lists listeners whose sockets it has closed.
    assert envoy.ok is (name != "drain_listeners"), envoy


def test_envoy_in_a_container_is_looked_at_from_outside(probe: Probe) -> None:
    plan = plan_of("reuse_port_off")
    state, whole = observed(plan, probe, "docker")
    check_table(state, whole)
    assert check_verdicts(state, whole, plan).certificate.whole
    assert len(state.header.where["container"]) == 64
    assert state.header.inner_pids


def scenario(tmp_path: Path, envoy: dict[str, Any], expect: list[dict[str, Any]]) -> RunPlan:
    path = tmp_path / "live.yaml"
    path.write_text(yaml.safe_dump({"name": "live", "envoy": envoy, "expect": expect}))
    (plan,) = expand(load_scenario(path), envoys=[parse_envoy_argument(VERSION)])
    return plan


def served(admin: str = "", concurrency: int = 2) -> dict[str, Any]:
    config = yaml.safe_load(bootstrap(echo_listener(), admin))
    return {"concurrency": concurrency, "config": config}


def test_admin_on_a_pipe_is_found_and_asked(probe: Probe, tmp_path: Path) -> None:
    expect = [{"listener": {"name": "l10000"}, "served_by": "workers", "sockets": "workers"}]
    plan = scenario(tmp_path, served("{pipe: {path: admin.sock}}"), expect)
    state, whole = observed(plan, probe)
    check_table(state, whole)
    # A listener is named by what Envoy says of itself.
    assert check_verdicts(state, whole, plan).status is Status.PASS
    assert state.header.envoy.version == VERSION
    assert state.header.concurrency == 2


def inspect(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Call the command line, as whom and where the words before it say."""
    return subprocess.run(
        [*before, sys.executable, "-m", "envoyassert", "inspect", *map(str, arguments)],
        cwd=SCENARIOS.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def running(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LiveRun]]:
    """Two Envoys that run, of one and of two workers."""
    found = []
    with contextlib.ExitStack() as stack:
        for workers in (1, 2):
            plan = scenario(
                tmp_path_factory.mktemp("running"),
                served(concurrency=workers),
                [{"process": {"live": True}}],
            )
            place = stack.enter_context(choose_launcher("process", source_of(plan)))
            found.append(stack.enter_context(LiveRun(plan, probe, place)))
        yield found


def test_command_shows_judges_and_keeps_a_state(running: list[LiveRun], tmp_path: Path) -> None:
    pid = running[1].pid
    shown = inspect("--pid", pid, "-o", tmp_path / "state.ndjson")
    assert (shown.returncode, shown.stderr) == (0, f"state written to {tmp_path}/state.ndjson\n")
    assert "127.0.0.1:10000" in shown.stdout
    story = json.loads(inspect("--pid", pid, "--format", "json").stdout)
    assert {row["address"] for row in story["listening"] if not row["hot_restart"]} == {
        "127.0.0.1:9901",
        "127.0.0.1:10000",
    }
    for sockets, code in (("workers", 0), (1, 1)):
        wanted = {"listener": {"port": 10000}, "sockets": sockets}
        expected = tmp_path / "expected.yaml"
        expected.write_text(yaml.safe_dump({"name": "expected", "expect": [wanted]}))
        judged = inspect("--pid", pid, "--scenario", expected)
        assert judged.returncode == code, judged.stdout + judged.stderr
    expected.write_text(
        yaml.safe_dump(
            {"name": "expected", "expect": [{"listener": {"port": 10000}, "bound": {"times": 2}}]}
        )
    )
    judged = inspect("--pid", pid, "--scenario", expected)
    assert judged.returncode == 10
    assert "what it did before is not known" in " ".join(judged.stdout.split())


def test_several_envoys_are_listed_and_shown_on_request(running: list[LiveRun]) -> None:
    several = inspect("--env", f"ENVOYASSERT_RUN={running_id(running[1])}")
    assert several.returncode == 0, several.stderr
    pids = {run.pid for run in running}
    listed = inspect("--exe", "envoy")
    assert (listed.returncode, listed.stdout) == (4, "")
    assert all(f"--pid {pid}  " in listed.stderr for pid in pids)
    assert "remedy: name one by --pid, or take --all" in listed.stderr
    everyone = json.loads(inspect("--exe", "envoy", "--all", "--format", "json").stdout)
    assert pids <= {story["processes"][0]["pid"] for story in everyone}


def running_id(run: LiveRun) -> str:
    words = Path(f"/proc/{run.pid}/environ").read_bytes().split(b"\0")
    return next(w.partition(b"=")[2].decode() for w in words if w.startswith(b"ENVOYASSERT_RUN="))


def test_watch_shows_who_accepts(running: list[LiveRun]) -> None:
    run = running[1]
    before = take_witness(run.pid).sockets
    command = [sys.executable, "-m", "envoyassert", "inspect", "--pid", str(run.pid)]
    with subprocess.Popen(
        [*command, "--watch", "3s", "--format", "json"],
        cwd=SCENARIOS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == "watching for 3 s\n"
        for _ in range(12):
            run.in_netns(lambda: socket.create_connection(("127.0.0.1", 10000)).close())
        shown, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    story = json.loads(shown)
    rows = [row for row in story["listening"] if row["address"] == "127.0.0.1:10000"]
    accepted = Counter[str]()
    for row in rows:
        # With a socket for each worker, it is the one that serves it.
        assert set(row["accepted"]) <= set(row["served_by"])
        accepted.update(row["accepted"])
    assert accepted.total() == 12
    assert story["watched"] == {"seconds": 3.0, "lost": 0, "ended": False}
    assert [s.fd for s in before if s.listening] == [
        s.fd for s in take_witness(run.pid).sockets if s.listening
    ]


#: Its child has the listening socket too, and accepts; that ends both.
ACCEPTING_CHILD = """
import os, socket
listening = socket.create_server(("127.0.0.1", 0))
if os.fork():
    print(listening.getsockname()[1], flush=True)
    os.wait()
else:
    listening.accept()
"""


def test_child_that_was_there_before_is_watched_too() -> None:
    command = [sys.executable, "-I", "-S", "-c", ACCEPTING_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        watched = watch(process.pid, 60, lambda: socket.create_connection(address).close())
        assert watched.ended
        (accepted,) = [call for call in watched.calls if call.ok]
        assert accepted.pid != process.pid


def test_watch_ends_with_the_envoy(probe: Probe, tmp_path: Path) -> None:
    plan = scenario(tmp_path, served(), [{"process": {"live": True}}])
    with (
        choose_launcher("process", source_of(plan)) as place,
        LiveRun(plan, probe, place) as run,
    ):
        watched = watch(run.pid, 60, run.stop)
        assert watched.ended


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--pid", 1, "--exe", "envoy"], "--exe means nothing beside --pid"),
        (["--pid", 1, "--all"], "--all means nothing beside --pid"),
        (["--pod", "front"], "`front` is not NAMESPACE/NAME"),
        (["--pid", 1, "--watch", "soon"], "soon"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[Any], said: str) -> None:
    refused = inspect(*arguments)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert said in refused.stderr


AS_OTHER_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.parametrize(
    "before",
    [AS_OTHER_USER, ("unshare", "--user", "--map-root-user")],
    ids=["another user", "another user namespace"],
)
def test_envoy_that_may_not_be_looked_at_is_one_error(
    before: tuple[str, ...], running: list[LiveRun]
) -> None:
    pids = [run.pid for run in running]
    refused = inspect("--pid", pids[0], before=before)
    assert (refused.returncode, refused.stdout) == (77, "")
    assert refused.stderr.startswith(
        f"envoyassert: error: process {pids[0]} may not be looked at\n  remedy: run as root"
    )
    # Whether it is the one that the options mean is not known either.
    refused = inspect(before=before)
    assert (refused.returncode, refused.stdout) == (77, "")
    assert re.match(
        r"envoyassert: error: process \d+ may not be looked at\n  remedy: run as root",
        refused.stderr,
    )


def test_process_that_is_no_envoy_or_is_not_there_is_one_error() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        none = inspect("--pid", other.pid)
        other.kill()
        other.wait()
    assert (none.returncode, none.stdout) == (5, "")
    assert f"process {other.pid} is no Envoy: it has no thread wrk:worker_0, but sleep" in (
        none.stderr
    )
    gone = inspect("--pid", other.pid)
    assert (gone.returncode, gone.stdout) == (5, "")
    assert f"there is no process {other.pid}" in gone.stderr
    nowhere = inspect("--exe", "no-such-envoy")
    assert (nowhere.returncode, nowhere.stdout) == (5, "")
    assert "no Envoy runs that is no-such-envoy" in nowhere.stderr


def test_envoy_that_ends_meanwhile_is_one_error(
    probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = scenario(tmp_path, served(), [{"process": {"live": True}}])
    asked = running_module.ask_threads
    with (
        choose_launcher("process", source_of(plan)) as place,
        LiveRun(plan, probe, place) as run,
    ):

        def ends(pids: Any) -> Any:
            found = asked(pids)
            run.stop()
            return found

        monkeypatch.setattr(running_module, "ask_threads", ends)
        with pytest.raises(NoProcessError, match="ended while it was looked at"):
            state_of(run.pid)


def test_draft_of_a_running_envoy_passes_where_it_is_run(
    running: list[LiveRun], probe: Probe, tmp_path: Path
) -> None:
    seen = str(tmp_path / "seen.yaml")
    drafted = subprocess.run(
        [sys.executable, "-m", "envoyassert", "draft", "--pid", str(running[1].pid), "-o", seen],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert drafted.returncode == 0, drafted.stderr
    (plan,) = expand(load_scenario(tmp_path / "seen.yaml"), envoys=[parse_envoy_argument(VERSION)])
    result = run_plan(plan, probe, "process")
    verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
    assert verdict.status is Status.PASS, verdict.findings
