"""What the words of a scenario must have to do with each other, and with their file.

These checks read the data and not the models, so that they are made, and their problems shown, also
where some other part of the file is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from envoyassert.errors import Problem
from envoyassert.scenario.axes import KNOWN_AXES, is_axis
from envoyassert.scenario.conditional import ENVOY_CONDITION
from envoyassert.scenario.listeners import items_of
from envoyassert.scenario.phases import phase_problems, process_problems
from envoyassert.scenario.source import Document, Path
from envoyassert.scenario.vocabulary import (
    ADDRESS_PATTERN,
    REFERENCE_PATTERN,
    closest,
    did_you_mean,
)
from envoyassert.steps.registry import kind_in

#: Arguments of Envoy that are set from fields of the scenario.
_OWN_ARGUMENTS = {
    "--concurrency": "write envoy.concurrency",
    "-c": "write envoy.config",
    "--config-path": "write envoy.config",
}
#: Parts of a scenario in which null is a value, not a forgotten one.
_FREE = (
    ("envoy", "config"),
    ("envoy", "overlay"),
    ("envoy", "files"),
    ("envoy", "xds"),
    ("matrix",),
)
#: One word that ends like the name of a file with data.
_ONLY_A_PATH = re.compile(r"\S*[\w}]\.(?:ya?ml|json|pb|pb_text|textproto|txt|pem|crt|cert|key|lua)")
_PLACEHOLDERS = ("rundir", "concurrency")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_]+)\}")


def coherence_problems(
    document: Document, path: FilePath, known: list[Problem], *, followed: bool = False
) -> list[Problem]:
    """Return the known problems and those that the checks of this module find.

    Args:
        document: the scenario; its data is a mapping.
        path: its file.
        known: problems that were found already; one at the place of a forgotten value is dropped
            for the better message.
        followed: whether it may be about an Envoy that something else drives.
    """
    kinds = {kind_in(step) for step in items_of(document.data.get("steps"))}
    free_of_steps = frozenset(path for kind in kinds if kind is not None for path in kind.free)
    nulls = []
    if document.has_nulls:
        nulls = list(_nulls(document, document.data, (), free_of_steps))
    places = {(problem.line, problem.column) for problem in nulls}
    kept = [problem for problem in known if (problem.line, problem.column) not in places]
    return [
        *kept,
        *nulls,
        *_name(document, path),
        *_matrix(document),
        *phase_problems(document, followed=followed),
        *_when(document),
        *variable_problems(document),
        *_arguments(document),
        *_agent(document),
        *_netns(document),
        *_addresses(document),
        *_variables(document),
        *_nul_bytes(document),
        *_files(document),
        *_misspelt_placeholders(document),
    ]


def _misspelt_placeholders(document: Document) -> Iterator[Problem]:
    for key in ("envoy", "steps") if document.has_placeholders else ():
        yield from _placeholders(document, document.data.get(key), (key,))


def _nulls(
    document: Document, value: object, path: Path, free_of_steps: frozenset[Path]
) -> Iterator[Problem]:
    """Find keys without a value: they would expect nothing, silently."""
    if path in _FREE or path[2:] in free_of_steps:
        return
    if isinstance(value, dict):
        for key, member in value.items():
            if member is None:
                yield document.problem(
                    (*path, key), f"`{key}` has no value", "give one, or remove the key"
                )
            else:
                yield from _nulls(document, member, (*path, key), free_of_steps)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            if element is None:
                yield document.problem((*path, index), "an empty item", "remove the dash")
            else:
                yield from _nulls(document, element, (*path, index), free_of_steps)


def _name(document: Document, path: FilePath) -> Iterator[Problem]:
    name = document.data.get("name")
    stem = path.name.removesuffix(path.suffix).removesuffix(".envoyassert")
    if isinstance(name, str) and name != stem:
        yield document.problem(
            ("name",),
            f"the name is `{name}`, but the file is called `{path.name}`",
            f"write `name: {stem}`, or rename the file",
            at_value=True,
        )


def _matrix(document: Document) -> Iterator[Problem]:
    for axis, values in _mapping(document.data.get("matrix")).items():
        if axis == ENVOY_CONDITION:
            yield document.problem(
                ("matrix", axis),
                f"an axis cannot be called `{axis}`: in `when` that is the version of Envoy",
                "vary `version`, or take another name",
            )
        elif isinstance(values, list) and not is_axis(axis, values):
            yield document.problem(
                ("matrix", axis),
                f"`{axis}` is neither a plain field of `envoy` nor one of a listener",
                did_you_mean(axis, KNOWN_AXES)
                or "write the path from the top of the config: "
                f"static_resources.listeners.*.{axis}",
            )
        seen: set[str] = set()
        for index, value in enumerate(items_of(values)):
            text = _text(value)
            if text in seen:
                yield document.problem(
                    ("matrix", axis, index), f"`{text}` is given twice", "keep one of the two"
                )
            seen.add(text)


def _when(document: Document) -> Iterator[Problem]:
    matrix = _mapping(document.data.get("matrix"))
    expect = document.data.get("expect")
    for index, item in enumerate(items_of(expect)):
        for axis, wanted in _mapping(_mapping(item).get("when")).items():
            if axis == ENVOY_CONDITION:
                continue
            place = ("expect", index, "when", axis)
            if axis not in matrix:
                yield document.problem(
                    place,
                    f"`when` asks for `{axis}`, which is not an axis of the matrix",
                    _axis_meant(axis, matrix),
                )
                continue
            if not isinstance(matrix[axis], (list, dict)):
                continue  # reported already: no axis at all
            possible = [_text(value) for value in matrix[axis]]
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if value is not None and _text(value) not in possible:
                    yield document.problem(
                        place,
                        f"`{axis}` is never `{_text(value)}`",
                        f"its values: {', '.join(possible)}",
                        at_value=True,
                    )


def _axis_meant(axis: str, matrix: dict[str, Any]) -> str:
    """Return what to write for an axis that the matrix has not: one that it has, or there."""
    if not matrix:
        return "there is no matrix"
    known = [name for name, values in matrix.items() if is_axis(name, values)]
    meant = closest(axis, [name for name in matrix if name not in known])
    if meant is not None and axis in KNOWN_AXES:
        return f"the matrix has `{meant}`: write `{axis}` there"
    return did_you_mean(axis, known) or f"the axes: {', '.join(matrix)}"


def _arguments(document: Document) -> Iterator[Problem]:
    given: list[tuple[Path, Any]] = [(("envoy",), document.data.get("envoy"))]
    steps = document.data.get("steps")
    for index, step in enumerate(items_of(steps)):
        kind = kind_in(step)
        if kind is not None and kind.starts_another:
            given.append((("steps", index, kind.kind), step[kind.kind]))
    for place, holder in given:
        arguments = _mapping(holder).get("args")
        for index, argument in enumerate(items_of(arguments)):
            name = argument.partition("=")[0] if isinstance(argument, str) else ""
            if name in _OWN_ARGUMENTS:
                yield document.problem(
                    (*place, "args", index),
                    f"`{name}` is set from the scenario",
                    _OWN_ARGUMENTS[name],
                )


def _agent(document: Document) -> Iterator[Problem]:
    if "agent" in _mapping(document.data.get("envoy")):
        why = "in a container the image's entry point starts Envoy"
        yield from process_problems(document, ("envoy", "agent"), why)


def _netns(document: Document) -> Iterator[Problem]:
    if "netns" in _mapping(document.data.get("envoy")):
        why = "in a container Envoy may not enter another network namespace"
        yield from process_problems(document, ("envoy", "netns"), why)


def _addresses(document: Document) -> Iterator[Problem]:
    if "addresses" in _mapping(document.data.get("envoy")):
        why = "the network of a container begins with its Envoy"
        yield from process_problems(document, ("envoy", "addresses"), why)
    envoy = _mapping(document.data.get("envoy"))
    given: list[tuple[Path, Any]] = [(("envoy", "addresses"), envoy.get("addresses"))]
    given += [
        (("envoy", "netns", index, "addresses"), _mapping(one).get("addresses"))
        for index, one in enumerate(items_of(envoy.get("netns")))
    ]
    texts = [((*path, i), one) for path, many in given for i, one in enumerate(items_of(many))]
    for place, text in texts:
        if not isinstance(text, str) or not re.fullmatch(ADDRESS_PATTERN, text):
            continue  # reported already
        host = text.partition("%")[0]
        try:
            ipaddress.ip_address(host or "::")
        except ValueError:
            yield document.problem(
                place,
                f"`{host}` is not an IP address",
                "write it without port or prefix: 10.1.2.3, 2001:db8::1",
            )


def _variables(document: Document) -> Iterator[Problem]:
    for name in _mapping(_mapping(document.data.get("envoy")).get("env")):
        if name.startswith("ENVOYASSERT_"):
            yield document.problem(
                ("envoy", "env", name),
                f"`{name}` is how a run is identified",
                "take another name",
            )


def _nul_bytes(document: Document) -> Iterator[Problem]:
    """Find text that no process can be given: it ends at a NUL (execve(2))."""
    envoy = _mapping(document.data.get("envoy"))
    given: list[tuple[Path, Any]] = [
        (("envoy", key), envoy.get(key)) for key in ("binary", "image")
    ]
    given += [
        (("envoy", key, index), argument)
        for key in ("args", "agent")
        for index, argument in enumerate(items_of(envoy.get(key)))
    ]
    given += [(("envoy", "env", key), text) for key, text in _mapping(envoy.get("env")).items()]
    for path, text in given:
        if isinstance(text, str) and "\0" in text:
            yield document.problem(path, "text for a process cannot hold a NUL", at_value=True)


def _files(document: Document) -> Iterator[Problem]:
    """Find contents of files that are a path and nothing else, which Envoy could not read."""
    files = _mapping(_mapping(document.data.get("envoy")).get("files"))
    given: list[tuple[Path, Any, Any]] = [
        (("envoy", "files", name), name, content) for name, content in files.items()
    ]
    for index, step in enumerate(items_of(document.data.get("steps"))):
        kind = kind_in(step)
        for path, name, content in kind.contents(step) if kind is not None else ():
            given.append((("steps", index, *path), name, content))
    for place, name, content in given:
        remedy = "write here what the file holds"
        if place[0] == "envoy":
            remedy += f", or `{{from: {content}}}`"
        if isinstance(content, str) and _ONLY_A_PATH.fullmatch(content):
            yield document.problem(
                place,
                f"`{content}` would be the content of {name}, not a path that it is read from",
                f"{remedy}; text that is meant as it is ends with a newline",
                at_value=True,
            )


def _placeholders(document: Document, value: Any, path: Path) -> Iterator[Problem]:
    """Find misspelt ${rundir} and ${concurrency}; any other ${…} is Envoy's business."""
    if isinstance(value, str) and "${" in value:
        for name in _PLACEHOLDER.findall(value):
            meant = closest(name, _PLACEHOLDERS, cutoff=0.75)
            if meant is not None and name != meant:
                yield document.problem(
                    path,
                    f"`${{{name}}}` is not known",
                    f"did you mean `${{{meant}}}`?",
                    at_value=True,
                )
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _placeholders(document, member, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _placeholders(document, element, (*path, index))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


#: Keys of a selector that may be a variable, which then stands for a fact of that name.
_FACTS = ("port", "socket")


def variable_problems(document: Document) -> Iterator[Problem]:
    """Find names that join nothing, and variables that nothing before gave a name to."""
    for place, fact, name in _references(document.data.get("steps"), ("steps",)):
        yield document.problem(
            place,
            f"`${name}` is not known while steps are carried out",
            f"say which {fact} by name or number; variables join expectations, judged at the end",
            at_value=True,
        )
    expect = document.data.get("expect")
    given: dict[str, list[Path]] = {}
    facts: dict[str, Any] = {}
    used: set[str] = set()
    for index, item in enumerate(items_of(expect)):
        for place, fact, name in _references(item, ("expect", index)):
            used.add(name)
            if name not in facts:
                yield document.problem(
                    place,
                    f"no expectation before this one gives a {fact} the name `{name}`",
                    did_you_mean(name, facts) or f"write `let: {{{name}: {fact}}}` in one of them",
                    at_value=True,
                )
            elif facts[name] != fact:
                yield document.problem(
                    place,
                    f"`{name}` is a {facts[name]}, not a {fact}",
                    "refer to a variable of the right kind",
                    at_value=True,
                )
        for holder, inner in ((item, ()), (_mapping(item).get("calls"), ("calls",))):
            for name, fact in _mapping(_mapping(holder).get("let")).items():
                where: Path = ("expect", index, *inner, "let", name)
                given.setdefault(name, []).append(where)
                if facts.setdefault(name, fact) != fact:
                    yield document.problem(
                        where,
                        f"`{name}` is a {fact} here and a {facts[name]} above",
                        "take two names",
                        at_value=True,
                    )
    for name, places in given.items():
        if len(places) == 1 and name not in used:
            others = [other for other in given if other != name]
            yield document.problem(
                places[0],
                f"the name `{name}` is given once and joins nothing",
                did_you_mean(name, others) or "give it in another expectation as well",
            )


def _references(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield where a selector refers to a variable, with the kind of fact and the name."""
    if isinstance(value, list):
        for index, member in enumerate(value):
            yield from _references(member, (*path, index))
    for key, member in _mapping(value).items():
        if key == "listener":
            for fact in _FACTS:
                text = _mapping(member).get(fact)
                if isinstance(text, str) and re.match(REFERENCE_PATTERN, text):
                    yield (*path, key, fact), fact, text[1:]
        yield from _references(member, (*path, key))
