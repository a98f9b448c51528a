"""Envoy in a container: starts, ends, is reached through its namespace, leaves nothing."""

from __future__ import annotations

import gc
import io
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from envoyassert.addresses import Address
from envoyassert.errors import EnvoyUnavailableError, LaunchError
from envoyassert.launch.choose import choose_launcher, validate_config
from envoyassert.launch.container import DockerLauncher
from envoyassert.launch.creation import RUNDIR, new_container, require_seen
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.engine import connect
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.image import BUILT, build_image, resolve_image
from envoyassert.launch.inside import proc_root, read_inside, replace_inside
from envoyassert.launch.kept_log import HEAD_BYTES, TAIL_BYTES
from envoyassert.launch.rundir import remove_rundir
from envoyassert.launch.sweep import LABEL_RUN, sweep
from envoyassert.launch.unpadded import unpadded
from envoyassert.launch.wheel import fetch_binary
from envoyassert.witness import take_witness
from tests.e2e.launching import (
    AT_ONCE_S,
    LONG_S,
    VERSION,
    Run,
    bootstrap,
    echo_listener,
    netns,
    open_descriptors,
    thread_names,
    wait_ended,
    wait_until,
)

pytestmark = [pytest.mark.docker, pytest.mark.envoy]


@pytest.fixture(scope="module")
def client():
    with connect() as client:
        yield client


@pytest.fixture
def containers(client, run):
    """Return a function that lists the containers of this test's run, running or not."""

    def containers():
        label = f"{LABEL_RUN}={run.id}"
        return client.containers.list(all=True, filters={"label": label}, ignore_removed=True)

    return containers


@pytest.fixture
def launcher(run_root):
    with DockerLauncher() as launcher:
        yield launcher


@pytest.fixture
def make_image(client):
    """Return a function that makes an image with changes on top of the one under test."""
    made = []

    def make(*changes: str, files: bytes = b"") -> str:
        image = resolve_image(client, EnvoySource(version=VERSION))
        container = client.containers.create(image.image_id)
        try:
            if files:
                container.put_archive("/", files)
            made.append(container.commit(changes=list(changes)))
        finally:
            container.remove(v=True)
        return str(made[-1].id)

    yield make
    for image in made:
        client.images.remove(image.id)


def test_start_with_listener_becomes_live(launcher, make_spec):
    with launcher.start(make_spec()) as envoy:
        outcome = envoy.wait_ready()
        assert outcome.live
        assert 0 < outcome.live_after_s < outcome.deadline_s
        assert outcome.running
        assert any("starting main dispatch loop" in line for line in outcome.log_tail)
        assert envoy.admin_get("/listeners") == (200, "l10000::127.0.0.1:10000\n")
        with envoy.in_netns(lambda: socket.create_connection(("127.0.0.1", 10000), 2)) as peer:
            peer.sendall(b"ping")
            assert peer.recv(4) == b"ping"
        assert envoy.in_netns(netns) == str(Path(f"/proc/{envoy.pid}/ns/net").readlink())
        assert envoy.in_netns(netns) != netns()


def test_start_marks_the_process_and_shows_its_identity(launcher, make_spec, run):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        assert run.processes() == [envoy.pid]
        assert envoy.identity.version == VERSION
        assert envoy.identity.build_id == read_build_id(f"/proc/{envoy.pid}/exe") != ""
        assert envoy.identity.image_digest.startswith("sha256:")
        assert envoy.identity.source.startswith(f"version {VERSION}")


def test_start_container_has_neither_network_nor_privileges_nor_mounts(
    launcher, make_spec, containers
):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        (container,) = containers()
        assert container.attrs["HostConfig"]["NetworkMode"] == "none"
        assert container.attrs["HostConfig"]["Privileged"] is False
        assert container.attrs["Mounts"] == []
        assert envoy.in_netns(socket.if_nameindex) == [(1, "lo")]


def test_directory_that_the_engine_does_not_see_is_refused_and_not_made(
    launcher, make_spec, containers, monkeypatch
):
    """An engine of another root directory: of the machine, for a container that has its socket."""
    directory = launcher.shared_dir()
    elsewhere = directory.with_name("elsewhere")

    def unseen_container(*arguments):
        directory.rename(elsewhere)
        return new_container(*arguments)

    monkeypatch.setattr("envoyassert.launch.container.new_container", unseen_container)
    try:
        with pytest.raises(LaunchError, match=f"does not see the directory {directory}") as refused:
            launcher.start(make_spec())
        assert "docker run --volume" in refused.value.remedy
        assert not directory.exists()
        assert containers() == []
    finally:
        elsewhere.rename(directory)


