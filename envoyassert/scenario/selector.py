"""Which listener an expectation is about."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import IpAddress, Model

Protocol = Literal["TCP", "UDP", "MPTCP", "UNIX"]

_WAYS = ("name", "port", "path", "abstract")
_EXCLUDED: list[tuple[str, str]] = [
    ("name", "protocol"),
    ("path", "address"),
    ("path", "protocol"),
    ("abstract", "address"),
    ("abstract", "protocol"),
]


class Selector(Model):
    """Which listener is meant: by its name in the config, or by its address."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            oneOf=[{"required": [way]} for way in _WAYS],
            allOf=[{"not": {"required": list(pair)}} for pair in _EXCLUDED],
        )
    )

    name: str | None = Field(None, description="Name in the Envoy config; `admin` for the admin.")
    address: IpAddress | None = Field(
        None, description="IP address; a wildcard matches a wildcard only."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Port that was bound.")
    protocol: Protocol | None = Field(None, description="Needed where TCP and UDP share a port.")
    path: str | None = Field(None, description="Path of a Unix socket; ${rundir} is replaced.")
    abstract: str | None = Field(None, description="Abstract Unix name without the leading `@`.")

    @model_validator(mode="after")
    def _one_way(self) -> Selector:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if not given:
            raise ValueError("give name, port, path or abstract")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; one says which listener")
        for way, other in _EXCLUDED:
            if way == given[0] and getattr(self, other) is not None:
                raise ValueError(f"{other} goes with port, not with {way}")
        return self

    def __str__(self) -> str:
        given = self.model_dump(exclude_none=True)
        if set(given) == {"port"}:
            return f"port {self.port}"
        if set(given) == {"name"}:
            return f"listener {self.name}"
        return ", ".join(f"{key} {value}" for key, value in given.items())
