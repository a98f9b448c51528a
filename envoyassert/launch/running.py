"""What running Envoys have in common, however they were started."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from envoyassert.addresses import Address
from envoyassert.launch.admin import (
    DEADLINE_S,
    AdminIncompleteError,
    AdminUnreachableError,
    connect_admin,
    request,
)
from envoyassert.launch.base import STOP_DEADLINE_S, Exit, LaunchSpec
from envoyassert.launch.inside import proc_root, read_inside
from envoyassert.launch.processes import envoy_among
from envoyassert.launch.readiness import wait_ready
from envoyassert.trace import EnvoyIdentity, Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

#: Bytes of the file that Envoy writes its admin address to.
_LONGEST_ADDRESS = 256


class NamespacedEnvoy(ABC):
    """An Envoy whose network namespace is entered to talk to it; see `RunningEnvoy`.

    Args:
        spec: what was asked for.
        rundir: the run directory as Envoy sees it; also its working directory.
        admin_file: where Envoy writes the admin address if the config leaves the port to the
            kernel, as Envoy sees it.
    """

    def __init__(self, spec: LaunchSpec, rundir: str, admin_file: str) -> None:
        self._spec = spec
        self._rundir = rundir
        self._admin_file = admin_file
        self._started_s = time.monotonic()
        self._envoy_pid = 0

    @property
    @abstractmethod
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is."""

    @property
    @abstractmethod
    def started_pid(self) -> int:
        """The process that was started, as seen from here; 0 if it ended at once."""

    @property
    def pid(self) -> int:
        """Envoy's process, as seen from here.

        That is the one that was started, unless that one started another which has workers.
        """
        if not self._envoy_pid and self.started_pid:
            self._envoy_pid = envoy_among(self.started_pid) or 0
        return self._envoy_pid or self.started_pid

    @property
    def executable(self) -> str:
        """Its executable's path on this machine; "" where it has none."""
        return ""

    @abstractmethod
    def in_netns(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread inside Envoy's network namespace; return what it returns."""

    @abstractmethod
    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for the process to end; return how, or None if it runs."""

    @abstractmethod
    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> Exit:
        """Send SIGTERM, wait, after `deadline_s` kill; return how it ended."""

    @abstractmethod
    def log(self) -> str:
        """Return what Envoy printed so far."""

    def admin_get(
        self, path: str, method: str = "GET", deadline_s: float = DEADLINE_S
    ) -> tuple[int, str]:
        """Ask the admin endpoint, for at most so many seconds; return status and body.

        Raises:
            AdminUnreachableError: there is none, or it does not answer.
        """
        address = self._admin_address()
        root = proc_root(self.started_pid)
        try:
            connection = self.in_netns(
                lambda: connect_admin(address, root, deadline_s, lambda: self.pid)
            )
        except OSError as error:
            raise AdminUnreachableError(f"{address}: {error.strerror or error}") from error
        return request(connection, path, method, deadline_s)

    def _admin_address(self) -> Address:
        address = self._spec.admin
        if address is None:
            raise AdminUnreachableError("the config has no admin endpoint")
        if address.port == 0:
            try:
                written = read_inside(
                    proc_root(self.started_pid), self._admin_file, _LONGEST_ADDRESS
                )
                if not written:
                    raise AdminIncompleteError(
                        "Envoy has not written the address of its admin endpoint: its file is "
                        "empty, as it is where the disk is full"
                    )
                return address.with_port(int(written.decode("ascii").rpartition(":")[2]))
            except AdminIncompleteError:
                raise
            except (OSError, ValueError) as error:
                raise AdminUnreachableError("the admin port is not known yet") from error
        if address.path and not address.path.startswith("/"):
            return Address.unix(f"{self._rundir}/{address.path}")
        return address

    def wait_ready(self, idle: Callable[[], bool] | None = None) -> Outcome:
        """Wait until Envoy is ready, has ended, or the deadline is reached."""
        has_admin = self._spec.admin is not None
        return wait_ready(self, has_admin, self._started_s, self._spec.deadline_s, idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def command_line(spec: LaunchSpec, config: str, admin_file: str) -> list[str]:
    """Return Envoy's arguments, without the executable's name.

    Args:
        spec: what was asked for.
        config: path of the bootstrap, as Envoy sees it.
        admin_file: where Envoy should write the admin address if its port is left to the kernel.
    """
    workers = [] if spec.agent else ["--concurrency", str(spec.concurrency)]
    arguments = ["-c", config, *workers, *spec.args]
    if spec.admin is not None and spec.admin.port == 0:
        arguments += ["--admin-address-path", admin_file]
    return arguments
