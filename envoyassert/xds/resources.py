"""Resources as protobuf messages, from the data that a scenario gives.

The messages are those of the package `xds-protos`, which lags Envoy: a field that it does not know
cannot be sent. Files go to Envoy as text, and Envoy alone judges them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from envoyassert.errors import MachineError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage

_FIELD_AT = re.compile(r'has no field named "(?P<field>[^"]*)" at "(?P<place>[^"]*)"')
_PLACE = re.compile(r" at [A-Za-z]+(?P<place>(?:[.\[][A-Za-z0-9_\]\[]+)+)\W*$")
_FAILED = re.compile(r"Failed to parse (\w+) field: ")
_PART = re.compile(r"\.(\w+)|\[(\d+)\]")


class ResourceError(ValueError):
    """Data that is no message of the type it claims to be.

    Args:
        path: where in the data.
        message: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, path: tuple[str | int, ...], message: str, remedy: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.remedy = remedy


def require_grpc() -> None:
    """Make sure that the gRPC library and the published messages are there.

    Raises:
        MachineError: one of them is missing.
    """
    try:
        importlib.import_module("grpc")
        importlib.import_module("envoy.service.discovery.v3.ads_pb2_grpc")
    except ImportError as error:
        raise MachineError(
            f"listeners cannot be served by gRPC: {error}",
            'install what it needs: pip install "envoyassert[xds]", or write `via: file`',
        ) from error


def packed(resource: Mapping[str, Any]) -> AnyMessage:
    """Return a resource as a packed message.

    Args:
        resource: the message as data, its type under `@type`.

    Raises:
        ResourceError: the type or a field is not known, or a value does not fit.
        MachineError: the libraries are missing.
    """
    require_grpc()
    from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory

    for path, name in _types(resource, ()):
        if not _imported(name):
            raise ResourceError(
                path,
                f"the messages of `xds-protos` have no type `{name}`",
                "check its spelling; a newer version may know it, or write `via: file`",
            )
    fields = {key: value for key, value in resource.items() if key != "@type"}
    name = type_name(resource)
    descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    message = message_factory.GetMessageClass(descriptor)()
    try:
        json_format.ParseDict(fields, message)
    except json_format.ParseError as error:
        raise _fault(str(error), resource) from error
    result = any_pb2.Any()
    result.Pack(message)
    return result


def type_name(resource: Mapping[str, Any]) -> str:
    """Return the full name of a resource's message type, from its `@type`."""
    return str(resource["@type"]).rpartition("/")[2]


def _types(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield place and name of every message type that data mentions."""
    if isinstance(value, dict):
        if isinstance(value.get("@type"), str):
            yield (*path, "@type"), type_name(value)
        for key, member in value.items():
            yield from _types(member, (*path, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _types(element, (*path, index))


def _imported(name: str) -> bool:
    """Import the modules of a message's package; return whether the message is known then."""
    from google.protobuf import descriptor_pool

    pool = descriptor_pool.Default()
    package = name.rpartition(".")[0]
    if re.fullmatch(r"(?:[a-z_][a-z0-9_]*\.)*[a-z_][a-z0-9_]*", package):
        try:
            found = importlib.import_module(package)
        except ImportError:
            return False
        for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
            if module.name.endswith("_pb2"):
                importlib.import_module(f"{package}.{module.name}")
    try:
        pool.FindMessageTypeByName(name)
    except KeyError:
        return False
    return True


def _fault(text: str, resource: Mapping[str, Any]) -> ResourceError:
    """Return what a parser's complaint says, with the place in the data."""
    unknown = _FIELD_AT.search(text)
    if unknown:
        return ResourceError(
            (*_path(unknown["place"].partition(".")[2]), unknown["field"]),
            f"the messages of `xds-protos` know no field `{unknown['field']}` here",
            "check its spelling; where Envoy is ahead of them, write `via: file`",
        )
    found = _PLACE.search(text)
    # Without a place, the complaint names the fields on the way, but no index of a list.
    path: tuple[str | int, ...] = tuple(_FAILED.findall(text))
    if found:
        path = _path(found["place"].lstrip("."))
    reason = _FAILED.sub("", text).partition(" at ")[0].strip(" .")
    return ResourceError(path, reason, f"of a {type_name(resource)}")


def _path(place: str) -> tuple[str | int, ...]:
    """Return a parser's place, `filter_chains[0].filters`, as a path in the data."""
    return tuple(
        int(index) if index else field
        for field, index in _PART.findall(f".{place}" if place else "")
    )
