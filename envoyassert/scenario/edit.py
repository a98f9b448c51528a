"""Changing a number in the text of a YAML document: every other byte stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from envoyassert.scenario.source import Document, Node, Path

#: A plain scalar that may be replaced; what is quoted, an alias or anchored is not.
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")


def with_values(document: Document, values: Mapping[Path, int | str]) -> str | None:
    """Return the text with other scalars at some places.

    Args:
        document: the document.
        values: what is written, by place: a number, or a word.

    Returns:
        None if one of the places has no plain scalar.
    """
    lines = document.text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans = []
    for path, value in values.items():
        node = _node_at(document.root, path)
        if node is None or node.members is not None or node.line > len(lines):
            return None
        start = starts[node.line - 1] + node.column - 1
        found = _PLAIN.match(document.text, start)
        if found is None:
            return None
        spans.append((start, found.end(), str(value)))
    text = document.text
    for start, end, written in sorted(spans, reverse=True):
        text = text[:start] + written + text[end:]
    return text


def _node_at(node: Node, path: Path) -> Node | None:
    for part in path:
        members: Any = node.members
        if isinstance(members, dict) and part in members:
            node = members[part][2]
        elif isinstance(members, list) and isinstance(part, int) and part < len(members):
            node = members[part]
        else:
            return None
    return node
