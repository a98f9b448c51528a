"""What is known of one word of the expectation language, and how all of them are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from pydantic import Field
from pydantic.fields import FieldInfo

from envoyassert.judge.context import Context
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding
from envoyassert.scenario.conditional import Conditional


@dataclass(frozen=True)
class Word:
    """One word that an item of `expect` may be about.

    Args:
        name: the word.
        model: the item, a field of which is the word.
        judge: judges an item, given its context and its place in the scenario.
    """

    name: str
    model: type[Conditional]
    judge: Callable[[Context, int, Any], Iterator[Finding]]


@dataclass(frozen=True)
class ListenerWord:
    """One word of a `listener` expectation.

    Args:
        name: the word.
        form: the type of its value.
        description: what it says, as the reference shows it.
        judge: judges the value on a listener; is given the word as well.
        limits: what else holds for the value, as `pydantic.Field` takes it.
    """

    name: str
    form: Any
    description: str
    judge: Callable[[Target, str, Any], Iterator[Finding]]
    limits: Sequence[tuple[str, Any]] = ()

    @property
    def field(self) -> FieldInfo:
        """The word as an optional field of a model."""
        field: FieldInfo = Field(None, description=self.description, **dict(self.limits))
        return field


W = TypeVar("W", Word, ListenerWord)


def words_in(package: ModuleType, kind: type[W], order: Sequence[str]) -> dict[str, W]:
    """Return the words of a package by their names: each module has one, called `WORD`.

    Args:
        package: the package.
        kind: which words are meant; a module may have another one, or none.
        order: names of words that come first, in this order; the others follow by name.
    """
    modules = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    found = {}
    for module in modules:
        word = getattr(importlib.import_module(module.name), "WORD", None)
        if isinstance(word, kind):
            found[word.name] = word
    places = {name: place for place, name in enumerate(order)}
    return dict(sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0])))
