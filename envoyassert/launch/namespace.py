"""Threads that live in another network namespace, and do there what they are asked.

Namespaces belong to threads: the main thread must never change its own, so each namespace gets a
thread. A socket that was made there keeps working there from any thread.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from envoyassert.errors import MachineError
from envoyassert.launch.inside import mount_inside, open_regular, proc_root, write_inside
from envoyassert.launch.kernel import (
    CLONE_NEWNS,
    join_network_namespace,
    make_mounts_private,
    mount_file,
    mount_tmpfs,
    unshare,
)
from envoyassert.launch.own_network import NSSWITCH, bring_up_loopback
from envoyassert.names import CLONE_NEWNET

T = TypeVar("T")


class NamespaceThread:
    """A thread that enters a namespace, then runs calls there one after another.

    Args:
        enter: run first in the new thread; what it raises is raised here.
        name: the thread's name.
    """

    def __init__(self, enter: Callable[[], None], name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        # A daemon: an interpreter that ends without close() must not wait for it.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()
        self._closed = False
        try:
            self.call(enter)
        except BaseException:
            self.close()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the namespace; return or raise what it returns or raises.

        Raises:
            RuntimeError: the thread was closed.
        """
        if threading.current_thread() is self._thread:
            return function()
        if self._closed:
            raise RuntimeError("the network namespace was left already")
        future: Future[T] = Future()
        self._calls.put((function, future))
        return future.result()

    def close(self) -> None:
        """End the thread; the namespace lives on as long as a process is in it."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
            self._thread.join()

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            function, future = item
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - the caller, who waits for it, gets it
                future.set_exception(error)
                # The frame would keep the exception, and with it the caller's frames, alive.
                del error
            else:
                future.set_result(result)
            del item, function, future


def new_namespace(name: str, nsswitch: Path | None = None) -> NamespaceThread:
    """Return a thread in new network and mount namespaces.

    The network has a loopback interface, up, and nothing else. /dev/shm is an empty file system
    that vanishes with the last process, so hot-restart segments of parallel runs never meet.

    Args:
        name: name of the thread.
        nsswitch: a file that is seen instead of the machine's own, if there is one.

    Raises:
        MachineError: this process may not make namespaces.
    """

    def enter() -> None:
        unshare(CLONE_NEWNET | CLONE_NEWNS)
        make_mounts_private()
        if Path("/dev/shm").is_dir():
            mount_tmpfs("/dev/shm")
        if nsswitch is not None and Path(NSSWITCH).is_file():
            mount_file(str(nsswitch), NSSWITCH)
        bring_up_loopback()

    try:
        return NamespaceThread(enter, name)
    except OSError as error:
        raise MachineError(
            f"no network namespace can be made for Envoy: {error.strerror}",
            "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or use the launcher `docker`",
        ) from error


def joined_namespace(pid: int, name: str) -> NamespaceThread:
    """Return a thread in the network namespace of a process.

    Args:
        pid: the process.
        name: name of the thread.

    Raises:
        ProcessLookupError: the process has ended.
        MachineError: this process may not enter it.
    """

    def enter() -> None:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            join_network_namespace(descriptor)
        finally:
            os.close(descriptor)

    try:
        return NamespaceThread(enter, name)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    except OSError as error:
        raise MachineError(
            f"Envoy's network namespace cannot be entered: {error.strerror}",
            "run as root (with CAP_SYS_ADMIN and CAP_SYS_PTRACE)",
        ) from error


def add_network_namespace(
    inside: NamespaceThread, directory: Path, name: str, prepare: Callable[[], None]
) -> None:
    """Make a network namespace, with loopback, that is entered by a file.

    The file is one for the threads and processes of `inside` alone, where it is mounted; the
    namespace goes with the last of them.

    Args:
        inside: a thread with a mount namespace of its own.
        directory: the run directory.
        name: which file in it; it is made.
        prepare: what is done in the namespace first; what it raises is raised here.

    Raises:
        OSError: not permitted, or the file cannot be made.
    """
    write_inside(directory, name, "")

    def enter() -> None:
        unshare(CLONE_NEWNET)
        bring_up_loopback()
        prepare()
        mount_inside("/proc/thread-self/ns/net", directory, name)

    # A new thread has the namespaces of the one that makes it.
    inside.call(lambda: NamespaceThread(enter, "envoyassert-newnet").close())


def in_netns_of(pid: int, netns: str, call: Callable[[], T]) -> T:
    """Run a call in a network namespace that a process could enter; return what it returns.

    Args:
        pid: the process.
        netns: the file by which it would enter the namespace.
        call: what to run.

    Raises:
        OSError: there is no such namespace, or it may not be entered.
    """

    def enter() -> None:
        descriptor = open_regular(proc_root(pid), netns)
        try:
            join_network_namespace(descriptor)
        finally:
            os.close(descriptor)

    thread = NamespaceThread(enter, "envoyassert-another-netns")
    try:
        return thread.call(call)
    finally:
        thread.close()
