"""The step that gives a file another content."""

from __future__ import annotations

from pydantic import Field

from envoyassert.scenario.grammar import Model
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.words import RUNDIR_FILE_PATTERN


class ReplaceFile(Model):
    """A file that Envoy watches, and what is in it from now on."""

    path: str = Field(
        pattern=RUNDIR_FILE_PATTERN,
        description="The file, in the run directory: one of `envoy.files`, or a new one.",
    )
    content: str = Field(description="Its text.")


class ReplaceFileStep(Step):
    """Rename a new file over an old one, as a mounted ConfigMap does; over when it is there.

    What Envoy makes of it comes later: wait for that.
    """

    replace_file: ReplaceFile = Field(description="Which file, and its content.")
