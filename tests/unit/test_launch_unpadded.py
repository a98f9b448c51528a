"""Archives without what follows their end mark."""

from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import pytest

from envoyassert.launch.unpadded import UnpaddedContainer, unpadded


@pytest.mark.parametrize("content", [b"", b"text", bytes(512), bytes(513), b"x" * 40_000])
def test_archive_ends_at_its_end_mark_and_holds_the_same(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("directory"))
        info = tarfile.TarInfo("directory/" + 120 * "n")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    padded = buffer.getvalue()
    cut = unpadded(padded)
    assert padded.startswith(cut)
    assert padded[len(cut) :].strip(b"\0") == b""
    assert cut.endswith(bytes(2 * tarfile.BLOCKSIZE))
    reader = io.BytesIO(cut)
    with tarfile.open(fileobj=reader) as archive:
        *_, last = archive.getmembers()
        file = archive.extractfile(last)
        assert file is not None
        assert file.read() == content
    blocks = -(-len(content) // tarfile.BLOCKSIZE)
    assert len(cut) == last.offset_data + (blocks + 2) * tarfile.BLOCKSIZE


def test_all_that_a_container_gets_is_sent_in_one_archive(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "envoy.yaml").write_text("admin: {}")
    sent: list[bytes] = []
    # Made without an engine, which the constructor asks for its version.
    container = UnpaddedContainer.__new__(UnpaddedContainer)
    container._transferable_specs = [(tmp_path / "run", "/", 0o644), (b"hosts", "/etc/it", 0o600)]
    engine = SimpleNamespace(put_archive=lambda path, archive: sent.append(archive))
    monkeypatch.setattr(UnpaddedContainer, "get_wrapped_container", lambda _: engine)
    for spec in container._transferable_specs:
        container._transfer_into_container(*spec)
    (archive,) = sent
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert [member.name.lstrip("/") for member in opened] == ["run", "run/envoy.yaml", "etc/it"]
        file = opened.extractfile("/etc/it")
        assert file is not None
        assert file.read() == b"hosts"
    assert archive.endswith(bytes(2 * tarfile.BLOCKSIZE))
