"""What the language's models share: strictness, choices between forms, checked words.

A value that may take several forms (`3`, `workers`, `{at_least: 2}`) is a *choice*: the form is
known from the value's kind before validation, so a fault is reported once, in the form that the
writer used. The name of the form is part of pydantic's error location and marked by FORM, so that
it can be separated from the keys of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Strict,
    Tag,
    TypeAdapter,
)
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError
from pydantic_core.core_schema import no_info_plain_validator_function, tagged_union_schema

from envoyassert.frozen import frozen
from envoyassert.scenario.vocabulary import (
    CALL_ARGUMENTS,
    DURATION_PATTERN,
    ERRNO_PATTERN,
    FILE_PATTERN,
    LONGEST_S,
    MARK_PATTERN,
    OPTION_PATTERN,
    OWN_ARGUMENT_PATTERN,
    ROLE_OR_NONE_PATTERN,
    ROLE_PATTERN,
    check_address,
    check_call,
    check_duration,
    check_errno,
    check_mark,
    check_option,
)

#: First character of the name of a form in an error's location; no key of the language has it.
FORM = "|"

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Model(BaseModel):
    """Base: immutable, unknown keys are errors, no value is taken for one of another kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def models_in(value: Any, model: type[M]) -> Iterator[M]:
    """Yield every part of an item that is a model of this class, however deep."""
    if isinstance(value, model):
        yield value
    if isinstance(value, BaseModel):
        value = [getattr(value, field) for field in type(value).model_fields]
    if isinstance(value, (tuple, list)):
        for member in value:
            yield from models_in(member, model)


Many = Annotated[tuple[T, ...], Strict(strict=False)]
"""A list in the file; the only place where a list is taken for a tuple."""


def kind(data: Any) -> str:
    """Return the form of a value: `|flag`, `|int`, `|text`, `|Range` for a Range, and so on."""
    if isinstance(data, BaseModel):
        return FORM + type(data).__name__
    if isinstance(data, bool):
        return "|flag"
    if isinstance(data, int):
        return "|int"
    if isinstance(data, float):
        return "|real"
    if isinstance(data, str):
        return "|text"
    if isinstance(data, (list, tuple)):
        return "|list"
    return "|mapping" if isinstance(data, dict) else "|other"


class _Choice(Discriminator):
    """A discriminator with a context, which is no key: annotations are kept by their hash."""

    def __hash__(self) -> int:
        return hash(self.custom_error_message)


def choice(form: Callable[[object], str | None], says: str) -> Discriminator:
    """Return the metadata that makes a union a choice.

    Args:
        form: returns the form of a value; None, or one that the union lacks, is a fault.
        says: what the value may be, to follow "must be".
    """
    words = form.words if isinstance(form, OneOf) else ()
    return _Choice(
        form,
        custom_error_type="choice",
        custom_error_message=says,
        # For a suggestion: what is said may have other words in it.
        custom_error_context={"words": " ".join(words)},
    )


@frozen
class OneOf:
    """Gives the form of a value, see `one_of`."""

    words: tuple[str, ...]
    keys: tuple[tuple[str, tuple[str, ...]], ...]
    #: As a function has one; pydantic shows it.
    __name__ = "one_of"

    def __call__(self, data: object) -> str | None:
        """Return the form of a value, None if it has none."""
        if isinstance(data, str):
            return "|text" if data in self.words else None
        if not isinstance(data, dict):
            return kind(data)
        for name, known in self.keys:
            if any(key in data for key in known):
                return FORM + name
        return FORM + self.keys[-1][0] if self.keys else None


def one_of(words: tuple[str, ...] = (), **keys: tuple[str, ...]) -> OneOf:
    """Return a function that returns the form of a value among words, numbers and mappings.

    A mapping's form is given by the first of its keys that is there.

    Args:
        words: the only texts that are a form.
        keys: for each form of a mapping its keys; the last is taken where no key is known.
    """
    return OneOf(words, tuple(keys.items()))


