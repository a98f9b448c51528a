"""The step that gives a file another content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from envoyassert.scenario.vocabulary import RUNDIR_FILE_PATTERN
from envoyassert.steps.base import Part, Path, Step


class ReplaceFile(Part):
    """A file that Envoy watches, and what is in it from now on."""

    heading: ClassVar[str] = "`replace_file`"
    examples: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("path", "content"), 'path: "${rundir}/pressure", content: "1"'
    )

    path: str = Field(
        pattern=RUNDIR_FILE_PATTERN,
        description="The file, in the run directory: one of `envoy.files`, or a new one.",
    )
    content: str = Field(description="Its text.")


class ReplaceFileStep(Step):
    """Rename a new file over an old one, as a mounted ConfigMap does; over when it is there.

    What Envoy makes of it comes later: wait for that.
    """

    kind: ClassVar[str] = "replace_file"
    is_over_unnoticed: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "replace_file": 'replace_file: {path: "${rundir}/pressure", content: "1"}',
    }

    replace_file: ReplaceFile = Field(description="Which file, and its content.")

    def files(self) -> Mapping[str, str]:
        """Return the one file."""
        return {self.replace_file.path: self.replace_file.content}

    @classmethod
    def contents(cls, data: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Any]]:
        """Yield the one file."""
        wanted = data.get("replace_file")
        if isinstance(wanted, dict):
            yield ("replace_file", "content"), wanted.get("path"), wanted.get("content")
