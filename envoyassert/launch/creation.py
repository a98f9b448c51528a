"""Describe, create and remove Envoy's containers, with testcontainers and the Docker SDK."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envoyassert.errors import LaunchError
from envoyassert.launch.inside import opened, proc_root
from envoyassert.launch.limits import Limits, container_options, in_container
from envoyassert.launch.own_network import NSSWITCH, nsswitch_with_end
from envoyassert.launch.rundir import write_files
from envoyassert.launch.running import command_line
from envoyassert.launch.sweep import owner_labels
from envoyassert.launch.version import parse_version, remember
from envoyassert.scenario.xds import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient
    from testcontainers.core.container import DockerContainer

    from envoyassert.launch.base import LaunchSpec
    from envoyassert.launch.image import ResolvedImage

#: `${rundir}` in a container: a directory of the container's own, writable by every user.
RUNDIR = "/envoyassert"


def entry_command(
    entrypoint: tuple[str, ...], *, as_root: bool = False
) -> tuple[list[str] | None, list[str]]:
    """Return (entry point to set or None, words before Envoy's arguments) for an image.

    Args:
        entrypoint: the image's own entry point. That of the official image is a script which
            expects `envoy` as its first argument and gives up root; one that is Envoy itself
            takes the arguments; any other is replaced.
        as_root: whether Envoy is to be root, which that script would give up.
    """
    program = Path(entrypoint[-1]).name if entrypoint else ""
    if program == "envoy":
        return None, []
    if program == "" or (program == "docker-entrypoint.sh" and not as_root):
        return None, ["envoy"]
    return ["envoy"], []


def new_container(
    spec: LaunchSpec, image: ResolvedImage, staging: Path, shared: Path | None
) -> DockerContainer:
    """Describe the container; nothing exists at the engine yet.

    Args:
        spec: what was asked for.
        image: what it is made from.
        staging: an empty directory, for what is copied into the container.
        shared: a directory to mount as `${rundir}/xds`; None for none.
    """
    from docker.types import LogConfig, Mount

    from envoyassert.launch.unpadded import UnpaddedContainer

    # Copied as a directory, so that it exists, with this mode, in an image that holds nothing.
    directory = staging / RUNDIR.lstrip("/")
    directory.mkdir()
    write_files(directory, {**spec.files, "envoy.yaml": spec.config_yaml})
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    limits = in_container(spec.limits, spec.needed, image.user)
    entrypoint, words = entry_command(image.entrypoint, as_root=limits.uid == 0)
    arguments = command_line(spec, f"{RUNDIR}/envoy.yaml", f"{RUNDIR}/admin.address")
    container = UnpaddedContainer(image.name)
    # The very image that was resolved, whatever prefix or tag says by now.
    container.image = image.image_id
    container.with_name(f"envoyassert-{secrets.token_hex(6)}")
    container.with_command([*words, *arguments])
    container.with_envs(**spec.env)
    container.with_copy_into_container(directory, "/")
    container.with_copy_into_container(nsswitch_with_end("").encode(), NSSWITCH)
    options: dict[str, Any] = {
        "labels": owner_labels(next(iter(spec.env.values()), "")),
        "network": "none",
        "working_dir": RUNDIR,
        # The log is read back: the engine's default driver may not allow that.
        "log_config": LogConfig(type=LogConfig.types.JSON),
    }
    if Path("/proc/sys/net/ipv6").exists():
        # Docker turns IPv6 off in a namespace without an IPv6 network, on the loopback as well.
        options["sysctls"] = {"net.ipv6.conf.all.disable_ipv6": "0"}
    given = container_options(limits)
    options["sysctls"] = {**options.get("sysctls", {}), **given.pop("sysctls", {})}
    options |= given
    if shared is not None:
        # No volume: the engine would make the directory where it does not see it.
        target = f"{RUNDIR}/{DIRECTORY}"
        options["mounts"] = [Mount(target, str(shared), type="bind", read_only=True)]
    if entrypoint is not None:
        options["entrypoint"] = entrypoint
    return container.with_kwargs(**options)


@contextlib.contextmanager
def seen_by_engine(shared: Path | None) -> Iterator[None]:
    """Say so if the engine, in the `with` block, does not find the directory to mount.

    Raises:
        LaunchError: it does not.
    """
    from docker.errors import APIError

    try:
        yield
    except APIError as error:
        if shared is None or str(shared) not in str(error.explanation):
            raise
        raise _unseen(shared) from error


def require_seen(pid: int, shared: Path) -> None:
    """Check that a container has mounted the directory that was meant; Podman makes an absent one.

    Args:
        pid: a process of the container; nothing is checked if it ended.
        shared: the directory.

    Raises:
        LaunchError: it has another one.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with opened(proc_root(pid), f"{RUNDIR}/{DIRECTORY}") as place:
            found = os.fstat(place)
        here = shared.stat()
        if (found.st_dev, found.st_ino) != (here.st_dev, here.st_ino):
            raise _unseen(shared)


def _unseen(shared: Path) -> LaunchError:
    return LaunchError(
        f"the Docker engine does not see the directory {shared}",
        f"its root directory is another one: mount {shared.parent.parent} of the engine's machine "
        "at the same place (docker run --volume), or name a directory that both see by TMPDIR",
    )


def remove_by_name(container: DockerContainer) -> None:
    """Remove a container and its volumes, also one whose creation was interrupted."""
    from docker.errors import APIError, NotFound

    client = container.get_docker_client().client
    name = container._name  # noqa: SLF001 - set by with_name, which has no counterpart
    try:
        client.containers.get(str(name)).remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        # 409: another process is removing it.
        if error.status_code != 409:
            raise


def choose_cleanup(client: DockerClient) -> None:
    """Keep testcontainers from starting its own cleaner where its image is not at hand.

    Containers carry their owner in labels and are swept by the next run, cleaner or not.
    """
    from docker.errors import APIError
    from testcontainers.core.config import testcontainers_config

    if testcontainers_config.hub_image_name_prefix:
        testcontainers_config.ryuk_disabled = True
    elif not testcontainers_config.ryuk_disabled:
        try:
            client.images.get(testcontainers_config.ryuk_image)
        except APIError:  # ImageNotFound is one
            testcontainers_config.ryuk_disabled = True


def ask_version(client: DockerClient, image: ResolvedImage) -> str:
    """Run `envoy --version` in a container; the answer is remembered by the image's id."""
    from docker.errors import APIError, ContainerError

    entrypoint, words = entry_command(image.entrypoint)
    try:
        printed = client.containers.run(
            image.image_id,
            [*words, "--version"],
            entrypoint=entrypoint,
            labels=owner_labels(""),
            network="none",
            remove=True,
            **container_options(in_container(Limits(), (), image.user)),
        )
    except (APIError, ContainerError):
        return ""
    version = parse_version(bytes(printed).decode("utf-8", "replace"))
    remember(image.image_id, version)
    return version
