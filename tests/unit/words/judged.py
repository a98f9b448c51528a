"""The examples of the words as expectations, the traces of the tests, and the verdicts on them."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Verdict
from envoyassert.scenario.source import parse_yaml
from envoyassert.trace import Trace
from envoyassert.words.registry import Expectation
from envoyassert.words.word import PLACE
from tests.unit import words
from tests.unit.words.cases import EXAMPLES
from tests.unit.words.traces import TRACES

#: Reads expectations.
ITEMS = TypeAdapter(list[Expectation])
_OF_ALL = f"{words.__name__}.test_words"
#: Traces that several words share, and those that the tests of a single word bring along.
ALL_TRACES: dict[str, Callable[[], Trace]] = TRACES | {
    name: trace
    for module in pkgutil.iter_modules(words.__path__, f"{words.__name__}.")
    if module.name not in (__name__, _OF_ALL)
    for name, trace in getattr(import_module(module.name), "TRACES", {}).items()
}


@cache
def trace_of(name: str) -> Trace:
    """Return a trace by its name."""
    return ALL_TRACES[name]()


def items_of(word: str) -> list[dict[str, Any]]:
    """Return the expectations in which the example of a model's key stands.

    Args:
        word: model and key, `Backlog.requested`.
    """
    example, part = EXAMPLES[word]
    text = (example.inside or part.inside).replace(PLACE, example.members)
    data = parse_yaml(f"expect: {text}", "example").data
    items: list[dict[str, Any]] = data["expect"]
    return items


def verdict_of(items: list[dict[str, Any]], trace: Trace) -> Verdict:
    """Return how a trace is judged by expectations."""
    return judge(trace, list(enumerate(ITEMS.validate_python(items))), workers=2)
