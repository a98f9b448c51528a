"""Archives without what follows their end mark."""

from __future__ import annotations

import io
import tarfile

import pytest

from envoyassert.launch.unpadded import unpadded


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
