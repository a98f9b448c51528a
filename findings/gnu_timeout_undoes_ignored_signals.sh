#!/usr/bin/env bash
# GNU coreutils 9.1: in `nohup timeout 60 COMMAND` nothing is left of nohup: a hangup ends COMMAND.
#
# Behaviour: timeout handles SIGHUP, SIGINT, SIGQUIT and SIGTERM itself, whatever it inherited. An
#   exec resets what is handled, so its COMMAND has the default for them, which is to end. So a
#   hangup ends both behind nohup. A background job of a script, for which the shell ignores Ctrl-C,
#   has it again behind timeout. `timeout 60 nohup COMMAND` keeps the command.
# Guessed: what is ignored stays ignored in what is executed, as behind nice(1) or env(1).
# Seen on 2026-11-29 (Linux 6.18, coreutils 9.1), what the command ignores where its caller ignores
#   both, and what a SIGHUP to it does:
#   sh: SIGHUP ignored, SIGINT ignored
#   nice sh: SIGHUP ignored, SIGINT ignored
#   timeout 20 sh: SIGHUP default, SIGINT default
#   nohup timeout 20 sh: SIGHUP default, SIGINT default
#   timeout 20 nohup sh: SIGHUP ignored, SIGINT default
#   nohup sh: goes on
#   nohup timeout 20 sh: ended by the signal
set -euo pipefail

# Others (busybox, uutils) have a timeout of their own, about which this says nothing.
timeout --version | grep -q 'GNU coreutils' || { echo "timeout is not that of GNU coreutils" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/ignored.sh" <<'SH'
mask=$((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status)))
word() { if [ $((mask >> ($1 - 1) & 1)) -eq 1 ]; then echo ignored; else echo default; fi; }
echo "SIGHUP $(word 1), SIGINT $(word 2)" >"$1"
SH
ignores() { # ignores COMMAND...: what a shell behind it ignores, where its caller ignores both
    (trap '' HUP INT && "$@" "$place/ignored.sh" "$place/said" >"$place/output" 2>&1)
    echo "$*: $(cat "$place/said")"
}
hangup() { # hangup COMMAND...: what SIGHUP does to a shell behind it
    local code=0
    # shellcheck disable=SC2016 # $$ is that of the shell behind it
    { "$@" -c 'kill -HUP $$; exit 0'; } >"$place/output" 2>&1 || code=$?
    if [ "$code" -eq 0 ]; then echo "$*: goes on"; else echo "$*: ended by the signal"; fi
}
{
    ignores sh
    ignores nice sh
    ignores timeout 20 sh
    ignores nohup timeout 20 sh
    ignores timeout 20 nohup sh
    hangup nohup sh
    hangup nohup timeout 20 sh
} | tee "$place/seen"
diff "$place/seen" <(sed -n 's/^#   \([a-z0-9 ]*sh: .*\)$/\1/p' "$0")
