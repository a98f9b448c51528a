"""Validation errors in the words of the person who wrote the file."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from envoyassert.errors import Problem
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import FORM, Later, Model
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.source import Document, Path
from envoyassert.scenario.vocabulary import MEANING, WORDS_IN, closest, did_you_mean
from envoyassert.steps.registry import KINDS
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
        for path, message, remedy, at_value in complaints_of(error)
    ]


def complaints_of(error: ValidationError) -> list[Complaint]:
    """Return the faults that a failed validation stands for, in no particular order."""
    faults = [dict(fault) for fault in error.errors(include_url=False)]
    return [_complaint(fault) for fault in faults if not _follows(fault)]


def _follows(fault: dict[str, Any]) -> bool:
    """Whether a list is too short only because some of its items have faults of their own."""
    if fault["type"] != "too_short":
        return False
    given: int = len(fault["input"])
    least: int = fault["ctx"]["min_length"]
    return given >= least


def _complaint(fault: dict[str, Any]) -> Complaint:
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
        return Complaint(path, *_unknown_key(location, path))
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


def _unknown_key(location: tuple[str | int, ...], path: Path) -> tuple[str, str]:
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
    remedy = did_you_mean(key, known)
    if not remedy:
        owners = _owners(key, model)
        if owners:
            remedy = f"it is a key of {_list_of(owners)};"
    listed = f"keys: {', '.join(known)}"
    return f"`{key}` is not a key of {parent}", f"{remedy} {listed}" if remedy else listed


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
        return f"an expectation must be a mapping, not {_shown(value)}", f"begin with {_subjects()}"
    for key in value:
        meant = closest(key, SUBJECTS, cutoff=0.7)
        if meant is not None:
            return f"`{key}` is not what an expectation can be about", f"did you mean `{meant}`?"
    return message, "begin the item with it: `- listener: {port: …}`"


def _no_kind(value: Any, message: str) -> tuple[str, str]:
    kinds = ", ".join(f"`{kind}`" for kind in KINDS)
    if not isinstance(value, dict):
        return f"a step must be a mapping, not {_shown(value)}", f"begin with {kinds}"
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
