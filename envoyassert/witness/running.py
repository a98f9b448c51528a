"""The state of an Envoy that runs already, asked of the kernel and of its admin endpoint.

Nothing of it was started here, so its admin endpoint is found by what the kernel shows: the socket
that the main thread serves. Sockets come and go while they are asked for, so all of it is asked
until it is the same twice.

A thread that waits for events shows the descriptor of its epoll as the first argument of the call
that it is in (proc(5), /proc/<pid>/task/<tid>/syscall). One that runs at that instant shows
nothing, so it is asked again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import platform
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from envoyassert.accounts import (
    EnvoyAccount,
    OtherHolder,
    SocketKind,
    Witness,
    WitnessProcess,
    WitnessRegistration,
    WitnessSocket,
    WitnessThread,
)
from envoyassert.addresses import Address
from envoyassert.attach.place import where_is
from envoyassert.clock import monotonic_ns
from envoyassert.errors import MachineError, NoProcessError
from envoyassert.launch.admin import DEADLINE_S, AdminUnreachableError, connect_admin, request
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.inside import proc_root
from envoyassert.launch.namespace import NamespaceThread, in_netns_of, joined_namespace
from envoyassert.launch.processes import and_descendants
from envoyassert.launch.version import reported_version
from envoyassert.option_read_back import known_options
from envoyassert.option_values import OptionValue
from envoyassert.state import trace_of_state
from envoyassert.trace import EnvoyIdentity, ListenerRecord, Trace
from envoyassert.witness import limits_now
from envoyassert.witness.envoy import ask_envoy
from envoyassert.witness.network import ask_networks, names_by_cookie
from envoyassert.witness.process import ask_process, is_filtered, options_of_new, questions_of

#: How often the kernel is asked at most, until its account is the same twice.
_TRIES = 8
_WORKER = "wrk:worker_"
_PRIVILEGES = (
    "run as root, with CAP_SYS_PTRACE and CAP_SYS_ADMIN; in a container: in the host's pid and "
    "user namespace, as `--privileged --pid host` gives"
)


def state_of(pid: int) -> Trace:
    """Return the state of a running Envoy as a trace.

    Args:
        pid: its process, as seen from here.

    Raises:
        NoProcessError: there is no such process, it is no Envoy, or it ended meanwhile.
        MachineError: this process may not look at it.
    """
    check_is_envoy(pid)
    try:
        place = joined_namespace(pid, "envoyassert-inspected")
    except ProcessLookupError as error:
        raise ended(pid) from error
    try:
        return _Asker(pid, place).trace()
    finally:
        place.close()


def ended(pid: int) -> NoProcessError:
    """Return the error that a process ended while it was looked at."""
    return NoProcessError(f"process {pid} ended while it was looked at", "inspect one that stays")


def closed_meanwhile(pid: int) -> MachineError:
    """Return the error that this process may not look at another one."""
    return MachineError(f"process {pid} may not be looked at", _PRIVILEGES)


def check_is_envoy(pid: int) -> None:
    """Make sure that a process is there and has worker threads.

    Raises:
        NoProcessError: there is no such process, or it is no Envoy.
        MachineError: it is of a user namespace that this process is not in.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise NoProcessError(f"there is no process {pid}", "see `pgrep -a envoy`") from None
    except (PermissionError, OverflowError):
        pass  # looked at below, as far as that is permitted
    names = sorted(set(thread_names_of([pid]).values()))
    if not any(name.startswith(_WORKER) for name in names):
        raise NoProcessError(
            f"process {pid} is no Envoy: it has no thread {_WORKER}0, but "
            f"{', '.join(names[:8]) or 'none that can be seen'}",
            "name the process that has the workers; where an agent starts Envoy, that is its child",
        )
    try:
        os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - whether it may be looked at
        os.readlink(f"/proc/{pid}/ns/user")  # noqa: PTH115 - of another process
    except FileNotFoundError:
        raise ended(pid) from None
    except PermissionError as error:
        raise closed_meanwhile(pid) from error


