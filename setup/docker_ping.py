"""Exit with 0 when the Docker engine of the environment answers, else with 1 and the reason."""

import sys

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException


def main() -> int:
    """Ask the engine once, for at most five seconds."""
    try:
        docker.from_env(timeout=5).ping()
    except (DockerException, RequestException, OSError) as error:
        print(f"docker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
