"""Near misses as data: what comes closest to what is not there, and in which fields it differs."""

from __future__ import annotations

from typing import Any

from envoyassert.frozen import frozen
from envoyassert.judge.values import Fact, Option, ThreadName


@frozen
class Mismatch:
    """One field in which a candidate is not what was looked for.

    Args:
        field: `port`, `by`, `errno`, the name of an argument.
        seen: what it has there.
        wanted: what was asked for; of a stack, what it lacks or is not among.
    """

    field: str
    seen: Any
    wanted: Any


@frozen
class NearListener:
    """The socket that comes closest to a listener that is not there.

    Args:
        protocol, address: of the socket.
        listener: the listener of the config that it is, None if it is none.
        differs: in which fields it is not what was asked for.
        bound_by: who bound it.
        served_by: who serves it.
        errno: with what its bind failed, if it was never bound.
    """

    protocol: str
    address: str
    listener: str | None
    differs: tuple[Mismatch, ...]
    bound_by: tuple[ThreadName, ...] = ()
    served_by: tuple[ThreadName, ...] = ()
    errno: str | None = None


@frozen
class FailedBinds:
    """Binds to the address of a listener that failed."""

    address: str
    by: tuple[ThreadName, ...]
    times: int
    errnos: tuple[str, ...]


@frozen
class NearCall:
    """The call that comes closest to one that is not there, and in which fields it differs."""

    call: str
    differs: tuple[Mismatch, ...]


@frozen
class OptionsThere:
    """The options that a socket has which lacks the one that was asked for."""

    options: tuple[Option, ...]


Near = NearListener | FailedBinds | NearCall | OptionsThere | Fact
