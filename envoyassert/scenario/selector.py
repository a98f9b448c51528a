"""Which listener an expectation is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import IpAddress, Model, choice, kind
from envoyassert.scenario.vocabulary import NETNS_PATTERN, REFERENCE_PATTERN

Reference = Annotated[str, Field(pattern=REFERENCE_PATTERN)]
"""A variable: what an earlier expectation gave a name to, by `let`."""

Port = Annotated[
    Annotated[int, Field(ge=0, le=65535), Tag("|int")] | Annotated[Reference, Tag("|text")],
    choice(
        lambda data: None if isinstance(data, str) and data[:1] != "$" else kind(data),
        "a whole number, or a variable such as $ingress_port",
    ),
]
"""A port, or the variable that stands for it."""

Protocol = Literal["TCP", "UDP", "MPTCP", "UNIX"]

_WAYS = ("name", "port", "path", "abstract", "socket")
#: A name says which listener, and a port beside it which of its addresses.
_TOGETHER = ("name", "port")
_EXCLUDED: list[tuple[str, str]] = [
    ("path", "address"),
    ("abstract", "address"),
    ("socket", "address"),
    ("socket", "protocol"),
    ("path", "netns"),
    ("abstract", "netns"),
    ("socket", "netns"),
]

_CLASHES = [pair for pair in combinations(_WAYS, 2) if pair != _TOGETHER]

#: The value of `netns` that stands for the network namespace in which Envoy began.
OWN = "own"


class Selector(Model):
    """Which listener is meant: by its name in the config, or by its address."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"required": [way]} for way in _WAYS],
            allOf=[
                *({"not": {"required": list(pair)}} for pair in (*_CLASHES, *_EXCLUDED)),
                {"if": {"required": ["name", "netns"]}, "then": {"required": ["port"]}},
                {"not": {"required": [*_TOGETHER], "properties": {"port": {"type": "string"}}}},
                {
                    "if": {"required": ["port"], "properties": {"port": {"const": 0}}},
                    "then": {"required": ["name"]},
                },
            ],
        )
    )

    name: str | None = Field(None, description="Name in the Envoy config; `admin` for the admin.")
    address: IpAddress | None = Field(
        None, description="IP address; a wildcard matches a wildcard only."
    )
    port: Port | None = Field(
        None,
        description="Port that was bound, or `$name` for one that `let` gave a name to. Beside "
        "`name`: the port in the config, 0 where the kernel chooses.",
    )
    protocol: Protocol | None = Field(
        None,
        description="Needed where TCP and UDP share a port. Elsewhere it separates MPTCP from TCP, "
        "and UNIX from sockets that are no streams.",
    )
    netns: Annotated[str, Field(pattern=NETNS_PATTERN)] | None = Field(
        None,
        description="Network namespace: the listener's `network_namespace_filepath`, or `own` for "
        "the one of Envoy itself. Needed where several have the port.",
    )
    path: str | None = Field(None, description="Path of a Unix socket; ${rundir} is replaced.")
    abstract: str | None = Field(None, description="Abstract Unix name without the leading `@`.")
    socket: Reference | None = Field(
        None, description="`$name`: the very kernel sockets that `let` gave a name to."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Selector:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if not given:
            raise ValueError("give name, port, path, abstract or socket")
        for pair in _CLASHES:
            if set(pair) <= set(given):
                raise ValueError(
                    f"{' and '.join(pair)} exclude each other; one says which listener"
                )
        if self.port == 0 and self.name is None:
            raise ValueError("port 0 is what a config asks for; give the listener's name beside it")
        if self.name is not None and isinstance(self.port, str):
            raise ValueError("a variable is a port that was bound; leave out the name")
        if self.name is not None and self.netns is not None and self.port is None:
            raise ValueError("netns goes with port, not with name alone")
        for way, other in _EXCLUDED:
            if way == given[0] and getattr(self, other) is not None:
                raise ValueError(f"{other} goes with port, not with {way}")
        return self

    @property
    def variable(self) -> str:
        """The variable that it refers to, without the dollar sign; "" if there is none."""
        for value in (self.port, self.socket):
            if isinstance(value, str):
                return value[1:]
        return ""

    @property
    def namespace(self) -> str | None:
        """The `netns` of the addresses that are meant; None for any."""
        return "" if self.netns == OWN else self.netns

    def __str__(self) -> str:
        given = self.model_dump(exclude_none=True)
        if set(given) == {"port"}:
            return f"port {self.port}"
        words = {"name": "listener"}
        return ", ".join(f"{words.get(key, key)} {value}" for key, value in given.items())


_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)|\*?):([0-9]+)")


def selector_meant(value: object) -> dict[str, object]:
    """Return the members of a selector that a plain value is likely short for; {} if there is none.

    Args:
        value: a port, a name, `0.0.0.0:8080`, `/run/envoy.sock`, `@abstract`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return {}
    if isinstance(value, int) or value.isdecimal():
        return {"port": int(value)}
    if value[:1] == "$":
        return {"port": value}
    if found := _HOST_AND_PORT.fullmatch(value):
        host = found[1] or found[2]
        return {**({"address": host} if host else {}), "port": int(found[3])}
    if value[:1] in ("/", "@"):
        return {"path": value} if value[0] == "/" else {"abstract": value[1:]}
    return {"name": value}


def selected_names(model: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield place and name of every selector by name in an expectation."""
    if isinstance(model, tuple):
        for index, element in enumerate(model):
            for path, name in selected_names(element):
                yield (index, *path), name
        return
    for member in getattr(model, "model_fields_set", ()):
        value = getattr(model, member)
        if member == "listener":
            if value is not None and value.name is not None:
                yield ("listener", "name"), value.name
        else:
            for path, name in selected_names(value):
                yield (member, *path), name
