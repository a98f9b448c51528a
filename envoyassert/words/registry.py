"""All words of the expectation language, and what an item of `expect` may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from envoyassert import words
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import OneByKey
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.remedy import Place
from envoyassert.words.word import ListenerWord, Word, Words

_ORDER = (
    *("listener", "process", "in_order", "moment", "between", "always", "startup", "never"),
    *("no_others", "invariants", "calls", "attempts", "update"),
)
#: What an expectation may be about, in the order in which it is listed.
WORDS = Words(
    words, Word, _ORDER, others=("about_listener", "registry", "remedy", "shared", "word")
)
#: The keys of which an item of `expect` has one, which says what it is about.
SUBJECTS = tuple(WORDS)


def word_of(item: Conditional) -> Word:
    """Return the word that an expectation is about."""
    subject = subject_of(item)
    assert subject is not None
    return WORDS[subject]


def word_named(name: str | int) -> Word | ListenerWord | None:
    """Return the word that a key of an item is, in a `listener` item or by itself; None if none."""
    return OF_LISTENER.get(str(name)) or WORDS.get(str(name))


def vacuous(items: Sequence[Conditional]) -> Iterator[tuple[Place, str]]:
    """Yield where a scenario expects what no trace could fail, and why none could.

    Args:
        items: its expectations, as written.
    """
    for index, item in enumerate(items):
        for place, reason in word_of(item).vacuous(item):
            yield ("expect", index, *place), reason


def subject_of(data: object) -> str | None:
    """Return the key that says what an item of `expect` is about, or None if it has none."""
    if isinstance(data, Conditional):
        data = data.model_fields_set
    if not hasattr(data, "__contains__"):
        return None
    return next((subject for subject in SUBJECTS if subject in data), None)


class _Models(Mapping[str, type[Conditional]]):
    """The models of items by their subjects."""

    def __getitem__(self, subject: str) -> type[Conditional]:
        return WORDS[subject].model

    def __iter__(self) -> Iterator[str]:
        return iter(SUBJECTS)

    def __len__(self) -> int:
        return len(SUBJECTS)


Expectation = Annotated[
    Conditional,
    OneByKey(
        Conditional,
        _Models(),
        subject_of,
        ("no_subject", "an expectation is about one of: " + ", ".join(SUBJECTS)),
    ),
]
"""One item of `expect`."""
