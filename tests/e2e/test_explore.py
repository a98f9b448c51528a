"""Exploring with a real Envoy: steps, known defects of updates, and the command itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.draft.stand_in import serving
from envoyassert.explore.case import Case, Step
from envoyassert.explore.difference import changes_of, known_differences
from envoyassert.explore.trial import Outcome, try_case
from tests.e2e.launching import VERSION, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

OLD = "1.36.4"
ADMIN = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}}


def listener(number=0, host="127.0.0.1", **fields):
    compat = {"ipv4_compat": True} if fields.pop("compat", False) else {}
    place = {"socket_address": {"address": host, "port_value": 10000 + number, **compat}}
    return {"name": f"listener_{number}", "address": place, **serving("TCP"), **fields}


def served(before, *steps):
    made = [step if isinstance(step, Step) else Step("push", tuple(step)) for step in steps]
    return Case(2, tuple(before), ADMIN, served=True, steps=tuple(made))


@pytest.mark.parametrize(
    "kind, version, before, after",
    [
        ("backlog_by_push", OLD, listener(), listener(tcp_backlog_size=64)),
        ("ipv4_compat_by_push", VERSION, listener(host="::", compat=True), listener(host="::")),
        ("bind_to_port_off_by_push", VERSION, listener(), listener(bind_to_port=False)),
        (
            "exact_balance_by_push",
            VERSION,
            listener(),
            listener(connection_balance_config={"exact_balance": {}}),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_known_defect_of_updates_is_found_and_known(kind, version, before, after, probe):
    case = served([before], [after])
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.DIFFERS
    kinds = {
        one.kind
        for found in tried.differences
        for one in known_differences()
        if one.explains(found, case, version)
    }
    assert kinds == {kind}


def test_a_backlog_that_is_pushed_is_in_effect_in_a_newer_envoy(probe):
    case = served([listener()], [listener(tcp_backlog_size=64)])
    assert changes_of(case) == {"tcp_backlog_size"}
    assert try_case(case, VERSION, probe).outcome is Outcome.AGREES


def test_the_model_of_change_is_held_against_pushes(probe):
    options = served([listener()], [listener(freebind=True)], [listener(1)], [])
    tried = try_case(options, VERSION, probe)
    assert tried.outcome is Outcome.AGREES, tried.differences
    assert tried.foreseen == ("sockets are replaced: what waits in their queues is reset",)
    refused = served([listener()], [listener(enable_reuse_port=False)])
    assert try_case(refused, VERSION, probe).outcome is Outcome.AGREES


@pytest.mark.slow
def test_a_hot_restart_has_the_listeners_of_the_last_push(probe):
    case = served([], [listener(1)], Step("hot_restart", concurrency=3), Step("drain"))
    tried = try_case(case, VERSION, probe)
    assert tried.outcome is Outcome.AGREES, tried.differences


def command(*arguments):
    return [sys.executable, "-m", "envoyassert", "explore", "--envoy", VERSION, *arguments]


@pytest.mark.slow
def test_the_command_explores_and_sums_up(tmp_path):
    done = subprocess.run(
        command("--minutes", "0.1", "--seed", "4", "-o", str(tmp_path / "out")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "configs run" in done.stdout
    assert "facts compared" in done.stdout


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(tmp_path):
    # A test run in the background of a shell hands down SIGINT ignored.
    words = ["env", "--default-signal=INT", *command("--minutes", "1", "--seed", "4")]
    found: list[int] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "seed 4" in running.stdout.readline()

        def has_envoy() -> bool:
            found.extend(envoys_of(running.pid))
            return found != []

        assert wait_until(has_envoy)
        running.send_signal(signal.SIGINT)
        said = running.stdout.read()
    assert running.returncode == 2
    assert "run" in said
    assert [pid for pid in found if Path(f"/proc/{pid}").exists()] == []


def envoys_of(parent):
    """The processes below one that run an Envoy."""
    done = subprocess.run(
        ["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in done.stdout.splitlines()[1:]]
    children: set[int] = {parent}
    for _ in rows:
        children |= {int(pid) for pid, above, _ in rows if int(above) in children}
    return [int(pid) for pid, _, name in rows if int(pid) in children and name == "envoy"]
