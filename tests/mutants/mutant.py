"""What an Envoy can be made to do wrong, or differently: rules for the preloaded shim.

A rule is `CALL FILTER… : OPERATION…`; several are separated by semicolons, and the first that
matches a call decides. Calls are those on the sockets of listeners, unless `on=` says otherwise.

Filters: `nth=2` the second such call of a process alone, `nth=2+` from the second on, all without;
`on=admin`, `on=connection`, `on=any`; `by=main`, `by=worker`; `port=` that the socket is bound to;
`arg1=6` the second argument's value.

Operations stand in place of the call, one after the other:

- `call`, `elsewhere`, `in_child`, `vforked`: the call itself, or in a new thread, or by a child;
  without any of them it is not made. `by_32_bit` makes a listen by its 32-bit number.
- `ok`, `fail ERRNO`, `same`: what Envoy gets instead; `same` is a duplicate of the first
  listener's first socket.
- `work MS` keeps the thread busy; `as CALL` makes another call; `arg I N`, `with I BITS`,
  `without I BITS` change an argument; `value N` an option's value, `events BITS` those of
  epoll_ctl, `port N`, `host ADDRESS` and `pad N` (longer by N) the address of bind, `pass_next` and
  `pass_nothing` what sendmsg hands over; `next` takes the next listening descriptor, `other` the
  epoll of another worker.
- Further calls on the same socket: `set LEVEL NAME VALUE`, `listen BACKLOG`, `dup`, `close`,
  `shutdown`, `getsockname`, `remove` its file; `watch EVENTS` in an epoll of its own, `also` in
  that of another worker, `main` in that of main, `forget` in that of the call. `new` goes on with
  what the call returned, `twin` with another socket on the same address, `fresh` with an unrelated
  one.
- `hold` keeps the call back, `release` makes those that were kept back for this descriptor.
- `epoll_create`; `fork` and `execute` leave a child that holds all descriptors, `foreign` one that
  listens on the same address by a socket of its own; `serve` one that serves the socket by an
  epoll, `take` one that does so without; `raise SIGNAL`.
- `move`, `cover`, `child_remove`: the file of a Unix socket is renamed, another file is renamed
  over it, a child removes it. `peer` connects a datagram socket. `send`, `send_many` pass the
  socket to a process that is not traced. `claim`, `allow` set a seccomp filter that answers listen
  with success, or lets every call be made.

A rule counts as having taken effect only if every operation of it had one.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHIM = Path(__file__).with_name("shim")
#: As many as the shim has room for.
_MAX_RULES = 8
_COUNTER = struct.Struct("@L")


@dataclass(frozen=True)
class Mutant:
    """An Envoy that misbehaves, or a harmless variant.

    Args:
        name: short and unique.
        what: what it does differently, in words.
        rules: for the shim.
        bug: the class of faults that it stands for; of a harmless variant what may differ.
        scenarios: names of shipped scenarios that it is run against beside the core.
        equivalent: why no scenario can distinguish it from a sound Envoy, "" if one must.
        left_open: why it is right that nothing fails and nothing passes, "" if something must fail.
        alone: whether it is run against its own scenarios and not against the core.
        config: what is added to Envoy's config: mappings merge, lists grow.
        args: further arguments of Envoy.
    """

    name: str
    what: str
    rules: str
    bug: str
    scenarios: tuple[str, ...] = ()
    equivalent: str = ""
    alone: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    left_open: str = ""

    @property
    def rule_count(self) -> int:
        """How many rules there are."""
        return self.rules.count(";") + 1 if self.rules else 0


def compile_shim(directory: Path) -> Path:
    """Compile the shim into a directory and return the library.

    Raises:
        OSError: there is no C compiler.
        subprocess.CalledProcessError: it does not compile.
    """
    library = directory / "shim.so"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    sources = map(str, sorted(SHIM.glob("*.c")))
    subprocess.run([*command, "-o", str(library), *sources], check=True)
    return library


class Counters:
    """How often each rule took effect, reported by the shim through a file that it maps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_COUNTER.size * _MAX_RULES * 2))
        path.chmod(0o666)  # Envoy may run as another user

    def read(self, mutant: Mutant) -> tuple[int, ...]:
        """Return how often each rule of a mutant took effect."""
        return self._numbers()[: mutant.rule_count]

    @property
    def tried(self) -> bool:
        """Whether any rule was tried, even if an operation of it was to no effect."""
        return any(self._numbers()[_MAX_RULES:])

    def _numbers(self) -> tuple[int, ...]:
        return tuple(number for (number,) in _COUNTER.iter_unpack(self.path.read_bytes()))
