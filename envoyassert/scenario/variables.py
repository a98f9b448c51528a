"""Variables of expectations: each is given a name by `let`, and used or joined elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envoyassert.errors import Problem
from envoyassert.scenario.listeners import items_of
from envoyassert.scenario.source import Document, Path
from envoyassert.scenario.vocabulary import REFERENCE_PATTERN, did_you_mean

#: Keys of a selector that may be a variable, which then stands for a fact of that name.
_FACTS = ("port", "socket")


def variable_problems(document: Document) -> Iterator[Problem]:
    """Find names that join nothing, and variables that nothing before gave a name to."""
    for place, fact, name in _references(document.data.get("steps"), ("steps",)):
        yield document.problem(
            place,
            f"`${name}` is not known while steps are carried out",
            f"say which {fact} by name or number; variables join expectations, judged at the end",
            at_value=True,
        )
    expect = document.data.get("expect")
    given: dict[str, list[Path]] = {}
    facts: dict[str, Any] = {}
    used: set[str] = set()
    for index, item in enumerate(items_of(expect)):
        for place, fact, name in _references(item, ("expect", index)):
            used.add(name)
            if name not in facts:
                yield document.problem(
                    place,
                    f"no expectation before this one gives a {fact} the name `{name}`",
                    did_you_mean(name, facts) or f"write `let: {{{name}: {fact}}}` in one of them",
                    at_value=True,
                )
            elif facts[name] != fact:
                yield document.problem(
                    place,
                    f"`{name}` is a {facts[name]}, not a {fact}",
                    "refer to a variable of the right kind",
                    at_value=True,
                )
        for holder, inner in ((item, ()), (_mapping(item).get("calls"), ("calls",))):
            for name, fact in _mapping(_mapping(holder).get("let")).items():
                where: Path = ("expect", index, *inner, "let", name)
                given.setdefault(name, []).append(where)
                if facts.setdefault(name, fact) != fact:
                    yield document.problem(
                        where,
                        f"`{name}` is a {fact} here and a {facts[name]} above",
                        "take two names",
                        at_value=True,
                    )
    for name, places in given.items():
        if len(places) == 1 and name not in used:
            others = [other for other in given if other != name]
            yield document.problem(
                places[0],
                f"the name `{name}` is given once and joins nothing",
                did_you_mean(name, others) or "give it in another expectation as well",
            )


def _references(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield where a selector refers to a variable, with the kind of fact and the name."""
    if isinstance(value, list):
        for index, member in enumerate(value):
            yield from _references(member, (*path, index))
    for key, member in _mapping(value).items():
        if key == "listener":
            for fact in _FACTS:
                text = _mapping(member).get(fact)
                if isinstance(text, str) and re.match(REFERENCE_PATTERN, text):
                    yield (*path, key, fact), fact, text[1:]
        yield from _references(member, (*path, key))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
