"""Record what Envoy does while it is updated, drained, exhausted or restarted.

    sudo python tests/traces/regressions/record.py [NAME …]

runs every recording below, or those that are named, and writes NAME.ndjson.gz next to this file,
with the run directory and the place of Envoy replaced by fixed ones.
"""

from __future__ import annotations

import dataclasses
import gzip
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import RUN_ID_VARIABLE, Probe
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import as_text
from envoyassert.trace_file import closed, trace_lines

HERE = Path(__file__).parent
DEADLINE_S = 20.0
PAUSE_S = 0.1
SETTLED_S = 0.3
SPIN_S = 0.002
PORT = 15006
ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}
TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"


def listener(port: int = PORT, name: str = "ingress", **fields: Any) -> dict[str, Any]:
    """Return a listener that echoes."""
    place = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    echo = {"filters": [ECHO]}
    return {"@type": TYPE, "name": name, "address": place, "filter_chains": [echo], **fields}


def address(port: int) -> dict[str, Any]:
    """Return one of `additional_addresses`."""
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def other_filter(**fields: Any) -> dict[str, Any]:
    """Return the listener with another filter chain, which is changed in place."""
    chain = {"name": "other", "filters": [ECHO]}
    return listener(**{"filter_chains": [chain], **fields})


def udp(port: int = 10000) -> dict[str, Any]:
    """Return a listener that passes datagrams on."""
    kind = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3"
    route = {"name": "route", "typed_config": {"@type": f"{kind}.Route", "cluster": "upstream"}}
    proxy = {
        "@type": f"{kind}.UdpProxyConfig",
        "stat_prefix": "udp",
        "matcher": {"on_no_match": {"action": route}},
    }
    place = {"protocol": "UDP", "address": "127.0.0.1", "port_value": port}
    return {
        "name": "datagrams",
        "address": {"socket_address": place},
        "listener_filters": [
            {"name": "envoy.filters.udp_listener.udp_proxy", "typed_config": proxy}
        ],
    }


CLUSTER = {
    "name": "upstream",
    "type": "STATIC",
    "load_assignment": {
        "cluster_name": "upstream",
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": {
                                "socket_address": {
                                    "protocol": "UDP",
                                    "address": "127.0.0.1",
                                    "port_value": 10001,
                                }
                            }
                        }
                    }
                ]
            }
        ],
    },
}
#: A cluster whose endpoints do not come: listeners wait for it before they listen.
SLOW = [
    {
        "name": "pending",
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "resource_api_version": "V3",
                "initial_fetch_timeout": "1s",
                "api_config_source": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "upstream"}}],
                },
            }
        },
    },
    {
        **CLUSTER,
        "http2_protocol_options": {},
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": "127.0.0.1", "port_value": 1}
                                }
                            }
                        }
                    ]
                }
            ],
        },
    },
]
#: TCP and UDP on one port, and a parent that lives on for long.
RESTARTED = {
    "static": [listener(), udp(PORT)],
    "clusters": [CLUSTER],
    "args": ["--parent-shutdown-time-s", "30"],
}
#: The same of TCP, in another network namespace.
FAR = listener()
FAR["address"]["socket_address"]["network_namespace_filepath"] = "${rundir}/netns/blue"


