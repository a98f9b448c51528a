"""What every `listener` expectation has, whichever words it says."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.selector import Selector


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
