"""Envoy in a container, through testcontainers and the Docker SDK.

The configuration is copied into the created container, never mounted; the container has no
network but its own loopback and no privileges. Its network namespace is entered through the
process, so nothing is published.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from envoyassert.errors import DockerUnavailableError, EnvoyUnavailableError, LaunchError
from envoyassert.launch import release
from envoyassert.launch.base import STOP_DEADLINE_S, Exit, LaunchSpec
from envoyassert.launch.creation import (
    RUNDIR,
    ask_version,
    choose_cleanup,
    new_container,
    remove_by_name,
    require_seen,
    seen_by_engine,
)
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.engine import connect_client, engine_errors
from envoyassert.launch.image import ResolvedImage, resolve_image
from envoyassert.launch.kept_log import kept_log_of
from envoyassert.launch.kernel import handles_signal, process_started_s, wait_readable
from envoyassert.launch.limits import give, in_container
from envoyassert.launch.namespace import NamespaceThread, joined_namespace
from envoyassert.launch.processes import environment_of
from envoyassert.launch.rundir import create_rundir, remove_rundir
from envoyassert.launch.running import NamespacedEnvoy
from envoyassert.launch.version import recall
from envoyassert.trace import EnvoyIdentity

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from testcontainers.core.container import DockerContainer
    from typing_extensions import Self

    from envoyassert.launch.envoy_source import EnvoySource

T = TypeVar("T")

#: Of an engine whose containers have other users than this machine.
_MAPS_USERS = re.compile("name=(userns|rootless)")
#: How long after the end of a process the engine may take to say how it ended.
_ENGINE_DEADLINE_S = 30
_RESEND_S = 0.25
#: How long the engine may take to notice the end of a process, and how often it is asked.
_NOTICE_S = 2.0
_NOTICE_PAUSE_S = 0.01


class DockerLauncher:
    """Starts each Envoy in a container of its own."""

    name = "docker"

    def __init__(self) -> None:
        self._client: DockerClient | None = None
        self._shared: Path | None = None
        self._running: list[DockerEnvoy] = []
        self._prepared: dict[EnvoySource, tuple[ResolvedImage, EnvoyIdentity]] = {}
        release.register(self)

    def rundir(self) -> str:
        """Return the directory in the container that `${rundir}` stands for."""
        return RUNDIR

    def shared_dir(self) -> Path:
        """Return a directory that is mounted into every container that is started later."""
        if self._shared is None:
            self._shared = create_rundir()
        return self._shared

    def prepare(self, source: EnvoySource) -> EnvoyIdentity:
        """Connect to the engine and have the image there.

        Raises:
            DockerUnavailableError: there is no usable engine on this machine.
            EnvoyUnavailableError: the image is unavailable, or the source is an executable.
        """
        return self._image(source)[1]

    def give(self, addresses: Sequence[str]) -> None:
        """Refuse: what a container binds at once must be there before it is started."""
        if addresses:
            raise LaunchError(
                "before Envoy there is no network of its container to give addresses to",
                "add `requires: {launcher: process}` to the scenario",
            )

    def in_netns(self, _call: Callable[[], T]) -> T:
        """Refuse: a network namespace comes with each container."""
        raise LaunchError(
            "before Envoy there is no network namespace of its container to do something in",
            "add `requires: {launcher: process}` to the scenario",
        )

    def start(self, spec: LaunchSpec) -> DockerEnvoy:
        """Start one Envoy.

        Raises:
            DockerUnavailableError: there is no usable engine on this machine.
            EnvoyUnavailableError: the image is unavailable.
            LaunchError: the engine could not start it.
        """
        image, identity = self._image(spec.source)
        if self._shared is not None:
            self._let_in(self._shared, in_container(spec.limits, spec.needed, image.user).uid)
        envoy = DockerEnvoy(spec, image, identity)
        # Before there is anything to remove: an interrupt may come at any instant from then on.
        self._running.append(envoy)
        envoy.start(self._shared)
        return envoy

    def close(self) -> None:
        """Stop every Envoy, remove their containers, close the connection."""
        with contextlib.ExitStack() as stack:
            stack.callback(release.unregister, self)
            if self._client is not None:
                stack.callback(self._client.close)
            if self._shared is not None:
                stack.callback(remove_rundir, self._shared)
            for envoy in self._running:
                stack.callback(envoy.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _let_in(self, shared: Path, user: int | None) -> None:
        """Give the shared directory to Envoy's user alone, or to everybody if that is not known."""
        assert self._client is not None
        with engine_errors("show its options"):
            options = self._client.info().get("SecurityOptions") or ()
        if user is not None and not any(_MAPS_USERS.match(str(option)) for option in options):
            give(shared, user)
            return
        shared.chmod(0o755)
        for path in shared.iterdir():
            path.chmod(0o777)

    def _image(self, source: EnvoySource) -> tuple[ResolvedImage, EnvoyIdentity]:
        if source in self._prepared:
            return self._prepared[source]
        if source.binary:
            raise EnvoyUnavailableError(
                f"the executable {source.binary} cannot run in a container",
                "use the launcher `process`, or name an image or a version",
            )
        if self._client is None:
            self._client = connect_client()
            choose_cleanup(self._client)
        with engine_errors("give an image"):
            image = resolve_image(self._client, source)
            version = image.version or recall(image.image_id) or ask_version(self._client, image)
        identity = EnvoyIdentity(version, image.build_id, image.source, image.digest)
        self._prepared[source] = image, identity
        return image, identity


