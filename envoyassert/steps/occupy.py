"""The step that puts a foreign socket where Envoy listens, or is going to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from envoyassert.addresses import Address
from envoyassert.scenario.grammar import IpAddress
from envoyassert.steps.base import Part, Step


class Occupy(Part):
    """A socket that is not Envoy's; it holds its port until the end of the run."""

    heading: ClassVar[str] = "What another process holds"
    examples: ClassVar[Mapping[str, str]] = {
        "port": "port: 15006",
        "address": "address: 127.0.0.1",
        "protocol": "protocol: udp",
        "listening": "listening: false",
        "reuse_port": "reuse_port: true",
        "reuse_address": "listening: false, reuse_address: true",
    }

    port: int = Field(ge=1, le=65535, description="The port that it holds.")
    address: IpAddress = Field(
        "0.0.0.0",  # noqa: S104 - what the config of a gateway says
        description="An IPv4 or IPv6 address; by default all of IPv4.",
    )
    protocol: Literal["tcp", "udp"] = Field("tcp", description="tcp or udp.")
    listening: bool = Field(
        True,
        description="true: it listens, and accepts no client; false: it is bound and does not "
        "listen. Only TCP listens.",
    )
    reuse_port: bool = Field(
        False, description="true: it sets SO_REUSEPORT before it binds, and so may share its port."
    )
    reuse_address: bool = Field(
        False,
        description="true: it sets SO_REUSEADDR before it binds, and so may have the port beside "
        "another one that has set it, as long as neither listens.",
    )

    @model_validator(mode="after")
    def _listening(self) -> Occupy:
        if self.protocol == "udp" and self.listening and "listening" in self.model_fields_set:
            raise ValueError("a UDP socket cannot listen")
        return self

    @property
    def listens(self) -> bool:
        """Whether it listens."""
        return self.listening and self.protocol == "tcp"

    def __str__(self) -> str:
        return f"{self.protocol.upper()} {Address.inet(self.address, self.port)}"


class OccupyStep(Step):
    """Let another process hold a port in Envoy's network namespace; over when it does.

    The certificate distinguishes it from the sockets of others that the kernel shows. It answers
    no client.
    """

    kind: ClassVar[str] = "occupy"
    prepares_network: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "occupy": "occupy: {port: 15006}",
        "before": "occupy: {port: 15006}, before: startup",
    }

    occupy: Occupy = Field(description="Which port, and how.")
    before: Literal["startup"] | None = Field(
        None,
        description="`startup`: before Envoy is started, and then no phase of its own. Such steps "
        "come first, and need `requires: {launcher: process}`.",
    )
