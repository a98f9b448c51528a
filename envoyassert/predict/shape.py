"""A config as Envoy reads it: the shape of what decides about sockets, and fields it does not know.

A value of another type than its field ends Envoy before it looks at anything else, and so does a
field that it does not know. Of a control plane it takes no heed of such a field, and says so in its
log. Seen on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envoyassert.predict.messages import ADDRESS, BOOTSTRAP, LISTENER, ONE_OF, OPTION, Shape, Since
from envoyassert.predict.plain import NotThisError
from envoyassert.predict.prediction import PredictError
from envoyassert.scenario.listeners import proto_name
from envoyassert.versions import satisfies

#: Bounds that no version meets.
NEVER = "<0"
_UNKNOWN = Since(NEVER)


@dataclass(eq=False, repr=False)
class Read:
    """What was found while a config was read.

    Args:
        bounds: of the versions that know each of its fields.
    """

    bounds: set[str] = field(default_factory=set)

    @property
    def requires(self) -> str:
        """Bounds of the versions that know all fields, `NEVER` if none does, or ""."""
        return NEVER if NEVER in self.bounds else max(self.bounds, default="")


def bootstrap_as_read(config: Any, read: Read | None = None) -> Any:
    """Return a bootstrap whose lists, numbers, flags and choices are written in one way.

    Protobuf takes one message for a list of one, `"64"` for 64, `"yes"` for true, and `udp` or 1
    for `UDP`.

    Args:
        config: the bootstrap as data.
        read: gets what is found meanwhile.

    Raises:
        PredictError: it has a value of another type than Envoy reads there.
    """
    return _Reader(read or Read(), "", drops=False).read(config, BOOTSTRAP, "")


def listeners_as_read(
    listeners: Sequence[Any], version: str, read: Read | None = None
) -> tuple[Any, ...]:
    """Return listeners of a control plane, as `bootstrap_as_read` returns a bootstrap.

    Args:
        listeners: their configs.
        version: of Envoy, which takes no heed of the fields that it does not know; "" for any that
            is supported, which knows those that some version does.
        read: gets what is found meanwhile.

    Raises:
        PredictError: one has a value of another type than Envoy reads there.
    """
    reader = _Reader(read or Read(), version, drops=True)
    return tuple(reader.read([*listeners], [LISTENER], "resources"))


def fields_apart(message: object, shape: Shape) -> tuple[str, ...]:
    """Return the fields of a message, not of those in it, that not every version knows."""
    if not isinstance(message, dict) or not isinstance(shape, Mapping):
        return ()
    names = [proto_name(str(key)) for key in message]
    known = [name for name in names if not isinstance(shape.get(name, _UNKNOWN), Since)]
    return tuple(name for name in names if name not in known and not name.startswith("@"))


class _Reader:
    """Reads a config.

    Args:
        found: gets what is found meanwhile.
        version: of Envoy, "" for any.
        drops: whether a field that this version does not know is left out.
    """

    def __init__(self, found: Read, version: str, *, drops: bool) -> None:
        self._found = found
        self._version = version
        self._drops = drops

    def read(self, value: Any, shape: Shape, path: str) -> Any:
        """Return a part of a config as Envoy reads it."""
        if value is None or shape is None:
            return value
        if isinstance(shape, Since):
            return self.read(value, shape.shape, path)
        if isinstance(shape, list):
            if not isinstance(value, (list, dict)):
                raise _refused(path, "is no list")
            entries = [{} if one is None else one for one in _flat(value)]
            return [self.read(one, shape[0], f"{path}.{n}") for n, one in enumerate(entries)]
        if isinstance(shape, Mapping):
            return self._message(value, shape, path)
        try:
            return shape(value)
        except NotThisError as error:
            raise PredictError(f"{path} {error}", error.remedy, path) from error

    def _message(self, value: Any, shape: Mapping[str, Shape], path: str) -> Any:
        if not isinstance(value, dict):
            raise _refused(path, "is no mapping")
        if not shape:
            return value
        found: dict[Any, Any] = {}
        for key, member in value.items():
            name = proto_name(str(key))
            if name.startswith("@"):
                found[key] = member
                continue
            inner = shape.get(name, _UNKNOWN)
            if inner is None:
                found[key] = member
            elif not isinstance(inner, Since) or self._knows(inner.versions):
                found[key] = self.read(member, inner, f"{path}.{name}".lstrip("."))
        if shape is ADDRESS or shape is OPTION:
            names = [proto_name(str(key)) for key, member in found.items() if member is not None]
            kinds = [name for name in names if name in ONE_OF]
            if len(kinds) > 1:
                raise _refused(path, f"has {' and '.join(kinds)}")
        return found

    def _knows(self, versions: str) -> bool:
        """Note that a field is there, and return whether it is kept."""
        if self._drops and versions == NEVER:
            return False
        self._found.bounds.add(versions)
        if not self._drops or not self._version:
            return True
        return satisfies(self._version, versions)


def _flat(value: Any) -> Iterator[Any]:
    """Yield the entries of a list; protobuf takes lists in lists, and one entry alone."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one


def _refused(path: str, message: str) -> PredictError:
    return PredictError(f"{path or 'the config'} {message}", "Envoy refuses this config", path)
