#!/usr/bin/env bash
# Linux 6.18: the peak memory that wait4(2) says of a program is at least what its parent had.
#
# Behaviour: `ru_maxrss` of a process begins with the resident memory of the one that started it, by fork,
#   vfork or posix_spawn, and exec does not reset it. A large process that starts a small one, and asks
#   for its usage, is given its own size. /usr/bin/time is small, so it says the truth.
# Guessed: the peak of the program that was executed; getrusage(2) says no more.
# Seen on 2026-11-28:
#   a program of a parent with 8 MiB: 8 MiB; with 308 MiB: 308 MiB
set -euo pipefail

uname -sr
timeout 60 python3 -S - <<'PYTHON'
import os


def peak_mib():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    return os.wait4(pid, 0)[2].ru_maxrss // 1024


def own_mib():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


small, small_parent = peak_mib(), own_mib()
data = b"." * (300 << 20)
large, large_parent = peak_mib(), own_mib()
print(
    f"a program of a parent with {small_parent} MiB: {small} MiB; with {large_parent} MiB: "
    f"{large} MiB"
)
assert small < 50, small
assert large >= 300, large
PYTHON
