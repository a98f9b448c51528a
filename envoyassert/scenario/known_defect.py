"""What Envoy is known to do wrong: an expectation that must fail on certain versions of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from envoyassert.scenario.grammar import Model
from envoyassert.scenario.words import UPSTREAM_PATTERN, VERSIONS_PATTERN

Words = Annotated[str, Field(min_length=1)]


class KnownDefect(Model):
    """A defect of Envoy that is known: on these versions the expectation must fail.

    Where it fails and every other expectation holds, the run is a known defect, which is green.
    Where it holds, the run fails: the defect is gone, and the scenario must say since when. What
    is INCONCLUSIVE stays so.
    """

    versions: str = Field(
        pattern=VERSIONS_PATTERN, description="The versions of Envoy that have the defect."
    )
    owner: Words = Field(description="Who looks after it: a team, or a person.")
    upstream: str = Field(
        pattern=UPSTREAM_PATTERN, description="Where it is reported, or `unreported`."
    )
    what: Words | None = Field(None, description="What Envoy does instead; shown with the verdict.")

    @property
    def text(self) -> str:
        """The defect in words, without what Envoy does: `envoyproxy/envoy#1, owner edge team`."""
        return f"{self.upstream}, owner {self.owner}"
