"""Validation errors in the words of the person who wrote the file."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from envoyassert.errors import Problem
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import FORM, Later, Model
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.selector import Selector, selector_meant
from envoyassert.scenario.source import Document, Path
from envoyassert.scenario.vocabulary import (
    CALL_ARGUMENTS,
    MEANING,
    WORDS_IN,
    closest,
    did_you_mean,
)
from envoyassert.steps.registry import KINDS
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.registry import SUBJECTS

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
    "tuple_type": "a list",
}


class Complaint(NamedTuple):
    """One fault of data, wherever the data came from.

    Args:
        path: where in the data.
        message: what is wrong.
        remedy: what to write instead, or "".
        at_value: whether the value is at fault, and not its key.
    """

    path: Path
    message: str
    remedy: str = ""
    at_value: bool = False


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """Return the problems that a failed validation stands for, in no particular order."""
    return [
        document.problem(path, message, remedy, at_value=at_value)
        for path, message, remedy, at_value in complaints_of(error, document.data)
    ]


def complaints_of(error: ValidationError, data: object = None) -> list[Complaint]:
    """Return the faults that a failed validation stands for, in no particular order.

    Args:
        error: the failed validation.
        data: what was validated, if it is known.
    """
    faults = [dict(fault) for fault in error.errors(include_url=False)]
    return [_complaint(fault, data) for fault in faults if not _follows(fault)]


def _follows(fault: dict[str, Any]) -> bool:
    """Whether a list is too short only because some of its items have faults of their own."""
    if fault["type"] != "too_short":
        return False
    given: int = len(fault["input"])
    least: int = fault["ctx"]["min_length"]
    return given >= least


def _complaint(fault: dict[str, Any], data: object) -> Complaint:
    location: tuple[str | int, ...] = fault["loc"]
    path = tuple(part for part in location if not str(part).startswith(FORM) and part != "[key]")
    kind: str = fault["type"]
    context: dict[str, Any] = fault.get("ctx", {})
    value = fault["input"]
    name = _name(path)
    if kind == "missing":
        remedy = f"add `{path[-1]}: …`"
        return Complaint(path[:-1], f"`{path[-1]}` is missing{_inside(path)}", remedy)
    if kind == "extra_forbidden":
        return Complaint(path, *_unknown_key(location, path, data))
    if kind == "word":
        key = context["key"]
        place = path if key is None else (*path, key)
        at_value = "[key]" not in location and not context["at_key"]
        return Complaint(place, context["message"], context["remedy"], at_value)
    if kind == "no_kind":
        return Complaint(path, *_no_kind(value, fault["msg"]))
    if kind == "no_subject":
        return Complaint(path, *_no_subject(value, fault["msg"]))
    if kind == "value_error":
        return Complaint(path, f"{name}: {context['error']}")
    must, given, remedy = _must(kind, fault, context, value)
    if "[key]" in location:
        return Complaint(path, f"the key {_shown(value)} must be {must}", remedy)
    remedy = remedy or _in_form(kind, location, name, value)
    given = f", not {given}" if given else ""
    return Complaint(path, f"{name} must be {must}{given}", remedy, at_value=True)


def _must(
    kind: str, fault: dict[str, Any], context: dict[str, Any], value: Any
) -> tuple[str, str, str]:
    """Return what a value must be, what it is instead, and a remedy; "" for what is not known."""
    shown = _shown(value)
    if kind in _KINDS:
        if kind == "string_type":
            number = "the number " if _plain(value) and not isinstance(value, bool) else ""
            return "text", f"{number}{shown}", "quote it" if _plain(value) else ""
        shown = f"the text {shown}" if isinstance(value, str) else shown
        return _KINDS[kind], shown, ""
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        known = _either(words) or str(context["expected"]).lower()
        return known, shown, did_you_mean(str(value), words)
    if kind == "choice":
        return fault["msg"], shown, did_you_mean(str(value), context["words"].split())
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return MEANING[pattern], shown, did_you_mean(str(value), WORDS_IN.get(pattern, ()))
    if kind == "string_too_short":
        return "text that is not empty", "", ""
    if kind == "too_long":
        most = context["max_length"]
        return f"at most {most} items long", str(len(value)), ""
    if kind == "too_short":
        count, least = context["actual_length"], context["min_length"]
        return f"at least {least} item{'s' if least > 1 else ''} long", str(count), ""
    bounds = {
        "greater_than": ("above", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        words_, key = bounds[kind]
        return f"{words_} {context[key]:.0f}", shown, ""
    return f"something else: {fault['msg']}", "", ""


def _either(words: list[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _in_form(kind: str, location: tuple[str | int, ...], name: str, value: Any) -> str:
    """Return how a value is written where a mapping or a list must be, "" if that is not known."""
    key = name.strip("`")
    is_plain = _plain(value) or isinstance(value, str)
    if kind == "tuple_type" and is_plain:
        return f"write a list: `{key}: [{_yaml(value)}, …]`"
    if kind == "dict_type" and isinstance(value, str):
        return f"write `{key}: {{{_yaml(value)}: …}}`"
    if kind not in ("model_type", "model_attributes_type") or not isinstance(location[-1], str):
        return ""
    model = _model_at(location)
    if issubclass(model, Selector):
        meant = selector_meant(value)
        members = [", ".join(f"{word}: {_yaml(one)}" for word, one in meant.items())] * bool(meant)
    elif isinstance(value, str) and value in model.model_fields:
        members = [f"{value}: …"]
    else:
        takes = [word for word in model.model_fields if is_plain and _takes(model, word, value)]
        members = [f"{word}: {_yaml(value)}" for word in takes]
    if len(members) == 1:
        return f"write `{key}: {{{members[0]}}}`"
    return f"its keys: {', '.join(model.model_fields)}"


def _takes(model: type[BaseModel], key: str, value: object) -> bool:
    """Whether a model is valid with this one key."""
    try:
        model.model_validate({key: value})
    except ValidationError:
        return False
    return True


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # What YAML reads as something else within braces is quoted.
    needs = re.search(r"[,\[\]{}#&*!|>'\"%@`]|: |:$|^[-?:]|^$|\s", text)
    return f'"{text}"' if needs and isinstance(value, str) else text


def _unknown_key(location: tuple[str | int, ...], path: Path, data: object) -> tuple[str, str]:
    key = str(path[-1])
    model = _model_at(location[:-1])
    known = list(model.model_fields)
    parent = _name(path[:-1]) if path[:-1] else "a scenario"
    if issubclass(model, Conditional):
        subject = next((word for word in SUBJECTS if word in known), "")
        if key in SUBJECTS:
            return (
                f"one expectation is about `{subject}` and about `{key}`",
                f"begin another item: `- {key}: …`",
            )
        parent = f"an expectation about `{subject}`"
    # A key that is there already is not meant by another.
    free = [name for name in known if name not in _members(data, path[:-1])]
    remedy = meant_by(key, free) or _elsewhere(key, location)
    if issubclass(model, Conditional) and key in CALL_ARGUMENTS:
        remedy = f"{remedy} {_counts(key)};".strip()
    listed = f"keys: {', '.join(known)}"
    return f"`{key}` is not a key of {parent}", f"{remedy} {listed}" if remedy else listed


def meant_by(key: str, known: Collection[str]) -> str:
    """Return `did you mean …?` of a key that is not known, "" if nothing is close.

    Args:
        key: what was written.
        known: what may be written there; the words of a listener have other names too.
    """
    word = next((name for name in known if _is_called(name, key)), None)
    if word is None:
        return did_you_mean(key, known)
    return f"did you mean `{word}`, as in `{_example(word, key)}`?"


def _members(data: object, path: Path) -> Collection[str]:
    """Return the keys of the mapping at a path of data, none if there is none."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
    return data if isinstance(data, dict) else ()


