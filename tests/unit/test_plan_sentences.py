"""What `plan` must say of six changes that a comparison of two starts reassures about falsely.

By the model alone: nothing is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli_words import run_cli


@pytest.fixture
def plan(capsys, tmp_path):
    """Return the words of a plan, and its exit code, for a listener and what is set of it."""

    def planned(*arguments: str, **more: Any) -> tuple[str, int]:
        listener = {
            "name": "ingress",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.echo"}]}],
        }
        files: list[Path] = []
        for name, fields in (("old.yaml", {}), ("new.yaml", more)):
            files.append(tmp_path / name)
            config = {"static_resources": {"listeners": [{**listener, **fields}]}}
            files[-1].write_text(yaml.safe_dump(config))
        done = run_cli(capsys, "plan", "--model", *files, *arguments)
        assert done.err == ""
        return " ".join(done.out.split()), done.code

    return planned


def test_adding_exact_balance_is_a_change(plan):
    words, code = plan(connection_balance_config={"exact_balance": {}})
    assert code == 1
    assert "~ ingress 127.0.0.1:10000 TCP" in words
    assert "+ connection_balance_config.exact_balance" in words
    assert "no changes" not in words


def test_two_to_four_workers_is_a_change_with_the_counts_of_sockets(plan):
    words, code = plan("--set", "concurrency=4")
    assert code == 1
    assert "--concurrency: 2 -> 4" in words
    assert "ingress 2 -> 4 not applied 2 kept, 2 made 2 closed, 4 made" in words


def test_listeners_that_follow_the_number_of_workers_are_one_row_of_markdown(tmp_path, capsys):
    def at(number: int, **more: Any) -> dict[str, Any]:
        place = {"socket_address": {"address": "127.0.0.1", "port_value": 10000 + number}}
        return {"name": f"l{number}", "address": place, "filter_chains": [{"filters": []}], **more}

    listeners = [*map(at, range(12)), at(12, enable_reuse_port=False)]
    path = tmp_path / "envoy.yaml"
    path.write_text(yaml.safe_dump({"static_resources": {"listeners": listeners}}))
    words = ("--model", path, "--set", "concurrency=4", "--format", "markdown")
    rows = [line for line in run_cli(capsys, "plan", *words).out.splitlines() if "| l" in line]
    names = ", ".join(one["name"] for one in listeners[:12])
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| listeners", "sockets"],
        [f"| {names}", "2 -&gt; 4"],
        ["| l12", "1 -&gt; 1"],
    ]


def test_a_push_refuses_a_change_of_enable_reuse_port_in_envoys_words(plan):
    words, code = plan("--way", "push", enable_reuse_port=False)
    assert code == 3
    assert "+ enable_reuse_port: false # push: refused" in words
    assert "Listener ingress: reuse port cannot be changed during an update" in words


def test_exact_balance_by_a_push_is_acknowledged_duplicated_and_never_served(plan):
    words, _ = plan("--way", "push", connection_balance_config={"exact_balance": {}})
    assert (
        "acknowledged, and without effect: main calls dup() on every socket, and no worker serves "
        "these descriptors"
    ) in words


def test_a_change_of_socket_options_closes_queues_with_clients_in_them(plan):
    option = {"level": 1, "name": 9, "int_value": 1}
    words, code = plan("--way", "push", socket_options=[option])
    assert code == 3
    assert "# push: forces new sockets: queued connections are reset" in words
    assert "kernel sockets 2 closed, 2 made" in words
    assert "requests lost those waiting in 2 accept queues" in words


def test_a_hot_restart_with_fewer_workers_loses_some(plan):
    words, code = plan("--way", "hot-restart", "--concurrency", "4", "--set", "concurrency=2")
    assert code == 3
    assert "ingress 4 -> 2 2 kept, 2 closed" in words
    assert (
        "no worker of the next epoch inherits 2 sockets: the one before closes them, and "
        "connections that wait in their queues are reset"
    ) in words
