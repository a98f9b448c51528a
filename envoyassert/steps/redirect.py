"""The step that redirects connections to a listener, as Istio does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from envoyassert.addresses import Address
from envoyassert.scenario.destination import ListenerPlace
from envoyassert.scenario.grammar import IpAddress
from envoyassert.steps.base import Part, Step


class Redirect(Part):
    """Which connections, and where to; TCP alone."""

    heading: ClassVar[str] = "`redirect`"
    examples: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("address", "port", "to"), "address: 10.0.0.1, port: 80, to: 15006"
    )

    address: IpAddress = Field(
        description="The IPv4 or IPv6 address that clients ask for; no host needs to have it."
    )
    port: int = Field(ge=1, le=65535, description="The port that clients ask for.")
    to: int = Field(ge=1, le=65535, description="The port that they get, on the loopback.")


class RedirectStep(Step):
    """Redirect connections inside Envoy's network namespace; over when the rule is in place.

    It is a rule of iptables in the chain OUTPUT of the table nat with the target REDIRECT, and a
    route to the address. Every connection from within is redirected: clients' and also Envoy's own.
    """

    kind: ClassVar[str] = "redirect"
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "redirect": "redirect: {address: 10.96.0.1, port: 443, to: 15001}",
    }

    redirect: Redirect = Field(description="Which connections, and where to.")

    def redirections(self) -> Iterator[ListenerPlace]:
        """Yield the address that clients ask for."""
        address = Address.inet(self.redirect.address, self.redirect.port)
        yield ListenerPlace("", "TCP", address, address)
