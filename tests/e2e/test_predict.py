"""The model of Envoy's sockets against a real Envoy, on configs made at random."""

from __future__ import annotations

import json
import sys

import pytest

from envoyassert.draft.from_config import draft_of_config
from envoyassert.explore.case import Case
from envoyassert.explore.scenario import scenario_text
from envoyassert.explore.trial import Outcome, try_case, try_text
from envoyassert.predict.start import predict_start
from tests.e2e.launching import VERSION
from tests.predict.__main__ import is_good, main, of_made

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}


def case_of(concurrency=2, **fields):
    listener = {
        "name": "listener_0",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
        "filter_chains": [{"filters": [ECHO]}],
        **fields,
    }
    place = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
    return Case(concurrency, (listener,), {"admin": {"address": place}})


@pytest.mark.slow
def test_configs_made_at_random_are_as_predicted(probe):
    counts = of_made(VERSION, 36, 2026, probe)
    assert counts.found == []
    assert is_good(counts)
    assert counts.outcomes[Outcome.AGREES] > 30


def test_a_prediction_that_is_wrong_is_found_with_both_sides(probe):
    case = case_of(tcp_backlog_size=64)
    text = scenario_text(case).replace("backlog: 64", "backlog: 65")
    tried = try_text(text, predict_start(case.config, concurrency=2), VERSION, probe)
    assert tried.outcome is Outcome.DIFFERS
    (one,) = tried.differences
    assert (one.way, one.fact) == ("start", "backlog")
    assert "65" in one.expected
    assert "64" in one.seen


def test_a_refusal_is_a_difference_unless_it_is_predicted(probe):
    """The generated configs have nothing but what the model knows."""
    tried = try_case(case_of(filter_chains=[{"filters": [{"name": "nothing"}]}]), VERSION, probe)
    assert tried.outcome is Outcome.DIFFERS
    assert [one.fact for one in tried.differences] == ["refused"]
    place = {"address": "127.0.0.1", "port_value": 10000, "protocol": "UDP"}
    alone = {"address": {"socket_address": place}, "enable_reuse_port": False}
    tried = try_case(case_of(**alone, filter_chains=[]), VERSION, probe)
    assert (tried.outcome, tried.differences) == (Outcome.REFUSED, ())
    assert tried.said


def test_addresses_of_one_path_have_the_mode_of_the_last(probe):
    def pipe(mode):
        return {"pipe": {"path": "${rundir}/a.sock", "mode": mode}}

    more = [{"address": pipe(0o600)}]
    case = case_of(address=pipe(0o777), additional_addresses=more)
    assert 'mode: "0600"' in scenario_text(case)
    assert draft_of_config(case.config, 2).concurrency == 2
    assert try_case(case, VERSION, probe).outcome is Outcome.AGREES


def test_the_command_tries_the_bootstraps_of_a_folder(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "configs" / "deep"
    folder.mkdir(parents=True)
    (folder / "good.json").write_text(json.dumps(case_of().config))
    (folder / "notes.txt").write_text("no config")
    monkeypatch.setattr(sys, "argv", ["predict", str(tmp_path / "configs"), "--envoy", VERSION])
    assert main() == 0
    said = capsys.readouterr().out
    assert "1 config run: 1 as predicted" in said
    assert "agreement 100.0 %" in said
