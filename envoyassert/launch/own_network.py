"""What a run's own network has: addresses and devices, and how names are looked up in it.

Such a network has no name server. The C library takes a server that cannot be reached for a
temporary failure (EAI_AGAIN), and Envoy's resolver `getaddrinfo` asks again at once, without end:
20,000 calls a second, and no cluster that needs the name ever starts. With a last source that
answers, a file without the name, the name is not known (EAI_NONAME), at once. Servers that can be
reached, as one of the scenario's own, are still asked before.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envoyassert.errors import MachineError
from envoyassert.launch.rundir import write_files

#: Kinds of devices that need nothing behind them, the most usual first: not every kernel has each.
_KINDS = ("dummy", "bridge")
#: linux/sockios.h and linux/if.h; struct ifreq as far as its flags.
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_FLAGS = struct.Struct("=16sH22x")


def bring_up_loopback() -> None:
    """Set the loopback device up in the calling thread's network namespace (netdevice(7)).

    Raises:
        OSError: not permitted.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        found = fcntl.ioctl(asked, _SIOCGIFFLAGS, _FLAGS.pack(b"lo", 0))
        name, flags = _FLAGS.unpack(found)
        fcntl.ioctl(asked, _SIOCSIFFLAGS, _FLAGS.pack(name, flags | _IFF_UP))


def give_addresses(wanted: Sequence[str]) -> None:
    """Give addresses to the calling thread's network namespace; what it has already stays.

    Args:
        wanted: each `ADDRESS`, for the loopback device, `ADDRESS%DEVICE`, or `%DEVICE` for a
            device without one. A device that is not there is made, and set up.

    Raises:
        MachineError: an address or a device cannot be given.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as route:
        for text in wanted:
            host, _, device = text.partition("%")
            try:
                index = _device(route, device or "lo")
                if host:
                    _add(route, index, host)
            except NetlinkError as error:
                raise MachineError(
                    f"`{text}` cannot be given to the run's network: {error}",
                    "run as root with CAP_NET_ADMIN; a device needs a kernel with one of the "
                    f"kinds {', '.join(_KINDS)}",
                ) from error


def _device(route: Any, name: str) -> int:
    """Return the index of a device, which is made if it is not there."""
    from pyroute2.netlink.exceptions import NetlinkError

    for number, kind in enumerate(_KINDS):
        found = route.link_lookup(ifname=name)
        if found:
            return int(found[0])
        try:
            route.link("add", ifname=name, kind=kind)
        except NetlinkError:
            if number + 1 == len(_KINDS):
                raise
    (index,) = route.link_lookup(ifname=name)
    route.link("set", index=index, state="up")
    return int(index)


def _add(route: Any, index: int, host: str) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    address = ipaddress.ip_address(host)
    try:
        # No duplicate is looked for: an IPv6 address can be bound at once.
        flags = {"flags": _NODAD} if address.version == 6 else {}
        route.addr(
            "add", index=index, address=str(address), prefixlen=address.max_prefixlen, **flags
        )
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


#: IFA_F_NODAD of linux/if_addr.h
_NODAD = 2


#: nsswitch.conf(5)
NSSWITCH = "/etc/nsswitch.conf"
_HOSTS = "hosts: files dns files"


def nsswitch_with_end(text: str) -> str:
    """Return an nsswitch.conf in which a name that no service knows is not found, at once.

    Args:
        text: the one that there is, or "".
    """
    changed, number = re.subn(r"(?m)^[ \t]*hosts:.*$", _HOSTS, text)
    return changed if number else f"{text.rstrip()}\n{_HOSTS}\n".lstrip("\n")


def nsswitch_in(directory: Path) -> Path:
    """Write this machine's nsswitch.conf with such an end into a directory; return the file.

    Raises:
        MachineError: it cannot be written.
    """
    own, name = Path(NSSWITCH), Path(NSSWITCH).name
    text = own.read_text(encoding="utf-8", errors="replace") if own.is_file() else ""
    write_files(directory, {name: nsswitch_with_end(text)})
    return directory / name
