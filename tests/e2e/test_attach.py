"""`envoyassert attach`: Envoys that something else starts, of which it knows only who is meant."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.trace_file import read_trace
from tests.e2e.attaching import (
    AS_CONFIGURED,
    CONFIG,
    LONG,
    SCENARIO,
    Attaching,
    assert_equal_to_run,
    envoyassert,
    running,
)
from tests.e2e.launching import IMAGE

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

#: Long enough for what does not come.
SHORT = "1s"


@pytest.fixture
def scenario(tmp_path) -> Path:
    path: Path = tmp_path / "up.yaml"
    path.write_text(SCENARIO)
    return path


def test_process_of_another_shell_in_another_network_is_recorded_as_by_run(
    tmp_path, envoy, scenario
):
    trace = tmp_path / "up.ndjson"
    name = Path(envoy[0]).name
    with (
        Attaching("--exe", name, "--for", LONG, "--scenario", scenario, "-o", trace) as attached,
        running(envoy) as process,
    ):
        done = attached.end()
        assert process.poll() is None, "an Envoy that something else started is left alone"
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"armed: waiting for {name}\n" in done.stderr
    assert "[1] +0.000ms" in done.stdout
    assert "PASS up" in done.stdout
    header = assert_equal_to_run(trace, tmp_path).header
    assert header.where["node"] == os.uname().nodename
    assert header.envoy.source == f"process {envoy[0]}"


@pytest.fixture
def as_configured(tmp_path) -> Path:
    path: Path = tmp_path / "up.yaml"
    path.write_text(AS_CONFIGURED)
    return path


def attached_to(envoy, scenario, *before):
    """Return what attach says of an Envoy that is started, by `before`, once it is armed."""
    with (
        Attaching("--exe", envoy[0], "--for", LONG, "--scenario", scenario) as attached,
        running([*before, *envoy]),
    ):
        return attached.end()


def test_envoy_that_does_what_its_config_says_matches_it(envoy, as_configured):
    done = attached_to(envoy, as_configured)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS up" in done.stdout


def test_envoy_that_finds_its_port_taken_and_ends_does_not_match_its_config(envoy, as_configured):
    """It fails, or its config or its version could not be read before its end."""
    holder = (
        "import os, signal, socket, sys\n"
        "taken = socket.create_server(('127.0.0.1', 10000))\n"
        "if os.fork():\n    taken.close()\n    os.execv(sys.argv[1], sys.argv[1:])\n"
        "signal.pause()"
    )
    done = attached_to(envoy, as_configured, sys.executable, "-c", holder)
    assert "note: Envoy 1 ended with status 1" in done.stderr
    said = " ".join(done.stdout.split())
    unread = (
        "the config that Envoy got is not in the trace" in said
        or "this is an unknown version" in said
    )
    assert done.returncode == (10 if unread else 1), done.stdout + done.stderr
    assert f"{'INCONCLUSIVE' if unread else 'FAIL'} up" in said


def test_address_that_the_machine_lacks_is_no_fault_of_the_config(envoy, as_configured):
    here, elsewhere = (f"address: {host}, port_value: 10000" for host in ("127.0.0.1", "192.0.2.1"))
    assert here in CONFIG
    Path(envoy[2]).write_text(CONFIG.replace(here, elsewhere))
    done = attached_to(envoy, as_configured)
    assert done.returncode == 10, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "nothing is predicted of this config: this machine has no 192.0.2.1" in said


def test_each_start_of_a_supervisor_has_a_trace_of_its_own(tmp_path, envoy):
    traces = tmp_path / "traces"
    script = 'for i in 1 2 3; do timeout 4 "$@"; done'
    with (
        Attaching("--exe", envoy[0], "--count", 3, "--for", LONG, "-o", f"{traces}/") as attached,
        running(["sh", "-c", script, "sh", *envoy]),
    ):
        done = attached.end()
    assert done.returncode == 0, done.stderr
    files = sorted(traces.iterdir())
    assert len(files) == 3
    pids = {assert_equal_to_run(file, tmp_path).events[0].pid for file in files}
    assert len(pids) == 3


def test_only_what_has_the_variable_is_recorded(tmp_path, envoy):
    traces = tmp_path / "traces"
    name = Path(envoy[0]).name
    with (
        Attaching(
            "--exe", name, "--env", "ROLE=front", "--for", LONG, "-o", f"{traces}/"
        ) as attached,
        running(envoy, env={**os.environ, "ROLE": "back"}),
        running(envoy, env={**os.environ, "ROLE": "front"}) as front,
    ):
        done = attached.end()
        (file,) = traces.iterdir()
        assert read_trace(file).events[0].pid == front.pid
    assert done.returncode == 0, done.stderr


def test_forever_writes_each_trace_at_once_and_ends_well_on_sigterm(tmp_path, envoy):
    traces = tmp_path / "traces"
    with Attaching("--exe", envoy[0], "--forever", "-o", f"{traces}/") as attached:
        for number in (1, 2):
            with running(envoy):
                while not traces.is_dir() or len(list(traces.iterdir())) < number:
                    os.sched_yield()
        done = attached.end(signal.SIGTERM)
    assert done.returncode == 0, done.stderr
    assert all(read_trace(file).witness is not None for file in traces.iterdir())


def test_envoy_that_ends_at_once_is_recorded_with_its_end(tmp_path, envoy, scenario):
    Path(envoy[2]).write_text(CONFIG.replace("port_value: 10000", "port_value: 70000"))
    trace = tmp_path / "up.ndjson"
    with (
        Attaching(
            "--exe", envoy[0], "--for", LONG, "--exec-scenario", scenario, "-o", trace
        ) as attached,
        running(envoy),
    ):
        done = attached.end()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "note: Envoy 1 ended with status 1" in done.stderr
    assert done.stdout.startswith("FAIL up")
    assert read_trace(trace).end.outcome.exit_code == 1


def test_limit_of_records_leaves_what_comes_later_open(tmp_path, envoy, scenario):
    with (
        Attaching(
            "--exe", envoy[0], "--records", 40, "--for", "5s", "--exec-scenario", scenario
        ) as attached,
        running(envoy),
    ):
        done = attached.end()
    assert done.returncode == 10, done.stdout + done.stderr
    assert "past the limit of records" in " ".join(done.stdout.split())


def test_cost_is_printed_before_anything_is_recorded(envoy):
    with Attaching("--exe", envoy[0], "--cost", "--for", SHORT) as attached:
        done = attached.end()
    cost, armed = done.stderr.splitlines()[:2]
    assert cost.startswith("armed, it costs ")
    assert "ns per system call" in cost
    assert armed.startswith("armed: waiting")


def test_version_is_no_envoy_that_serves(envoy):
    with Attaching("--exe", envoy[0], "--for", SHORT) as attached:
        subprocess.run([envoy[0], "--version"], check=True, stdout=subprocess.DEVNULL)
        done = attached.end()
    assert done.returncode == 5
    assert f"nothing was recorded: no {envoy[0]} was started" in done.stderr
    assert "1 only said something" in done.stderr


def test_what_is_in_no_such_place_is_not_recorded(envoy):
    with (
        Attaching("--exe", envoy[0], "--pod", "web/front", "--for", SHORT) as attached,
        running(envoy),
    ):
        done = attached.end()
    assert done.returncode == 5
    assert f"no {envoy[0]} in the pod web/front was started" in done.stderr
    assert "others were, in no container" in done.stderr


def test_cgroup_that_is_not_there_is_noted_before_and_a_name_is_offered_after(envoy):
    # Under a name that no Envoy beside has.
    with Attaching("--exe", envoy[0], "--cgroup", "/ea-none", "--for", SHORT) as attached:
        done = attached.end()
    assert done.returncode == 5
    assert "note: there is no cgroup /ea-none now: waiting for one\narmed: " in done.stderr
    assert "an Envoy under another name is meant by --exe NAME" in done.stderr


def test_envoys_elsewhere_are_named_where_none_is_in_the_place_that_is_meant(envoy):
    executable = Path(envoy[0]).resolve().name
    with Attaching("--exe", envoy[0], "--for", LONG) as attached, running(envoy) as process:
        assert attached.end().returncode == 0
        done = envoyassert("inspect", "--exe", executable, "--pod", "web/none")
    assert (done.returncode, done.stdout) == (5, "")
    assert (
        f"no Envoy runs that is {executable} in the pod web/none; elsewhere there " in done.stderr
    )
    assert f"  --pid {process.pid}  {envoy[0]} -c " in done.stderr


def test_verdict_on_an_envoy_without_the_listener_is_inconclusive(tmp_path, envoy, scenario):
    Path(envoy[2]).write_text(CONFIG.replace("l10000", "other"))
    with (
        Attaching("--exe", envoy[0], "--for", LONG, "--exec-scenario", scenario) as attached,
        running(envoy),
    ):
        done = attached.end()
    assert done.returncode == 10, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "the config has no listener 'l10000'; it has: admin, other" in said


def test_what_runs_already_is_named(tmp_path, envoy):
    copied = tmp_path / f"{Path(envoy[0]).name}-copy"
    copied.hardlink_to(Path(envoy[0]).resolve())
    with running([str(copied), *envoy[1:]]) as process:
        while Path(f"/proc/{process.pid}/exe").readlink() != copied:
            os.sched_yield()
        with Attaching("--exe", copied.name, "--for", SHORT) as attached:
            done = attached.end()
    assert done.returncode == 5
    assert f"process {process.pid} had begun before: start it again" in done.stderr


@pytest.mark.docker
def test_unmodified_image_is_recorded_by_the_name_of_its_container(tmp_path, scenario):
    trace = tmp_path / "up.ndjson"
    config = tmp_path / "envoy.yaml"
    config.write_text(CONFIG)
    name = f"ea-{secrets.token_hex(4)}"
    command = [
        *("docker", "run", "--rm", "--detach", "--name", name, "--network", "none"),
        *("--volume", f"{config}:/etc/up.yaml:ro", IMAGE, "-c", "/etc/up.yaml"),
        *("--concurrency", "2"),
    ]
    with Attaching(
        "--container", name, "--for", LONG, "--scenario", scenario, "-o", trace
    ) as attached:
        container = subprocess.run(command, check=True, capture_output=True, text=True)
        try:
            done = attached.end()
        finally:
            subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"note: the engine has no container {name} now: waiting for one" in done.stderr
    read = assert_equal_to_run(trace, tmp_path)
    assert read.header.where["container"] == container.stdout.strip()
    assert read.header.where["container_name"] == name
    assert read.header.where["image"] == IMAGE
    assert read.header.where["image_id"].startswith("sha256:")
    assert read.header.inner_pids == {str(read.events[0].pid): 1}
    assert "(inside: 1)" in done.stdout
