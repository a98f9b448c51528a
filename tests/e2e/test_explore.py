"""Exploring with a real Envoy: steps, known defects of updates, and the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envoyassert.draft.stand_in import bootstrap_with, serving
from envoyassert.explore.case import PRESSURE, Case, Step
from envoyassert.explore.configs import cases
from envoyassert.explore.difference import changes_of, known_differences
from envoyassert.explore.search import Search
from envoyassert.explore.trial import Outcome, try_case
from envoyassert.probe import Probe
from envoyassert.scenario.overload import overload_manager
from tests.e2e.launching import VERSION, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

OLD = "1.36.4"
ADMIN = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}}


@pytest.fixture
def probe():
    """One for each test: records that an Envoy wrote without end are not in the way of the next."""
    with Probe.load() as loaded:
        yield loaded


def listener(number=0, host="127.0.0.1", **fields):
    compat = {"ipv4_compat": True} if fields.pop("compat", False) else {}
    place = {"socket_address": {"address": host, "port_value": 10000 + number, **compat}}
    return {"name": f"listener_{number}", "address": place, **serving("TCP"), **fields}


def served(before, *steps):
    made = [step if isinstance(step, Step) else Step("push", tuple(step)) for step in steps]
    manager = {"overload_manager": overload_manager(PRESSURE)}
    bootstrap = ADMIN | (manager if any(step.kind == "overload" for step in made) else {})
    return Case(2, tuple(before), bootstrap, served=True, steps=tuple(made))


EXACT: dict[str, Any] = {"connection_balance_config": {"exact_balance": {}}}
BYPASS: dict[str, Any] = {"bypass_overload_manager": True}
DATAGRAMS = {"address": "::", "port_value": 10000, "protocol": "UDP"}
PATH = {"pipe": {"path": "${rundir}/0.sock"}}
#: A sequence for each entry of the list; those that are no crash.
REPLAYED = [
    ("backlog_by_push", OLD, [listener(), listener(tcp_backlog_size=64)]),
    ("ipv4_compat_by_push", VERSION, [listener(host="::", compat=True), listener(host="::")]),
    (
        "ipv4_compat_by_push",
        VERSION,
        [
            {"name": "listener_0", "address": {"socket_address": place}, **serving("QUIC")}
            for place in (DATAGRAMS, {**DATAGRAMS, "ipv4_compat": True})
        ],
    ),
    ("mptcp_by_push", VERSION, [listener(), listener(enable_mptcp=True)]),
    ("bind_to_port_off_by_push", VERSION, [listener(), listener(bind_to_port=False)]),
    (
        "bind_to_port_off_by_push",
        VERSION,
        [listener(address=PATH), listener(address=PATH, bind_to_port=False)],
    ),
    (
        "bind_to_port_off_and_on_by_push",
        VERSION,
        [
            listener(),
            listener(bind_to_port=False),
            listener(bind_to_port=False, stat_prefix="a"),
            listener(stat_prefix="a"),
        ],
    ),
    (
        "bind_to_port_on_by_push_of_a_path",
        VERSION,
        [listener(address=PATH, bind_to_port=on) for on in (False, True)],
    ),
    ("balance_by_push", VERSION, [listener(), listener(**EXACT)]),
    *(
        (
            "bypass_by_push_under_overload",
            version,
            [
                *([listener(**BYPASS)] if is_there else []),
                Step("overload"),
                listener(**BYPASS, stat_prefix="a"),
                Step("relief"),
            ],
        )
        for version in (OLD, VERSION)
        for is_there in (True, False)
    ),
]
#: Of these there is one for each build: what leads there is made at random.
CRASHES = {
    OLD: "crash_while_listeners_are_loaded_1_36_4",
    VERSION: "crash_while_listeners_are_loaded_1_40_0",
}


def test_each_entry_of_the_list_is_tried_here():
    tried = {*(kind for kind, *_ in REPLAYED), *CRASHES.values()}
    assert sorted(tried) == sorted(one.kind for one in known_differences())


@pytest.mark.parametrize("kind, version, forms", REPLAYED, ids=[one[0] for one in REPLAYED])
def test_a_known_defect_of_updates_is_found_and_known(kind, version, forms, probe):
    made: list[Any] = [form if isinstance(form, Step) else [form] for form in forms]
    case = served(*([] if isinstance(forms[0], dict) else [()]), *made)
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.DIFFERS
    kinds = [
        next((one.kind for one in known_differences() if one.explains(found, case, version)), found)
        for found in tried.differences
    ]
    assert kind in kinds
    # What leads there has differences of its own.
    assert set(kinds) <= {kind, "bind_to_port_off_by_push"}


@pytest.mark.slow
@pytest.mark.parametrize("version", CRASHES)
def test_a_known_crash_is_found_and_known(version, probe):
    never = time.monotonic() + 3600
    search = Search(
        lambda case: try_case(case, version, probe), known_differences(), version, never
    )
    for number in range(4, 19):
        assert search.round(cases(version), number, 20) is None
        if search.counts.met[CRASHES[version]]:
            return
    raise AssertionError(search.counts)


@pytest.mark.parametrize("version", [OLD, VERSION])
def test_overload_is_as_the_model_says(version, probe):
    place = {**listener(2)["address"]["socket_address"], "protocol": "UDP"}
    udp = {"name": "listener_2", "address": {"socket_address": place}, **serving("UDP"), **BYPASS}
    before = [listener(**BYPASS), listener(1), udp]
    plain: Any = serving("TCP")
    chains = [{**plain["filter_chains"][0], "name": "b"}]
    case = served(
        before,
        Step("overload"),
        [listener(**BYPASS, filter_chains=chains), listener(1, stat_prefix="a"), udp],
        [listener(filter_chains=chains), listener(1, stat_prefix="a"), {**udp, "freebind": True}],
        Step("drain"),
        Step("relief"),
        Step("restart"),
    )
    with_udp: Any = bootstrap_with([udp])
    clusters = {"clusters": with_udp["static_resources"]["clusters"]}
    case = replace(case, bootstrap={**case.bootstrap, "static_resources": clusters})
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


@pytest.mark.parametrize("version", [OLD, VERSION])
def test_a_listener_that_was_given_up_is_tried_again_by_each_push(version, probe):
    first = [listener(host=host, enable_reuse_port=False) for host in ("0.0.0.0", "127.0.0.1")]
    wild, given_up = ({**one, "name": name} for one, name in zip(first, "ab", strict=True))
    case = served([wild, given_up], [{**wild, "stat_prefix": "a"}, given_up], *[[given_up]] * 2)
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


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


@pytest.mark.parametrize("version", [OLD, VERSION])
def test_sockets_on_port_0_that_a_push_binds_are_those_of_their_listener(version, probe):
    """Several ask for a port at one address: Envoy's list shows which socket is whose."""
    place = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    one, two, three = ({**listener(number), **place} for number in range(3))
    several = {**three, "additional_addresses": [place, place]}
    case = served(
        [one, two],
        [{**one, "freebind": True}, two],
        [{**one, "freebind": True}, {**two, "freebind": True}, several],
        [two, {**several, "freebind": True}],
        [{**listener(), "freebind": True}, several],
        Step("restart"),
    )
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)
    assert tried.declined == 0


