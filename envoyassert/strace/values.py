"""Values as strace prints them, in the form of our own events; packet filters too.

Names are strace's own, so a name that we have wrong shows where the two are compared. What cannot
be read (an address in user memory that strace does not follow) is None. Those of packet filters
are in linux/bpf_common.h, linux/filter.h and linux/seccomp.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any

from envoyassert.addresses import Address
from envoyassert.names import CLONE_NEWNET, EPOLL_EVENTS, epoll_event_names, level_name, option_name
from envoyassert.option_values import OptionValue, decode_option_value, option_value_of
from envoyassert.strace.lines import split_arguments, text_of, unquoted

Args = dict[str, Any]

_LEVEL_NAMES = {"SOL_IP": "IPPROTO_IP", "SOL_TCP": "IPPROTO_TCP", "SOL_UDP": "IPPROTO_UDP"}
_LEVEL_NAMES["SOL_IPV6"] = "IPPROTO_IPV6"
#: Numbers of protocols: linux/in.h, linux/netlink.h.
_PROTOCOLS = {
    "IPPROTO_IP": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_ICMPV6": 58,
    "IPPROTO_RAW": 255,
    "IPPROTO_MPTCP": 262,
    "NETLINK_ROUTE": 0,
    "NETLINK_SOCK_DIAG": 4,
    "NETLINK_KOBJECT_UEVENT": 15,
}
#: Families and types that our own events have no name for.
_NUMBERED = {"AF_PACKET": "AF_17", "AF_ALG": "AF_38", "AF_VSOCK": "AF_40", "SOCK_PACKET": 10}
CLONE = {"CLONE_NEWNET": CLONE_NEWNET, "CLONE_NEWNS": 0x20000, "CLONE_NEWUSER": 0x10000000}
CLONE |= {"CLONE_NEWPID": 0x20000000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000}
CLONE |= {"CLONE_NEWCGROUP": 0x2000000, "CLONE_FILES": 0x400, "CLONE_FS": 0x200}
_EPOLL_BITS = {name: bit for bit, name in EPOLL_EVENTS.items()}
_RIGHTS = re.compile(r"cmsg_type=SCM_RIGHTS, cmsg_data=\[([-\d, ]+)\]")
_UNNAMED = re.compile(r"(0x[0-9a-f]+|\d+) /\* [A-Z_]+\?\?\? \*/")


def number_of(text: str) -> int:
    """Return a number; strace prints one without a name with a question behind it."""
    unnamed = _UNNAMED.match(text)
    return int(unnamed[1] if unnamed else text, 0)


def mask_of(text: str, table: dict[str, int]) -> int:
    """Return a mask from names and numbers with bars between."""
    return sum(table[part] if part in table else int(part, 0) for part in text.split("|"))


def flags_of(text: str, order: tuple[str, ...]) -> list[str]:
    """Return names of flags in our own order; unknown ones as hex."""
    parts = [] if text in ("0", "") else text.split("|")
    known = [name for name in order if name in parts]
    rest = sum(int(part, 0) for part in parts if part not in order)
    return [*known, hex(rest)] if rest else known


SOCK = ("SOCK_NONBLOCK", "SOCK_CLOEXEC")


def socket_arguments(a: list[str]) -> Args:
    """Return the arguments of socket(2), the first three of socketpair(2)."""
    kind, *flags = a[1].split("|")
    family = _NUMBERED.get(a[0], a[0])
    protocol = _PROTOCOLS[a[2]] if a[2] in _PROTOCOLS else number_of(a[2])
    return {
        "family": family,
        "type": _NUMBERED.get(kind, kind),
        "flags": flags_of("|".join(flags), SOCK),
        "protocol": protocol,
    }


def printed_address(text: str) -> Address | None:
    """Return the address in a `struct sockaddr` as strace prints it, None for a mere pointer."""
    family = re.search(r"sa_family=(AF_\w+)", text)
    if family is None:
        return None
    port = re.search(r"htons\((\d+)\)", text)
    if port is not None:
        host = re.search(r'(?:inet_addr\(|AF_INET6, )"([^"]+)"', text)
        return Address.inet(host[1], int(port[1])) if host else None
    if family[1] != "AF_UNIX":
        return Address(_NUMBERED.get(family[1], family[1]))  # type: ignore[arg-type]  # a name
    name = re.search(r'sun_path=(@?)("(?:[^"\\]|\\.)*")', text)
    if name is None:
        return Address("AF_UNIX", path="")
    value = unquoted(name[2])
    if name[1]:
        return Address("AF_UNIX", abstract=text_of(value))
    return Address("AF_UNIX", path=text_of(value.split(b"\0", 1)[0]))


def option_arguments(a: list[str]) -> Args:
    """Return the arguments of setsockopt(2)."""
    level: str | int = _LEVEL_NAMES.get(a[1], a[1])
    if not a[1].startswith(("SOL_", "IPPROTO_")):
        level = level_name(number_of(a[1]))
    name: str | int = (
        a[2] if re.fullmatch(r"[A-Z]\w+", a[2]) else option_name(level, number_of(a[2]))
    )
    length = int(a[4])
    return {
        "fd": int(a[0]),
        "level": level,
        "name": name,
        "length": length,
        "value": _option_value(name, a[3], length),
    }


#: A longer value than this is a length that was passed, and no bytes: the kernel refuses it.
_MOST_BYTES = 65536


def _option_value(name: str | int, text: str, length: int) -> OptionValue:
    """Return an option's value; None where strace does not show its bytes."""
    if text.startswith('"'):
        if length > _MOST_BYTES:
            return None
        content = unquoted(text)[:length]
        return option_value_of(name, content.ljust(length, b"\0"))
    if re.fullmatch(r"\[-?\d+\]", text):
        number = int(text.strip("[]"))
        code = {1: "=b", 2: "=h", 4: "=i", 8: "=q"}.get(length)
        if code is None or (length < 4 and number > 127):
            return number
        return option_value_of(name, struct.pack(code, number))
    linger = re.fullmatch(r"\{l_onoff=(-?\d+), l_linger=(-?\d+)\}", text)
    if linger:
        return option_value_of(name, struct.pack("=2i", int(linger[1]), int(linger[2])))
    program = re.fullmatch(r"\{len=(\d+), filter=\[(.*)\]\}", text)
    if program:
        return decode_option_value(name, length, (int(program[1]), 0), program_of(program[2]))
    names = re.fullmatch(r"\[([A-Z_|]+)\]", text)
    return None if names is None else _named_value(names[1])


