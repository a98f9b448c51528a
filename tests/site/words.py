"""A page for each word of the expectation language, made of its module and of its examples.

The examples are those that the tests judge: each with a trace on which it holds, and one on which
it fails, as pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from envoyassert.graph.fold import fold
from envoyassert.report.failure import failure_lines
from envoyassert.scenario.reference import HEADINGS, model_lines
from envoyassert.scenario.schema import scenario_schema
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.registry import WORDS
from envoyassert.words.word import ListenerWord, Word
from tests.site.drawing import draw
from tests.unit.words.cases import EXAMPLES
from tests.unit.words.judged import items_of, trace_of, verdict_of

#: The item that words of a listener stand in.
_LISTENER = "ListenerExpectation"
_GROUPS: dict[str, tuple[Word | ListenerWord, ...]] = {
    "What a run must show": tuple(WORDS.values()),
    "What a listener must be": tuple(OF_LISTENER.values()),
}


def word_pages(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield each page by its name, with its text, and write the pictures that it shows.

    Args:
        directory: where the pictures are written.
    """
    schema = scenario_schema()
    models = schema["$defs"]
    (directory / "traces").mkdir(parents=True, exist_ok=True)
    yield "index", "\n".join(_index())
    for words in _GROUPS.values():
        for word in words:
            yield _page_name(word), "\n".join(_page(word, models, directory)) + "\n"


def _page_name(word: Word | ListenerWord) -> str:
    """Return the name of a word's page: `in_order` is a word of runs and of listeners."""
    return f"listener_{word.name}" if isinstance(word, ListenerWord) else word.name


def _index() -> Iterator[str]:
    yield "# The words"
    yield ""
    yield "Each word of an expectation, with a run on which it holds, and one on which it fails."
    for heading, words in _GROUPS.items():
        yield from ("", "```{toctree}", f":caption: {heading}", ":maxdepth: 1", "")
        yield from map(_page_name, words)
        yield "```"


def _page(word: Word | ListenerWord, models: dict[str, Any], directory: Path) -> Iterator[str]:
    if isinstance(word, Word):
        about, own, parts = models[word.model.__name__]["description"], word.item, word.parts
        examples = {f"{own.model.__name__}.{key}": key for key in own.examples}
        parts = (own, *parts)
    else:
        about, parts = word.description, word.parts
        examples = {f"{_LISTENER}.{word.name}": word.name}
    yield from (f"# `{word.name}`", "", " ".join(about.split()), "")
    for name, key in examples.items():
        if name in EXAMPLES:
            yield from _example(name, key, directory)
    for part in parts:
        model = part.model.__name__
        yield from _table(model, models)
        for key in part.examples:
            if f"{model}.{key}" not in examples:
                yield from _example(f"{model}.{key}", key, directory)


def _table(model: str, models: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of a model; their links lead to the page of all of them."""
    heading, *lines = model_lines(model, HEADINGS[model], models)
    yield heading.replace("###", "##")
    for line in lines:
        yield line.replace("](#", "](../scenarios.md#")


def _example(name: str, key: str, directory: Path) -> Iterator[str]:
    example, _ = EXAMPLES[name]
    items = items_of(name)
    yield from (f"## Example: `{key}`", "", "```yaml")
    yield yaml.safe_dump({"expect": items}, sort_keys=False).rstrip()
    yield from ("```", "", "It holds here:", "")
    yield from _picture(example.holds, directory)
    yield from ("", "It fails here:", "")
    yield from _picture(example.fails, directory)
    yield from ("", "```text", *_failure(items, example.fails), "```", "")


def _picture(trace: str, directory: Path) -> Sequence[str]:
    file = directory / "traces" / f"{trace}.svg"
    if not file.exists():
        file.write_text(draw(trace_of(trace)), "utf-8")
    return (f"![The sockets of the trace {trace}](traces/{trace}.svg)",)


def _failure(items: list[dict[str, Any]], name: str) -> list[str]:
    """Return the text of the failure, without the trace at its end."""
    trace = trace_of(name)
    lines = failure_lines(verdict_of(items, trace), trace, fold(trace))
    return [line.rstrip() for line in lines[:_LINES]]


#: The first lines say what was expected, what was seen, and why.
_LINES = 8
