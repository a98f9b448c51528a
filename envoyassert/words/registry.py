"""All words of the expectation language, and what an item of `expect` may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Discriminator, Tag

from envoyassert import words
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import FORM, kind
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.remedy import Place
from envoyassert.words.word import ListenerWord, Word, words_in

_ORDER = (
    *("listener", "process", "in_order", "moment", "between", "always", "startup", "never"),
    *("no_others", "invariants", "calls", "attempts", "update"),
)
#: What an expectation may be about, in the order in which it is listed.
WORDS = words_in(words, Word, _ORDER)
#: The keys of which an item of `expect` has one, which says what it is about.
SUBJECTS = tuple(WORDS)
_BY_MODEL = {word.model: word for word in WORDS.values()}


def word_of(item: Conditional) -> Word:
    """Return the word that an expectation is about."""
    return _BY_MODEL[type(item)]


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


def _form(data: object) -> str | None:
    if isinstance(data, Conditional):
        return kind(data)
    subject = subject_of(data) if isinstance(data, dict) else None
    return None if subject is None else FORM + WORDS[subject].model.__name__


if TYPE_CHECKING:
    Expectation = Conditional
else:
    Expectation = Annotated[
        Union[  # noqa: UP007 - of a tuple
            tuple(Annotated[model, Tag(FORM + model.__name__)] for model in _BY_MODEL)
        ],
        Discriminator(
            _form,
            custom_error_type="no_subject",
            custom_error_message="an expectation is about one of: " + ", ".join(SUBJECTS),
        ),
    ]
    """One item of `expect`."""
