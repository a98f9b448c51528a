"""Exit with 0 when a usable Docker engine answers; else say why not and exit with 1."""

import sys

from envoyassert.launch.engine import docker_capability


def main() -> int:
    """Ask once."""
    docker = docker_capability()
    if not docker.ok:
        print(f"{docker.detail}; {docker.remedy}", file=sys.stderr)
    return 0 if docker.ok else 1


if __name__ == "__main__":
    sys.exit(main())