def test_a_restart_is_as_a_start_and_a_later_push_as_one_after_it(probe):
    case = served(
        [listener()],
        [listener(enable_reuse_port=False)],
        Step("restart", concurrency=3),
        [listener(enable_reuse_port=False, stat_prefix="a")],
    )
    tried = try_case(case, VERSION, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


@pytest.mark.parametrize("version", [OLD, VERSION])
def test_a_plain_drain_closes_what_the_model_says(version, probe):
    datagrams = {"socket_address": {**listener(1)["address"]["socket_address"], "protocol": "UDP"}}
    udp = {"name": "listener_1", "address": datagrams, **serving("UDP")}
    path = listener(2, address=PATH)
    steps = [Step("plain_drain"), Step("restart", concurrency=1)]
    before = [listener(), udp, path]
    bootstrap = {**ADMIN, **bootstrap_with([udp])}
    case = replace(served(before, *steps), bootstrap={**bootstrap, **ADMIN})
    tried = try_case(case, version, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


@pytest.mark.slow
def test_hot_restarts_count_from_the_last_start(probe):
    case = served([listener()], Step("restart", concurrency=1), Step("hot_restart", concurrency=3))
    again = replace(case, steps=(*case.steps, Step("restart", concurrency=2)))
    tried = try_case(again, VERSION, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


@pytest.mark.slow
def test_a_listener_that_moved_has_one_name_after_a_hot_restart(probe):
    case = served([listener()], [listener(host="127.0.0.2")], Step("hot_restart"), Step("drain"))
    tried = try_case(case, VERSION, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


@pytest.mark.slow
def test_a_socket_that_two_addresses_share_after_a_hot_restart_is_one(probe):
    twice = listener(address=PATH, additional_addresses=[{"address": PATH}])
    tried = try_case(served([twice], Step("hot_restart")), VERSION, probe)
    assert tried.outcome is Outcome.AGREES, (tried.said, tried.differences)


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
@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_search_that_is_ended_leaves_nothing(number, code):
    # A test run in the background of a shell hands down SIGINT ignored.
    words = ["env", "--default-signal=INT", *command("--seed", "4", "--minutes")]
    # Unix sockets are there: their paths must be short.
    with tempfile.TemporaryDirectory(prefix="x-") as directory:
        Path(directory).chmod(0o755)  # Envoy is another user
        env = {**os.environ, "TMPDIR": directory}
        with started([*words, "1"], env) as running:
            found = envoys_once_there(running)
            running.send_signal(number)
            said = running.stdout.read()
        assert running.returncode == code
        assert ("run" in said) is (number != signal.SIGKILL)
        assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found))
        if number == signal.SIGKILL:
            # It could remove nothing; the next one does.
            assert list(Path(directory).glob("envoyassert-*/*")) != []
            subprocess.run([*words, "0.01"], env=env, capture_output=True, check=False)
        assert list(Path(directory).glob("envoyassert-*/*")) == []


@pytest.mark.slow
def test_two_searches_at_once_find_what_each_alone_does(tmp_path):
    words = command("--minutes", "0.2", "--seed", "4", "-o", str(tmp_path / "out"))
    with started(words) as one, started(words) as other:
        envoys = [set(envoys_once_there(running)) for running in (one, other)]
        outputs = [running.stdout.read() for running in (one, other)]
    assert not envoys[0] & envoys[1]
    assert [one.returncode, other.returncode] == [0, 0], outputs
    for output in outputs:
        assert "different" not in output
        assert "inconclusive" not in output
        assert "no new differences" in output


def started(words, env=None):
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)


def envoys_once_there(running):
    """The Envoys of a search, as soon as there is one."""
    assert "seed 4" in running.stdout.readline()
    found: list[int] = []

    def has_envoy() -> bool:
        found.extend(envoys_of(running.pid))
        return found != []

    assert wait_until(has_envoy)
    return found


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
