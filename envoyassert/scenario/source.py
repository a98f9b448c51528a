"""YAML text to data, with the place of every key and value.

The scalars are those of YAML 1.2's core schema: `true` and `null` are words of the language, `on`,
`10:30` and `017` are not. A plain scalar that YAML 1.1, YAML 1.2 and Envoy's own reader take for
different things is an error rather than a surprise; quoting it says that text is meant.

The text is read as a stream of events and never as recursive nodes: PyYAML's composer recurses in
C and ends the interpreter on deeply nested input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import yaml
from yaml.events import (
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from envoyassert.errors import Problem, ScenarioError
from envoyassert.frozen import frozen
from envoyassert.scenario.syntax import (
    MAX_DEPTH,
    MAX_NODES,
    TOO_DEEP,
    control_character,
    syntax_problem,
)

Path = tuple[str | int, ...]
"""Where something is in the data: keys and indexes from the top."""

# libyaml's parser where PyYAML was built with it: seven times as fast. Both are used without any
# resolver, so that every scalar arrives as the text that was written.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    spelling: value
    for word, value in (("true", True), ("false", False))
    for spelling in (word, word.title(), word.upper())
}
_AMBIGUOUS = {
    spelling: value
    for value, words in (("true", ("y", "yes", "on")), ("false", ("n", "no", "off")))
    for word in words
    for spelling in (word, word.title(), word.upper())
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
#: Keys that are something else to YAML: a merge of mappings, and a key that was forgotten.
_ODD_KEYS = ("<<", "")
_NUMBER_STARTS = frozenset("+-.0123456789")


class Node(NamedTuple):
    """Where one value stands: its own start and its members.

    Args:
        line: 1-based line.
        column: 1-based column.
        members: for a mapping (line, column of the key, node of the value) by key; for a sequence
            the nodes; None for a scalar.
    """

    line: int
    column: int
    members: dict[str, tuple[int, int, Node]] | list[Node] | None = None


@frozen
class Document:
    """One YAML document.

    Args:
        path: the file as the user named it.
        text: its text.
        data: mappings, lists, text, numbers, booleans, None. Aliased parts are shared: do not
            change it.
        root: the places.
        has_nulls: whether there may be a None in the data.
        has_placeholders: whether there may be a `${` in the data.
    """

    path: str
    text: str
    data: Any
    root: Node
    has_nulls: bool = True
    has_placeholders: bool = True

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.splitlines()

    def mark(self, path: Path) -> tuple[int, int]:
        """Return line and column (from 1) where `path` begins: its key, or its item.

        A path that is not in the text has the place of the nearest part that encloses it.
        """
        return self._find(path)[0]

    def value_mark(self, path: Path) -> tuple[int, int]:
        """Return line and column (from 1) of the value at `path`, or of what encloses it."""
        return self._find(path)[1]

    def problem(
        self, path: Path, message: str, remedy: str = "", *, at_value: bool = False
    ) -> Problem:
        """Return a problem located at a path."""
        line, column = self._find(path)[at_value]
        return Problem(self.path, line, column, message, remedy)

    def _find(self, path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
        node = self.root
        key = value = (node.line, node.column)
        for part in path:
            members = node.members
            if isinstance(members, dict) and part in members:
                line, column, node = members[str(part)]
                key, value = (line, column), (node.line, node.column)
            elif isinstance(members, list) and isinstance(part, int) and part < len(members):
                node = members[part]
                key = value = (node.line, node.column)
            else:
                return key, key
        return key, value

    def excerpt(self, line: int, column: int, *, before: int = 2) -> str:
        """Return the numbered line with a caret under the column, after lines before it."""
        lines = self._lines
        if not 1 <= line <= len(lines):
            return ""
        first = max(1, line - before)
        width = len(str(line))
        # Of a line without end 1,000 characters around the column are enough.
        start = max(0, column - 500) if len(lines[line - 1]) > 1000 else 0
        parts = [text[start : start + 1000].rstrip() for text in lines[first - 1 : line]]
        shown = [
            f"{'>' if number == line else ' '} {number:>{width}} | {part}"
            for number, part in enumerate(parts, first)
        ]
        # A tab before the caret stays a tab, so that it takes as much room as the one above it.
        margin = re.sub(r"[^\t]", " ", lines[line - 1][start : max(0, column - 1)])
        return "\n".join([*shown, f"  {' ' * width} | {margin}^"])


def parse_yaml(text: str, path: str, builder_class: type[Builder] | None = None) -> Document:
    """Read one YAML document.

    Args:
        text: the text.
        path: the file as the user named it; for messages only.
        builder_class: what makes data of the text; None for this module's own.

    Raises:
        ScenarioError: the text is not YAML, is empty, holds several documents, duplicate keys,
            tags, merge keys, scalars of doubtful meaning, or is nested or aliased beyond reason.
    """
    text = text.removeprefix("\ufeff")
    strange = control_character(text, path)
    if strange is not None:
        raise ScenarioError([strange])
    builder = (builder_class or Builder)(path)
    try:
        _build(text, builder)
    except yaml.YAMLError as error:
        builder.problems.append(syntax_problem(error, text, path))
    except _BeyondReasonError:
        pass
    if builder.problems:
        raise ScenarioError(builder.problems)
    found = builder.found()
    if found is None:
        raise ScenarioError([Problem(path, 1, 1, "the file is empty")])
    # An escape may stand for any character.
    placeholders = "${" in text or "\\" in text
    return Document(path, text, *found, builder.has_nulls, placeholders)


def _build(text: str, builder: Builder) -> None:
    """Give a builder the events of a text, as long as it takes any."""
    loader = _Loader(text)
    try:
        following, scalar, take = loader.get_event, builder.scalar, builder.take
        while (event := following()) is not None:
            # Half of all events are scalars.
            if type(event) is ScalarEvent:
                scalar(event)
            elif not take(event):
                break
    finally:
        loader.dispose()


class _BeyondReasonError(Exception):
    """The document is too deep or too large to go on; the problem is already recorded."""


@dataclass(eq=False, repr=False, slots=True)
class Open:
    """A collection that is being read.

    Args:
        node: its place; its members become complete as they are read.
        data: what was read of it.
        awaits_key: whether it is a mapping, and a key comes next.
        anchor: its anchor, None without one.
        count_before: how many values there were before it, and it.
        key: for a mapping the key whose value comes next, with line and column; else None.
    """

    node: Node
    data: Any
    awaits_key: bool = False
    anchor: str | None = None
    count_before: int = 0
    key: tuple[Any, int, int] | None = None

    def put(self, value: Any, node: Node) -> None:
        """Add a value, with its place."""
        members: Any = self.node.members
        if self.key is None:
            self.data.append(value)
            members.append(node)
        else:
            name, line, column = self.key
            self.data[name] = value
            members[name] = (line, column, node)
            self.key, self.awaits_key = None, True


def _no_documents() -> Open:
    return Open(Node(1, 1, []), [])


@dataclass(eq=False, repr=False)
class Builder:
    """Builds data and places from events; a subclass may take some of them for something else."""

    max_nodes: ClassVar[int] = MAX_NODES

    path: str
    problems: list[Problem] = field(default_factory=list)
    has_nulls: bool = False
    # The innermost collection that is open, and those around it. The outermost has the documents.
    _top: Open = field(default_factory=_no_documents)
    _around: list[Open] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, Node, int] | None] = field(default_factory=dict)
    _count: int = 0

    def found(self) -> tuple[Any, Node] | None:
        """Return the data with its place once all is read, None if there is none."""
        members: Any = self._top.node.members
        return (self._top.data[0], members[0]) if members else None

    def take(self, event: Any) -> bool:
        """Take the next event, no scalar; return False if what follows is not to be read."""
        kind = type(event)
        if kind is MappingStartEvent:
            self._open(event, {}, {}, True)
        elif kind is SequenceStartEvent:
            self._open(event, [], [], False)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            return self._takes_document(event)
        return True

    def _takes_document(self, event: object) -> bool:
        if self._top.data:
            self._complain(event, "a second document begins here", "one file, one document")
        return not self._top.data

    def _complain(self, event: Any, message: str, remedy: str = "") -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.path, mark.line + 1, mark.column + 1, message, remedy))

    def _counted(self, event: object, nodes: int = 1) -> None:
        self._count += nodes
        if self._count > self.max_nodes:
            self._complain(event, f"more than {self.max_nodes} values, aliases counted in full")
            raise _BeyondReasonError

    def scalar(self, event: Any) -> None:
        """Take a scalar, which is the next event."""
        # What most of them need is done here, and not by calls.
        self._count += 1
        if self._count > self.max_nodes:
            self._counted(event, 0)
        top, mark = self._top, event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if top.awaits_key:
            name = event.value
            top.key, top.awaits_key = (name, line, column), False
            if name in _ODD_KEYS or name in top.data or event.tag or event.anchor:
                self._odd_key(event, top, name, Node(line, column))
            return
        if event.tag is not None:
            self._take_tag(event)
        value, node = self._value(event), Node(line, column)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, node, 1)
        top.put(value, node)

    def _odd_key(self, event: Any, top: Open, name: str, node: Node) -> None:
        if event.tag is not None:
            self._take_key_tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (name, node, 1)
        if name == "<<" and event.implicit[0]:
            self._complain(event, "merge keys (<<) are not supported", "write the fields out")
        elif not name and event.implicit[0]:
            self._complain(event, "the key is missing before `:`")
        elif name in top.data:
            assert isinstance(top.node.members, dict)
            self._take_duplicate(event, name, top.node.members[name][0])

    def _take_tag(self, event: Any) -> None:
        self._complain(event, f"the tag {_tag(event)} is not supported", "leave it out")

    def _take_key_tag(self, event: object) -> None:
        self._take_tag(event)

    def _take_duplicate(self, event: object, key: str, first: int) -> None:
        self._complain(
            event,
            f"duplicate key `{key}`; it is first given on line {first}",
            "keep one of the two",
        )

    def _value(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # no plain scalar: it was quoted
            return text
        if text in _WORDS:
            word = _WORDS[text]
            self.has_nulls = self.has_nulls or word is None
            return word
        if text in _AMBIGUOUS:
            self._complain(
                event,
                f"`{text}` is {_AMBIGUOUS[text]} to some YAML readers and text to others",
                f"write {_AMBIGUOUS[text]}, or quote it",
            )
            return text
        return self._number(event, text) if text[0] in _NUMBER_STARTS else text

    def _number(self, event: object, text: str) -> object:
        if _DECIMAL.fullmatch(text):
            digits = text.lstrip("+-")
            if digits[0] == "0" and len(digits) > 1:
                self._complain(
                    event,
                    f"`{text}` is octal to some YAML readers and decimal to others",
                    _octal_remedy(digits),
                )
                return text
            if len(digits) < 20:
                return int(text)
            self._complain(event, f"`{text[:24]}` does not fit into 64 bits", "quote it")
        elif _OCTAL_OR_HEX.fullmatch(text) and len(text) <= 18:
            return int(text, 0)
        elif _REAL.fullmatch(text):
            value = float(text)
            if abs(value) != float("inf"):
                return value
            self._complain(event, f"`{text[:24]}` is too large for a number")
        elif _NOT_FINITE.fullmatch(text):
            self._complain(event, f"`{text}` is not a number that can be used", "quote it")
        return text

    def _open(self, event: Any, data: Any, members: Any, is_mapping: bool) -> None:
        self._counted(event)
        if event.tag is not None:
            self._take_tag(event)
        if self._top.awaits_key:
            self._complain(event, "a key must be plain text, not a list or a mapping")
            raise _BeyondReasonError
        if len(self._around) == MAX_DEPTH:
            self._complain(event, TOO_DEEP)
            raise _BeyondReasonError
        mark = event.start_mark
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # known, but not complete
        node = Node(mark.line + 1, mark.column + 1, members)
        self._around.append(self._top)
        self._top = Open(node, data, is_mapping, event.anchor, self._count)

    def _close(self) -> None:
        done = self._top
        if done.anchor is not None:
            size = self._count - done.count_before + 1
            self._anchors[done.anchor] = (done.data, done.node, size)
        self._top = self._around.pop()
        self._top.put(done.data, done.node)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._complain(event, f"there is no anchor &{event.anchor} above this alias")
            raise _BeyondReasonError
        known = self._anchors[event.anchor]
        if known is None:
            self._complain(event, f"the alias *{event.anchor} refers to what it is part of")
            raise _BeyondReasonError
        value, node, size = known
        self._counted(event, size)
        if self._top.awaits_key:
            self._complain(event, "an alias cannot be a key", "write the key out")
            raise _BeyondReasonError
        self._top.put(value, node)


def _tag(event: Any) -> str:
    return str(event.tag).replace("tag:yaml.org,2002:", "!!")


def _octal_remedy(digits: str) -> str:
    if set(digits) <= set("01234567"):
        octal = int(digits, 8)
        return f"write {octal} for octal {digits}, {int(digits)} for decimal, or quote it"
    return f"write {int(digits)}, or quote it"
