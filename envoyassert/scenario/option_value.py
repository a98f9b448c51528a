"""Values of socket options as a scenario writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import FORM, Many, Model, choice, kind


class Linger(Model):
    """The value of SO_LINGER."""

    onoff: int = Field(description="0: close returns at once; otherwise it waits.")
    linger_s: int = Field(description="For how long, in seconds.")


class PacketFilter(Model):
    """A classic packet filter: SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_FILTER."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    instructions: int | None = Field(None, ge=1, le=4096, description="How many it has.")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="Hash of the instructions, 8 bytes each, or how it begins (8 digits or more).",
    )

    @model_validator(mode="after")
    def _some_part(self) -> PacketFilter:
        if self.instructions is None and self.sha256 is None:
            raise ValueError("give instructions or sha256")
        return self


def _form(data: object) -> str:
    if isinstance(data, dict):
        linger = any(key in data for key in Linger.model_fields)
        return FORM + (Linger if linger else PacketFilter).__name__
    return kind(data)


ValueRule = Annotated[
    Annotated[int, Tag("|int")]
    | Annotated[str, Tag("|text")]
    | Annotated[Linger, Tag("|Linger")]
    | Annotated[PacketFilter, Tag("|PacketFilter")],
    choice(
        _form,
        "a number, text, {onoff: 1, linger_s: 5} or {instructions: n, sha256: digits}",
    ),
]
"""The value of a socket option."""

SetTo = Annotated[
    Annotated[int, Tag("|int")]
    | Annotated[str, Tag("|text")]
    | Annotated[Linger, Tag("|Linger")]
    | Annotated[PacketFilter, Tag("|PacketFilter")]
    | Annotated[Many[ValueRule], Field(min_length=2), Tag("|list")],
    choice(
        _form,
        "a number, text, `set` for any value, {onoff: 1, linger_s: 5}, "
        "{instructions: n, sha256: digits}, or a list of these",
    ),
]
"""What an option is set to: a value, `set` for any, or each of several in turn."""

#: In place of a value: whatever it is.
ANY_VALUE = "set"