class DockerEnvoy(NamespacedEnvoy):
    """One Envoy in a container, once it was started; see `RunningEnvoy` for the methods."""

    def __init__(self, spec: LaunchSpec, image: ResolvedImage, identity: EnvoyIdentity) -> None:
        super().__init__(spec, RUNDIR, f"{RUNDIR}/admin.address")
        self._image = image
        self._identity = identity
        self._namespace: NamespaceThread | None = None
        self._pidfd = -1
        self._pid = 0
        self._end: Exit | None = None
        self._stopped: Exit | None = None
        self._kept_log: str | None = None
        self._made: DockerContainer | None = None
        self._staging: Path | None = None
        self._is_started = False

    def start(self, shared: Path | None) -> None:
        """Make the container and start it; `stop` is due whatever comes of it.

        Args:
            shared: the directory to mount as `${rundir}/xds`; None for none.

        Raises:
            LaunchError: the engine could not start it.
        """
        self._staging = create_rundir()
        try:
            with engine_errors("start Envoy"), seen_by_engine(shared):
                self._made = new_container(self._spec, self._image, self._staging, shared)
                self._start(shared)
        except BaseException:
            self._discard()
            raise
        self._is_started = True
        self._remove_staging()

    def _discard(self) -> None:
        """Remove what an interrupt or a refusal left of a container."""
        with engine_errors("remove Envoy's container"):
            self._remove()
        self._made = None

    def _remove_staging(self) -> None:
        if self._staging is not None:
            remove_rundir(self._staging)
            self._staging = None

    @property
    def _docker(self) -> DockerContainer:
        assert self._made is not None
        return self._made

    def _start(self, shared: Path | None) -> None:
        self._started_s = time.monotonic()
        self._docker.start()
        container = self._container()
        container.reload()
        self._pid = int(container.attrs["State"]["Pid"])
        if self._pid == 0:
            return  # ended before it could be looked at
        # Making the container is no part of Envoy's start.
        self._started_s = process_started_s(self._pid) or self._started_s
        try:
            self._pidfd = os.pidfd_open(self._pid)
            self._namespace = joined_namespace(self._pid, "envoyassert-container")
        except ProcessLookupError:
            pass
        container.reload()
        if self._pidfd < 0 or not _is_container(self._pid, container.id or ""):
            _wait_until_ended(container)
        if not container.attrs["State"]["Running"]:
            # The number may have been reused before it was opened: trust the engine alone.
            self._close_descriptors()
        elif self._pidfd < 0 or not _is_container(self._pid, container.id or ""):
            raise DockerUnavailableError(
                "the Docker engine's containers are not among this machine's processes: "
                "eBPF can only observe containers on this kernel",
                "use an engine on this machine, or the launcher `process`",
            )
        elif shared is not None:
            require_seen(self._pid, shared)

    def _container(self) -> Container:
        return self._docker.get_wrapped_container()

    @property
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is; the build id is read from the process where no label has it."""
        if not self._identity.build_id and self._pidfd >= 0 and self._stopped is None:
            with contextlib.suppress(OSError):
                # An entry point script may still be running: its shell is not Envoy.
                if "envoy" in Path(f"/proc/{self._pid}/exe").readlink().name:
                    self._identity = EnvoyIdentity(
                        self._identity.version,
                        read_build_id(f"/proc/{self._pid}/exe"),
                        self._identity.source,
                        self._identity.image_digest,
                    )
        return self._identity

    @property
    def started_pid(self) -> int:
        """The container's first process as seen from here; 0 if it ended at once."""
        return self._pid

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread inside the container's network namespace."""
        if self._namespace is None:
            raise ProcessLookupError("Envoy ended before its network namespace was entered")
        return self._namespace.call(call)

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs."""
        if self._end is None and (self._pidfd < 0 or wait_readable(self._pidfd, timeout_s)):
            with engine_errors("show how Envoy ended"):
                status = int(self._container().wait(timeout=_ENGINE_DEADLINE_S)["StatusCode"])
            # 128 + n is how engines and shells report a death by signal n.
            by_signal = 128 < status <= 128 + signal.NSIG
            self._end = Exit(None, status - 128) if by_signal else Exit(status, None)
        return self._end

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Exit:
        """Send SIGTERM, wait, after `deadline_s` kill; remove the container and its volumes."""
        if self._stopped is not None:
            return self._stopped
        if not self._is_started:
            self._discard()
            self._stopped = Exit(None, signal.SIGKILL, forced=True)
            return self._stopped
        forced = False
        end = None
        try:
            _ = self.identity
            end = self.exited()
            if end is None:
                end = self._terminate(deadline_s)
            if end is None:
                forced = True
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                end = self.exited(STOP_DEADLINE_S)
            self._kept_log = self.log()
        finally:
            # What interrupted the above must not keep the container alive.
            end = end or Exit(None, signal.SIGKILL)
            with engine_errors("remove Envoy's container"):
                self._remove()
            self._stopped = Exit(end.exit_code, end.signal, forced)
        return self._stopped

    def _terminate(self, deadline_s: float) -> Exit | None:
        """Send SIGTERM until the process ends; return how, or None if it does not."""
        # The first process of a pid namespace ignores signals that it has no handler for. Before
        # Envoy has one, there is nothing to wait for; after it took the signal, it gives its
        # handler up. What the container runtime took instead, just before Envoy, is lost, which
        # is why the signal is sent again.
        deadline = time.monotonic() + deadline_s
        sent = False
        while (left_s := deadline - time.monotonic()) > 0:
            if handles_signal(self._pid, signal.SIGTERM):
                sent = True
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            elif not sent:
                return None
            end = self.exited(min(left_s, _RESEND_S))
            if end is not None:
                return end
        return None

    def _remove(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._close_descriptors)
            stack.callback(self._remove_staging)
            if self._made is None:
                return
            stack.callback(self._docker.get_docker_client().client.close)
            stack.callback(remove_by_name, self._docker)

    def _close_descriptors(self) -> None:
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def log(self) -> str:
        """Return what Envoy printed so far."""
        if self._kept_log is not None:
            return self._kept_log
        with engine_errors("give back Envoy's log"):
            return kept_log_of(self._container())


def _wait_until_ended(container: Container) -> None:
    """Wait until the engine says that a container has ended, for as long as it may lag behind.

    An Envoy that ends at once is gone from this machine's processes a moment before the engine
    takes note of it.
    """
    deadline = time.monotonic() + _NOTICE_S
    while container.attrs["State"]["Running"] and time.monotonic() < deadline:
        time.sleep(_NOTICE_PAUSE_S)
        container.reload()


def _is_container(pid: int, container_id: str) -> bool:
    """Whether process `pid` of this machine is the first process of a container."""
    try:
        cgroups = Path(f"/proc/{pid}/cgroup").read_text("ascii")
    except OSError:
        return False
    # Cgroups are named after the container, or else its host name is.
    return container_id in cgroups or f"HOSTNAME={container_id[:12]}".encode() in environment_of(
        pid
    )
