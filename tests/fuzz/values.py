"""Data that is changed at random: another value, a member more or less, a part of another place.

Data are what JSON has. A text that is written of them may hold what JSON's writer has no way to
write: numbers of 5,000 digits, lists in lists.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterable
from random import Random
from typing import Any

#: A number that is written with this many digits stands for itself; JSON's writer has no such one.
DIGITS = "<5000 digits>"
#: Lists in lists, likewise.
DEEP = "<deep>"
#: Values of another type or range, and text that is not to be shown raw.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**53),
    *(2**63 - 1, 2**63, 2**64, 10**30, -(2**31), -(2**63), -(2**64), 0.0, 1.0, 0.5, 1e308),
    *(float("nan"), float("inf"), DIGITS),
    *("", "x", "AF_INET", "EPOLLIN", "0x1", "worker_0", "\ud800", "\0", "\x1b[2J", "a\n::error::b"),
    *("\u202e", "é" * 300, "9" * 5000),
    *([], {}, [None], [[]], {"a": 1}, [1, 2, 3], ["x"], [True]),
)
#: Further ones, for what people write: durations, addresses, names of our own, paths, patterns.
ODD_WORDS: tuple[Any, ...] = (
    *("1e300", "1e300s", "99999999999h", "-1s", "0s", "0", "5", "1.5", "1e2", "0x10", "010", "NaN"),
    *("startup", "live", "end", "start", "main", "workers", "other", "admin", "all", "none"),
    *("skip", "xfail", "usefixtures", "parametrize", "timeout", "__init__", "con", "a b", "a.b"),
    *("${rundir}", "${x}", "${", "$x", "{}", "%s", "*", "(", "[", "(a+)+$", "a{99999}", "\\", "^"),
    *("0.0.0.0", "::", "[::1]:80", "1.2.3.4:99999", "::ffff:1.2.3.4", "fe80::1%eth0", "localhost"),
    *("unix:/x", "@", "@x", "/", "/" + "a" * 200, "../../x", "/dev/zero", "/proc/self/mem", "."),
    *(">=1.20", "<", ">=1.20, <1.10", "==9999999999", "1.2.3.4.5", "file", "ads", "true", "yes"),
    *("a" * 70_000, "a\r\nb", "a\u2028b", "##[error]x", "::error::x", "\U000e0041", "\ufeff"),
    *(-0.0, 1e-320, 1e22, 10**19, 10**18, 1024, 1025, 100_000, [[[]]], {"": {}}, [{}] * 3),
)


def odd(chance: Random, values: tuple[Any, ...] = ODD) -> Any:
    """Return an odd value that may be changed further."""
    return copy.deepcopy(chance.choice(values))


class Vocabulary:
    """What there is in some data: keys, and the values of each.

    Args:
        data: any.
    """

    def __init__(self, data: Iterable[Any]) -> None:
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for one in data:
            for owner, key in places_in(one):
                if isinstance(owner, dict):
                    found[key][json.dumps(owner[key])] = None
        self.keys = tuple(found)
        self._values = {key: tuple(values) for key, values in found.items()}

    def key(self, chance: Random) -> str:
        """Return any key."""
        return chance.choice(self.keys)

    def value(self, key: Any, chance: Random) -> Any:
        """Return a value that a key has anywhere, or that of any key."""
        values = self._values.get(key) or self._values[self.key(chance)]
        return json.loads(chance.choice(values))


def places_in(value: Any, most: int = 1 << 30) -> list[tuple[Any, Any]]:
    """Return each place in data as the mapping or the list and its key.

    Args:
        value: data.
        most: of each list, so many of its first elements.
    """
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        owner = waiting.pop()
        keys = list(owner) if isinstance(owner, dict) else range(len(owner))[:most]
        for key in keys:
            found.append((owner, key))
            if isinstance(owner[key], (dict, list)):
                waiting.append(owner[key])
    return found


def change(data: Any, chance: Random, words: Vocabulary) -> None:
    """Change one place of data.

    Args:
        data: a mapping or a list.
        chance: decides where and how.
        words: of which keys and values are taken.
    """
    places = places_in(data)
    if not places:
        return
    owner, key = chance.choice(places)
    kind = chance.choices(tuple(_CHANGES), tuple(_CHANGES.values()))[0]
    found = owner[key]
    if kind == "another":
        owner[key] = words.value(key, chance)
    elif kind == "more" and isinstance(owner, dict):
        name = words.key(chance)
        owner[name] = words.value(name, chance)
    elif kind == "gone":
        del owner[key]
    elif kind == "near" and isinstance(found, (int, float)):
        owner[key] = found + chance.choice((-1, 1, 10, 2**16, 2**31))
    elif kind == "text" and not isinstance(found, (dict, list)):
        owner[key] = str(found) if not isinstance(found, str) else _read(found)
    elif kind == "spliced" and isinstance(found, str):
        at = chance.randint(0, len(found))
        piece = chance.choice(ODD + ODD_WORDS)
        owner[key] = found[:at] + (piece if isinstance(piece, str) else str(piece)) + found[at:]
    elif kind == "renamed" and isinstance(owner, dict):
        del owner[key]
        name = words.key(chance) if chance.random() < 0.7 else chance.choice(_ODD_KEYS)
        owner[name] = found
    elif kind == "twice" and isinstance(owner, list):
        owner.insert(chance.randint(0, len(owner)), json.loads(json.dumps(found)))
    elif kind == "many" and isinstance(owner, list):
        owner[key:key] = [found] * chance.choice((2, 20, 200))
    elif kind == "wrapped":
        owner[key] = [found] if chance.random() < 0.5 else {words.key(chance): found}
    elif kind == "moved":
        other, place = chance.choice(places)
        owner[key] = json.loads(json.dumps(other[place])) if place in _keys(other) else None
    elif kind == "deep":
        owner[key] = DEEP
    else:
        owner[key] = odd(chance, ODD if chance.random() < 0.6 else ODD_WORDS)


_CHANGES = {
    "another": 30, "more": 12, "odd": 22, "gone": 8, "near": 6, "text": 3, "spliced": 4,
    "renamed": 4, "twice": 4, "many": 1, "wrapped": 3, "moved": 3, "deep": 0.3,
}  # fmt: skip
_ODD_KEYS = (
    "",
    "a b",
    "\x1b[2J",
    "<<",
    "null",
    "1",
    "é",
    "__class__",
    "\u202e",
    "@type",
    "x" * 500,
)


def _keys(owner: Any) -> Iterable[Any]:
    return owner if isinstance(owner, dict) else range(len(owner))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return [text]


def written(data: Any) -> str:
    """Return data as JSON, with what JSON's writer cannot write."""
    text = json.dumps(data)
    if DIGITS in text:
        text = text.replace(json.dumps(DIGITS), "1" + "0" * 4999)
    return text.replace(json.dumps(DEEP), "[" * 20_000 + "]" * 20_000) if DEEP in text else text


