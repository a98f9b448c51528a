"""Reading --envoyassert-envoy, and what an image or an engine says about itself."""

from __future__ import annotations

import pytest

from envoyassert.errors import DockerUnavailableError, EnvoyUnavailableError
from envoyassert.launch.choose import choose_launcher
from envoyassert.launch.creation import entry_command
from envoyassert.launch.engine import foreign_engine, refuse_remote_address
from envoyassert.launch.envoy_source import EnvoySource, parse_envoy_argument
from envoyassert.launch.kernel import Owner
from envoyassert.launch.sweep import label_owner, owner_labels
from envoyassert.launch.version import parse_version, reported_version

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text, source",
    [
        ("1.40.0", EnvoySource(version="1.40.0")),
        ("v1.36.4", EnvoySource(version="1.36.4")),
        ("envoyproxy/envoy:v1.40.0", EnvoySource(image="envoyproxy/envoy:v1.40.0")),
        ("envoy:latest", EnvoySource(image="envoy:latest")),
        (f"envoyproxy/envoy@{DIGEST}", EnvoySource(image=f"envoyproxy/envoy@{DIGEST}")),
        (f"a/b:1.2@{DIGEST}", EnvoySource(image=f"a/b:1.2@{DIGEST}")),
        ("host.example:5000/a/b:1", EnvoySource(image="host.example:5000/a/b:1")),
        (DIGEST, EnvoySource(image=DIGEST)),
    ],
)
def test_parse_argument_gives_the_source(text, source):
    assert parse_envoy_argument(text) == source


@pytest.mark.parametrize("text", ["", "1.40", "latest", "envoy", "a b:c", "a/UPPER:1", "a/b:"])
def test_parse_argument_that_is_nothing_names_the_forms(text):
    with pytest.raises(EnvoyUnavailableError, match="neither") as caught:
        parse_envoy_argument(text)
    assert "envoyproxy/envoy:v1.40.0" in caught.value.remedy


def test_parse_argument_path_is_absolute(tmp_path, monkeypatch):
    binary = tmp_path / "envoy"
    binary.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    for text in (str(binary), "./envoy", "envoy"):
        assert parse_envoy_argument(text) == EnvoySource(binary=str(binary))


def test_parse_argument_path_that_is_missing_or_not_executable_is_refused(tmp_path):
    with pytest.raises(EnvoyUnavailableError, match="no Envoy executable"):
        parse_envoy_argument("/nonexistent/envoy")
    (tmp_path / "envoy").touch(mode=0o644)
    with pytest.raises(EnvoyUnavailableError, match="may not be executed"):
        parse_envoy_argument(str(tmp_path / "envoy"))


def test_source_of_none_or_two_is_refused():
    with pytest.raises(ValueError, match="exactly one"):
        EnvoySource()
    with pytest.raises(ValueError, match="exactly one"):
        EnvoySource(version="1.40.0", image="a:b")


def test_choose_launcher_that_cannot_start_the_source_is_refused():
    with pytest.raises(EnvoyUnavailableError, match="cannot be started as a local process"):
        choose_launcher("process", EnvoySource(image="a:b"))
    with pytest.raises(EnvoyUnavailableError, match="cannot run in a container"):
        choose_launcher("docker", EnvoySource(binary="/x"))


@pytest.mark.parametrize(
    "printed, version",
    [
        ("envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
        ("envoy  version: 9e55/1.41.0-dev/Modified/DEBUG/BoringSSL", "1.41.0"),
        ("something else 1.40.0", ""),
        ("", ""),
    ],
)
def test_parse_version_of_what_envoy_prints(printed, version):
    assert parse_version(printed) == version


@pytest.mark.parametrize(
    "body, version",
    [
        ('{"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE"}', "1.40.0"),
        ('{"version":"9e55/1.41.0-dev/Modified/DEBUG/BoringSSL"}', "1.41.0"),
        ('{"version": "nothing"}', ""),
    ],
)
def test_reported_version_of_what_the_admin_endpoint_says(body, version):
    assert reported_version(body) == version


@pytest.mark.parametrize(
    "entrypoint, command",
    [
        (("/usr/local/bin/envoy",), (None, [])),
        (("/docker-entrypoint.sh",), (None, ["envoy"])),
        ((), (None, ["envoy"])),
        (("/usr/local/bin/pilot-agent",), (["envoy"], [])),
        (("/bin/tini", "--", "/usr/local/bin/envoy"), (None, [])),
    ],
)
def test_entry_command_for_each_kind_of_image(entrypoint, command):
    assert entry_command(entrypoint) == command


def test_script_that_gives_up_root_is_left_out_for_root():
    assert entry_command(("/docker-entrypoint.sh",), as_root=True) == (["envoy"], [])
    assert entry_command(("/usr/local/bin/envoy",), as_root=True) == (None, [])


@pytest.mark.parametrize(
    "docker_host", ["", "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"]
)
def test_docker_host_on_this_machine_is_accepted(docker_host):
    refuse_remote_address(docker_host)


@pytest.mark.parametrize(
    "docker_host", ["tcp://10.0.0.7:2375", "ssh://root@far", "ssh://localhost"]
)
def test_docker_host_elsewhere_is_refused_with_the_reason(docker_host):
    with pytest.raises(DockerUnavailableError, match="only observe containers on this kernel"):
        refuse_remote_address(docker_host)


def test_foreign_engine_is_known_by_kernel_and_name():
    assert foreign_engine("6.1.0", "Debian GNU/Linux 12", "6.1.0") == ""
    assert "virtual machine" in foreign_engine("6.1.0", "Docker Desktop", "6.1.0")
    assert "runs on kernel 5.4.0" in foreign_engine("5.4.0", "Debian", "6.1.0")
    assert "(unknown)" in foreign_engine("", "", "6.1.0")


def test_owner_labels_lead_back_to_a_living_owner():
    owner = label_owner(owner_labels("x"))
    assert owner == Owner.current()
    assert not owner.is_dead()


def test_container_without_our_labels_has_no_owner():
    assert label_owner({}) is None
    assert label_owner({"dev.envoyassert.owner-pid": "1"}) is None
