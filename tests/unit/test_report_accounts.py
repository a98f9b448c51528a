"""What kernel and Envoy said, as `show` prints it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from envoyassert.accounts import NetworkSocket
from envoyassert.addresses import Address
from envoyassert.report.certificate import certificates_lines
from envoyassert.report.story_parts import accounts_lines, accounts_of
from envoyassert.trace_file import read_trace

RECORDED = Path(__file__).parents[1] / "traces" / "witnessed" / "reuse_port_on-1.40.0.ndjson"


def test_accounts_name_queues_foreign_sockets_and_envoys_listeners() -> None:
    trace = read_trace(RECORDED)
    assert trace.witness is not None
    assert trace.witness.network is not None
    foreign = NetworkSocket("UDP", Address.inet("127.0.0.11", 53), 4711)
    network = trace.witness.network
    network = replace(network, sockets=(*network.sockets, foreign))
    trace.witness = replace(trace.witness, network=network)
    text = "\n".join(accounts_lines(accounts_of(trace)))
    assert "  tcp    0 of 4096  0.0.0.0:10000   Envoy's\n" in text
    assert "  udp    -          127.0.0.11:53   another process\n" in text
    assert text.endswith("  Envoy's own listeners: ingress at 0.0.0.0:10000")


def test_account_that_could_not_be_taken_says_why() -> None:
    trace = read_trace(RECORDED)
    assert trace.witness is not None
    trace.witness = replace(
        trace.witness, error="process 1 has ended", network=None, envoy=None, sockets=()
    )
    assert accounts_lines(accounts_of(trace))[-1] == "  not known: process 1 has ended"
    trace.witness = None
    assert accounts_lines(accounts_of(trace)) == []


def test_certificates_of_a_session_are_counted() -> None:
    assert certificates_lines([]) == []
    assert certificates_lines([True]) == ["certificates: 1 whole"]
    assert certificates_lines([True, False]) == ["certificates: 1 whole, 1 NOT whole"]
