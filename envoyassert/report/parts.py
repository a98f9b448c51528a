"""The parts of published documents that the events of every session have too.

Nothing here needs what judges or words a run: a session loads that when there is something to say.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StatusWord = Literal["PASS", "FAIL", "KNOWN_DEFECT", "INCONCLUSIVE"]


class DocumentPart(BaseModel):
    """Base of everything in a published document: immutable, closed, always written in full."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Location(DocumentPart):
    """A place in a scenario file."""

    file: str = Field(description="The file as the user named it.")
    line: int = Field(ge=1, description="Line, from 1.")
    column: int = Field(ge=1, description="Column, from 1.")


class MachinePart(DocumentPart):
    """The machine and the tool."""

    kernel: str = Field(description="Release of the kernel: `6.1.0-13-amd64`.")
    architecture: str = Field(description="`x86_64`, `aarch64`.")
    system: str = Field(description="The distribution: `Debian GNU/Linux 12 (bookworm)`.")
    host: str = Field(description="The machine's name.")
    cpus: int = Field(description="Processors of the machine.")
    python: str = Field(description="Version of Python.")
    envoyassert: str = Field(description="Version of envoyassert.")


class EnvoyPart(DocumentPart):
    """Which Envoy ran."""

    version: str = Field(description="`1.40.0`, or empty if it could not be learned.")
    build_id: str = Field(description="GNU build id of the executable, or empty.")
    source: str = Field(description="How it was asked for: `image x/y:z`.")
    image_digest: str = Field(description="Digest of its image, or empty.")
    launcher: str = Field(description="`docker` or `process`.")
    concurrency: int = Field(description="Number of workers that was asked for.")


class AskedPart(DocumentPart):
    """What a run was to be made with, whether it was executed or not."""

    envoy: str = Field(description="The Envoy: `1.40.0`, an image, a path.")
    launcher: str = Field(description="`docker`, `process`, or `auto`.")
    concurrency: int = Field(description="Number of workers.")


class ScenarioPart(DocumentPart):
    """Which run of which scenario."""

    name: str
    description: str = Field(description="What it says of itself.")
    location: Location = Field(description="Where the file says the name.")
    matrix: dict[str, str] = Field(description="Value of each axis in this run.")
