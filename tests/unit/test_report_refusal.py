"""What Envoy's refusal of a config says, and which line it is about."""

from pathlib import Path

import pytest

from envoyassert.report.refusal import refusal
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand

SCENARIO = """\
name: one
envoy:
  config:
    static_resources:
      listeners:
      - name: ingress
        address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
      - name: egress
        address:
          socketAddress:
            address: not-an-ip
            portValue: 70001
        enable_reuse_prt: true
"""
OVERLAY = """\
  overlay:
    static_resources:
      listeners:
        ingress: null
        egress: {tcp_backlog_size: many}
"""
EXPECT = """\
expect:
  - process: {live: true}
"""
LOG = "[2026-01-02 03:04:05.678][42][critical][main] [source/server/server.cc:76] "
STARTED = LOG + "error initializing configuration '${rundir}/envoy.yaml': "
UNKNOWN = STARTED + (
    "Protobuf message (type envoy.config.bootstrap.v3.Bootstrap reason INVALID_ARGUMENT: invalid "
    "JSON in   envoy.config.bootstrap.v3.Bootstrap @  static_resources.listeners[1]: message "
    "envoy.config.listener.v3.Listener, near 1:344  (offset 343):  no   such field: "
    "'enable_reuse_prt') has unknown fields"
)
AT_THE_TOP = STARTED + (
    "Protobuf message (type envoy.config.bootstrap.v3.Bootstrap reason INVALID_ARGUMENT: invalid "
    "JSON in envoy.config.bootstrap.v3.Bootstrap, near 1:12 (offset 11): no such field: "
    "'static_resources') has unknown fields"
)
PORT = (
    STARTED
    + "goo.gle/debugonly\nstatic_resources {\n  listeners {\n"
    + '    name: "ingress"\n  }\n}\n: Proto constraint validation failed (BootstrapValidationError.'
    "StaticResources: embedded message failed validation | caused by "
    "StaticResourcesValidationError.Listeners[1]: embedded message failed validation | caused by "
    "ListenerValidationError.Address: embedded message failed validation | caused by "
    "AddressValidationError.SocketAddress: embedded message failed validation | caused by "
    "SocketAddressValidationError.PortValue: value must be less than or equal to 65535)"
)
TOO_LARGE = (
    "static_resources.listeners[1].address.socket_address.port_value: "
    "value must be less than or equal to 65535"
)
NUMBER = STARTED + (
    "Unable to parse JSON as proto (INVALID_ARGUMENT: invalid JSON in envoy.config.bootstrap.v3."
    "Bootstrap @ static_resources.listeners[0].tcp_backlog_size: message google.protobuf."
    "UInt32Value, near 1:397 (offset 396): invalid number: 'many'): "
    '{"static_resources":{"listeners":[]}}'
)


def refused(printed: str, *, overlay: str = "") -> str:
    loaded = parse_scenario(SCENARIO + overlay + EXPECT, Path("one.yaml"))
    (plan,) = expand(loaded)
    return str(refusal(printed, plan))


@pytest.mark.parametrize(
    "printed, place, reason",
    [
        (UNKNOWN, "13:9", "static_resources.listeners[1]: no such field: 'enable_reuse_prt'"),
        (AT_THE_TOP, "4:5", "no such field: 'static_resources'"),
        (
            PORT,
            "12:13",
            TOO_LARGE,
        ),
        (
            # The end of a long log: the line it begins with is no longer there.
            PORT[PORT.index(": Proto") :],
            "12:13",
            TOO_LARGE,
        ),
        (
            STARTED + "error adding listener '127.0.0.1:10000': no filter chains specified",
            "6:9",
            "error adding listener '127.0.0.1:10000': no filter chains specified",
        ),
        (
            STARTED + "error adding listener 'egress': no filter chains specified",
            "8:9",
            "error adding listener 'egress': no filter chains specified",
        ),
        (STARTED + "malformed IP address: not-an-ip", "11:13", "malformed IP address: not-an-ip"),
        (STARTED + "something else", "3:3", "something else"),
        (f"[2026-01-02 03:04:05.678][42][warning][main] [a.cc:1] old\n{LOG}bad", "3:3", "bad"),
        ("not of the log's form", "3:3", "not of the log's form"),
        ("", "3:3", "no reason given"),
    ],
    ids=lambda value: value[-25:] if isinstance(value, str) else None,
)
def test_refusal_is_the_reason_alone_at_the_line_it_is_about(printed, place, reason):
    assert refused(printed) == f"one.yaml:{place}: error: Envoy refuses the config of one: {reason}"


def test_refusal_of_what_an_overlay_brought_is_at_the_overlay():
    assert refused(NUMBER, overlay=OVERLAY) == (
        "one.yaml:14:3: error: Envoy refuses the config of one: "
        "static_resources.listeners[0].tcp_backlog_size: invalid number: 'many'"
    )


def test_refusal_of_a_config_in_a_file_is_at_its_line(tmp_path):
    (tmp_path / "envoy.yaml").write_text("admin: {}\nstatic_resources:\n  listeners:\n  - {}\n")
    text = f"name: one\nenvoy: {{config: envoy.yaml}}\n{EXPECT}"
    loaded = parse_scenario(
        text, tmp_path / "one.yaml", read_config=lambda name: (tmp_path / name).read_text()
    )
    (plan,) = expand(loaded)
    found = refusal(AT_THE_TOP, plan)
    assert (found.path, found.line, found.column) == (str(tmp_path / "envoy.yaml"), 2, 1)
