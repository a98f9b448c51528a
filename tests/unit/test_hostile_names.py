"""Names that others chose change nothing but text, in every format of every command.

What is drawn of a run with such names is held against the same with plain names of the same length:
the same elements, rows, nodes, tracks and keys, and no character that is more than text.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from markdown_it import MarkdownIt

from envoyassert.cli.command_line import app
from envoyassert.shown import shown
from envoyassert.trace_file import write_trace
from tests.drawn import bootstrap, listener
from tests.odd_text import HOSTILE, raw_in
from tests.unit.cli_words import run_cli
from tests.unit.test_picture_formats import FLOWCHART, SEQUENCE, built, names_of

#: What each command is given. `plan` needs no Envoy by its model, or by two traces.
GIVEN = {
    "show": [["run.ndjson"], ["run.ndjson", "--picture", "sequence"]],
    "replay": [["run.ndjson", "--scenario", "names.yaml"]],
    "diff": [["run.ndjson", "other.ndjson"]],
    "report": [["."]],
    "plan": [
        ["--model", "old.yaml", "new.yaml"],
        ["--traces", "run.ndjson", "other.ndjson", "--expect", "expect.yaml"],
    ],
}
#: These print what is true of a machine, or of an Envoy that runs: tests with a real one have them.
NOT_HERE = {"doctor", "inspect", "run"}
#: Formats that are a single picture.
PICTURES = ("svg", "mermaid")
NAMES = {"hostile": HOSTILE, "long": f"{'long ' * 400}{HOSTILE}"}


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def _page(text: str) -> object:
    return _Elements(text).found


def _svg(text: str) -> object:
    root = ET.fromstring(text)  # noqa: S314 - our own
    return [(element.tag, [*element.attrib]) for element in root.iter()]


def _mermaid(text: str) -> object:
    lines = [line.strip() for line in text.strip().split("\n")]
    forms = SEQUENCE if lines[0] == "sequenceDiagram" else FLOWCHART
    return [next(form for form in forms if re.fullmatch(form, line)) for line in lines]


def _markdown(text: str) -> object:
    return [*_tokens(MarkdownIt("commonmark").enable("table").parse(text))]


def _tokens(found: Any) -> Iterator[object]:
    for token in found:
        # An escape, or an entity, is a token of its own; an empty comment parts what is no mention.
        if token.type not in ("text", "text_special") and token.content != "<!-- -->":
            yield token.type, token.tag
        if token.type == "fence" and token.info == "mermaid":
            yield _mermaid(token.content)
        yield from _tokens(token.children or ())


def _json(text: str) -> object:
    return _shape(json.loads(text))


def _shape(data: object) -> object:
    if isinstance(data, dict):
        return [_shape(value) for value in data.values()]
    if isinstance(data, list):
        return [_shape(value) for value in data]
    return type(data)


def _lines(text: str) -> object:
    return text.endswith("\n")


#: What must be the same of each format, whatever the names are. A further format needs an entry.
SAME: dict[str, Callable[[str], object]] = {
    "html": _page,
    "svg": _svg,
    "mermaid": _mermaid,
    "markdown": _markdown,
    "perfetto": _json,
    "json": _json,
    "text": _lines,
}


def formats_of(name: str) -> list[str]:
    """Return the formats of a command, [] if it has no such option."""
    command = app.get_command(click.Context(app), name)
    assert command is not None
    for option in command.params:
        if option.name == "output" and isinstance(option.type, click.Choice):
            return [str(choice) for choice in option.type.choices]
    return []


def forms() -> Iterator[list[str]]:
    for name, given in GIVEN.items():
        for words in given:
            for form in formats_of(name):
                if "--picture" not in words or form in PICTURES:
                    yield [name, *words, "--format", form]


def prepare(name: str) -> None:
    """Write the files that commands are given, with a name wherever one is free."""
    write_trace(names_of(name), "run.ndjson")
    write_trace(built("plain").build(), "other.ndjson")
    listener_of = {"listener": {"name": name}, "why": name}
    expect = [{**listener_of, "bound": {"times": 7}}, {**listener_of, "sockets": 1}]
    Path("names.yaml").write_text(yaml.safe_dump({"name": "names", "expect": expect}))
    of_other = {"listener": {"port": 15006}, "bound": {"times": 7}, "why": name}
    Path("expect.yaml").write_text(yaml.safe_dump({"expect": [of_other]}))
    for file, port, prefix in (("old", 80, "a"), ("new", 81, name)):
        config = bootstrap(listener(name, port, stat_prefix=prefix))
        Path(f"{file}.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def done(name, words):
        prepare(name)
        return run_cli(capsys, *words)

    return done


def test_every_command_that_has_formats_is_tried():
    having = {name for name in app.list_commands(click.Context(app)) if formats_of(name)}
    assert having == set(GIVEN) | NOT_HERE
    assert {form for name in having for form in formats_of(name)} == set(SAME)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("words", [*forms()], ids=" ".join)
def test_names_change_nothing_but_text(cli, words, name):
    same = SAME[words[-1]]
    hostile, plain = cli(name, words), cli("x" * len(shown(name)), words)
    assert (hostile.code, plain.code) in ((0, 0), (1, 1), (3, 3))
    assert raw_in(hostile.out) == []
    assert raw_in(hostile.err) == []
    assert same(hostile.out) == same(plain.out)