def test_other_directory_instead_of_the_one_meant_is_refused(launcher, make_spec, tmp_path):
    """Podman makes one where it sees none."""
    shared = launcher.shared_dir()
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        require_seen(envoy.pid, shared)
        with pytest.raises(LaunchError, match=f"does not see the directory {tmp_path}"):
            require_seen(envoy.pid, tmp_path)
    require_seen(envoy.pid, tmp_path)  # it has ended, and has no directories


def test_start_files_are_in_a_run_directory_that_any_user_can_write(launcher, make_spec):
    config = bootstrap(echo_listener(), admin=f"{{pipe: {{path: {RUNDIR}/admin.sock}}}}")
    spec = make_spec(config, files={"more/a.txt": "text"}, admin=Address.unix("admin.sock"))
    with launcher.start(spec) as envoy:
        assert envoy.wait_ready().live
        rundir = Path(f"/proc/{envoy.pid}/root{RUNDIR}")
        assert rundir.stat().st_mode & 0o777 == 0o777
        assert (rundir / "more/a.txt").read_text() == "text"
        assert Path(f"/proc/{envoy.pid}/cwd").readlink() == Path(RUNDIR)


def test_archives_of_files_end_at_their_end_mark(launcher, make_spec, monkeypatch):
    """Podman fails now and then at what follows it."""
    sent = []
    put = Container.put_archive

    def put_archive(self, path, data):
        sent.append(data)
        return put(self, path, data)

    monkeypatch.setattr(Container, "put_archive", put_archive)
    with launcher.start(make_spec(files={"text": "of a file"})) as envoy:
        assert envoy.wait_ready().live
        assert (Path(proc_root(envoy.pid)) / RUNDIR[1:] / "text").read_text() == "of a file"
    assert sent
    assert [data for data in sent if data != unpadded(data)] == []


def test_start_as_another_user_writes_the_run_directory(launcher, make_spec, make_image):
    source = EnvoySource(image=make_image("USER 101:101"), pull="never")
    config = bootstrap(echo_listener(), admin=f"{{pipe: {{path: {RUNDIR}/admin.sock}}}}")
    spec = make_spec(config, source=source, admin=Address.unix(f"{RUNDIR}/admin.sock"))
    with launcher.start(spec) as envoy:
        assert envoy.wait_ready().live
        assert Path(f"/proc/{envoy.pid}").stat().st_uid == 101


def test_link_in_an_image_leads_to_the_container_and_not_to_this_machine(
    run_root, launcher, make_spec, make_image
):
    here = run_root.parent / "admin"  # in the container there is one, too
    here.mkdir()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        directory = tarfile.TarInfo(str(here).lstrip("/"))
        directory.type, directory.mode = tarfile.DIRTYPE, 0o777
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(here)
        tar.addfile(directory)
        tar.addfile(link)
    source = EnvoySource(image=make_image(files=archive.getvalue()), pull="never")
    config = bootstrap(echo_listener(), admin="{pipe: {path: /link/s}}")
    spec = make_spec(config, source=source, admin=Address.unix("/link/s"))
    with socket.socket(socket.AF_UNIX) as stand_in:
        stand_in.bind(str(here / "s"))
        stand_in.listen()
        stand_in.settimeout(0)
        with launcher.start(spec) as envoy:
            assert envoy.wait_ready().live
            replace_inside(proc_root(envoy.pid), "/link/file", "new")
            assert read_inside(proc_root(envoy.pid), f"{here}/file", 10) == b"new"
            assert [one.name for one in here.iterdir()] == ["s"]
        with pytest.raises(BlockingIOError):
            stand_in.accept()


def test_admin_port_zero_is_found(launcher, make_spec):
    admin = "{socket_address: {address: 127.0.0.1, port_value: 0}}"
    spec = make_spec(bootstrap(echo_listener(), admin), admin=Address.inet("127.0.0.1", 0))
    with launcher.start(spec) as envoy:
        assert envoy.wait_ready().live


def test_exit_with_refused_config_is_noticed_at_once(launcher, make_spec):
    started = time.monotonic()
    with launcher.start(make_spec("no_such_field: 1\n", deadline_s=LONG_S)) as envoy:
        outcome = envoy.wait_ready()
        assert time.monotonic() - started < AT_ONCE_S
        assert outcome.live is False
        assert outcome.exit_code == 1
        assert any("no_such_field" in line for line in outcome.log_tail)
        assert envoy.stop().exit_code == 1
        assert "no_such_field" in envoy.log()


def test_exit_with_port_taken_by_another_listener_is_noticed(launcher, make_spec):
    taken = echo_listener(9901, "enable_reuse_port: false,")
    with launcher.start(make_spec(bootstrap(taken))) as envoy:
        outcome = envoy.wait_ready()
        assert outcome.exit_code == 1
        assert "Address already in use" in "\n".join(outcome.log_tail)


