"""A container whose files are sent in one archive, which ends at its end mark.

The engine mounts the container's files for each archive, which takes longer than any that is sent.
Tar pads an archive to 10 KiB. Podman reads to the end mark alone, and fails now and then at what
follows (containers/buildah#6573: `passing bulk input to subprocess: write |1: broken pipe`).
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from testcontainers.core.container import DockerContainer
from testcontainers.core.transferable import build_transfer_tar

#: What ends an archive: two blocks of zeros (tar(5)).
_END_BLOCKS = 2
_END = bytes(_END_BLOCKS * tarfile.BLOCKSIZE)


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
    return archive[: (max(blocks) + _END_BLOCKS) * tarfile.BLOCKSIZE]


class UnpaddedContainer(DockerContainer):
    """A container of testcontainers; the rest is as there."""

    _members = b""
    _transfers = 0

    def _transfer_into_container(
        self, transferable: bytes | Path, destination_in_container: str, mode: int
    ) -> None:
        """Send what is to be copied before the start, once all of it is known."""
        archive = unpadded(build_transfer_tar(transferable, destination_in_container, mode))
        self._members += archive[: -len(_END)]
        self._transfers += 1
        if self._transfers == len(self._transferable_specs):
            self.get_wrapped_container().put_archive("/", self._members + _END)