class Later:
    """Metadata of a type that is loaded, and its validator built, when a value of it comes.

    Args:
        load: returns the type.
        config: of what in it is no model.
    """

    def __init__(self, load: Callable[[], Any], config: ConfigDict | None = None) -> None:
        self._load = load
        self._config = config
        self._built: TypeAdapter[Any] | None = None

    @property
    def type(self) -> Any:
        """The type."""
        return self._load()

    def _adapter(self) -> TypeAdapter[Any]:
        if self._built is None:
            self._built = TypeAdapter(self.type, config=self._config)
        return self._built

    def validated(self, value: object) -> Any:
        """Return a value of the type.

        Raises:
            ValidationError: it is none.
        """
        return self._adapter().validator.validate_python(value)

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> CoreSchema:
        return no_info_plain_validator_function(self.validated)

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(self._adapter().core_schema)


class _Form:
    """Metadata by which a model has the name of its form in the location of an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], CoreSchema]
    ) -> CoreSchema:
        return tagged_union_schema({self._name: handler(source)}, lambda _: self._name)


def _as_form(model: Any) -> Any:
    return Annotated[model, _Form(FORM + model.__name__)]


class OneByKey(Later):
    """Metadata of a choice between models, each of which is loaded and built when it is used.

    Args:
        base: the class of all of them.
        models: the models by the key that a mapping of that form has, and no other.
        key_of: returns that key of a mapping, None if it has none of them.
        error: type and text of the error where a value has no such key.
    """

    def __init__(
        self,
        base: type[BaseModel],
        models: Mapping[str, type[BaseModel]],
        key_of: Callable[[object], str | None],
        error: tuple[str, str],
    ) -> None:
        super().__init__(self._union)
        self._base = base
        self._models = models
        self._key_of = key_of
        self._error = error
        self._forms: dict[str, Later] = {}

    def _union(self) -> Any:
        return Union[tuple(self._models.values())]  # noqa: UP007 - of a tuple

    def validated(self, value: object) -> Any:
        """Return a value of one of the models; see the base class."""
        if isinstance(value, self._base):
            return value
        key = self._key_of(value) if isinstance(value, dict) else None
        if key is None:
            raise PydanticCustomError(*self._error)
        if key not in self._forms:
            model = self._models[key]
            self._forms[key] = Later(partial(_as_form, model))
        return self._forms[key].validated(value)


Role = Annotated[str, Field(pattern=ROLE_PATTERN)]
"""`main`, `workers` (each worker and no other thread), `worker_<i>`, or `other`."""

RoleOrNone = Annotated[str, Field(pattern=ROLE_OR_NONE_PATTERN)]
"""A role, or `none`: no thread at all."""

CallName = Annotated[
    str,
    AfterValidator(check_call),
    WithJsonSchema({"type": "string", "enum": list(CALL_ARGUMENTS)}),
]
"""A system call, or one of the kernel's own facts, by the name it is recorded under."""

OptionName = Annotated[
    str,
    AfterValidator(check_option),
    WithJsonSchema({"type": "string", "pattern": OPTION_PATTERN}),
]
"""A socket option by name, or level/number."""

ErrnoName = Annotated[str, Field(pattern=ERRNO_PATTERN), AfterValidator(check_errno)]
"""An error by name."""

IpAddress = Annotated[
    str,
    AfterValidator(check_address),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
]
"""An IPv4 or IPv6 address."""

Duration = Annotated[
    Annotated[int, Field(gt=0, le=LONGEST_S), Tag("|int")]
    | Annotated[float, Field(gt=0, le=LONGEST_S), Tag("|real")]
    | Annotated[str, Field(pattern=DURATION_PATTERN), AfterValidator(check_duration), Tag("|text")],
    choice(kind, "a duration, such as 5s, 0.25s, 100ms, or a number of seconds"),
]
"""A duration: `5s`, `0.25s`, `100ms`, `2m`, or seconds as a number."""


def _true(value: object) -> object:
    """Refuse 1 and 1.0, which equal True (a Literal compares)."""
    if value is not True:
        raise PydanticKnownError("literal_error", {"expected": "True"})
    return value


Yes = Annotated[Literal[True], BeforeValidator(_true)]
"""true and nothing else, of what is not said otherwise."""

Mark = Annotated[str, Field(pattern=MARK_PATTERN), AfterValidator(check_mark)]
"""A mark of pytest, without arguments."""

Argument = Annotated[
    str,
    WithJsonSchema({"type": "string", "not": {"pattern": OWN_ARGUMENT_PATTERN}}),
]
"""A command line argument that is not set from a field of the scenario."""

FileName = Annotated[str, Field(pattern=FILE_PATTERN)]
"""A path relative to the run directory that stays inside it."""
