#!/usr/bin/env bash
# Linux 6.18: /proc/PID/environ of a living process is empty, without an error, during each exec.
#
# Behaviour: between the point of no return of execve(2) and the end of the setting up of the new
#   stack, /proc/PID/environ and /proc/PID/cmdline read as 0 bytes, as those of a thread of the kernel
#   do. A search for processes by what is in their environment misses one that is there before and
#   after, and has the same environment in both programs.
# Guessed: a reader sees the old environment or the new one; at worst the read waits or fails.
# Seen on 2026-11-28; the numbers differ from run to run:
#   145882 reads, 7774 of them empty
set -euo pipefail

uname -sr
timeout 60 python3 - <<'PYTHON'
import select
import subprocess

# A shell that executes itself 3,000 times, always with the same environment, and then waits.
AGAIN = '[ "$1" -gt 0 ] && exec sh -c "$0" "$0" $(($1-1)); echo; read -r _'

reads = empty = 0
command = ["sh", "-c", AGAIN, AGAIN, "3000"]
pipe = subprocess.PIPE
with subprocess.Popen(command, env={"HERE": "yes"}, stdin=pipe, stdout=pipe) as shell:
    while not select.select([shell.stdout], [], [], 0)[0]:
        with open(f"/proc/{shell.pid}/environ", "rb") as file:
            content = file.read()
        reads += 1
        empty += not content
        assert not content or b"HERE=yes" in content.split(b"\0"), content
print(f"{reads} reads, {empty} of them empty")
assert empty > 10
PYTHON
