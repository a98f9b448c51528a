"""What a run of a case showed that the prediction does not say, and which of it is known."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from envoyassert.errors import EnvoyAssertError
from envoyassert.explore.case import OF_OVERLOAD, Case
from envoyassert.explore.features import Fields, changed_fields, fields_of, of_envoy
from envoyassert.predict.fields import CHAINS
from envoyassert.versions import satisfies

#: The fact that Envoy was killed by a signal.
CRASH = "crash"
#: The fact that its workers never wait.
SPINS = "spins"
_KEYS = {
    "kind",
    "versions",
    "way",
    "facts",
    "listeners",
    "envoy",
    "changed",
    "under",
    "seen",
    "what",
    "link",
}


@dataclass(frozen=True)
class Difference:
    """One fact that is not as predicted.

    Args:
        way: what was done last: `start`, or a kind of step.
        fact: the code of the fact: `bound.times`.
        subject: what it is about, in words.
        expected: what the model predicts, in words.
        seen: what Envoy did, in words.
        listener: the name of the listener that it is about; "" for none, or for several.
    """

    way: str
    fact: str
    subject: str
    expected: str
    seen: str
    listener: str = ""


class KnownError(EnvoyAssertError):
    """A list of known differences is not valid."""


@dataclass(frozen=True)
class Known:
    """A kind of difference, by what a case must have.

    Args:
        kind: its name.
        way: what was done last, one of these; () for anything.
        facts: patterns of codes, as of file names; one of them must match. A crash is named.
        listeners: of each, the fields that some form of the listener that differs must have: a
            value, `any`, or a list of values of which one is there. Of what is about no listener,
            or about several, some listener of the case must have them.
        envoy: the same of what is beside the listeners.
        changed: the beginnings of fields of it, each of which a push must have changed; `replaced`
            for any but those of filter chains, and for one that a push added.
        under: a kind of step: the pushes that count are those that came while its effect lasted
            (`overload`); "" for all.
        seen: patterns of what Envoy did, in words, one of which must match; () for anything.
        versions: of Envoy, as `requires` has them; "" for all.
        what: what Envoy does, and what the model says.
        link: where it is discussed, or "".
    """

    kind: str
    way: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    listeners: tuple[Mapping[str, Any], ...] = ()
    envoy: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    under: str = ""
    seen: tuple[str, ...] = ()
    versions: str = ""
    what: str = ""
    link: str = ""

    def explains(self, difference: Difference, case: Case, version: str) -> bool:
        """Return whether a difference is of this kind.

        Args:
            difference: what was found.
            case: where.
            version: of the Envoy.
        """
        if self.versions and not satisfies(version, self.versions):
            return False
        if self.way and difference.way not in self.way:
            return False
        if difference.fact == CRASH and CRASH not in self.facts:
            return False
        if self.seen and not _matches(difference.seen, self.seen):
            return False
        if not _matches(difference.fact, self.facts):
            return False
        name = difference.listener
        forms = [one for one in case.all_listeners if not name or one["name"] == name]
        there = [fields_of(one) for one in forms]
        if not all(any(_has(one, wanted) for one in there) for wanted in self.listeners):
            return False
        changes = changes_of(case, name, self.under)
        changed = all(any(_is_change(path, start) for path in changes) for start in self.changed)
        return changed and _has(of_envoy(case), self.envoy)


#: Whatever a push changed so that workers start the listener again, or for the first time.
_REPLACED = "replaced"
_IN_PLACE = (*CHAINS, "removed")


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def _is_below(path: str, start: str) -> bool:
    return path == start or path.startswith(f"{start}.")


def _is_change(path: str, wanted: str) -> bool:
    """Return whether a change is one that an entry asks for."""
    if wanted == _REPLACED:
        return not any(_is_below(path, start) for start in _IN_PLACE)
    return _is_below(path, wanted)


def _has(fields: Fields, wanted: Mapping[str, Any]) -> bool:
    for path, value in wanted.items():
        values = [one for known, found in fields.items() if _is_below(known, path) for one in found]
        choices = value if isinstance(value, list) else [value]
        if not values or ("any" not in choices and not any(_in(one, values) for one in choices)):
            return False
    return True


def _in(value: Any, values: Sequence[Any]) -> bool:
    return any(type(one) is type(value) and one == value for one in values)


def changes_of(case: Case, name: str = "", under: str = "") -> frozenset[str]:
    """Return which fields of listeners the pushes of a case changed.

    Args:
        case: the case.
        name: of the listener that is meant; "" for all.
        under: `overload` for the pushes that came while Envoy was overloaded; "" for all.
    """
    found: set[str] = set()
    before = {one["name"]: one for one in case.listeners}
    lasts = ""
    for step in case.steps:
        if step.kind in OF_OVERLOAD:
            lasts = step.kind
        if step.listeners is None:
            continue
        after = {one["name"]: one for one in step.listeners}
        mine = {one for one in (*before, *after) if not name or one == name}
        if under in ("", lasts):
            for one in after.keys() & mine:
                found |= changed_fields(before.get(one), after[one])
            found |= {"added" for _ in after.keys() - before.keys() & mine}
            found |= {"removed" for _ in before.keys() & mine - after.keys()}
        before = after
    return frozenset(found)


def kind_of(difference: Difference, case: Case) -> Known:
    """Return the kind of a difference that was found in a case without anything needless in it.

    Args:
        difference: what was found.
        case: where, cut down.
    """
    if difference.fact == CRASH:
        # By its place in Envoy: what leads there may look quite different.
        words = difference.seen.removeprefix("Envoy was ")
        return Known(f"crash: {words}", facts=(CRASH,), seen=(difference.seen,))
    listeners = tuple(
        {path: sorted(values, key=repr) for path, values in fields_of(one).items()}
        for one in case.all_listeners
    )
    envoy = {path: sorted(values, key=repr) for path, values in of_envoy(case).items()}
    shown = {path for one in listeners for path in one} | set(changes_of(case))
    names = sorted(path.replace(".*", "") for path in shown)
    return Known(
        " ".join([difference.way, difference.fact, *names[:3]]),
        (difference.way,),
        (difference.fact,),
        tuple(one for one in listeners if one),
        envoy,
        tuple(sorted(changes_of(case))),
    )


@functools.lru_cache(1)
def known_differences() -> tuple[Known, ...]:
    """Return the differences that are known of Envoy and of the model.

    Raises:
        KnownError: the list is not valid.
    """
    text = files("envoyassert.explore").joinpath("known_differences.yaml").read_text("utf-8")
    return parse_known(text)


def parse_known(text: str) -> tuple[Known, ...]:
    """Return the entries of a list of known differences.

    Args:
        text: YAML: a list of mappings.

    Raises:
        KnownError: it is not valid.
    """
    rows = yaml.safe_load(text) or []
    return tuple(_entry(number, row) for number, row in enumerate(rows, 1))


def _entry(number: int, row: Any) -> Known:
    remedy = f"an entry is a mapping with kind, facts and what, and may have {sorted(_KEYS)}"
    if not isinstance(row, dict) or not row.keys() <= _KEYS:
        raise KnownError(f"known difference {number} has unknown fields", remedy)
    if not all(row.get(key) for key in ("kind", "facts", "what")):
        raise KnownError(f"known difference {number} lacks a field", remedy)
    lists: dict[str, Any] = {}
    for key in ("way", "facts", "listeners", "changed", "seen"):
        value = row.get(key, ())
        lists[key] = (value,) if isinstance(value, str) else tuple(value)
    return Known(**{**row, **lists})
