"""plan --transition: a real Envoy is changed under clients, and what they lost is reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.launching import VERSION
from tests.unit.test_transition_scenario import ECHO, bootstrap, listener, place

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


class Planned(NamedTuple):
    code: int
    ways: dict[str, dict[str, Any]]

    def listener(self, way: str) -> dict[str, Any]:
        """What happened to the only listener."""
        (found,) = self.ways[way]["listeners"]
        return dict(found)


@pytest.fixture
def planned(tmp_path: Path):
    def run(old: dict[str, Any], new: dict[str, Any], way: str, *more: str) -> Planned:
        files = [tmp_path / "old.json", tmp_path / "new.json"]
        for file, config in zip(files, (old, new), strict=True):
            file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "envoyassert", "plan", *map(str, files)]
        command += ["--transition", way, "--format", "json", "--envoy", VERSION, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        data = json.loads(done.stdout)
        for one in data["transitions"]:
            assert (one["problem"], one["missing"]) == ("", [])
        return Planned(done.returncode, {one["way"]: one for one in data["transitions"]})

    return run


def numbers(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["kept"], found["closed"], found["made"]


def test_push_of_another_reuse_port_is_refused_in_envoys_words(planned) -> None:
    done = planned(bootstrap(listener()), bootstrap(listener(enable_reuse_port=False)), "push")
    found = done.listener("push")
    assert done.code == 3
    assert (done.ways["push"]["answer"], found["kind"]) == ("nack", "refused")
    assert "reuse port cannot be changed during an update" in found["words"]
    assert numbers(found) == (2, 0, 0)
    assert (found["lost"], found["reset"], found["refused"]) == (0, 0, 0)


def test_pushed_exact_balance_is_acknowledged_and_never_in_effect(planned) -> None:
    balanced = listener(connection_balance_config={"exact_balance": {}})
    old, new = bootstrap(listener()), bootstrap(balanced)
    # That sixteen workers are even by chance has a chance of one in five million.
    done = planned(old, new, "push", "--concurrency", "16")
    found = done.listener("push")
    assert (done.ways["push"]["answer"], found["kind"]) == ("ack", "in_place")
    assert numbers(found) == (16, 0, 0)
    assert found["balanced"] is False
    assert planned(old, new, "restart").listener("restart")["balanced"] is True


def test_push_of_other_socket_options_resets_those_that_wait_in_queues(planned) -> None:
    done = planned(bootstrap(listener()), bootstrap(listener(freebind=True)), "push")
    found = done.listener("push")
    assert done.code == 3
    assert (found["kind"], numbers(found)) == ("full_new", (0, 2, 2))
    queued = found["places"][0]["queued"]
    assert found["queued"] == "reset"
    assert queued["reset"] == queued["tried"] > 0
    assert found["held"] == "drained"
    # Of those that keep coming, one may be in a queue just then.
    assert found["lost"] == found["places"][0]["through"]["reset"]


def test_hot_restart_with_fewer_workers_loses_what_waits_for_the_others(planned, tmp_path) -> None:
    old, new = (
        {"name": name, "envoy": {"config": bootstrap(listener()), "concurrency": workers}}
        for name, workers in (("old", 4), ("new", 2))
    )
    expect = [{"process": {"stays_up": True}}]
    done = planned({**old, "expect": expect}, {**new, "expect": expect}, "hot-restart")
    found = done.listener("hot-restart")
    assert done.ways["hot-restart"]["workers"] == [4, 2]
    assert numbers(found) == (2, 2, 0)
    queued = found["places"][0]["queued"]
    assert found["queued"] == "some_reset"
    assert queued["reset"]
    assert queued["answered"]
    assert done.code == 3


def test_pushed_additional_address_makes_new_sockets_for_the_one_that_stays(planned) -> None:
    more = listener(additional_addresses=[{"address": place(15007)}])
    done = planned(bootstrap(listener()), bootstrap(more), "push")
    found = done.listener("push")
    assert numbers(found) == (0, 2, 4)
    first, second = found["places"]
    assert first["queued"]["reset"] == first["queued"]["tried"]
    assert second["after"]["answered"] == second["after"]["tried"] > 0


def test_push_of_filter_chains_alone_keeps_everything(planned) -> None:
    other = {**ECHO, "name": "echo"}
    done = planned(
        bootstrap(listener()), bootstrap(listener(filter_chains=[{"filters": [other]}])), "push"
    )
    found = done.listener("push")
    assert (done.code, found["kind"], numbers(found)) == (1, "in_place", (2, 0, 0))
    assert (found["queued"], found["loses"]) == ("kept", False)
    assert found["places"][0]["gap"]["open"] is False


def test_unix_socket_and_datagrams_have_clients_too(planned) -> None:
    unix = listener("local", address={"pipe": {"path": "@ea_transition"}})
    udp = listener("names", address=place(15053, protocol="UDP"))
    config = bootstrap(unix, udp)
    done = planned(config, config, "hot-restart")
    for found in done.ways["hot-restart"]["listeners"]:
        (at,) = found["places"]
        assert at["through"]["answered"] == at["through"]["tried"] > 0
        assert at["after"]["answered"] == at["after"]["tried"] > 0
        assert found["made"] == found["closed"] == 0
