#!/usr/bin/env bash
# Linux 6.18: SO_RCVLOWAT of a TCP socket is also its SO_RCVBUF.
#
# Behaviour: where SO_RCVBUF was not set, a low-water mark that does not fit the receive buffer of a TCP
#   socket makes the buffer larger: twice the mark. net.core.rmem_max, which limits SO_RCVBUF, does
#   not count here, only net.ipv4.tcp_rmem does. A UDP socket keeps its buffer, and takes a mark that
#   the buffer cannot hold.
# Guessed: two options apart; the mark is cut to what fits the buffer.
# Seen on 2026-11-28:
#   TCP, SO_RCVLOWAT at four times SO_RCVBUF: SO_RCVBUF becomes 8 times what it was
#   UDP, SO_RCVLOWAT at four times SO_RCVBUF: SO_RCVBUF becomes 1 times what it was
#   TCP, SO_RCVLOWAT at the most: SO_RCVBUF 33554432; tcp_rmem 33554432, rmem_max 4194304
set -euo pipefail

uname -sr
timeout 60 python3 - <<'PYTHON'
from pathlib import Path
from socket import SO_RCVBUF, SO_RCVLOWAT, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, socket

most = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[2])
limit = int(Path("/proc/sys/net/core/rmem_max").read_text())


def buffer_after(kind, mark):
    with socket(type=kind) as made:
        before = made.getsockopt(SOL_SOCKET, SO_RCVBUF)
        made.setsockopt(SOL_SOCKET, SO_RCVLOWAT, mark or 4 * before)
        kept = made.getsockopt(SOL_SOCKET, SO_RCVLOWAT)
        assert mark or kept == 4 * before, kept
        return before, made.getsockopt(SOL_SOCKET, SO_RCVBUF)


times = []
for name, kind in (("TCP", SOCK_STREAM), ("UDP", SOCK_DGRAM)):
    before, after = buffer_after(kind, 0)
    times.append(after / before)
    print(
        f"{name}, SO_RCVLOWAT at four times SO_RCVBUF: SO_RCVBUF becomes {after / before:g} times"
        " what it was"
    )
_, largest = buffer_after(SOCK_STREAM, 2**31 - 1)
print(f"TCP, SO_RCVLOWAT at the most: SO_RCVBUF {largest}; tcp_rmem {most}, rmem_max {limit}")
assert times == [8, 1], times
assert largest == most, (largest, most)
PYTHON
