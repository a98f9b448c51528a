#!/usr/bin/env bash
# Linux 6.18: one address in two families with SO_REUSEPORT: bound by both, served by one.
#
# Behaviour: 127.0.0.1 and ::ffff:127.0.0.1 are one address, and two sockets may listen on one port of
#   it only if both set SO_REUSEPORT, as in one group. But they are no group: the lookup of the kernel
#   prefers AF_INET, so the IPv4 socket gets every client and the other, which listens without an
#   error, gets not one, whichever was first.
# Guessed: one group, the clients spread over both.
# Seen on 2026-11-28, clients of each of the two sockets:
#   127.0.0.1 and 127.0.0.1: spread over both
#   127.0.0.1 and ::ffff:127.0.0.1: [200, 0]
#   ::ffff:127.0.0.1 and 127.0.0.1: [0, 200]
#   ::ffff:127.0.0.1 and 127.0.0.1 without SO_REUSEPORT: EADDRINUSE
set -euo pipefail

uname -sr
timeout 60 python3 - <<'PYTHON'
import errno
import socket

MAPPED, PLAIN, CLIENTS = "::ffff:127.0.0.1", "127.0.0.1", 200


def listener(host, port, reuse=1):
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if ":" in host:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse)
    made.bind((host, port))
    made.listen(CLIENTS)
    made.setblocking(False)
    return made


def accepted(listening):
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def spread(first, second):
    with listener(first, 0) as one, listener(second, one.getsockname()[1]) as two:
        clients = [socket.create_connection((PLAIN, one.getsockname()[1])) for _ in range(CLIENTS)]
        counts = [accepted(one), accepted(two)]
        for client in clients:
            client.close()
    print(f"{first} and {second}: {'spread over both' if all(counts) else counts}")
    return counts


same, after, before = spread(PLAIN, PLAIN), spread(PLAIN, MAPPED), spread(MAPPED, PLAIN)
with listener(MAPPED, 0, reuse=0) as alone:
    try:
        listener(PLAIN, alone.getsockname()[1], reuse=0)
        refused = "bound"
    except OSError as error:
        refused = errno.errorcode[error.errno]
print(f"{MAPPED} and {PLAIN} without SO_REUSEPORT: {refused}")
assert all(same) and sum(same) == CLIENTS
assert (after, before, refused) == ([CLIENTS, 0], [0, CLIENTS], "EADDRINUSE")
PYTHON
