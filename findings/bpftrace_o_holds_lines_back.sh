#!/usr/bin/env bash
# bpftrace 0.17.0: with the option -o, what is printed stays in memory until 8 KiB have come together.
#
# Behaviour: `bpftrace -o FILE` writes in blocks, and at its end. With standard output redirected to a
#   file each line is there at once. Who waits for a line of the file, to start what is to be traced,
#   waits for ever.
# Guessed: both write each line as it comes.
# Seen on 2026-11-28 (Debian 12, Linux 6.18); it needs root:
#   -o FILE: 0 lines `ready` after 8 s, 1 at the end
#   > FILE: 1 lines `ready` after 8 s, 1 at the end
set -euo pipefail

if [ "$(id -u)" -ne 0 ] || ! command -v bpftrace >/dev/null; then
    echo "needs root and bpftrace" >&2
    exit 2
fi
bpftrace --version
directory=$(mktemp --directory)
trap 'rm -rf "$directory"' EXIT

program='BEGIN { printf("ready\n"); }'
# As long as the first line of a program may take to come, and longer.
after=8

lines() { grep --count '^ready$' "$1" || true; }

# Say how many lines a file has while bpftrace runs, and after its end, and compare with that.
look() {
    local name=$1 file=$2 expected=$3 before
    sleep "$after"
    before=$(lines "$file")
    wait
    echo "$name: $before lines \`ready\` after $after s, $(lines "$file") at the end"
    [ "$before" -eq "$expected" ] && [ "$(lines "$file")" -eq 1 ]
}

timeout --signal=INT 12 bpftrace -o "$directory/option" -e "$program" &
look "-o FILE" "$directory/option" 0
timeout --signal=INT 12 bpftrace -e "$program" >"$directory/output" &
look "> FILE" "$directory/output" 1
