"""Pull policies, against a registry of the test's own on the loopback interface."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import platform
import secrets
import tarfile
import threading
from collections.abc import Iterator

import pytest

from envoyassert.errors import EnvoyUnavailableError, NoSuchEnvoyError
from envoyassert.launch.engine import connect
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.image import resolve_image

pytestmark = pytest.mark.docker

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


#: What a registry says of a manifest that it lacks (OCI distribution-spec).
_UNKNOWN = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'


class Registry:
    """Serves one image, `name:tag`, which `publish` replaces."""

    def __init__(self) -> None:
        registry = self
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                reference = self.path.rpartition("/")[2]
                kind = _MANIFEST
                body: bytes | None = b"{}"
                if "/manifests/" in self.path:
                    body = registry.manifests.get(reference)
                elif "/blobs/" in self.path:
                    kind, body = "application/octet-stream", registry.blobs.get(reference)
                self.send_response(404 if body is None else 200)
                self.send_header("content-type", kind)
                shown = _UNKNOWN if body is None else body
                self.send_header("content-length", str(len(shown)))
                if body is not None:
                    self.send_header("docker-content-digest", digest_of(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(shown)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self.server.server_port}/envoy-{secrets.token_hex(4)}"

    def publish(self, tag: str, version: str) -> str:
        """Make `tag` an image labelled with an Envoy version; return the manifest's digest."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(f"version-{version}"))
        layer = gzip.compress(plain.getvalue(), mtime=0)
        machine = platform.machine()
        config = json.dumps(
            {
                "architecture": _ARCHITECTURES.get(machine, machine),
                "os": "linux",
                "config": {"Labels": {"org.opencontainers.image.version": f"v{version}"}},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(plain.getvalue())]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": len(config),
                    "digest": digest_of(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size": len(layer),
                        "digest": digest_of(layer),
                    }
                ],
            }
        ).encode()
        for blob in (layer, config):
            self.blobs[digest_of(blob)] = blob
        self.manifests[tag] = self.manifests[digest_of(manifest)] = manifest
        return digest_of(manifest)


@pytest.fixture
def client():
    with connect() as client:
        yield client


@pytest.fixture
def registry(client) -> Iterator[Registry]:
    registry = Registry()
    thread = threading.Thread(target=registry.server.serve_forever, args=(0.01,))
    thread.start()
    yield registry
    registry.server.shutdown()
    thread.join()
    registry.server.server_close()
    for image in client.images.list(all=True):
        names = [*image.tags, *image.attrs.get("RepoDigests", [])]
        if any(name.startswith(registry.name) for name in names):
            client.images.remove(image.id, force=True)


def test_pull_missing_pulls_once(client, registry):
    digest = registry.publish("v1", "1.2.3")
    source = EnvoySource(image=f"{registry.name}:v1", pull="missing")
    image = resolve_image(client, source)
    assert (image.version, image.digest, image.name) == ("1.2.3", digest, source.image)
    registry.publish("v1", "4.5.6")
    registry.asked.clear()
    assert resolve_image(client, source).version == "1.2.3"
    assert registry.asked == []


def test_pull_always_pulls_what_is_new(client, registry):
    source = EnvoySource(image=f"{registry.name}:v1", pull="always")
    registry.publish("v1", "1.2.3")
    assert resolve_image(client, source).version == "1.2.3"
    registry.publish("v1", "4.5.6")
    assert resolve_image(client, source).version == "4.5.6"


def test_pull_always_without_the_image_never_falls_back(client, registry):
    registry.publish("v1", "1.2.3")
    source = EnvoySource(image=f"{registry.name}:v1", pull="always")
    resolve_image(client, source)
    registry.manifests.clear()
    with pytest.raises(EnvoyUnavailableError, match="cannot be pulled"):
        resolve_image(client, source)


def test_tag_that_the_registry_lacks_is_no_such_envoy(client, registry):
    registry.publish("v1", "1.2.3")
    source = EnvoySource(image=f"{registry.name}:v2")
    with pytest.raises(NoSuchEnvoyError, match="manifest unknown") as caught:
        resolve_image(client, source)
    assert caught.value.named == source.image
    with pytest.raises(EnvoyUnavailableError) as unknown:
        resolve_image(client, EnvoySource(image="127.0.0.1:9/envoy:v2"))
    assert not isinstance(unknown.value, NoSuchEnvoyError)


def test_pull_never_asks_no_registry(client, registry):
    registry.publish("v1", "1.2.3")
    with pytest.raises(EnvoyUnavailableError, match="not present"):
        resolve_image(client, EnvoySource(image=f"{registry.name}:v1", pull="never"))
    assert registry.asked == []


@pytest.mark.parametrize("tag", ["", ":v1"])
def test_pull_by_digest_gets_that_image(client, registry, tag):
    digest = registry.publish("v1", "1.2.3")
    registry.publish("v1", "4.5.6")
    source = EnvoySource(image=f"{registry.name}{tag}@{digest}")
    image = resolve_image(client, source)
    assert (image.version, image.digest) == ("1.2.3", digest)
    assert resolve_image(client, source) == image
