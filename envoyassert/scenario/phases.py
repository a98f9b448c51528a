"""What expectations say of phases must have to do with the steps of the scenario."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envoyassert.errors import Problem
from envoyassert.naming import EACH, FIRST, LAST, SEEN_KINDS, STARTUP
from envoyassert.scenario.listeners import items_of
from envoyassert.scenario.source import Document, Path
from envoyassert.scenario.vocabulary import did_you_mean
from envoyassert.steps.registry import kind_in, phase_in
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.registry import WORDS, subject_of

#: A phase that is cut by what is seen.
_SEEN = re.compile(rf"(?:{'|'.join(SEEN_KINDS)})_[1-9]\d*")
#: A later Envoy of a hot restart that is seen, by its `--restart-epoch`.
_LATER = re.compile(r"epoch_[1-9]\d*")


def phase_problems(document: Document, *, followed: bool = False) -> Iterator[Problem]:
    """Find names of phases that clash or do not exist, and states that are counted during one.

    Args:
        document: the scenario.
        followed: whether it may be about an Envoy that something else drives. Unless it has steps,
            its phases are then cut by what is seen.
    """
    names: dict[str, int] = {STARTUP: -1}
    envoys = [FIRST]
    holders: list[str] = []
    for index, step in enumerate(_steps(document)):
        if isinstance(step, dict) and step.get("before") == STARTUP:
            yield from _problems_before_startup(document, index)
            continue  # no phase
        name = phase_in(step) if isinstance(step, dict) else None
        if not isinstance(name, str):
            continue  # reported already
        if name in names:
            own = "name" in step
            yield document.problem(
                ("steps", index, "name") if own else ("steps", index),
                f"there is a phase `{name}` already",
                "take another name" if own else f"give it one: `name: {name}_2`",
                at_value=own,
            )
        names.setdefault(name, index)
        yield from _held_before(document, index, step, holders)
        kind = kind_in(step)
        if kind is not None and kind.holds_clients(step):
            holders.append(name)
        if kind is not None and kind.starts_another:
            envoys.append(name)
    items = list(enumerate(items_of(document.data.get("expect"))))
    if followed and not _steps(document):
        said = [item for _, item in items if isinstance(item, dict)]
        phases = [item.get(word) for item in said for word in ("during", "at_end_of")]
        numbered = [name for name in phases if isinstance(name, str) and _SEEN.fullmatch(name)]
        names |= dict.fromkeys((*SEEN_KINDS, EACH, LAST, *numbered), -1)
        envoys += [item["envoy"] for item in said if _LATER.fullmatch(str(item.get("envoy")))]
    for index, item in items:
        if isinstance(item, dict):
            yield from _problems_of_item(document, ("expect", index), item, names, envoys)


def _held_before(
    document: Document, index: int, step: dict[str, Any], holders: list[str]
) -> Iterator[Problem]:
    """Find that a step sends over connections that none of the steps before it holds."""
    kind = kind_in(step)
    used = kind.uses_clients_of(step) if kind is not None else None
    if used is None:
        return
    place, over = used
    if over not in holders:
        yield document.problem(
            ("steps", index, *place),
            f"no step before this one holds connections and is called `{over}`",
            did_you_mean(over, holders) or "write `held: true` in a `connect` step before it",
            at_value=True,
        )


def _problems_before_startup(document: Document, index: int) -> Iterator[Problem]:
    place = ("steps", index, "before")
    if any(not isinstance(one, dict) or "before" not in one for one in _steps(document)[:index]):
        yield document.problem(place, "the start comes before all steps", "put this one first")
    kind = kind_in(_steps(document)[index])
    if kind is not None and kind.prepares_network:
        why = "before Envoy starts there is no network namespace of a container"
        yield from process_problems(document, place, why)


def process_problems(document: Document, place: Path, why: str) -> Iterator[Problem]:
    """Find that a scenario does not ask for the launcher `process`, which something in it needs.

    Args:
        document: the scenario file.
        place: what needs it.
        why: the reason, for the message.
    """
    requires = document.data.get("requires")
    if not isinstance(requires, dict) or requires.get("launcher") != "process":
        yield document.problem(place, why, "add `requires: {launcher: process}` to the scenario")


def _steps(document: Document) -> list[Any]:
    return items_of(document.data.get("steps"))


def _unknown_names(
    document: Document, place: Path, item: dict[str, Any], names: dict[str, int], envoys: list[str]
) -> Iterator[Problem]:
    envoy = item.get("envoy")
    if isinstance(envoy, str) and envoy not in envoys:
        known = ", ".join(f"`{known}`" for known in envoys)
        yield document.problem(
            (*place, "envoy"),
            f"no step starts an Envoy called `{envoy}`",
            did_you_mean(envoy, envoys) or f"the Envoys: {known}",
            at_value=True,
        )
    for word in ("during", "at_end_of"):
        name = item.get(word)
        if isinstance(name, str) and name not in names:
            known = ", ".join(f"`{known}`" for known in names)
            yield document.problem(
                (*place, word),
                f"no step is called `{name}`",
                did_you_mean(name, names) or f"the phases: {known}",
                at_value=True,
            )


def _problems_of_item(
    document: Document, place: Path, item: dict[str, Any], names: dict[str, int], envoys: list[str]
) -> Iterator[Problem]:
    yield from _unknown_names(document, place, item, names, envoys)
    subject = subject_of(item)
    if subject is None:
        return  # reported already
    during = item.get("during")
    for word in _states(subject, item) if during is not None else ():
        yield document.problem(
            (*place, word),
            f"`{word}` is a state and not something that is done during a phase",
            f"write `at_end_of: {during}`",
        )
    for fault in WORDS[subject].faults(item):
        yield document.problem((*place, *fault.place), fault.message, fault.remedy)


def _states(subject: str, item: dict[str, Any]) -> list[str]:
    """Return the words of an item that are about a state."""
    if WORDS[subject].about == "state":
        return [subject]
    return [
        word
        for word in item
        if subject == "listener" and word in OF_LISTENER and not OF_LISTENER[word].done
    ]
