"""Why a real Envoy ended at its start: by its own words, at its line, the same as by validation."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.choose import source_of, validate_config
from envoyassert.launch.limits import Limits
from envoyassert.launch.process import ProcessLauncher
from envoyassert.launch.processes import and_descendants
from envoyassert.report.envoy_log import cause, said_lines
from envoyassert.report.headline import why_ended
from envoyassert.report.refusal import blame
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Outcome
from tests.e2e.launching import VERSION, wait_until

pytestmark = [pytest.mark.envoy]

VERSIONS = ("1.36.4", "1.40.0")
TYPE = "type.googleapis.com/envoy.extensions"
ECHO = {"name": "e", "typed_config": {"@type": f"{TYPE}.filters.network.echo.v3.Echo"}}
PORT = 10000
USER = 12345
NODE = {"node": {"id": "one", "cluster": "two"}}


def listener(name: str = "in", host: str = "127.0.0.1", port: int = PORT, **more: Any) -> Any:
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [ECHO]}], **more}


def tls(context: dict[str, Any]) -> Any:
    kind = f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext"
    socket_config = {"@type": kind, "common_tls_context": context}
    chain = {"filters": [ECHO], "transport_socket": {"name": "t", "typed_config": socket_config}}
    return listener(filter_chains=[chain])


def http(first: dict[str, Any] | None = None, **more: Any) -> Any:
    router = {"name": "r", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}
    kind = f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    routes = {"route_config": {"virtual_hosts": [], **more}}
    filters = {"http_filters": [*([first] if first else []), router]}
    config = {"@type": kind, "stat_prefix": "s", **routes, **filters}
    return listener(filter_chains=[{"filters": [{"name": "h", "typed_config": config}]}])


def route(match: dict[str, Any], **action: Any) -> Any:
    return [{"name": "v", "domains": ["*"], "routes": [{"match": match, **action}]}]


def http_filter(kind: str, **config: Any) -> Any:
    return {"name": "f", "typed_config": {"@type": f"{TYPE}.filters.http.{kind}", **config}}


def option(name: int, state: str = "STATE_PREBIND") -> Any:
    return [{"level": 1, "name": name, "int_value": 1, "state": state}]


def grpc(cluster: str) -> Any:
    service = {"envoy_grpc": {"cluster_name": cluster}}
    return {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}


def from_server() -> Any:
    return {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": grpc("control"),
    }


def control() -> Any:
    kind = f"{TYPE}.upstreams.http.v3.HttpProtocolOptions"
    options = {"@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
    member = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    return {
        "name": "control",
        "type": "STATIC",
        "typed_extension_protocol_options": {name: options},
        "load_assignment": {"cluster_name": "control", "endpoints": [member]},
    }


FREE = Limits()


@dataclass(frozen=True)
class Case:
    """A way of Envoy's to end at its start.

    Args:
        why: what the headline says, without the place.
        at: what the line has that it names, "" if it names none.
        listeners: the static listeners.
        more: what else the config has.
        args: further arguments.
        limits: what Envoy may do.
        taken: whether another process listens on the port.
        refused: whether validation says the same.
        code: the exit status.
    """

    why: str
    at: str = ""
    listeners: tuple[Any, ...] = (listener(),)
    more: dict[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    limits: Limits = FREE
    taken: bool = False
    refused: bool = False
    code: int = 1


ELSEWHERE = (listener(host="192.0.2.1"),)
NOT_LOCAL = f"cannot bind '192.0.2.1:{PORT}': Cannot assign requested address"
IN_USE = f"cannot bind '127.0.0.1:{PORT}': Address already in use"
FIELD = (listener(no_such=1),)
NO_FIELD = "static_resources.listeners[0]: no such field: 'no_such'"
JSON_LOG = {"application_log_config": {"log_format": {"json_format": {"L": "%l", "M": "%j"}}}}
TEXT_LOG = {"application_log_config": {"log_format": {"text_format": "%v"}}}
ISTIO = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
ORDINARY = Limits(uid=USER, capabilities=())

CASES = {
    "field": Case(NO_FIELD, '"no_such": 1', FIELD, refused=True),
    "enum": Case("unknown enum value: 'ASIDE'", "ASIDE", (listener(traffic_direction="ASIDE"),),
                 refused=True),
    "constraint": Case(
        "static_resources.listeners[20].address.socket_address.port_value: value must be less than "
        "or equal to 65535",
        "70000",
        (*(listener(f"l{n}", port=11000 + n) for n in range(20)), listener(port=70000)),
        refused=True,
    ),
    "type": Case(
        f"could not find @type '{TYPE}.no.Such'", "no.Such",
        (listener(filter_chains=[
            {"filters": [{"name": "x", "typed_config": {"@type": f"{TYPE}.no.Such"}}]}]),),
        refused=True,
    ),
    "extension": Case(
        "Didn't find a registered implementation for 'envoy.absent' with type URL: ''",
        "envoy.absent", (listener(listener_filters=[{"name": "envoy.absent"}]),), refused=True,
    ),
    "host": Case("malformed IP address: not-an-ip", "not-an-ip", (listener(host="not-an-ip"),),
                 refused=True),
    "cluster": Case(
        "route: unknown cluster 'absent'", '"cluster": "absent"',
        (http(validate_clusters=True,
              virtual_hosts=route({"prefix": "/"}, route={"cluster": "absent"})),),
        refused=True,
    ),
    "regex": Case(
        "missing ): (abc", '"regex": "(abc"',
        (http(virtual_hosts=route({"safe_regex": {"regex": "(abc"}},
                                  direct_response={"status": 200}),
              ),),
        refused=True,
    ),
    "script": Case(
        "script load error: [string \"function ((\"]:1: '<name>' expected near '('", "function ((",
        (http(http_filter("lua.v3.Lua", default_source_code={"inline_string": "function (("})),),
        refused=True,
    ),
    "plugin": Case(
        "Unable to create Wasm plugin (Missing or unknown Proxy-Wasm ABI version)", "",
        (http(http_filter("wasm.v3.Wasm", config={"vm_config": {
            "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"inline_string": "none"}}}})),),
        refused=True,
    ),
    "certificate": Case("No TLS certificates found for server context", "", (tls({}),),
                        refused=True),
    "key": Case(
        "Failed to load incomplete private key from path: /nowhere/key.pem", "/nowhere/key.pem",
        (tls({"tls_certificates": [{"certificate_chain": {"filename": "/nowhere/chain.pem"},
                                    "private_key": {"filename": "/nowhere/key.pem"}}]}),),
        refused=True,
    ),
    "file": Case(
        "paths must refer to an existing path in the system: '/nowhere/lds.yaml' does not exist",
        "/nowhere/lds.yaml", (),
        {**NODE, "dynamic_resources": {"lds_config": {
            "resource_api_version": "V3", "path_config_source": {"path": "/nowhere/lds.yaml"}}}},
    ),
    "log_file": Case("unable to open file '/nowhere/a.log': No such file or directory",
                     "/nowhere/a.log", (listener(access_log=[{"name": "f", "typed_config": {
                         "@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog",
                         "path": "/nowhere/a.log"}}]),), refused=True),
    "node": Case(
        "ads: node 'id' and 'cluster' are required. Set it either in 'node' config or via "
        "--service-node and --service-cluster options.", "",
        more={"dynamic_resources": {"ads_config": grpc("control")},
              "static_resources": {"clusters": [control()]}}, refused=True,
    ),
    "layer": Case("Duplicate layer name: twice", "twice", more={"layered_runtime": {"layers": [
        {"name": "twice", "static_layer": {}}, {"name": "twice", "static_layer": {}}]}},
        refused=True),
    "same_address": Case(
        "error adding listener: 'other' has duplicate address '127.0.0.1:10000' as existing "
        "… with other listeners or 'enable_reuse_port' is set to 'false' for the "
        "listener", '"name": "other"', (listener(), listener("other")), refused=True,
    ),
    "no_chain": Case(f"error adding listener '127.0.0.1:{PORT}': no filter chains specified",
                     '"name": "in"', (listener(filter_chains=[]),), refused=True),
    "elsewhere": Case(NOT_LOCAL, '"name": "in"', ELSEWHERE),
    "in_use": Case(IN_USE, '"name": "in"', taken=True),
    "admin_in_use": Case(
        IN_USE, "admin", (),
        {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": PORT}}}},
        taken=True,
    ),
    "privileged": Case("cannot bind '127.0.0.1:80': Permission denied", '"name": "in"',
                       (listener(port=80),), limits=ORDINARY),
    "option": Case(
        "listener 'in': Setting socket options failed (SOL_SOCKET/9999: Protocol not available)",
        '"name": "in"', (listener(socket_options=option(9999)),),
    ),
    "option_when_bound": Case(
        "listener 'in': Setting socket options failed (SOL_SOCKET/9999: Protocol not available)",
        '"name": "in"', (listener(socket_options=option(9999, "STATE_BOUND")),),
    ),
    "transparent": Case(
        "listener 'in': Setting socket options failed (IPPROTO_IP/IP_TRANSPARENT: Operation not "
        "permitted)", '"name": "in"', (listener(transparent=True),), limits=ORDINARY,
    ),
    "directory": Case(
        "cannot bind '/nowhere/in.sock': No such file or directory", '"name": "in"',
        ({**listener(), "address": {"pipe": {"path": "/nowhere/in.sock"}}},),
    ),
    "argument": Case("--no-such -- Couldn't find match for argument", args=("--no-such",)),
    "log_level": Case("error: invalid log level specified 'loud'", args=("-l", "loud")),
    "log_path": Case("Failed to open log-file '/nowhere/x.log'. e.what(): unable to open file "
                     "'/nowhere/x.log': No such file or directory",
                     args=("--log-path", "/nowhere/x.log")),
    "validated": Case("configuration '${rundir}/envoy.yaml' OK", args=("--mode", "validate"),
                      code=0),
    "secondary": Case(
        "Skipping initialization of secondary cluster: Unknown gRPC client cluster 'absent'",
        "absent", more={**NODE, "cluster_manager": {"load_stats_config": grpc("absent")}}, code=0,
    ),
    "health_service": Case(
        "Skipping initialization of HDS cluster: Unknown gRPC client cluster 'absent'",
        "absent", more={**NODE, "hds_config": grpc("absent")}, code=0,
    ),
}  # fmt: skip
#: What else a config has, and further arguments, by the form and the place of the log.
LOGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "json": (JSON_LOG, ()),
    "text": (TEXT_LOG, ()),
    "bare": ({}, ("--log-format", "%v")),
    "json_by_argument": ({}, ("--log-format", '{"severity":"%l","msg":"%j"}')),
    "istio": ({}, ("--log-format", ISTIO)),
    "off": ({}, ("-l", "off")),
    "critical": ({}, ("-l", "critical")),
    "trace": ({}, ("-l", "trace")),
    "fine_grain": ({}, ("--enable-fine-grain-logging",)),
    "file": ({}, ("--log-path", "${rundir}/logs/own.log")),
}
for log, (fields, words) in LOGS.items():
    for of in ("field", "elsewhere"):
        CASES[f"{of}_log_{log}"] = dataclasses.replace(CASES[of], more=fields, args=words)


def plan_of(case: Case, version: str, tmp_path: Path) -> RunPlan:
    """Return the run of a case, its config in a file of a field per line."""
    admin = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}}
    config = {**admin, "static_resources": {"listeners": list(case.listeners)}, **case.more}
    (tmp_path / "envoy.yaml").write_text(json.dumps(config, indent=1))
    envoy = {"config": "envoy.yaml", "version": version, "args": list(case.args)}
    text = yaml.safe_dump({"name": "one", "envoy": envoy, "expect": [{"process": {"live": True}}]})
    loaded = parse_scenario(
        text, tmp_path / "one.yaml", read_config=lambda name: (tmp_path / name).read_text()
    )
    (plan,) = expand(loaded)
    return plan


def spec_of(plan: RunPlan, limits: Limits = FREE) -> LaunchSpec:
    return LaunchSpec(
        source_of(plan), plan.config_text(), args=plan.args, admin=plan.admin, limits=limits
    )


def outcome_of(case: Case, plan: RunPlan) -> Outcome:
    with ProcessLauncher() as launcher:
        rundir = launcher.rundir()
        plan = plan.in_rundir(rundir)
        launcher.prepare(source_of(plan))
        taken = launcher.in_netns(lambda: socket.create_server(("127.0.0.1", PORT)))
        with taken:
            if not case.taken:
                taken.close()
            with launcher.start(spec_of(plan, case.limits)) as envoy:
                outcome = envoy.wait_ready()
    log = tuple(line.replace(rundir, "${rundir}") for line in outcome.log_tail)
    return dataclasses.replace(outcome, log_tail=log)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_reason_is_envoys_own_at_its_line(
    name: str, version: str, tmp_path: Path, run_root: Path
) -> None:
    case = CASES[name]
    plan = plan_of(case, version, tmp_path)
    run_root.parent.chmod(0o755)  # an ordinary user enters it
    outcome = outcome_of(case, plan)
    early = " before it was live" if case.code == 0 else ""
    ended = why_ended(outcome, blame(plan))
    assert ended.startswith(f"ended with status {case.code}{early}: {case.why}")
    place = re.fullmatch(r" \((?:\w+ \S+, )?(\S+):(\d+):\d+\)", ended.partition(case.why)[2])
    assert bool(place) is bool(case.at), ended
    if place:
        line = Path(place[1]).read_text().splitlines()[int(place[2]) - 1 :][:2]
        assert case.at in "\n".join(line)
    assert "goo.gle" not in "\n".join(said_lines(outcome))
    if case.refused:
        refused = validate_config(source_of(plan), plan.config_text(), args=plan.args)
        assert refused.exit_code == 1
        assert cause(refused) == cause(outcome)


def slow() -> Any:
    return {"name": "slow", "type": "EDS", "eds_cluster_config": {"eds_config": from_server()}}


SECRET = {"tls_certificate_sds_secret_configs": [{"name": "key", "sds_config": from_server()}]}
RTDS = {"name": "layer", "rtds_layer": {"name": "layer", "rtds_config": from_server()}}
#: The listener, further clusters and fields of a config, and what Envoy waits for.
WAITS: dict[str, tuple[Any, list[Any], dict[str, Any], str]] = {
    "cluster": (listener(), [slow()], {}, "cluster slow"),
    "secret": (tls(SECRET), [], {}, "secret key of listener in"),
    "clusters": (
        listener(),
        [],
        {"dynamic_resources": {"cds_config": from_server()}},
        "the clusters of CDS",
    ),
    "listeners": (
        listener(),
        [],
        {"dynamic_resources": {"lds_config": from_server()}},
        "the listeners of LDS",
    ),
    "runtime": (listener(), [], {"layered_runtime": {"layers": [RTDS]}}, "the runtime of RTDS"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", WAITS)
def test_envoy_that_initialises_says_what_it_waits_for(
    name: str, version: str, tmp_path: Path, run_root: Path
) -> None:
    first, clusters, more, waits = WAITS[name]
    resources = {"listeners": [first], "clusters": [control(), *clusters]}
    case = Case("", more={**NODE, "static_resources": resources, **more})
    plan = plan_of(case, version, tmp_path)
    with ProcessLauncher() as launcher:
        plan = plan.in_rundir(launcher.rundir())
        spec = dataclasses.replace(spec_of(plan), deadline_s=1.0)
        with launcher.start(spec) as envoy:
            late = envoy.wait_ready()
            assert (late.live, late.running, late.waits_for) == (False, True, (waits,))
            assert envoy.admin_get("/quitquitquit", "POST")[0] == 200
            end = envoy.exited(5)
            assert end is not None
            outcome = dataclasses.replace(late, exit_code=end.exit_code)
    assert why_ended(outcome) == f"ended with status 0 before it was live, waiting for {waits}"


def blocked(tmp_path: Path) -> tuple[Case, Path]:
    """Return a config whose first certificate is a pipe: Envoy waits in the middle of its start."""
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    chain = {"certificate_chain": {"filename": str(pipe)}, "private_key": {"inline_string": "k"}}
    return Case("", listeners=(tls({"tls_certificates": [chain]}),)), pipe


def is_read(pipe: Path, held: contextlib.ExitStack) -> bool:
    """Whether someone has opened a pipe to read it; it is held open for them then."""
    try:
        held.callback(os.close, os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGABRT])
def test_crash_at_start_is_no_refusal(
    fault: signal.Signals, version: str, tmp_path: Path, run_root: Path
) -> None:
    case, pipe = blocked(run_root.parent)  # where Envoy's user may read it
    plan = plan_of(case, version, tmp_path)
    with ProcessLauncher() as launcher, contextlib.ExitStack() as held:
        plan = plan.in_rundir(launcher.rundir())
        with launcher.start(spec_of(plan)) as envoy:
            assert wait_until(lambda: is_read(pipe, held))
            os.kill(envoy.pid, fault)
            outcome = envoy.wait_ready()
    ended = why_ended(outcome, blame(plan))
    assert ended.startswith(f"was killed by {fault.name}: Caught ")
    assert ended.count("(") == 0


@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_crash_while_validating_is_called_one(
    fault: signal.Signals, tmp_path: Path, run_root: Path
) -> None:
    case, pipe = blocked(run_root.parent)  # where Envoy's user may read it
    plan_of(case, VERSION, tmp_path)
    scenario = {
        "name": "one",
        "envoy": {"config": "envoy.yaml", "version": VERSION},
        "expect": [{"process": {"live": True}}],
    }
    (tmp_path / "one.yaml").write_text(json.dumps(scenario))
    words = [sys.executable, "-m", "envoyassert", "check", "--validate", "one.yaml"]
    with (
        contextlib.ExitStack() as held,
        subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as done,
    ):
        assert wait_until(lambda: is_read(pipe, held), timeout_s=30)
        (envoy,) = [pid for pid in and_descendants(done.pid) if is_envoy(pid)]
        os.kill(envoy, fault)
        printed, _ = done.communicate(timeout=30)
    verb = "was killed" if fault is signal.SIGKILL else "crashed"
    assert done.returncode == 4
    assert f"error: Envoy {verb} ({fault.name}) while it validated the config of one" in printed
    assert "refuses" not in printed


def is_envoy(pid: int) -> bool:
    return b"--mode" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