class _Asker:
    """Asks for the state of one process.

    Args:
        pid: the process.
        place: a thread in its network namespace.
    """

    def __init__(self, pid: int, place: NamespaceThread) -> None:
        self._pid = pid
        self._place = place
        self._questions = questions_of(known_options())
        self._new: dict[tuple[object, ...], Mapping[str, OptionValue]] = {}

    def trace(self) -> Trace:
        """Return the state as a trace."""
        pids = [self._pid, *list(and_descendants(self._pid))[1:]]
        threads = ask_threads(pids)
        main = {one.epfd for one in threads if one.tid == one.pid == self._pid}
        admin: Address | None = None
        account: EnvoyAccount | None = None
        for address in self._served_by(main):
            found = ask_envoy(functools.partial(self._ask, address))
            if found is not None and not found.error:
                admin, account = address, found
                break
            account = account or found
        named = [a for one in (account.listeners if account else ()) for a in one.addresses]
        others = tuple(dict.fromkeys(a.netns for a in named if a.netns))
        witness = self._settled(pids, others)
        # Last: what it says of itself is of the same time.
        if admin is not None:
            account = ask_envoy(functools.partial(self._ask, admin))
        witness = dataclasses.replace(witness, envoy=account)
        identity = self._identity(admin)
        place = where_is(self._pid)
        trace = trace_of_state(
            witness,
            envoy=identity,
            kernel=platform.release(),
            where={} if place is None else place.as_header(platform.node()),
        )
        if admin is not None:
            mine = ListenerRecord("admin", "TCP" if admin.is_ip else "UNIX", (admin,), "admin")
            header = trace.header
            header = dataclasses.replace(header, listeners=(mine, *header.listeners))
            trace = dataclasses.replace(trace, header=header)
        return trace

    def _settled(self, pids: Collection[int], others: tuple[str, ...]) -> Witness:
        before = None
        for _ in range(_TRIES):
            found = self._asked(pids, others)
            what = _of_clients(found)
            if what == before:
                return found
            before = what
        said = f"its sockets changed each of the {_TRIES} times that the kernel was asked"
        return dataclasses.replace(found, error=said)

    def _asked(self, pids: Collection[int], others: tuple[str, ...]) -> Witness:
        begun_ns = monotonic_ns()
        names = names_by_cookie(self._in_netns, others)
        threads = ask_threads(pids)
        sockets: list[WitnessSocket] = []
        registrations: list[WitnessRegistration] = []
        for pid in pids:
            mine = ask_process(pid, names, known_options(), self._new_options)
            if mine[2] and pid == self._pid:
                raise self._failed(mine[2])
            sockets += mine[0]
            registrations += mine[1]
        network = self._place.call(lambda: ask_networks(self._in_netns, others))
        kept = {one.inode for one in sockets if one.kind is not None and not one.kind.connected}
        return Witness(
            ts_ns=monotonic_ns(),
            sockets=tuple(sockets),
            registrations=tuple(registrations),
            begun_ns=begun_ns,
            pid=self._pid,
            network=network,
            pids=tuple(pids),
            limits=limits_now(),
            filtered=is_filtered(self._pid),
            processes=ask_tasks(pids),
            threads=threads,
            holders=ask_holders(kept, pids),
        )

    def _failed(self, said: str) -> Exception:
        if "has ended" in said:
            return ended(self._pid)
        return MachineError(said, _PRIVILEGES)

    def _in_netns(self, call: Callable[[], object], netns: str = "") -> object:
        return in_netns_of(self._pid, netns, call) if netns else self._place.call(call)

    def _new_options(self, kind: SocketKind) -> Mapping[str, OptionValue]:
        """Return the options of a new socket in Envoy's network; {} if none can be made."""
        key = (kind.family, kind.type, kind.protocol)
        if key not in self._new:
            try:
                made = self._place.call(lambda: options_of_new(kind, self._questions))
            except (OSError, KeyError):
                made = {}
            self._new[key] = made
        return self._new[key]

    def _served_by(self, main: Collection[int | None]) -> Iterator[Address]:
        """Yield where the main thread listens: its admin endpoint is one of these."""
        sockets, registrations, error = ask_process(self._pid)
        if error:
            raise self._failed(error)
        served = {one.inode for one in registrations if one.epfd in main}
        for one in sockets:
            if one.listening and one.inode in served and one.address is not None:
                yield one.address

    def _ask(self, address: Address, path: str) -> tuple[int, str]:
        root = proc_root(self._pid, address.path or "/")
        try:
            connection = self._place.call(
                lambda: connect_admin(address, root, DEADLINE_S, lambda: self._pid)
            )
        except OSError as error:
            raise AdminUnreachableError(f"{address}: {error.strerror or error}") from error
        return request(connection, path, "GET", DEADLINE_S)

    def _identity(self, admin: Address | None) -> EnvoyIdentity:
        """Return which Envoy it is, its version as it says itself."""
        version = ""
        if admin is not None:
            with contextlib.suppress(AdminUnreachableError):
                version = reported_version(self._ask(admin, "/server_info")[1])
        build_id = read_build_id(f"/proc/{self._pid}/exe")
        return EnvoyIdentity(version, build_id, f"process {self._pid}")


