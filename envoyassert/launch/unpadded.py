"""A container whose files are sent in archives that end at their end mark.

Tar pads an archive to 10 KiB. Podman reads to the end mark alone, and fails now and then at what
follows (containers/buildah#6573: `passing bulk input to subprocess: write |1: broken pipe`).
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from testcontainers.core.container import DockerContainer
from testcontainers.core.transferable import build_transfer_tar


def unpadded(archive: bytes) -> bytes:
    """Return a tar archive without what follows its end mark.

    Args:
        archive: with one file or directory at least.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        blocks = [
            member.offset_data // tarfile.BLOCKSIZE + -(-member.size // tarfile.BLOCKSIZE)
            for member in opened
        ]
    return archive[: (max(blocks) + 2) * tarfile.BLOCKSIZE]


class UnpaddedContainer(DockerContainer):
    """A container of testcontainers; the rest is as there."""

    def _transfer_into_container(
        self, transferable: bytes | Path, destination_in_container: str, mode: int
    ) -> None:
        archive = build_transfer_tar(transferable, destination_in_container, mode)
        self.get_wrapped_container().put_archive("/", unpadded(archive))
