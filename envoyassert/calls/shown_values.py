"""Arguments as strace prints them; what was not observed is `?`."""

from __future__ import annotations

import re

from envoyassert.addresses import Address

# Envoy's hot restart sockets are padded to the longest name there is: unix(7), every NUL counts.
_PADDING = re.compile(r"(\\0){2,}$")


def address_text(address: Address | None) -> str:
    """Return an address for people: `?` if unknown, the padding of an abstract name cut off."""
    return "?" if address is None else _PADDING.sub(r"\\0…", str(address))


def or_unknown(value: object) -> str:
    """Return a value as text."""
    if isinstance(value, Address):
        return address_text(value)
    return "?" if value is None else str(value)


def flags_text(names: list[str] | None) -> str:
    """Return names of flags with bars between, `0` for none."""
    return "|".join(str(name) for name in names or ()) or "0"


def quoted_path(path: str | None) -> str:
    """Return a path in quotes."""
    return "?" if path is None else f'"{path}"'
