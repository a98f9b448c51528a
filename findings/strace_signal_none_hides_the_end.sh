#!/usr/bin/env bash
# strace 6.1: with `-e signal=none` a process that a signal kills has no end.
#
# Behaviour: `-e signal=` chooses which signals are printed as they arrive. It also decides about the
#   line `+++ killed by SIG… +++`: of a signal that is not in the set, the end of the process is not
#   printed either. A process that exits has its line `+++ exited with … +++` in any case.
# Guessed: the lines `--- SIG… ---` are left out, and the end of each process is printed as before.
# Seen on 2026-11-28 (Linux 6.18, strace 6.1), the number of lines with `+++`:
#   signal=all, killed: 1
#   signal=all, exited: 1
#   signal=none, killed: 0
#   signal=none, exited: 1
set -euo pipefail

command -v strace >/dev/null || { echo "strace is not installed" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# A process that may not be traced here says nothing about strace.
strace -o "$place/log" true || { echo "strace may not trace here" >&2; exit 2; }

ends() { # NAME SIGNALS COMMAND
    timeout 20 strace -o "$place/log" -e "signal=$2" sh -c "$3" 2>/dev/null || true
    printf 'signal=%s, %s: %s\n' "$2" "$1" "$(grep -c '+++' "$place/log" || true)"
}

seen=$(
    for signals in all none; do
        ends killed "$signals" 'kill -KILL $$'
        ends exited "$signals" 'exit 3'
    done
)
echo "$seen"
diff <(echo "$seen") - <<'LINES' >/dev/null
signal=all, killed: 1
signal=all, exited: 1
signal=none, killed: 0
signal=none, exited: 1
LINES
