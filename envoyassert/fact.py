"""What is found, as a code with typed details; `texts.facts` has the words of each code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoyassert.frozen import brief, frozen


class Fact:
    """Something that is asked, seen or given as a reason, by its code, with typed details.

    Args:
        code: what it is; the closed list of codes, each with its text, is in `texts.facts`.
        details: values of `judge.values`, numbers, and names as the kernel, the scenario or the
            config has them; never a sentence.
    """

    __slots__ = ("code", "details")

    def __init__(self, code: str, **details: Any) -> None:
        self.code = code
        self.details = details

    def __getitem__(self, name: str) -> Any:
        return self.details[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fact) and (self.code, self.details) == (other.code, other.details)

    def __hash__(self) -> int:
        return hash(self.code)

    def __repr__(self) -> str:
        # Of a fact within it the code alone: what explains another is a chain without a limit.
        parts = "".join(
            f", {name}={value.code if isinstance(value, Fact) else brief(value)}"
            for name, value in self.details.items()
        )
        return f"Fact({self.code!r}{parts})"


@frozen
class Quote:
    """Text of others: Envoy, the kernel's account, the scenario, a fault of ours.

    It is shown as it is, and nothing looks into it.
    """

    text: str


def first_of(found: Sequence[Fact]) -> Fact:
    """Return the first of several facts, with how many more there are."""
    more = len(found) - 1
    return Fact("first_of", first=found[0], more=more) if more else found[0]
