"""Envoy's own config file, read as Envoy reads it, which is not as strict as a scenario is read.

Envoy has yaml-cpp read the text (a JSON file its own parser), makes JSON of it, and protobuf takes
the JSON; of a file that ends in `.pb_text` protobuf takes the text itself. Measured on 1.36.4 and
1.40.0, which print that JSON where a value does not fit.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from envoyassert.errors import Problem, ScenarioError
from envoyassert.scenario.source import Builder, Document, Node, parse_yaml
from envoyassert.scenario.syntax import line_and_column
from envoyassert.scenario.text_proto import SUFFIX, data_of_text_proto

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {
    spelling: value
    for value, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for word in words
    for spelling in (word, word.title(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
#: Envoy keeps numbers of more than 32 bits as text, which protobuf takes for a number where one is
#: wanted; those of more than 64 are no numbers to it.
_NUMBER_BITS, _MOST_BITS = 32, 64
_MOST_DIGITS = 20
#: A line with nothing but white space, or a comment behind it, and a tab in it.
_TABS = re.compile(r"(?m)^ *\t[ \t]*(?=#|$)")
_IGNORE = "!ignore"
#: Has the place of a key that is left out until its mapping is complete.
_IGNORED = object()
#: What may stand between values of JSON: white space, a byte order mark, a record separator.
_BETWEEN = "\ufeff \t\r\n\x1e"
_NEXT = re.compile(f"[{_BETWEEN}]*")


def parse_envoy_file(text: str, path: str) -> Document:
    """Read an Envoy config as Envoy does.

    Of several documents the first counts, of duplicate keys the last (in a JSON file they are an
    error, as to Envoy), tags count for nothing, but for `!ignore` before a key, which leaves it
    out. Words and octal numbers are those of YAML 1.1; a number with a point is text, which fits
    both a number and a text.

    Args:
        text: the text.
        path: the file as the user named it.

    Raises:
        ScenarioError: Envoy could not read it either.
    """
    if path.endswith(SUFFIX):
        return Document(path, text, data_of_text_proto(text, path), Node(1, 1))
    builder = _JsonBuilder if path.endswith(".json") else _YamlBuilder
    try:
        return parse_yaml(text, path, builder)
    except ScenarioError:
        # The one thing that yaml-cpp takes and libyaml does not; each place stays where it is.
        expanded = _TABS.sub(lambda found: found[0].replace("\t", " "), text)
        if expanded == text:
            raise
        return parse_yaml(expanded, path, builder)


def parse_documents(text: str, path: str) -> list[Any]:
    """Return the data of all documents of a text: YAML, values of JSON in a row, text protobuf.

    What machines write is read, so it may be far larger than what Envoy reads from a file.

    Args:
        text: the text.
        path: the file as the user named it.

    Raises:
        ScenarioError: it is neither.
    """
    if path.endswith(SUFFIX):
        return [data_of_text_proto(text, path)]
    found = _json_values(text, path) if text.lstrip(_BETWEEN)[:1] in ("{", "[") else None
    return parse_yaml(text, path, _StreamBuilder).data if found is None else found


def _next(text: str, at: int) -> int:
    """Return where the next value begins, or the text ends."""
    found = _NEXT.match(text, at)
    assert found is not None, "it matches the empty text, too"
    return found.end()


def _json_values(text: str, path: str) -> list[object] | None:
    """Return the values of JSON in a text, None if it is not JSON from its beginning."""
    decoder = json.JSONDecoder(strict=False, parse_int=_json_integer)
    values: list[Any] = []
    at = _next(text, 0)
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            at = _next(text, at)
    except RecursionError:
        return None  # the reader of YAML says where
    except json.JSONDecodeError as error:
        if not values or text.startswith("---", at):
            return None  # YAML in its flow style
        message = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        place = line_and_column(text, error.pos)
        raise ScenarioError([Problem(path, *place, message)]) from error
    return values


@dataclass(eq=False, repr=False)
class _YamlBuilder(Builder):
    """Builds what yaml-cpp and Envoy make of the same events."""

    def take(self, event: Any) -> bool:
        """Take the next event; return False at the end of the first document."""
        return type(event) is not yaml.DocumentEndEvent and super().take(event)

    def _take_tag(self, event: object) -> None:
        """Take no notice of a tag."""

    def _take_key_tag(self, event: Any) -> None:
        if event.tag == _IGNORE and self._top.key is not None:
            _, line, column = self._top.key
            self._top.key = (_IGNORED, line, column)

    def _close(self) -> None:
        members: Any = self._top.node.members
        if isinstance(members, dict):
            members.pop(_IGNORED, None)
            self._top.data.pop(_IGNORED, None)
        super()._close()

    def _take_duplicate(self, event: object, key: str, first: int) -> None:
        """Let the last one count."""

    def _value(self, event: Any) -> Any:
        text: str = event.value
        plain = not event.style
        if event.tag == "!" or (event.tag is None and not plain):
            return text
        if plain and text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        return _integer(text) if _INTEGER.fullmatch(text) else text


class _StreamBuilder(_YamlBuilder):
    """The same of all documents, as a list.

    Messages that are printed one after another without a line between them would become one; that
    they have keys in common says so.
    """

    max_nodes: ClassVar[int] = 5_000_000

    def take(self, event: Any) -> bool:
        """Take the next event; return True."""
        return Builder.take(self, event)

    def _takes_document(self, event: object) -> bool:
        return True

    def _take_duplicate(self, event: object, key: str, first: int) -> None:
        if len(self._around) == 1:
            super(_YamlBuilder, self)._take_duplicate(event, key, first)

    def found(self) -> tuple[Any, Node] | None:
        """Return the data of all documents, None if there are none."""
        return (self._top.data, Node(1, 1)) if self._top.data else None


class _JsonBuilder(_YamlBuilder):
    """The same, of a file that Envoy reads as JSON."""

    def _take_duplicate(self, event: object, key: str, first: int) -> None:
        super(_YamlBuilder, self)._take_duplicate(event, key, first)


def _integer(text: str) -> int | str:
    digits = text.lstrip("+-")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10
    if base == 10 and len(digits) > _MOST_DIGITS:
        return text
    value = -int(digits, base) if text[0] == "-" else int(digits, base)
    if _fits(value, _NUMBER_BITS):
        return value
    return str(value) if _fits(value, _MOST_BITS) else text


def _json_integer(digits: str) -> int | str:
    """Return a number of JSON; as text if it has more bits than any of Envoy's, as in YAML."""
    value = int(digits) if len(digits) <= _MOST_DIGITS else None
    return value if value is not None and _fits(value, _MOST_BITS) else digits


def _fits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1