def _is_called(word: str, key: str) -> bool:
    """Whether someone may write a key who means a word of a listener."""
    return word in OF_LISTENER and key in OF_LISTENER[word].also_called


def _example(word: str, key: str) -> str:
    """Return an example of a word of a listener, with a key as its value if it may have that."""
    known = OF_LISTENER[word]
    return f"{word}: {key}" if key in typing.get_args(known.form) else known.example.members


def _counts(call: str) -> str:
    return f"an item `- calls: {{call: {call}, times: 0}}` counts calls"


#: What else chooses what a key would say.
_CHOSEN = {"launcher": "; `envoyassert run --launcher` chooses one"}


def _elsewhere(key: str, location: tuple[str | int, ...]) -> str:
    """Return where a key belongs that is none of this model: below it, or around it; "" if none."""
    model = _model_at(location[:-1])
    for end in range(len(location) - 1, -1, -1):
        around = _model_at(location[:end])
        if around is not model and key in around.model_fields:
            names = [one for one in location[:end] if isinstance(one, str) and one[:1] != FORM]
            whose = f"`{names[-1]}`" if names else "a scenario"
            whose = "an expectation" if issubclass(around, Conditional) else whose
            return f"it is a key of {whose}: indent it less;"
        owners = _owners(key, around)
        if len(owners) == 1 and around is Scenario:
            owner = owners[0].strip("`")
            written = f"write `{owner}: {{{key}: …}}`{_CHOSEN.get(key, '')}"
            return f"it is a key of {owners[0]}: {written};"
        if owners:
            return f"it is a key of {_list_of(owners)};"
    return ""