def program_of(text: str) -> bytes:
    """Return the instructions of a packet filter; none where they are not understood."""
    try:
        return instructions_of(split_arguments(text))
    except ValueError:
        return b""


#: Values that strace prints by name: linux/in.h, linux/in6.h, linux/net_tstamp.h.
_VALUES = {"IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2}
_VALUES |= {"IP_PMTUDISC_PROBE": 3, "IP_PMTUDISC_INTERFACE": 4, "IP_PMTUDISC_OMIT": 5}


def _named_value(text: str) -> OptionValue:
    return mask_of(text, _VALUES) if all(part in _VALUES for part in text.split("|")) else None


def epoll_arguments(a: list[str]) -> Args:
    """Return the arguments of epoll_ctl(2)."""
    events = re.match(r"\{events=([A-Z0-9a-fx|]+)", a[3])
    mask = mask_of(events[1], _EPOLL_BITS) if events else 0
    return {"epfd": int(a[0]), "op": a[1], "fd": int(a[2]), "events": epoll_event_names(mask)}


def rights_arguments(a: list[str]) -> Args | None:
    """Return what a message carries; None for one without descriptors."""
    found = _RIGHTS.search(a[1])
    if found is None:
        return None
    fds = [int(fd) for fd in found[1].split(",")]
    return {"fd": int(a[0]), "fds": fds, "truncated": "MSG_CTRUNC" in a[1]}


def path_of(text: str) -> str | None:
    """Return a path; None for a mere pointer."""
    return text_of(unquoted(text)) if text.startswith('"') else None


CWD = "AT_FDCWD"


def directory_of(text: str) -> int:
    """Return the descriptor of a directory; -100 for the working directory."""
    return -100 if text == CWD else int(text)


_INSTRUCTION = struct.Struct("=HBBI")
_PRINTED = re.compile(r"BPF_(STMT|JUMP)\(([^,]+), ([^,]+)(?:, (\w+), (\w+))?\)")
_NUMBERS = {
    "BPF_LD": 0,
    "BPF_LDX": 1,
    "BPF_ST": 2,
    "BPF_STX": 3,
    "BPF_ALU": 4,
    "BPF_JMP": 5,
    "BPF_RET": 6,
    "BPF_MISC": 7,
    "BPF_W": 0,
    "BPF_H": 0x08,
    "BPF_B": 0x10,
    "BPF_IMM": 0,
    "BPF_ABS": 0x20,
    "BPF_IND": 0x40,
    "BPF_MEM": 0x60,
    "BPF_LEN": 0x80,
    "BPF_MSH": 0xA0,
    "BPF_ADD": 0,
    "BPF_SUB": 0x10,
    "BPF_MUL": 0x20,
    "BPF_DIV": 0x30,
    "BPF_OR": 0x40,
    "BPF_AND": 0x50,
    "BPF_LSH": 0x60,
    "BPF_RSH": 0x70,
    "BPF_NEG": 0x80,
    "BPF_MOD": 0x90,
    "BPF_XOR": 0xA0,
    "BPF_JA": 0,
    "BPF_JEQ": 0x10,
    "BPF_JGT": 0x20,
    "BPF_JGE": 0x30,
    "BPF_JSET": 0x40,
    "BPF_K": 0,
    "BPF_X": 0x08,
    "BPF_A": 0x10,
    "BPF_TAX": 0,
    "BPF_TXA": 0x80,
    "SKF_AD_OFF": -0x1000,
    "SKF_NET_OFF": -0x100000,
    "SKF_LL_OFF": -0x200000,
    "SKF_AD_PROTOCOL": 0,
    "SKF_AD_PKTTYPE": 4,
    "SKF_AD_IFINDEX": 8,
    "SKF_AD_NLATTR": 12,
    "SKF_AD_NLATTR_NEST": 16,
    "SKF_AD_MARK": 20,
    "SKF_AD_QUEUE": 24,
    "SKF_AD_HATYPE": 28,
    "SKF_AD_RXHASH": 32,
    "SKF_AD_CPU": 36,
    "SKF_AD_ALU_XOR_X": 40,
    "SKF_AD_VLAN_TAG": 44,
    "SKF_AD_VLAN_TAG_PRESENT": 48,
    "SKF_AD_PAY_OFFSET": 52,
    "SKF_AD_RANDOM": 56,
    "SKF_AD_VLAN_TPID": 60,
    "SECCOMP_RET_KILL_PROCESS": 0x80000000,
    "SECCOMP_RET_KILL_THREAD": 0,
    "SECCOMP_RET_KILL": 0,
    "SECCOMP_RET_TRAP": 0x00030000,
    "SECCOMP_RET_ERRNO": 0x00050000,
    "SECCOMP_RET_USER_NOTIF": 0x7FC00000,
    "SECCOMP_RET_TRACE": 0x7FF00000,
    "SECCOMP_RET_LOG": 0x7FFC0000,
    "SECCOMP_RET_ALLOW": 0x7FFF0000,
}


def instructions_of(printed: Iterable[str]) -> bytes:
    """Return a program's instructions as they lie in memory.

    Args:
        printed: each instruction: `BPF_STMT(BPF_RET|BPF_K, 0)`.

    Raises:
        ValueError: one is not understood.
    """
    content = b""
    for text in printed:
        found = _PRINTED.fullmatch(text)
        if found is None:
            raise ValueError(f"not an instruction of a packet filter: {text}")
        code = _sum(found[2], "|")
        yes, no = (int(found[group] or "0", 0) for group in (4, 5))
        value = _sum(found[3].replace("|", "+"), "+")
        content += _INSTRUCTION.pack(code, yes, no, value & 0xFFFFFFFF)
    return content


def _sum(text: str, sign: str) -> int:
    parts = (part.strip() for part in text.split(sign))
    return sum(_NUMBERS[part] if part in _NUMBERS else int(part, 0) for part in parts)
