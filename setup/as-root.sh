#!/usr/bin/env bash
# Run one command as root: directly for root, through sudo for anybody else.
#
#   setup/as-root.sh COMMAND [ARGUMENT...]
#
# sudo clears the environment, so what steers the command is handed over by name. In a checkout that
# belongs to someone else root must leave no files that its owner could not replace: no index of git,
# no compiled modules and no caches of pytest or hypothesis.
set -euo pipefail

if [ "$#" -eq 0 ]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 2
fi

if [ "$(id -u)" -eq 0 ]; then
    exec "$@"
fi

if ! command -v sudo >/dev/null; then
    echo "error: this needs root, and sudo is not installed: $*" >&2
    echo "       run make as root, or install sudo" >&2
    exit 77
fi

# Expanded here: in the words of a list it would stay a tilde.
caches=~root/.cache
environment=(
    "PYTHONPYCACHEPREFIX=$caches/envoyassert/pycache"
    "GIT_OPTIONAL_LOCKS=0"
    "PYTEST_ADDOPTS=${PYTEST_ADDOPTS:-} -p no:cacheprovider"
    "HYPOTHESIS_STORAGE_DIRECTORY=$caches/hypothesis"
)
while IFS= read -r name; do
    case "$name" in
        CI | GITHUB_ACTIONS | GITHUB_STEP_SUMMARY | GITHUB_WORKSPACE | NO_COLOR | FORCE_COLOR | TERM | \
            BCC_KERNEL_SOURCE | DEBIAN_FRONTEND | NEEDRESTART_SUSPEND | \
            ENVOYASSERT_* | DOCKER_* | TESTCONTAINERS_* | PIP_* | \
            http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY)
            environment+=("$name=${!name}")
            ;;
    esac
done < <(compgen -e)

# Without a terminal no one can type a password: fail at once rather than hang.
options=()
[ -t 0 ] || options+=(--non-interactive)

exec sudo "${options[@]}" env "${environment[@]}" "$@"