def _list_of(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _owners(key: str, model: type[BaseModel]) -> list[str]:
    """Return the members of the model whose own keys include `key`, in back quotes."""
    return [f"`{name}`" for name, keys in _keys_of_members(model).items() if key in keys]


@functools.cache
def _keys_of_members(model: type[BaseModel]) -> dict[str, set[str]]:
    """Return the own keys of each member of a model."""
    members = {
        name: _models_in(field.rebuild_annotation()) for name, field in model.model_fields.items()
    }
    return {name: {key for one in own for key in one.model_fields} for name, own in members.items()}


def _no_subject(value: Any, message: str) -> tuple[str, str]:
    if not isinstance(value, dict):
        said = str(value)
        begin = f"write `- {said}: …`" if said in SUBJECTS else f"begin with {_subjects()}"
        return f"an expectation must be a mapping, not {_shown(value)}", begin
    for key in value:
        wrong = f"`{key}` is not what an expectation can be about"
        word = next((one for one in OF_LISTENER if key == one or _is_called(one, key)), None)
        counts = _counts(key) if key in CALL_ARGUMENTS else ""
        if word is not None:
            way = "path" if _is_of_unix(word) else "port"
            written = f"write `- {{listener: {{{way}: …}}, {_example(word, key)}}}`"
            return wrong, "; ".join([written, *([counts] if counts else [])])
        meant = closest(key, SUBJECTS, cutoff=0.7)
        if meant is not None:
            return wrong, f"did you mean `{meant}`?"
        if counts:
            return wrong, counts
    return message, "begin the item with it: `- listener: {port: …}`"


def _is_of_unix(word: str) -> bool:
    """Whether a word says nothing of a listener that has a port."""
    misfit = OF_LISTENER[word].misfit
    return misfit is not None and bool(misfit(Selector(port=1)))


def _no_kind(value: Any, message: str) -> tuple[str, str]:
    kinds = ", ".join(f"`{kind}`" for kind in KINDS)
    if not isinstance(value, dict):
        said = closest(str(value), KINDS, cutoff=0.7)
        begin = f"write `- {said}: …`" if said is not None else f"begin with {kinds}"
        return f"a step must be a mapping, not {_shown(value)}", begin
    for key in value:
        meant = closest(key, KINDS, cutoff=0.7)
        if meant is not None:
            return f"`{key}` is not a kind of step", f"did you mean `{meant}`?"
    return message, "begin the item with it: `- wait_for: {…}`"


def _subjects() -> str:
    return ", ".join(f"`{subject}`" for subject in SUBJECTS)


def _model_at(location: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model that a location is in.

    A form names its model; between forms the fields' annotations lead from model to model.
    """
    model: type[BaseModel] = Scenario
    for part in location:
        if isinstance(part, int):
            continue
        if part.startswith(FORM):
            # The form was built, so its model is loaded.
            model = _all_models(Model).get(part.removeprefix(FORM), model)
        elif part in model.model_fields:
            inner = _models_in(model.model_fields[part].rebuild_annotation())
            if len(inner) == 1:
                model = inner[0]
    return model


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation mentions."""
    if typing.get_origin(annotation) is Annotated:
        later = next((one for one in annotation.__metadata__ if isinstance(one, Later)), None)  # type: ignore[attr-defined]
        if later is not None:
            return _models_in(later.type)
    # To Python 3.10 `tuple[int, ...]` is a class as well.
    plain = typing.get_origin(annotation) is None
    if plain and inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _all_models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found = {model.__name__: model}
    for subclass in model.__subclasses__():
        found |= _all_models(subclass)
    return found


@functools.cache
def models_by_name() -> dict[str, type[BaseModel]]:
    """Return every model of the language by its name."""
    _models_in(Scenario.model_fields["steps"].rebuild_annotation())
    for item in _models_in(Scenario.model_fields["expect"].rebuild_annotation()):
        _keys_of_members(item)
    return _all_models(Model)


def _name(path: Path) -> str:
    """Return the last key of a path, or the list and the number of the item, in back quotes."""
    keys = [part for part in path if isinstance(part, str)]
    if not keys:
        return "this"
    if isinstance(path[-1], int):
        return f"item {path[-1] + 1} of `{keys[-1]}`"
    return f"`{keys[-1]}`"


def _inside(path: Path) -> str:
    return f" in {_name(path[:-1])}" if path[:-1] else ""


def _plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    text = str(value).replace("\n", " ")
    return f"`{text if len(text) <= 40 else text[:39] + '…'}`"