_SIGNS = ":{}[],&*#?|-<>=!%@`'\"\\ \t\n\0\ufeff\U0001f600e0.~"
_PIECES = (
    *("\n---\n", "\n...\n", "&a ", "*a ", "<<: ", "!!python/object:x ", "!x ", "%YAML 1.1\n", "? "),
    *(
        "\x1b[2J",
        "\u202e",
        "\x85",
        "\u2028",
        "\ud800",
        "9" * 5000,
        "1e999",
        "[" * 300,
        "{a: " * 300,
    ),
    *("null", "true", "[]", "{}", "''", "-1", "99999999999999999999", "{{", "}}", "\\u0000", "\\x"),
)


def damaged(text: str, chance: Random) -> str:
    """Return a text in which a piece is another, gone, moved, or there twice."""
    start = chance.randint(0, len(text))
    end = min(len(text), start + chance.choice((0, 1, 1, 5, 40)))
    kind = chance.randrange(5)
    if kind == 0:
        return text[:start] + chance.choice(_SIGNS) + text[end:]
    if kind == 1:
        return text[:start] + chance.choice(_PIECES) + text[end:]
    if kind == 2:
        return text[:start] + text[end:]
    if kind == 3:
        at = chance.randint(0, len(text))
        return text[:at] + text[start:end] * chance.choice((1, 1, 1, 30)) + text[at:]
    # A line, or what lies between two commas.
    sign = "\n" if "\n" in text.strip() else ","
    lines = text.split(sign)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(other, lines[at])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = " " * chance.randint(0, 4) + lines[at].lstrip()
    return sign.join(lines)
