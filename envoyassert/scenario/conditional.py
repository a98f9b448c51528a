"""What every expectation has: when it applies, why it matters, and the defect of Envoy it shows."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, field_validator, model_validator

from envoyassert.naming import STARTUP
from envoyassert.scenario.grammar import Many, Model, choice, kind
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import (
    MEANING,
    NAME_PATTERN,
    UPSTREAM_PATTERN,
    VERSIONS_PATTERN,
    word_fault,
)

#: The key of `when` that is about the Envoy that ran, and not about the matrix.
ENVOY_CONDITION = "envoy"

PhaseName = Annotated[str, Field(pattern=NAME_PATTERN)]
"""`startup`, or the name of a step."""

Scalar = Annotated[
    Annotated[str, Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[float, Tag("|real")]
    | Annotated[bool, Tag("|flag")],
    choice(kind, "text, a number, true or false"),
]
"""A plain value."""

ScalarOrMany = Annotated[
    Annotated[str, Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[float, Tag("|real")]
    | Annotated[bool, Tag("|flag")]
    | Annotated[Many[Scalar], Field(min_length=1), Tag("|list")],
    choice(kind, "a plain value, or a list of plain values"),
]
"""A plain value, or several of which one must hold."""

_Words = Annotated[str, Field(min_length=1)]


class KnownDefect(Model):
    """A defect of Envoy that is known: on these versions the expectation must fail.

    Where it fails and every other expectation holds, the run is a known defect, which is green.
    Where it holds, the run fails: the defect is gone, and the scenario must say since when. What
    is INCONCLUSIVE stays so.
    """

    versions: str = Field(
        pattern=VERSIONS_PATTERN, description="The versions of Envoy that have the defect."
    )
    owner: _Words = Field(description="Who looks after it: a team, or a person.")
    upstream: str = Field(
        pattern=UPSTREAM_PATTERN, description="Where it is reported, or `unreported`."
    )
    what: _Words | None = Field(
        None, description="What Envoy does instead; shown with the verdict."
    )

    @property
    def text(self) -> str:
        """The defect in words, without what Envoy does: `envoyproxy/envoy#1, owner edge team`."""
        return f"{self.upstream}, owner {self.owner}"


class Conditional(Model):
    """What every expectation may carry."""

    when: dict[str, ScalarOrMany] = Field(
        default_factory=dict,
        description="Judge only in runs whose matrix values equal these, a value or a list; "
        '`envoy: ">=1.20"` only where the Envoy that ran has such a version.',
        json_schema_extra={
            "properties": {ENVOY_CONDITION: {"type": "string", "pattern": VERSIONS_PATTERN}}
        },
    )
    why: str | None = Field(None, description="Why this matters; shown when it is not met.")
    known_defect: KnownDefect | None = Field(
        None, description="On these versions of Envoy it must fail, for a known reason."
    )
    during: PhaseName | None = Field(
        None,
        description="Of the calls, count only those made in this phase: the name of a step, or "
        "`startup`.",
    )
    envoy: PhaseName | None = Field(
        None,
        description="Of several Envoys, judge only what this one did and has: `first`, or the name "
        "of the step that started it.",
    )
    at_end_of: PhaseName | None = Field(
        None,
        description="Judge what had been observed at the end of this phase: the name of a step, "
        "or `startup`. By default `startup`; the whole run for what says that there is none "
        "(`never`, `calls` with `times: 0`, `no_others`).",
    )

    @field_validator("when")
    @classmethod
    def _known_versions(cls, when: dict[str, object]) -> dict[str, object]:
        bounds = when.get(ENVOY_CONDITION)
        if bounds is None or (isinstance(bounds, str) and re.search(VERSIONS_PATTERN, bounds)):
            return when
        raise word_fault(
            f"`{ENVOY_CONDITION}` must be {MEANING[VERSIONS_PATTERN]}",
            "write it as text",
            ENVOY_CONDITION,
        )

    @model_validator(mode="after")
    def _one_scope(self) -> Conditional:
        if self.during is not None and self.at_end_of is not None:
            raise ValueError("give either during or at_end_of, not both")
        return self

    @property
    def says_none(self) -> bool:
        """Whether it says that something is not there at all, so that it is never settled."""
        return False

    @property
    def is_unscoped(self) -> bool:
        """Whether it does not say about which part of a run it is."""
        return self.during is None and self.at_end_of is None

    @property
    def phase(self) -> str:
        """The name of the phase at whose end it is judged; "" for the whole run."""
        return self.during or self.at_end_of or ("" if self.says_none else STARTUP)

    @property
    def versions(self) -> str:
        """The bounds of the Envoy version within which it is judged, "" for all."""
        return str(self.when.get(ENVOY_CONDITION, ""))


class AboutListener(Conditional):
    """An expectation about one listener, selected in one way."""

    listener: Selector = Field(description="Which listener.")
    take: Literal["each_address", "total"] | None = Field(
        None,
        description="A listener with several addresses: each address by itself, or the sockets of "
        "all of them together.",
    )

    def said(self, word: str) -> Any:
        """Return the value of a word, None if it is not said."""
        return getattr(self, word)