def test_exit_by_signal_is_reported(launcher, make_spec, containers):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        containers()[0].kill("SIGKILL")
        end = envoy.exited(LONG_S)
        assert (end.exit_code, end.signal) == (None, signal.SIGKILL)


def test_stop_of_a_stopped_process_is_forced(launcher, make_spec, containers):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        containers()[0].kill("SIGSTOP")
        end = envoy.stop(deadline_s=0.2)
        assert end.forced
        assert end.signal == signal.SIGKILL
        assert containers() == []


def test_stop_removes_container_and_volumes_and_keeps_the_log(
    launcher, make_spec, make_image, containers, client
):
    source = EnvoySource(image=make_image("VOLUME /data"), pull="never")
    envoy = launcher.start(make_spec(source=source))
    assert envoy.wait_ready().live
    (container,) = containers()
    (mount,) = container.attrs["Mounts"]
    assert mount["Name"] in {volume.name for volume in client.volumes.list()}
    end = envoy.stop()
    assert (end.exit_code, end.forced) == (0, False)
    assert envoy.stop() == end
    assert "exiting" in envoy.log()
    assert containers() == []
    assert mount["Name"] not in {volume.name for volume in client.volumes.list()}


def test_start_with_an_entry_point_that_is_no_envoy_replaces_it(launcher, make_spec, make_image):
    source = EnvoySource(image=make_image('ENTRYPOINT ["/pilot-agent"]'), pull="never")
    with launcher.start(make_spec(source=source)) as envoy:
        assert envoy.wait_ready().live


def test_start_of_an_image_without_envoy_is_a_launch_error(
    launcher, make_spec, make_image, containers, run_root
):
    image = make_image('ENTRYPOINT ["/nothing-here/envoy"]')
    with pytest.raises(LaunchError, match="nothing-here"):
        launcher.start(make_spec(source=EnvoySource(image=image, pull="never")))
    assert containers() == []
    assert not run_root.exists()


def test_prepare_of_an_absent_image_with_pull_never_names_the_remedy(launcher):
    with pytest.raises(EnvoyUnavailableError, match="not present") as caught:
        launcher.prepare(EnvoySource(image="envoyassert/absent:1", pull="never"))
    assert "docker load" in caught.value.remedy


def test_prepare_of_an_image_that_cannot_be_pulled_names_the_reason(launcher):
    # A registry on a port where nothing listens.
    with pytest.raises(EnvoyUnavailableError, match="cannot be pulled") as caught:
        launcher.prepare(EnvoySource(image="127.0.0.1:1/envoy:v1"))
    assert "refused" in caught.value.message


def test_prepare_of_an_executable_is_refused(launcher):
    with pytest.raises(EnvoyUnavailableError, match="cannot run in a container"):
        launcher.prepare(EnvoySource(binary=str(fetch_binary(VERSION))))


def test_prepare_of_an_image_asks_it_for_its_version(launcher, make_image, monkeypatch, tmp_path):
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    image = make_image("LABEL org.opencontainers.image.version=")
    assert launcher.prepare(EnvoySource(image=image, pull="never")).version == VERSION


def test_build_image_twice_gives_the_same_image(client):
    name = build_image(client, VERSION)
    first = client.images.get(name).id
    assert client.images.get(build_image(client, VERSION)).id == first
    assert name == BUILT.format(version=VERSION)


def test_interrupt_as_a_container_has_started_leaves_nothing(
    run_root, make_spec, containers, monkeypatch
):
    seen: list[Container] = []

    def interrupted_once(directory):
        if not seen:
            seen.extend(containers())
            raise KeyboardInterrupt
        remove_rundir(directory)

    spec = make_spec(bootstrap())
    with monkeypatch.context() as once:
        once.setattr("envoyassert.launch.container.remove_rundir", interrupted_once)
        with pytest.raises(KeyboardInterrupt), DockerLauncher() as launcher:
            launcher.start(spec)
    assert len(seen) == 1
    assert containers() == []
    assert not run_root.exists()


def test_close_leaves_nothing(run_root, make_spec, run, containers):
    def once() -> None:
        with DockerLauncher() as launcher:
            envoy = launcher.start(make_spec())
            assert envoy.wait_ready().live
            raise KeyboardInterrupt

    containers()  # this test's own connection stays open from here on
    threads, descriptors = thread_names(), open_descriptors()
    with pytest.raises(KeyboardInterrupt):
        once()
    assert run.processes() == []
    assert containers() == []
    assert not run_root.exists()
    assert thread_names() == threads
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_runner_ended_by_signal_leaves_nothing(run_root, start_runner, run, containers, number):
    runner = start_runner("docker")
    assert len(containers()) == 1
    # Python ends itself by SIGINT where no one catches an interrupt.
    assert runner.end(number) == -signal.SIGINT
    assert run.processes() == []
    assert containers() == []
    assert not run_root.exists()


