"""One observed fact: a system call that returned, or something the kernel told about a task.

`Event.call` is the system call's name, or one of the kernel's own facts: `exec`, `fork`, `exit`,
`signal`, `rename`, `tcp_state`. `Event.args` holds decoded arguments by the names of the man page:

| call | args |
|---|---|
| socket | family `AF_INET`, type `SOCK_STREAM`, flags [`SOCK_NONBLOCK`], protocol int |
| socketpair | the same, and fds [int] |
| bind, connect, getsockname | fd, address (Address or None if it could not be read) |
| listen | fd, backlog (int, as passed), sk hex str (the kernel's own address of a socket of TCP
  that this call put into LISTEN; absent from older files, which have a tcp_state for it) |
| dup; dup2, dup3 | fd; fd, newfd, flags |
| fcntl | fd, cmd `F_DUPFD` or `F_DUPFD_CLOEXEC`, arg |
| setsockopt | fd, level `SOL_SOCKET`, name `SO_REUSEPORT`, length, value (see `option_values`) |
| accept, accept4 | fd, address (peer, or None), flags |
| close; close_range | fd; first, last, flags |
| epoll_create1 | flags; epoll_create is recorded under this name too |
| epoll_ctl | epfd, op `EPOLL_CTL_ADD`, fd, events [`EPOLLIN`] |
| epoll_wait | epfd; at entry, once per thread and instance; pwait, pwait2 as well; ret None |
| sendmsg, recvmsg, sendmmsg | fd, fds [int], truncated bool; recorded only with SCM_RIGHTS; of
  sendmmsg the first message |
| shutdown | fd, how |
| unlink; unlinkat | path; path, dirfd (-100: the working directory; absent from older files) |
| renameat2 | path, to (where to), dirfds [int] of the two, flags int; rename and renameat are
  recorded under this name too |
| chmod, fchmodat, fchmod | path or fd, mode int |
| setns | fd, nstype int, path (that fd was opened from, or None), age_ns (between the two) |
| unshare | flags int |
| io_uring_setup, pidfd_getfd | (tripwires) nothing, or fd |
| other_table | (a tripwire) table `32-bit` or `x32`, number there; the first call of a process by
  the numbers of another table, and the first that the kernel did not know |
| seccomp | answers [`ALLOW`, `ERRNO EPERM`] that the filter can give, None if they are not known;
  of prctl too; a tripwire if it can claim success |
| exec | filename, argv [str], name (comm) |
| fork | child_pid, child_tid, thread bool; shares_files bool if that differs (a tripwire) |
| exit | status int or None, last bool (the last thread of the process is gone) |
| signal | number (default action, delivered; Linux shows fatal ones without a core as 9) |
| rename | tid, name |
| tcp_state | sk hex str (as with listen), old `TCP_LISTEN`, new `TCP_CLOSE`; older files: port |

Numbers without a known name stay numbers. `fd` is always the descriptor *operated on*; a new
descriptor is `ret`.
"""

from __future__ import annotations

from typing import Any

from envoyassert.names import errno_name

#: Facts that the kernel's tracepoints tell, as opposed to system calls.
KERNEL_FACTS = frozenset({"exec", "fork", "exit", "signal", "rename", "tcp_state"})


class Event:
    """One event.

    Args:
        ts_ns: CLOCK_MONOTONIC nanoseconds; for a system call the time of its return, but for
            close that of its entry: from then on its number may be given out again.
        pid: process id (tgid) in the initial pid namespace.
        tid: thread id in the initial pid namespace.
        call: what happened, see the module's table.
        ret: return value, negative errno on failure; None where it was not observed.
        args: decoded arguments, see the module's table.
        cpu: CPU that recorded it.
        seq: number of this record among those of its run on its CPU, from 1 without gaps.
        fault: whether some user memory could not be read, so that an argument is None.
        stack: frames of the user stack, innermost first, each `<build id>+0x<offset>`.
    """

    __slots__ = ("args", "call", "cpu", "fault", "pid", "ret", "seq", "stack", "tid", "ts_ns")

    def __init__(
        self,
        ts_ns: int,
        pid: int,
        tid: int,
        call: str,
        ret: int | None,
        args: dict[str, Any],
        cpu: int = 0,
        seq: int = 0,
        fault: bool = False,
        stack: tuple[str, ...] = (),
    ) -> None:
        self.ts_ns = ts_ns
        self.pid = pid
        self.tid = tid
        self.call = call
        self.ret = ret
        self.args = args
        self.cpu = cpu
        self.seq = seq
        self.fault = fault
        self.stack = stack

    @property
    def ok(self) -> bool:
        """Whether the call is known to have succeeded."""
        return self.ret is not None and self.ret >= 0

    @property
    def errno(self) -> str | None:
        """Name of the error (`EADDRINUSE`), or None if there was none or it is unknown."""
        return errno_name(-self.ret) if self.ret is not None and self.ret < 0 else None

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]  # args is a dict

    def __repr__(self) -> str:
        return f"Event({self.ts_ns}, {self.pid}/{self.tid}, {self.call}, {self.args} = {self.ret})"