class Recording:
    """A traced Envoy with listeners from a file that it watches.

    Args:
        run: the run.
    """

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self._version = 1
        self.child: subprocess.Popen[bytes] | None = None
        self.held: list[socket.socket] = []

    def push(self, *listeners: dict[str, Any]) -> None:
        """Put other listeners into the file, and wait until Envoy has taken or refused them."""
        before = self._updates()
        self._version += 1
        watched = Path(
            self.run.plan.config["dynamic_resources"]["lds_config"]["path_config_source"]["path"]
        )
        new = watched.with_suffix(".new")
        new.write_text(as_text({"version_info": str(self._version), "resources": listeners}))
        new.rename(watched)
        self.until(lambda: self._updates() > before)
        # Workers take their time to confirm: settled is what does not change any more.
        self.until(self._settled)

    def _settled(self) -> bool:
        """Return whether nothing drains, and the counters of listeners stand still for a while."""
        _, before = self.run.admin_get("/stats?filter=^listener_manager")
        time.sleep(SETTLED_S)
        _, after = self.run.admin_get("/stats?filter=^listener_manager")
        return before == after and self.stat("listener_manager.total_listeners_draining") == 0

    def _updates(self) -> int:
        return sum(
            self.stat(f"listener_manager.lds.update_{result}") for result in ("success", "rejected")
        )

    def stat(self, name: str) -> int:
        """Return a counter or a gauge."""
        _, text = self.run.admin_get(f"/stats?filter=^{name}$")
        return int(text.rpartition(":")[2] or 0)

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not done():
            if time.monotonic() > deadline_s:
                raise SystemExit(f"not done within {DEADLINE_S} s\n{self.run.log()[-2000:]}")
            time.sleep(PAUSE_S)

    def post(self, path: str) -> None:
        """Ask the admin endpoint to do something."""
        status, body = self.run.admin_get(path, "POST")
        if status != 200:
            raise SystemExit(f"{path}: {status} {body}")

    def connect(self, number: int, port: int = PORT) -> list[socket.socket]:
        """Hold so many connections, each answered."""

        def opened() -> list[socket.socket]:
            made = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(number)]
            for one in made:
                one.sendall(b"x")
                one.recv(1)
            return made

        return self.run.in_netns(opened)

    def start(self, *args: str, **options: str) -> subprocess.Popen[bytes]:
        """Start another Envoy of the same run, with other options and further arguments."""
        command = Path(f"/proc/{self.run.pid}/cmdline").read_text().split("\0")[:-1]
        for option, value in options.items():
            command[command.index(f"--{option}" if option[1:] else f"-{option}") + 1] = value
        mark = {RUN_ID_VARIABLE: self.run._arm.run_id}
        self.child = self.run.in_netns(
            lambda: subprocess.Popen(
                [*command, *args],
                env=mark,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return self.child

    def hot_restart(self, concurrency: int = 2) -> None:
        """Start the next epoch, and wait until the first has closed its listeners."""
        self.start("--restart-epoch", "1", concurrency=str(concurrency))
        self.until(lambda: self._epoch() == 1)
        self.until(lambda: self.stat("server.state") == 0)
        self.until(lambda: self._listening(self.run.pid) == 0)

    def same_again(self) -> None:
        """Start a second Envoy with the same base id, and wait for its end."""
        self.start().wait(DEADLINE_S)

    def twin(self) -> None:
        """Start a second Envoy with an admin port and a base id of its own."""
        command = Path(f"/proc/{self.run.pid}/cmdline").read_text().split("\0")
        own = Path(command[command.index("-c") + 1])
        config = own.with_name("twin.yaml")
        config.write_text(own.read_text().replace("9901", "9902"))
        pid = self.start("--base-id", "1", c=str(config)).pid
        # The admin endpoint, and a socket for each worker.
        self.until(lambda: self._listening(pid) == 1 + self.run.plan.workers)

    def _epoch(self) -> int:
        try:
            return self.stat("server.hot_restart_epoch")
        except OSError:
            return -1

    def _listening(self, pid: int) -> int:
        """Return how many listening sockets a process holds."""
        held = {
            str(link.readlink())[8:-1]
            for link in Path(f"/proc/{pid}/fd").iterdir()
            if "socket:" in str(link.readlink())
        }
        rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        return sum(row.split()[9] in held for row in rows if row.split()[3] == "0A")

    def exhaust(self) -> None:
        """Let connections come while there is no descriptor left, for a moment."""
        used = len(list(Path(f"/proc/{self.run.pid}/fd").iterdir()))
        before = resource.prlimit(self.run.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.run.pid, resource.RLIMIT_NOFILE, (used, before[1]))

        def opened() -> list[socket.socket]:
            return [socket.create_connection(("127.0.0.1", PORT), 5) for _ in range(2)]

        self.held = self.run.in_netns(opened)
        time.sleep(SPIN_S)
        resource.prlimit(self.run.pid, resource.RLIMIT_NOFILE, before)


def record(name: str, probe: Probe) -> None:
    """Make one recording."""
    version, envoy, listeners, act = RECORDINGS[name]
    static = envoy.get("static", ())
    data = {
        "name": name,
        "requires": {"launcher": "process"},
        "envoy": {
            "netns": envoy.get("netns", []),
            "version": version,
            "args": ["--drain-time-s", "1", *envoy.get("args", [])],
            "concurrency": 2,
            "config": {
                "node": {"id": "node", "cluster": "cluster"},
                "admin": {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
                },
                **(
                    {}
                    if not listeners
                    else {
                        "dynamic_resources": {
                            "lds_config": {
                                "resource_api_version": "V3",
                                "path_config_source": {"path": "${rundir}/lds.yaml"},
                            }
                        }
                    }
                ),
                "static_resources": {
                    "listeners": [
                        {key: value for key, value in one.items() if key != "@type"}
                        for one in static
                    ],
                    "clusters": envoy.get("clusters", []),
                },
            },
            "files": {"lds.yaml": {"version_info": "1", "resources": listeners}},
        },
        "expect": [{"process": {"live": True}}],
    }
    text = as_text(data)
    (plan,) = expand(
        parse_scenario(text, HERE / f"{name}.yaml"), envoys=[parse_envoy_argument(version)]
    )
    with (
        choose_launcher("process", source_of(plan)) as launcher,
        LiveRun(plan, probe, launcher) as run,
    ):
        recording = Recording(run)
        try:
            act(recording)
            trace = run.trace()
        finally:
            if recording.child is not None:
                recording.child.terminate()
                recording.child.wait(DEADLINE_S)
        rundir = trace.header.rundir
    # Of an edited trace the kernel and Envoy would say something else.
    header = dataclasses.replace(trace.header, tracer="")
    trace = dataclasses.replace(trace, header=header, witness=None)
    clean = "\n".join(list(trace_lines(trace))[:-1]).replace(rundir, "/tmp/envoyassert-run")
    for place in {event.args["filename"] for event in trace.events if event.call == "exec"}:
        clean = clean.replace(str(Path(place).parents[1]), "/opt/envoy")
    # Without a name and a time the same text is the same file.
    with (
        (HERE / f"{name}.ndjson.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped,
    ):
        zipped.writelines(f"{line}\n".encode() for line in closed(clean.split("\n"), trace))
    print(f"{name}: {len(trace.events)} events")


def in_place(recording: Recording) -> None:
    recording.push(other_filter())
    recording.push()
    recording.push(listener())


def changed_options(recording: Recording) -> None:
    option = {"level": 1, "name": 9, "int_value": 1, "state": "STATE_PREBIND"}
    recording.push(listener(socket_options=[option]))


def full_update(recording: Recording) -> None:
    recording.push(listener(stat_prefix="other"))


def removed(recording: Recording) -> None:
    recording.push()


RECORDINGS: dict[
    str, tuple[str, dict[str, Any], list[dict[str, Any]], Callable[[Recording], object]]
] = {
    "lds_in_place_and_back": ("1.40.0", {}, [listener()], in_place),
    "lds_full_update": ("1.40.0", {}, [listener()], full_update),
    "lds_removed": ("1.40.0", {}, [listener()], removed),
    "lds_options": ("1.40.0", {}, [listener()], changed_options),
    "lds_address_changed": ("1.40.0", {}, [listener()], lambda r: r.push(listener(15007))),
    "lds_address_added": (
        "1.40.0",
        {},
        [listener()],
        lambda r: r.push(listener(additional_addresses=[address(15007)])),
    ),
    "lds_address_added_shared": (
        "1.40.0",
        {},
        [listener(enable_reuse_port=False)],
        lambda r: r.push(listener(enable_reuse_port=False, additional_addresses=[address(15007)])),
    ),
    "lds_same_again": ("1.40.0", {}, [listener()], lambda r: r.push(listener())),
    "lds_virtual": (
        "1.40.0",
        {},
        [listener(15001, "outbound"), listener(bind_to_port=False)],
        lambda r: r.push(
            listener(15001, "outbound"), listener(bind_to_port=False, stat_prefix="other")
        ),
    ),
    "lds_unbound": (
        "1.40.0",
        {},
        [listener()],
        lambda r: r.push(listener(bind_to_port=False, stat_prefix="other")),
    ),
    "lds_rebound": ("1.40.0", {}, [listener(bind_to_port=False)], lambda r: r.push(listener())),
    "drained": ("1.40.0", {}, [listener()], lambda r: r.post("/drain_listeners")),
    "started": ("1.40.0", {"static": [listener()]}, [], lambda _: None),
    "started_shared": (
        "1.40.0",
        {"static": [listener(enable_reuse_port=False)]},
        [],
        lambda _: None,
    ),
    "started_option_refused": (
        "1.40.0",
        {
            "static": [
                listener(
                    socket_options=[
                        {"level": 6, "name": 9999, "int_value": 1, "state": "STATE_LISTENING"}
                    ]
                )
            ]
        },
        [],
        lambda _: None,
    ),
    "started_twice_named": (
        "1.40.0",
        {"static": [listener(), listener(15007)]},
        [],
        lambda _: None,
    ),
    "started_address_options": (
        "1.40.0",
        {
            "static": [
                listener(
                    additional_addresses=[
                        {
                            **address(15007),
                            "socket_options": {
                                "socket_options": [
                                    {
                                        "level": 6,
                                        "name": 1,
                                        "int_value": 1,
                                        "state": "STATE_PREBIND",
                                    }
                                ]
                            },
                        }
                    ]
                )
            ]
        },
        [],
        lambda _: None,
    ),
    "started_ipv6": (
        "1.40.0",
        {
            "static": [
                {
                    **listener(),
                    "address": {
                        "socket_address": {"address": "::", "port_value": PORT, "ipv4_compat": True}
                    },
                }
            ]
        },
        [],
        lambda _: None,
    ),
    "started_unix": (
        "1.40.0",
        {
            "static": [
                {
                    **listener(),
                    "address": {"pipe": {"path": "${rundir}/ingress.sock", "mode": 0o660}},
                }
            ]
        },
        [],
        lambda _: None,
    ),
    "started_backlog": (
        "1.40.0",
        {"static": [listener(tcp_backlog_size=1024)]},
        [],
        lambda _: None,
    ),
    "lds_port_taken": (
        "1.40.0",
        {},
        [listener()],
        lambda r: r.push(listener(), listener(9901, "other")),
    ),
    "started_warming": ("1.40.0", {"static": [listener()], "clusters": SLOW}, [], lambda _: None),
    "drained_gracefully": (
        "1.40.0",
        {"static": [listener(), udp()], "clusters": [CLUSTER]},
        [],
        lambda r: r.post("/drain_listeners?graceful&skip_exit"),
    ),
    "exhausted": ("1.40.0", {"static": [listener()]}, [], Recording.exhaust),
    "base_id_taken": ("1.40.0", {"static": [listener()]}, [], Recording.same_again),
    "twins": ("1.40.0", {"static": [listener()]}, [], Recording.twin),
    "twins_port_zero": ("1.40.0", {"static": [listener(0)]}, [], Recording.twin),
    "hot_restart": ("1.40.0", RESTARTED, [], Recording.hot_restart),
    "hot_restart_more_workers": ("1.40.0", RESTARTED, [], lambda r: r.hot_restart(4)),
    "hot_restart_netns": (
        "1.40.0",
        {"static": [FAR], "netns": ["blue"], "args": RESTARTED["args"]},
        [],
        Recording.hot_restart,
    ),
    "connections": ("1.40.0", {}, [listener()], lambda r: r.connect(8)),
    "connections_balanced": (
        "1.40.0",
        {},
        [listener(connection_balance_config={"exact_balance": {}})],
        lambda r: r.connect(8),
    ),
}


def main(names: list[str]) -> None:
    """Make the recordings."""
    with Probe.load() as probe:
        for name in names or RECORDINGS:
            record(name, probe)


if __name__ == "__main__":
    main(sys.argv[1:])