def test_runner_killed_is_swept_and_a_living_run_is_not(
    run_root, start_runner, containers, launcher, make_spec
):
    with launcher.start(make_spec()) as mine:
        assert mine.wait_ready().live
        (living,) = containers()
        runner = start_runner("docker")
        assert len(containers()) == 2
        runner.end(signal.SIGKILL)
        # What it returns may miss what another session's sweep has removed before it.
        sweep()
        assert wait_ended(runner.envoy_pid)
        assert wait_until(lambda: [found.id for found in containers()] == [living.id])
        assert mine.admin_get("/ready")[0] == 200


def start_another_in(container: Any, run: Run) -> None:
    """Start an Envoy in a container that has no parent there, with the run's mark."""
    container.exec_run(
        ["envoy", "--config-yaml", "{}", "--base-id", "9"],
        environment={"ENVOYASSERT_RUN": run.id},
        detach=True,
    )
    assert wait_until(lambda: len(run.processes()) > 1)


def test_close_ends_what_is_no_child_of_envoy_in_its_container(
    launcher, make_spec, containers, run
):
    with launcher.start(make_spec()) as envoy:
        assert envoy.wait_ready().live
        start_another_in(containers()[0], run)
    assert run.processes() == []
    assert containers() == []


def test_sweep_ends_what_is_no_child_of_envoy_in_its_container(
    run_root, start_runner, containers, run
):
    runner = start_runner("docker")
    start_another_in(containers()[0], run)
    runner.end(signal.SIGKILL)
    sweep()
    assert wait_until(lambda: run.processes() == [])
    assert wait_until(lambda: containers() == [])


# The SDK has no way to close a stream that is not read to its end: its socket goes with its object.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_long_log_is_kept_head_and_tail(launcher, make_spec):
    with launcher.start(make_spec(args=("--log-level", "trace"))) as envoy:
        assert envoy.wait_ready().live
        for _ in range(100):
            for _ in range(50):
                assert envoy.admin_get("/ready")[0] == 200
            if "[envoyassert: the middle of the log left out here]\n" in envoy.log():
                break
    head, word, tail = envoy.log().partition("[envoyassert: the middle of the log left out here]\n")
    assert word
    assert "initializing epoch 0" in head.splitlines()[0]
    assert "exiting" in tail
    gc.collect()  # while the filter above is in force
    assert HEAD_BYTES // 2 < len(head) <= HEAD_BYTES
    assert TAIL_BYTES // 4 < len(tail) <= TAIL_BYTES


_CREATE = """
import sys
from envoyassert.launch.sweep import owner_labels
from envoyassert.launch.engine import connect

with connect() as client:
    print(client.containers.create(sys.argv[1], labels=owner_labels(sys.argv[2])).name)
"""


def test_runner_dead_before_the_start_leaves_what_sweep_finds(run, client, containers):
    image = resolve_image(client, EnvoySource(version=VERSION)).image_id
    created = subprocess.run(
        [sys.executable, "-c", _CREATE, image, run.id], check=True, capture_output=True, text=True
    )
    assert created.stdout.strip() != ""
    sweep()
    assert wait_until(lambda: containers() == [])


def test_stop_before_envoy_handles_signals_does_not_wait(launcher, make_spec, containers):
    spec = make_spec()
    launcher.prepare(spec.source)
    envoy = launcher.start(spec)
    started = time.monotonic()
    envoy.stop(deadline_s=LONG_S)
    assert time.monotonic() - started < AT_ONCE_S
    assert containers() == []


def test_witness_of_a_container_sees_through_the_namespaces(launcher, make_spec):
    config = bootstrap(echo_listener(10000, "enable_reuse_port: true,"))
    with launcher.start(make_spec(config)) as envoy:
        assert envoy.wait_ready().live
        witness = take_witness(envoy.pid)
    assert witness.error == ""
    serving = [
        found for found in witness.sockets if found.address == Address.inet("127.0.0.1", 10000)
    ]
    assert len({found.cookie for found in serving}) == 2
    assert all(found.listening and found.reuse_port for found in serving)


def test_choose_auto_for_an_image_is_docker(run_root):
    with choose_launcher("auto", EnvoySource(image=BUILT.format(version=VERSION))) as launcher:
        assert launcher.name == "docker"


def test_validate_config_accepts_and_refuses(run_root):
    source = EnvoySource(version=VERSION)
    assert validate_config(source, bootstrap(echo_listener()), preference="docker").exit_code == 0
    refused = validate_config(source, "no_such_field: 1\n", preference="docker")
    assert refused.exit_code == 1
    assert "no_such_field" in "\n".join(refused.log_tail)
