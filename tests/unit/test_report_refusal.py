"""What Envoy's refusal of a config says, and which line it is about."""

from pathlib import Path

import pytest

from envoyassert.report.envoy_log import Reason
from envoyassert.report.refusal import blame, refusal
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.trace import Outcome

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
    return str(refusal(Outcome(exit_code=1, log_tail=tuple(printed.splitlines())), plan))


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
    found = refusal(Outcome(exit_code=1, log_tail=(AT_THE_TOP,)), plan)
    assert (found.path, found.line, found.column) == (str(tmp_path / "envoy.yaml"), 2, 1)


@pytest.mark.parametrize(
    "signal, words",
    [(11, "crashed (SIGSEGV)"), (6, "crashed (SIGABRT)"), (9, "was killed (SIGKILL)")],
)
def test_crash_while_validating_is_no_refusal(signal, words):
    loaded = parse_scenario(SCENARIO + EXPECT, Path("one.yaml"))
    (plan,) = expand(loaded)
    log = LOG.replace("[main]", "[assert]") + "panic: not reached"
    outcome = Outcome(signal=signal, log_tail=(log,))
    assert str(refusal(outcome, plan)) == (
        f"one.yaml:3:3: error: Envoy {words} while it validated the config of one: "
        "panic: not reached"
    )
    assert str(refusal(Outcome(signal=signal), plan)).endswith(" the config of one")


CONFIG = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
node: {id: ""}
dynamic_resources: {lds_config: {ads: {}}}
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
  clusters:
  - name: first
  - name: slow
    type: EDS
    eds_cluster_config: {eds_config: {ads: {}}}
  - name: second
    eds_cluster_config: {service_name: elsewhere}
"""


@pytest.mark.parametrize(
    "reason, place",
    [
        (Reason("x: bad", ("static_resources", "clusters", 2, "type")), "cluster second, 13:5"),
        (Reason("ADS must be configured to support an ADS config source"), "cluster slow, 12:39"),
        (Reason("x: node 'id' and 'cluster' are required. Set it"), "2:1"),
        (Reason("cannot bind '127.0.0.1:9901': Address already in use"), "1:1"),
        (Reason("cannot bind '127.0.0.1:10000': no"), "listener ingress, 6:5"),
        (Reason("listener 'ingress': Setting socket options failed"), "6:5"),
        (Reason("no first, but 'elsewhere'"), "cluster second, 14:26"),
        (Reason("Unknown cluster 'second'"), "13:5"),
        (Reason("caught ENVOY_SIGTERM"), ""),
        (Reason(), ""),
    ],
    ids=lambda value: value.text[:20] if isinstance(value, Reason) else None,
)
def test_reason_of_an_end_is_placed_in_the_config(tmp_path, reason, place):
    (tmp_path / "envoy.yaml").write_text(CONFIG)
    loaded = parse_scenario(
        f"name: one\nenvoy: {{config: envoy.yaml}}\n{EXPECT}",
        tmp_path / "one.yaml",
        read_config=lambda name: (tmp_path / name).read_text(),
    )
    (plan,) = expand(loaded)
    assert blame(plan)(reason).replace(f"{tmp_path}/envoy.yaml:", "") == place
