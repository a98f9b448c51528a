"""Classic packet filters as strace prints them: names to instructions.

Names and numbers: linux/bpf_common.h, linux/filter.h and linux/seccomp.h; an instruction is a
`struct sock_filter`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

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
