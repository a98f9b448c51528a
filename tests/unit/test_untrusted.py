"""What an untrusted scenario is refused, kind by kind, with its place, before anything is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import ScenarioError
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.scenario.harmless import FILE, messages
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.unit import harmless_messages

ROOT = Path(__file__).parents[2]
ECHO = '{name: e, typed_config: {"@type": t/envoy.extensions.filters.network.echo.v3.Echo}}'
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def address(host: str = "127.0.0.1", more: str = "") -> str:
    return f"{{socket_address: {{address: {host}, port_value: 10000{more}}}}}"


def listener(more: str = "", where: str = "") -> str:
    return f"static_resources: {{listeners: [{{name: a, address: {where or address()}{more}}}]}}"


def filtered(kind: str, more: str = "") -> str:
    typed = f'{{"@type": "{kind}"{more}}}'
    return listener(f", filter_chains: [{{filters: [{{name: f, typed_config: {typed}}}]}}]")


def logged(path: str) -> str:
    log = f'[{{name: l, typed_config: {{"@type": {FILE_LOG}, path: "{path}"}}}}]'
    return filtered(TCP_PROXY, f", stat_prefix: a, cluster: c, access_log: {log}")


def secured(certificate: str) -> str:
    chain = f'{{certificate_chain: {{filename: "{certificate}"}}}}'
    tls = f'{{"@type": {TLS}, common_tls_context: {{tls_certificates: [{chain}]}}}}'
    chains = f"[{{filters: [{ECHO}], transport_socket: {{name: t, typed_config: {tls}}}}}]"
    return listener(f", filter_chains: {chains}")


def cluster(host: str) -> str:
    endpoints = f"[{{lb_endpoints: [{{endpoint: {{address: {host}}}}}]}}]"
    return (
        "static_resources: {clusters: [{name: c, load_assignment: {cluster_name: c, "
        f"endpoints: {endpoints}}}}}]}}"
    )


def lds(path: str) -> str:
    return f'dynamic_resources: {{lds_config: {{path_config_source: {{path: "{path}"}}}}}}'


def scenario(
    directory: Path,
    *,
    config: str = "",
    envoy: str = "",
    head: str = "",
    steps: str = "",
    name: str = "s",
) -> Path:
    """Write a scenario: `head`, then `envoy` with the config in line 3."""
    text = f"name: {name}{head}\nenvoy:\n  config: {{{config}}}\n"
    text += "".join(f"  {line}\n" for line in envoy.splitlines())
    text += f"steps: [{steps}]\n" if steps else ""
    path = directory / f"{name}.yaml"
    path.write_text(text + "expect: [{process: {stays_up: true}}]\n")
    return path


def problems(path: Path, **more: Any) -> list[str]:
    """What is wrong with a scenario that is untrusted; what is trusted must be right."""
    assert expand(load_scenario(path), **more)
    try:
        expand(load_scenario(path, untrusted=True), **more)
    except ScenarioError as error:
        return [str(problem).removeprefix(f"{path}:") for problem in error.problems]
    return []


def refused(path: Path, **more: Any) -> str:
    """What is refused of a scenario: one thing, with its place and a remedy."""
    (problem,) = problems(path, **more)
    place, _, text = problem.partition(": error: the scenario is untrusted, and ")
    assert text, problem
    what, _, remedy = text.removesuffix(")").rpartition(" (")
    assert remedy, problem
    return f"{place} {what}"


PROCESS = "\nrequires: {launcher: process}"
ENVOYS = {
    "an executable": ({"envoy": "binary: ./envoy"}, "4:3 names an executable"),
    "an image": ({"envoy": "image: envoyproxy/envoy:v1.40.0"}, "4:3 names an image"),
    "executables of the matrix": (
        {"head": "\nmatrix: {binary: [./envoy]}"},
        "2:19 names an executable",
    ),
    "images of the matrix": (
        {"head": "\nmatrix: {image: ['a/b:1', 'a/b:2']}"},
        "2:18 names an image",
    ),
    "an agent": (
        {"envoy": "agent: [/bin/true]", "head": PROCESS},
        "5:3 names a program that starts Envoy",
    ),
}


@pytest.mark.parametrize(("parts", "refusal"), ENVOYS.values(), ids=ENVOYS)
def test_executable_image_and_agent_are_refused_unless_the_caller_names_the_envoy(
    tmp_path, parts, refusal
):
    path = scenario(tmp_path, **parts)
    assert refusal in {refused_of(one) for one in problems(path)}
    assert problems(path, envoys=[EnvoySource(binary="/usr/bin/envoy")]) == []


def refused_of(problem: str) -> str:
    place, _, text = problem.partition(": error: the scenario is untrusted, and ")
    return f"{place} {text.rpartition(' (')[0]}"


ARGUMENTS = {
    "a log": ("[--log-path, /tmp/log]", ["--log-path", "/tmp/log"]),
    "more config": ("['--config-yaml={}']", ["--config-yaml={}"]),
    "a socket": ("[--socket-path, '@x']", ["--socket-path", "@x"]),
    "what is unknown": ("[--made-up]", ["--made-up"]),
    "a value that is none": ("[--drain-time-s, '1', /etc/x]", ["/etc/x"]),
    "an argument instead of a value": ("[-l, --log-path, x]", ["--log-path", "x"]),
}


@pytest.mark.parametrize(("args", "those"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_envoy_that_are_not_known_are_refused(tmp_path, args, those):
    path = scenario(tmp_path, envoy=f"args: {args}")
    refusals = [refused_of(one).partition(" ")[2] for one in problems(path)]
    assert refusals == [f"gives Envoy the argument `{word}`" for word in those]


def test_arguments_of_another_envoy_are_refused(tmp_path):
    steps = "{name: other, start: {args: [--log-path, x]}}"
    path = scenario(tmp_path, head=PROCESS, steps=steps)
    assert refused_of(problems(path)[0]) == "5:38 gives Envoy the argument `--log-path`"


def test_known_arguments_are_taken(tmp_path):
    args = "[--drain-time-s, '1', --use-dynamic-base-id, -l, debug, --service-node=a]"
    assert problems(scenario(tmp_path, envoy=f"args: {args}")) == []


@pytest.mark.parametrize("name", ["LD_PRELOAD", "GCONV_PATH", "PATH", "MADE_UP"])
def test_variables_are_refused(tmp_path, name):
    path = scenario(tmp_path, envoy=f"env: {{{name}: x}}")
    assert refused(path) == f"4:9 sets the variable `{name}`"


def test_variables_of_istio_are_taken(tmp_path):
    assert problems(scenario(tmp_path, envoy="env: {POD_NAME: a, ISTIO_META_X: b}")) == []


NETNS = ", network_namespace_filepath: /proc/1/ns/net"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
STRUCT = "type.googleapis.com/xds.type.v3.TypedStruct"
BEYOND = "is not on the loopback"
OUTSIDE = "is not in the run directory"
UNKNOWN = "is not known to be harmless"
GRPC = "{google_grpc: {target_uri: 'unix:/run/x.sock', stat_prefix: a}}"
SERVER = "{api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: c}}]}"
BY_NAME = "envoy.reloadable_features.no_extension_lookup_by_name"
CONFIGS = {
    "an access log": (logged("/var/log/a"), f"`/var/log/a` {OUTSIDE}"),
    "an access log one up": (logged("../a"), f"`../a` {OUTSIDE}"),
    "an access log out of the run directory": (
        logged("${rundir}/../a"),
        f"`${{rundir}}/../a` {OUTSIDE}",
    ),
    "an access log beside the run directory": (
        logged("${rundir}beside/a"),
        f"`${{rundir}}beside/a` {OUTSIDE}",
    ),
    "a log that could be config": (
        logged("${rundir}/lds.yaml"),
        "`${rundir}/lds.yaml` would be written, and could be read as config",
    ),
    "a log over the socket of the control plane": (
        logged("${rundir}/xds/ads.sock"),
        "`${rundir}/xds/ads.sock` is not the scenario's to write to",
    ),
    "a log of the admin endpoint": (
        f"admin: {{address: {address()}, access_log_path: /etc/a}}",
        f"`/etc/a` {OUTSIDE}",
    ),
    "a log of outliers": (
        "cluster_manager: {outlier_detection: {event_log_path: /etc/a}}",
        f"`/etc/a` {OUTSIDE}",
    ),
    "camelCase": ("clusterManager: {outlierDetection: {eventLogPath: /a}}", f"`/a` {OUTSIDE}"),
    "a certificate": (secured("/etc/ssl/a.pem"), f"`/etc/ssl/a.pem` {OUTSIDE}"),
    "a Unix socket to listen on": (
        listener(where="{pipe: {path: /run/a.sock}}"),
        f"`/run/a.sock` {OUTSIDE}",
    ),
    "a Unix socket to connect to": (
        cluster("{pipe: {path: /run/docker.sock}}"),
        f"`/run/docker.sock` {OUTSIDE}",
    ),
    "a network namespace": (
        listener(where=address(more=NETNS)),
        "`/proc/1/ns/net` is a network namespace of this machine",
    ),
    "an address elsewhere": (cluster(address("192.0.2.1")), f"`192.0.2.1` {BEYOND}"),
    "a name to be resolved": (cluster(address("db.invalid")), f"`db.invalid` {BEYOND}"),
    "a script": (filtered(LUA, ", inline_code: x"), f"`{LUA.rpartition('/')[2]}` {UNKNOWN}"),
    "a type in a struct": (filtered(STRUCT), f"`xds.type.v3.TypedStruct` {UNKNOWN}"),
    "an extension without a type": (
        listener(", filter_chains: [{filters: [{name: f, typed_config: {}}]}]"),
        "an extension without a type",
    ),
    "extensions by their names": (
        f"layered_runtime: {{layers: [{{name: a, static_layer: {{{BY_NAME}: false}}}}]}}",
        f"`{BY_NAME}` {UNKNOWN}",
    ),
    "switches from a directory": (
        "layered_runtime: {layers: [{name: a, disk_layer: {symlink_root: x}}]}",
        f"`disk_layer` {UNKNOWN}",
    ),
    "a server that decides": (
        f"dynamic_resources: {{lds_config: {{api_config_source: {SERVER}}}}}",
        f"`api_config_source` {UNKNOWN}",
    ),
    "another client": (
        f"dynamic_resources: {{ads_config: {{api_type: GRPC, grpc_services: [{GRPC}]}}}}",
        f"`grpc_services` {UNKNOWN}",
    ),
    "a field of later": ("load_a_library: x", f"`load_a_library` {UNKNOWN}"),
    "config from a file that is not known": (lds("x.yaml"), "`x.yaml` is not known"),
    "config from a file of another form": (lds("/etc/x.pb"), f"`/etc/x.pb` {OUTSIDE}"),
}


@pytest.mark.parametrize(("config", "refusal"), CONFIGS.values(), ids=CONFIGS)
def test_config_says_only_what_is_known_to_be_harmless(tmp_path, config, refusal):
    path = scenario(tmp_path, config=config)
    found = refused(path)
    place, _, what = found.partition(" ")
    assert what == refusal
    line, _, column = place.partition(":")
    assert line == "3"
    assert int(column) > len("  config: ")


@pytest.mark.parametrize(
    "config",
    [
        logged("${rundir}/access.log"),
        logged("/dev/stdout"),
        listener(where=address("0.0.0.0")),
        listener(where=address("192.0.2.1")),
        listener(where="{pipe: {path: '@abstract'}}"),
        listener(where="{pipe: {path: a.sock}}"),
        listener(where="{pipe: {path: '${rundir}/a.sock'}}"),
        cluster(address("127.0.0.2")),
        cluster(address('"::1"')),
        cluster(address("localhost")),
        cluster("{pipe: {path: '${rundir}/a.sock'}}"),
        filtered(ECHO[ECHO.index("t/") : -2]),
    ],
)
def test_config_of_the_run_s_own_is_taken(tmp_path, config):
    assert problems(scenario(tmp_path, config=config)) == []


def test_address_that_the_run_s_own_network_is_given_is_taken(tmp_path):
    config = cluster(address("192.0.2.1"))
    path = scenario(tmp_path, config=config, head=PROCESS, envoy="addresses: [192.0.2.1%eth0]")
    assert problems(path) == []


def test_what_stands_in_for_a_file_of_this_machine_is_taken(tmp_path):
    path = scenario(
        tmp_path, config=secured("/etc/a.pem"), envoy="stand_in: {/etc/a.pem: certificate}"
    )
    assert problems(path) == []


def test_servers_that_are_answered_with_nothing_are_taken(tmp_path):
    config = CONFIGS["a server that decides"][0]
    assert problems(scenario(tmp_path, config=config, envoy="control_plane: empty")) == []


LOG = f"access_log: [{{name: x, typed_config: {{'@type': {FILE_LOG}, path: /etc/a}}}}]"
GOOD = f"{{name: a, address: {address()}}}"
BAD = f"{{name: a, address: {address()}, {LOG}}}"
OVERLAY = f"{{static_resources: {{listeners: {{a: {{{LOG}}}}}}}}}"
RESOURCE = f"{{'@type': t/envoy.config.listener.v3.Listener, {BAD[1:]}"
PARTS = {
    "an overlay": {"config": listener(), "envoy": f"overlay: {OVERLAY}"},
    "an axis": {"config": listener(), "head": f"\nmatrix: {{logs: {{some: {OVERLAY}}}}}"},
    "a control plane by gRPC": {"envoy": f"xds: {{listeners: [{BAD}]}}"},
    "a control plane by a file": {"envoy": f"xds: {{via: file, listeners: [{BAD}]}}"},
    "an update": {
        "envoy": f"xds: {{listeners: [{GOOD}]}}",
        "steps": f"update_listeners: {{change: {{a: {{{LOG}}}}}}}",
    },
    "another Envoy": {
        "config": listener(),
        "head": PROCESS,
        "steps": f"{{name: b, start: {{overlay: {OVERLAY}}}}}",
    },
    "a file of the scenario": {
        "config": lds("${rundir}/x.yaml"),
        "envoy": f"files: {{x.yaml: {{resources: [{RESOURCE}]}}}}",
    },
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_config_is_looked_at_wherever_it_comes_from(tmp_path, parts):
    path = scenario(tmp_path, **parts)
    place, _, what = refused(path).partition(" ")
    assert what == f"`/etc/a` {OUTSIDE}"
    line, column = map(int, place.split(":"))
    assert path.read_text().splitlines()[line - 1][column - 1 :].startswith("path: /etc/a")


def test_files_that_a_step_replaces_are_looked_at(tmp_path):
    content = json.dumps({"resources": [{"@type": LUA}]})
    step = f"replace_file: {{path: '${{rundir}}/x.yaml', content: {content!r}}}"
    envoy = "files: {x.yaml: {resources: []}}"
    path = scenario(tmp_path, config=lds("x.yaml"), envoy=envoy, steps=step)
    assert refused(path).endswith(f"`{LUA.rpartition('/')[2]}` {UNKNOWN}")


@pytest.mark.parametrize("envoy", ["xds: {}", "xds: {via: file}"])
@pytest.mark.parametrize("key", ["static_resources", "staticResources"])
def test_server_of_the_run_is_not_replaced(tmp_path, key, envoy):
    config = (
        f"{key}: {{clusters: [{{name: envoyassert_xds, type: STATIC, "
        "load_assignment: {cluster_name: envoyassert_xds}}]}"
    )
    path = scenario(tmp_path, config=config, envoy=envoy)
    assert refused(path).endswith("takes the name `envoyassert_xds`")


@pytest.mark.parametrize("value", ["text", "1", "[1]", "{clusters: text}", "{clusters: [text]}"])
def test_part_of_a_config_that_is_no_mapping_is_a_problem_and_no_fault(tmp_path, value):
    path = scenario(tmp_path, config=f"static_resources: {value}")
    assert any("untrusted" in problem for problem in problems(path))


def test_part_of_another_envoy_s_config_that_is_no_mapping_is_one_too(tmp_path):
    steps = "{name: b, start: {overlay: {static_resources: text}}}"
    path = scenario(tmp_path, envoy=f"xds: {{listeners: [{GOOD}]}}", head=PROCESS, steps=steps)
    assert any("untrusted" in problem for problem in problems(path))


def test_of_many_refusals_the_first_are_reported(tmp_path):
    names = ", ".join(f"NAME_{number}: x" for number in range(150))
    found = problems(scenario(tmp_path, envoy=f"env: {{{names}}}"))
    assert len(found) == 101
    assert found[-1].endswith("error: 50 more problems (these are the first)")


def test_config_file_keeps_its_place(tmp_path):
    (tmp_path / "envoy.yaml").write_text("static_resources: {}\nload_a_library: x\n")
    path = scenario(tmp_path)
    path.write_text(path.read_text().replace("config: {}", "config: envoy.yaml"))
    (problem,) = problems(path)
    assert problem.startswith(f"{tmp_path}/envoy.yaml:2:1: error: the scenario is untrusted, and ")


def test_answer_beside_the_config_is_looked_at_and_keeps_its_place(tmp_path):
    (tmp_path / "lds.yaml").write_text(f"resources:\n- '@type': {LUA}\n")
    (problem,) = problems(scenario(tmp_path, config=lds("lds.yaml")))
    assert problem.startswith(f"{tmp_path}/lds.yaml:2:3: error: the scenario is untrusted, and ")


@pytest.mark.parametrize(
    "text", ["resources: []\nresources: []\n", "!ignore resources: []\n", "--- {}\n--- {}\n"]
)
def test_answer_that_readers_could_read_in_two_ways_is_refused(tmp_path, text):
    (tmp_path / "lds.yaml").write_text(text)
    (problem,) = problems(scenario(tmp_path, config=lds("lds.yaml")))
    assert ": error: the scenario is untrusted, and `lds.yaml` cannot be read: " in problem


@pytest.fixture
def folder(tmp_path):
    """The folder of a scenario, with a secret beside it."""
    (tmp_path / "secret.yaml").write_text("resources: []\n")
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def link(folder: Path, name: str = "link.yaml") -> None:
    (folder / name).symlink_to(folder.parent / "secret.yaml")


@pytest.mark.parametrize("name", ["../secret.yaml", "link.yaml", "up/secret.yaml"])
def test_files_and_links_outside_of_the_folder_are_refused(folder, name):
    link(folder)
    (folder / "up").symlink_to(folder.parent)
    for config, envoy in (
        (lds(name), ""),
        (secured(name), ""),
        (secured("/etc/a.pem"), f"stand_in: {{/etc/a.pem: {{file: {name}}}}}"),
    ):
        refusals = [
            refused_of(one) for one in problems(scenario(folder, config=config, envoy=envoy))
        ]
        assert any(f"`{name}` leads out of its folder" in one for one in refusals), refusals
        assert "envoy" not in refusals[0].partition(" ")[0]


@pytest.mark.parametrize("name", ["../secret.yaml", "link.yaml"])
def test_config_outside_of_the_folder_is_not_read(folder, name):
    link(folder)
    (folder.parent / "secret.yaml").write_text("{secret\n")
    path = scenario(folder)
    path.write_text(path.read_text().replace("config: {}", f"config: {name}"))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, untrusted=True)
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"{path}:3:11: error: {name}: the scenario is untrusted, and this leads out of its folder "
        f"(the path is relative to {folder}/)"
    )


def test_scenario_that_is_a_link_out_is_not_read(folder):
    (folder.parent / "secret.yaml").write_text("{secret\n")
    link(folder, "s.yaml")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(folder / "s.yaml", untrusted=True)
    assert str(caught.value) == (
        f"{folder}/s.yaml:1:1: error: the scenario is untrusted, and a link that leads out of its "
        "folder (name the file that it leads to)"
    )


def test_links_inside_the_folder_are_followed(folder):
    (folder / "real.yaml").write_text("resources: []\n")
    (folder / "link.yaml").symlink_to("real.yaml")
    assert problems(scenario(folder, config=lds("link.yaml"))) == []


STEPS = {
    "connects to `/run/docker.sock`": "connect: {listener: {path: /run/docker.sock}, send: x}",
    "connects to `../docker.sock`": "connect: {listener: {path: ../docker.sock}, send: x}",
    "connects to `${rundir}/../x`": "connect: {listener: {path: '${rundir}/../x'}}",
    "enters `/proc/1/ns/net`": "connect: {listener: {port: 1, netns: /proc/1/ns/net}}",
    "asks for root": "{limit: {uid: 0}, before: startup}",
    "asks for `CAP_SYS_ADMIN`": "{limit: {capabilities: [CAP_SYS_ADMIN]}, before: startup}",
    "asks for all system calls": "{limit: {seccomp: none}, before: startup}",
    "asks for privileges of files": "{limit: {no_new_privs: false}, before: startup}",
}


@pytest.mark.parametrize(("refusal", "step"), STEPS.items(), ids=STEPS)
def test_steps_reach_no_further_than_the_run(tmp_path, refusal, step):
    config = "dynamic_resources: {lds_config: {path: x.yaml}}"
    envoy = "files: {x.yaml: {resources: []}}"
    found = refused(scenario(tmp_path, config=config, envoy=envoy, steps=step))
    place, _, what = found.partition(" ")
    assert what == refusal
    assert place.startswith("5:")


def test_load_reaches_no_further_than_the_run(tmp_path):
    config = "dynamic_resources: {lds_config: {path: x.yaml}}"
    load = "load: {listener: {path: /run/docker.sock}, send: x}"
    envoy = "files: {x.yaml: {resources: []}}"
    path = scenario(tmp_path, config=config, envoy=envoy, steps=f"{{signal: SIGHUP, {load}}}")
    assert refused(path).endswith("connects to `/run/docker.sock`")


def test_every_refusal_is_reported_once_whatever_the_matrix(tmp_path):
    path = scenario(
        tmp_path, config=logged("/a"), head="\nmatrix: {concurrency: [1, 2]}", envoy="env: {A: a}"
    )
    assert [refused_of(one).partition(" ")[2] for one in problems(path)] == [
        f"`/a` {OUTSIDE}",
        "sets the variable `A`",
    ]


def test_shipped_scenarios_need_trust_only_for_an_agent_and_a_server():
    found = {}
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        refusals = problems(path)
        if refusals:
            found[path.stem] = {refused_of(one).partition(" ")[2] for one in refusals}
    assert found == {
        "istio_agent": {"names a program that starts Envoy"},
        "warming_gap": {f"`api_config_source` {UNKNOWN}"},
    }


def test_list_of_messages_says_of_each_field_what_the_schema_says():
    written = dict(line.split(":", 1) for line in FILE.read_text().splitlines() if line[0] != "#")
    for line in harmless_messages.lines():
        if line.startswith("#"):
            continue
        name, _, words = line.partition(":")
        # Another version of the schema has other fields, and the same ones mean the same.
        assert {
            word.partition("=")[0]: word
            for word in words.split()
            if _name(word) in messages()[name]
        }.items() <= {word.partition("=")[0]: word for word in written[name].split()}.items()


def test_list_of_messages_leaves_out_what_does_more():
    for full in harmless_messages.LEFT_OUT:
        message, _, field = full.rpartition(".")
        assert field not in messages()[message]


def _name(word: str) -> str:
    return word.partition("=")[0].rstrip("?@*")