def _of_clients(witness: Witness) -> object:
    """Return what of an account must be the same twice: all but connections."""
    sockets = [s for s in witness.sockets if s.kind is not None and not s.kind.connected]
    inodes = {one.inode for one in sockets}
    registrations = {r for r in witness.registrations if r.inode in inodes}
    epolls = {(t.pid, t.tid, t.epfd) for t in witness.threads if t.name.startswith(_WORKER)}
    return [repr(one) for one in sockets], registrations, epolls


#: epoll_wait, epoll_pwait and epoll_pwait2 by architecture (asm/unistd.h).
_WAITS = {"x86_64": ("232", "281", "441"), "aarch64": ("22", "441")}
#: How often a thread is asked that is in no such call, and how long in between. A worker that is
#: busy waits for less than this after each round of its events.
_READS, _PAUSE_S = 200, 0.002
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


def ask_tasks(pids: Collection[int]) -> tuple[WitnessProcess, ...]:
    """Return what there is to know of processes; one that has ended is left out."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            status = _status(pid)
            parent = int(status["PPid"])
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
            found.append(
                WitnessProcess(
                    pid,
                    parent if parent in pids else None,
                    os.readlink(f"/proc/{pid}/exe"),  # noqa: PTH115 - a link of its own root
                    tuple(map(os.fsdecode, argv)),
                    int(status.get("NSpid", str(pid)).split()[-1]),
                )
            )
    return tuple(found)


def ask_threads(pids: Collection[int]) -> tuple[WitnessThread, ...]:
    """Return the threads of processes, with the epoll that each was seen to wait on."""
    seen: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], str] = {}
    for _ in range(_READS):
        names = thread_names_of(pids)
        for pid, tid in names.keys() - seen.keys():
            epfd = _waits_on(pid, tid)
            if epfd is not None:
                seen[pid, tid] = epfd
        # Other threads may wait for something else for ever.
        if all(task in seen for task, name in names.items() if _is_of_events(task, name)):
            break
        time.sleep(_PAUSE_S)
    return tuple(
        WitnessThread(pid, tid, name, seen.get((pid, tid)))
        for (pid, tid), name in sorted(names.items())
    )


def _is_of_events(task: tuple[int, int], name: str) -> bool:
    """Whether a thread waits for events by its part: main, and the workers."""
    return task[0] == task[1] or name.startswith(_WORKER)


def thread_names_of(pids: Collection[int]) -> dict[tuple[int, int], str]:
    """Return the names of all threads of processes, by process and thread."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    name = (task / "comm").read_text("utf-8", "backslashreplace")
                    found[pid, int(task.name)] = name.removesuffix("\n")
    return found


def _waits_on(pid: int, tid: int) -> int | None:
    """Return the descriptor of the epoll that a thread waits on now, None if it does not."""
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text("ascii").split()
    except OSError:
        return None
    if not words or words[0] not in _WAITS.get(platform.machine(), ()):
        return None
    return int(words[1], 16)


def ask_holders(inodes: Collection[int], pids: Collection[int]) -> tuple[OtherHolder, ...]:
    """Return the processes that have one of these sockets and are none of these processes."""
    found: dict[tuple[int, int], OtherHolder] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names alone, of what may vanish any time
        if not entry.isdecimal() or int(entry) in pids or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{entry}/fd"):  # noqa: PTH208 - names alone
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/{entry}/fd/{fd}")  # noqa: PTH115 - no path
                    link = _SOCKET_LINK.fullmatch(target)
                    if link and int(link[1]) in inodes:
                        name = Path(f"/proc/{entry}/comm").read_text("utf-8", "backslashreplace")
                        key = (int(link[1]), int(entry))
                        found[key] = OtherHolder(*key, name.removesuffix("\n"))
    return tuple(found[key] for key in sorted(found))


def _status(pid: int) -> Mapping[str, str]:
    text = Path(f"/proc/{pid}/status").read_text("utf-8", "backslashreplace")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
