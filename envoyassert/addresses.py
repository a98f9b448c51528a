"""Socket addresses as values: parsed, compared and printed, never resolved.

Addresses are compared as addresses, not as text: `::1` equals `0:0:0:0:0:0:0:1`, a wildcard
equals only a wildcard, and a v4-mapped address differs from the IPv4 address it maps.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from envoyassert.ranges import Port


@lru_cache(4096)
def canonical_host(host: str | bytes) -> str:
    """Return the one text that an IP address has here, v4-mapped ones with their dotted part.

    Args:
        host: text, or the 4 or 16 bytes of the address in network order. The zone of a link-local
            address (`fe80::1%eth0`) is left out: no trace has it.

    Raises:
        ValueError: it is no IP address.
    """
    address = ipaddress.ip_address(host.partition("%")[0] if isinstance(host, str) else host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        # Python prints these in two ways, depending on its version; inet_ntop(3) in this one.
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


#: The largest port.
LAST_PORT = 65535


@lru_cache(4096)
def _is_canonical(host: str) -> bool:
    try:
        return canonical_host(host) == host
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Address:
    """What a bind, connect, getsockname or accept call carried.

    Args:
        family: `AF_INET`, `AF_INET6`, `AF_UNIX`, `AF_NETLINK`, or `AF_<number>` if unknown.
        host: canonical text of the IP address; "" for other families.
        port: port in host byte order; None for other families.
        path: file system path of an AF_UNIX socket; None unless it has one.
        abstract: abstract name of an AF_UNIX socket without the leading NUL; None unless it has
            one. Trailing NULs that belong to the name are kept (unix(7): every byte counts).
        netns: file by which the network namespace was entered in which this is an address; "" for
            the one in which Envoy began. A path of the file system is in none.
        zone: the device of a link-local address as it was written (RFC 4007), or ""; not compared.
    """

    family: str
    host: str = ""
    port: Port | None = None
    path: str | None = None
    abstract: str | None = None
    netns: str = ""
    zone: str = field(default="", compare=False)

    @classmethod
    def inet(cls, host: str, port: int) -> Address:
        """Return an IPv4 or IPv6 address.

        Raises:
            ValueError: `host` is not an IP address.
        """
        text = canonical_host(host)
        family = "AF_INET6" if ":" in text else "AF_INET"
        return cls(family, text, port, zone=host.partition("%")[2])

    @classmethod
    def unix(cls, name: str) -> Address:
        """Return an AF_UNIX address; a leading `@` means an abstract name, as in Envoy's config."""
        if name.startswith("@"):
            return cls("AF_UNIX", abstract=name[1:])
        return cls("AF_UNIX", path=name)

    @property
    def is_ip(self) -> bool:
        """Whether this is an IPv4 or IPv6 address."""
        return self.port is not None

    @property
    def target(self) -> str:
        """The host as a client needs it: with the zone of a link-local address."""
        return f"{self.host}%{self.zone}" if self.zone else self.host

    @property
    def is_wildcard(self) -> bool:
        """Whether this is `0.0.0.0` or `::`."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, never bound

    @property
    def unmapped(self) -> Address:
        """The IPv4 address that an IPv4-mapped one maps; any other address as it is."""
        mapped = ipaddress.ip_address(self.host) if self.is_ip else None
        if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped is not None:
            return replace(self, family="AF_INET", host=str(mapped.ipv4_mapped))
        return self

    def with_port(self, port: int) -> Address:
        """Return this IP address with another port (for a requested port 0)."""
        return replace(self, port=port)

    def within(self, netns: str) -> Address:
        """Return the same address in a network namespace (`netns`)."""
        if netns == self.netns or not (self.is_ip or self.abstract is not None):
            return self
        return replace(self, netns=netns)

    def to_json(self) -> dict[str, object]:
        """Return the form used in trace files: only the fields that are set."""
        place = {"netns": self.netns} if self.netns else {}
        if self.is_ip:
            return {"family": self.family, "host": self.host, "port": self.port, **place}
        fields = {"path": self.path, "abstract": self.abstract}
        given = {key: value for key, value in fields.items() if value is not None}
        return {"family": self.family, **given, **place}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic check what `to_json` wrote as it reads it."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_sound, handler(source))

    def __str__(self) -> str:
        return f"{self.place} in {self.netns}" if self.netns else self.place

    @property
    def place(self) -> str:
        """The text of the address without its network namespace."""
        if self.family == "AF_INET6" and self.is_ip:
            return f"[{self.host}]:{self.port}"
        if self.is_ip:
            return f"{self.host}:{self.port}"
        if self.abstract is not None:
            return f"@{self.abstract}".replace("\x00", "\\0")
        if self.path is not None:
            return self.path or "(unnamed)"
        return self.family


def _sound(address: Address) -> Address:
    """Return an address whose parts belong together.

    Raises:
        ValueError: they do not.
    """
    inet = address.family in ("AF_INET", "AF_INET6")
    if inet != address.is_ip or inet != bool(address.host):
        raise ValueError("host and port are of AF_INET and AF_INET6, and of no other family")
    if inet and not 0 <= (address.port or 0) <= LAST_PORT:
        raise ValueError(f"there is no port {address.port}")
    if inet and (":" in address.host) != (address.family == "AF_INET6"):
        raise ValueError(f"the host is not of {address.family}")
    if inet and not _is_canonical(address.host):
        raise ValueError("the host is no IP address, or not written as one is here")
    unix = [name for name in (address.path, address.abstract) if name is not None]
    if len(unix) > (address.family == "AF_UNIX"):
        raise ValueError("a path, or an abstract name, is of AF_UNIX alone")
    return address
