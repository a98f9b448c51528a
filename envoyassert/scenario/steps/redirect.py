"""The step that redirects connections to a listener, as Istio does."""

from __future__ import annotations

from pydantic import Field

from envoyassert.scenario.grammar import IpAddress, Model
from envoyassert.scenario.steps.frame import Step


class Redirect(Model):
    """Which connections, and where to; TCP alone."""

    address: IpAddress = Field(
        description="The IPv4 or IPv6 address that clients ask for; nobody needs to have it."
    )
    port: int = Field(ge=1, le=65535, description="The port that clients ask for.")
    to: int = Field(ge=1, le=65535, description="The port that they get, on the loopback.")


class RedirectStep(Step):
    """Redirect connections inside Envoy's network namespace; over when the rule is in place.

    It is a rule of iptables in the chain OUTPUT of the table nat with the target REDIRECT, and a
    route to the address. Every connection from within is redirected: clients' and also Envoy's own.
    """

    redirect: Redirect = Field(description="Which connections, and where to.")
