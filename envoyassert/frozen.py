"""Frozen dataclasses that are made in a third of the time.

The standard library compiles six methods for each dataclass, until Python 3.13 one by one. With two
hundred classes that was a tenth of the time of a run. Here only `__init__` is compiled: the other
methods are the same for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):  # noqa: D103 - as at run time in typing_extensions
        return lambda decorator: decorator


T = TypeVar("T")
#: How many characters of a text `brief_repr` shows.
_SHOWN = 60


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a dataclass as `dataclasses.dataclass(frozen=True)` does.

    `dataclasses.fields`, `replace`, `asdict` and `is_dataclass` know it. What derives from it must
    be `frozen` too.

    Args:
        cls: the class. It has no slots. All its fields are compared, shown, and arguments of
            `__init__`.

    Raises:
        TypeError: a field has a default, and one after it has none; or it is to be left out of
            something, or of the class (`InitVar`).
    """
    cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # it is a dataclass now
    _refuse_others(cls)
    own = {
        "__init__": _init_of(cls, fields),
        "__setattr__": _refuse_set,
        "__delattr__": _refuse_deletion,
        "__repr__": _repr,
        **_comparison([field.name for field in fields]),
    }
    for name, method in own.items():
        if name not in cls.__dict__ or cls.__dict__[name] is None:
            setattr(cls, name, method)
    return cls


def _refuse_others(cls: type) -> None:
    """Refuse what the standard library makes of a field and this does not."""
    for name, field in cls.__dict__["__dataclass_fields__"].items():
        whole = field.init and field.repr and field.compare and field.hash is not False
        # What the annotation means, which may be text, only the standard library says.
        kind = field._field_type  # noqa: SLF001 - it is nowhere else
        if not whole or kind.name == "_FIELD_INITVAR":
            raise TypeError(f"{cls.__name__}.{name}: `frozen` leaves no field out of anything")


def _init_of(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__}
    parameters: list[str] = []
    by_name: list[str] = []
    body: list[str] = []
    for field in fields:
        value, default = field.name, ""
        if field.default is not dataclasses.MISSING:
            names[f"_default_{field.name}"] = field.default
            default = f" = _default_{field.name}"
        elif field.default_factory is not dataclasses.MISSING:
            names[f"_made_{field.name}"] = field.default_factory
            default = " = _set"
            value = f"_made_{field.name}() if {field.name} is _set else {field.name}"
        (by_name if field.kw_only else parameters).append(f"{field.name}{default}")
        body.append(f"    _set(self, {field.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("    self.__post_init__()")
    taken = ", ".join(["self", *parameters, *(["*", *by_name] if by_name else [])])
    text = "\n".join([f"def __init__({taken}):", *(body or ["    pass"])])
    try:
        exec(text, names)  # noqa: S102 - of names of fields alone
    except SyntaxError as error:
        raise TypeError(f"{cls.__name__}: {error.msg}") from error
    init: Callable[..., None] = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return init


def _comparison(names: list[str]) -> dict[str, Callable[..., Any]]:
    """Return the methods that compare instances by their fields."""
    values: Callable[[object], Any] = attrgetter(*names) if names else lambda _: ()

    def equal(self: object, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def hashed(self: object) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed}


def brief_repr(self: Any) -> str:
    """Return a `__repr__` of constant size, for dataclasses that hold much or refer to each other.

    pytest shows the arguments of each frame that an interrupt met. The whole of a trace would take
    up to a minute. A collection is shown by its size, another object by its class.
    """
    fields = dataclasses.fields(self)
    shown = (f"{field.name}={brief(getattr(self, field.name, None))}" for field in fields)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def brief(value: object) -> str:
    """Return text of constant size for a value: see `brief_repr`."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    if value is None or isinstance(value, (bool, int, float, Enum)):
        return repr(value)
    name = value.__class__.__qualname__
    return f"<{name} of {len(value)}>" if isinstance(value, Collection) else f"<{name}>"


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_set(_: object, name: str, __: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(_: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
