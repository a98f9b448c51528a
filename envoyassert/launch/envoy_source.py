"""Which Envoy to run: by version, by image, or by the path of an executable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from envoyassert.errors import EnvoyUnavailableError
from envoyassert.frozen import frozen

PullPolicy = Literal["never", "missing", "always"]

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
# distribution/reference: lower-case path components, an optional registry host with a port, and a
# tag or a digest or both.
_IMAGE = re.compile(
    r"(?=.*[:@])[a-zA-Z0-9][a-zA-Z0-9.-]*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,})?"
)


@frozen
class EnvoySource:
    """Where an Envoy comes from; exactly one of `version`, `image` and `binary` is set.

    Args:
        version: upstream version, `1.40.0`.
        image: name of a Docker image with tag or digest, or an image id.
        binary: path of an executable.
        pull: when an image is pulled: `never`, `missing` (no usable image is here) or `always`.
    """

    version: str = ""
    image: str = ""
    binary: str = ""
    pull: PullPolicy = "missing"

    def __post_init__(self) -> None:
        if sum(map(bool, (self.version, self.image, self.binary))) != 1:
            raise ValueError("an Envoy is named by exactly one of version, image and binary")

    @property
    def text(self) -> str:
        """The source in words for reports: `version 1.40.0`, `image x/y:z`, `binary /path`."""
        if self.version:
            return f"version {self.version}"
        return f"image {self.image}" if self.image else f"binary {self.binary}"

    def __str__(self) -> str:
        return self.version or self.image or self.binary


def parse_envoy_argument(argument: str, pull: PullPolicy = "missing") -> EnvoySource:
    """Read the value of `--envoyassert-envoy`.

    `1.40.0` and `v1.40.0` are versions. What starts with `/`, `./`, `../` or `~`, or names an
    existing file, is an executable. What carries a tag or a digest is an image.

    Args:
        argument: what the user typed.
        pull: when an image is pulled.

    Raises:
        EnvoyUnavailableError: the text is none of these, or the file does not exist.
    """
    text = argument.strip()
    version = _VERSION.fullmatch(text)
    if version:
        return EnvoySource(version=version[1], pull=pull)
    path = Path(text).expanduser()
    if text.startswith(("/", "./", "../", "~")) or (text and path.is_file()):
        return EnvoySource(binary=str(checked_binary(path)), pull=pull)
    if _IMAGE.fullmatch(text):
        return EnvoySource(image=text, pull=pull)
    raise EnvoyUnavailableError(
        f"`{argument}` is neither an Envoy version, an image nor an executable",
        "write a version (1.40.0), an image with tag or digest (envoyproxy/envoy:v1.40.0), "
        "or a path (./envoy)",
    )


def checked_binary(path: str | Path) -> Path:
    """Return the absolute path of an executable file.

    Raises:
        EnvoyUnavailableError: there is no such file, or it may not be executed.
    """
    full = Path(path).expanduser().absolute()
    if not full.is_file():
        raise EnvoyUnavailableError(
            f"there is no Envoy executable at {full}", "name an existing file, or a version"
        )
    if not full.stat().st_mode & 0o111:
        raise EnvoyUnavailableError(
            f"{full} may not be executed", f"make it executable: chmod +x {full}"
        )
    return full
