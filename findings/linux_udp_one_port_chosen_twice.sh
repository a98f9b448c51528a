#!/usr/bin/env bash
# Linux 6.18: two UDP sockets with SO_REUSEPORT that bind to port 0 can be given the same port.
#
# Behaviour: where the kernel chooses the port of a UDP socket with SO_REUSEPORT, it takes no account
#   of such sockets of the same user: they may share it. So of many some do, and the datagrams to that
#   port are spread over sockets that have nothing to do with each other. TCP, and UDP without the
#   option, never get a port that is taken.
# Guessed: port 0 means a port that is free, whatever the options are.
# Seen on 2026-11-28, 2,000 sockets each; the first number differs from run to run:
#   UDP with SO_REUSEPORT: 64 sockets on a port that another one has
#   UDP without: 0 sockets on a port that another one has
#   TCP with SO_REUSEPORT: 0 sockets on a port that another one has
set -euo pipefail

uname -sr
timeout 60 unshare --net python3 - <<'PYTHON'
import fcntl
import struct
from contextlib import ExitStack
from socket import SO_REUSEPORT, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, socket

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
NUMBER = 2000


def shared(kind, reuse):
    """Return how many of many sockets were given a port that another one has."""
    ports = set()
    with ExitStack() as made:
        for _ in range(NUMBER):
            one = made.enter_context(socket(type=kind))
            one.setsockopt(SOL_SOCKET, SO_REUSEPORT, reuse)
            one.bind(("127.0.0.1", 0))
            ports.add(one.getsockname()[1])
    return NUMBER - len(ports)


with socket(type=SOCK_DGRAM) as one:
    fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
cases = {
    "UDP with SO_REUSEPORT": (SOCK_DGRAM, 1),
    "UDP without": (SOCK_DGRAM, 0),
    "TCP with SO_REUSEPORT": (SOCK_STREAM, 1),
}
seen = {name: shared(*case) for name, case in cases.items()}
for name, number in seen.items():
    print(f"{name}: {number} sockets on a port that another one has")
assert [number > 0 for number in seen.values()] == [True, False, False], seen
PYTHON
