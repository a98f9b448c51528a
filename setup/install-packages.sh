#!/usr/bin/env bash
# Install what is missing of the distribution packages that the arguments name.
#
#   setup/install-packages.sh bcc|strace|bpftrace|iproute2|iptables|venv|docker|podman|runc|debootstrap|zsh|fish|g++|chromium|jq|curl...
#
# Each word is a capability; the package that brings it has another name on each distribution.
# Nothing is contacted when nothing is missing.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")

# How long another apt (unattended upgrades on a fresh machine) may hold its locks.
readonly LOCK_TIMEOUT_S=300

has() {
    case "$1" in
        # The distribution's bcc, never the unrelated package of that name on PyPI.
        bcc) compgen -G '/usr/lib/python3*/*-packages/bcc/libbcc.py' >/dev/null ;;
        strace | bpftrace | zsh | fish | podman | runc | chromium | jq | curl) command -v "$1" >/dev/null ;;
        cni) [ -x /usr/lib/cni/ptp ] ;;
        debootstrap) PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null ;;
        iproute2) command -v ip >/dev/null ;;
        iptables) PATH=$PATH:/usr/sbin:/sbin command -v iptables >/dev/null ;;
        venv) /usr/bin/python3 -c 'import ensurepip' 2>/dev/null ;;
        docker) command -v dockerd >/dev/null ;;
        # The compiler brings binutils along.
        g++) command -v g++ >/dev/null && command -v objcopy >/dev/null ;;
        *)
            echo "error: $0 does not know '$1'" >&2
            exit 2
            ;;
    esac
}

apt_packages() {
    case "$1" in
        bcc) echo python3-bpfcc ;;
        venv) echo python3 python3-venv ;;
        cni) echo containernetworking-plugins ;;
        # It brings no font along.
        chromium) echo chromium fonts-dejavu-core ;;
        # It checks Debian's archive; the keys of Ubuntu's are no package everywhere.
        debootstrap) echo debootstrap debian-archive-keyring gpgv ;;
        # Newer releases split the command line client off.
        docker) echo docker.io && apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli || true ;;
        *) echo "$1" ;;
    esac
}

apt_get() {
    "$here/as-root.sh" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get --quiet=2 -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT_S" -o Acquire::Retries=3 "$@"
}

# The lock timeout covers dpkg's lock only; the one on the package lists fails at once.
update_package_lists() {
    local deadline=$((SECONDS + LOCK_TIMEOUT_S)) output
    until output=$(LC_ALL=C apt_get update 2>&1); do
        if [[ $output != *"Could not get lock"* ]] || [ "$SECONDS" -ge "$deadline" ]; then
            # One broken third-party source must not stop us; the installation decides.
            echo "warning: apt-get update failed, going on with the lists at hand:" >&2
            echo "$output" >&2
            return 0
        fi
        sleep 2
    done
}

missing=()
for capability in "$@"; do
    has "$capability" || missing+=("$capability")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    cat >&2 <<REMEDY
error: missing: ${missing[*]}. Only Debian and Ubuntu are set up by themselves; install with this
       system's package manager and run make again:
         bcc       BPF Compiler Collection for the system's Python (Fedora: python3-bcc)
         strace    strace
         bpftrace  bpftrace
         zsh, fish the shells whose completion is tested
         chromium  the browser in which pages are tested
         g++       a C++ compiler and binutils (Fedora: gcc-c++)
         iproute2  the ip command
         iptables  the iptables command, for the step redirect
         venv      Python 3.10 or newer with venv and pip
         docker    a Docker engine (Fedora: moby-engine)
         cni       the plugins of the Container Network Interface, for the tests' pods
         jq, curl  what commands of the documentation are piped through, or ask
         podman, runc, debootstrap
       The PyPI package named bcc is unrelated and will not do.
REMEDY
    exit 77
fi

echo "installing distribution packages for: ${missing[*]}"
update_package_lists
packages=()
for capability in "${missing[@]}"; do
    read -r -d '' -a names < <(apt_packages "$capability" && printf '\0')
    packages+=("${names[@]}")
done
if ! output=$(apt_get install --yes --no-install-recommends "${packages[@]}" 2>&1 </dev/null); then
    echo "$output" >&2
    echo "error: apt-get could not install: ${packages[*]}" >&2
    echo "       on Ubuntu the 'universe' component must be enabled" >&2
    exit 77
fi

for capability in "${missing[@]}"; do
    if ! has "$capability"; then
        echo "error: '$capability' is still missing after installing: ${packages[*]}" >&2
        exit 77
    fi
done
