"""The kernel's words that a scenario may use, checked with a suggestion.

A misspelt call, option or argument would match nothing: `never` would hold and a count be zero
for the wrong reason. So every such word is looked up before anything runs.
"""

from __future__ import annotations

import functools
import heapq
import ipaddress
import itertools
import re
from collections.abc import Iterable, Mapping

from pydantic_core import PydanticCustomError

from envoyassert.calls import CALLS, asked_arguments
from envoyassert.calls.sockets import OPTION_NAMES
from envoyassert.durations import parse_duration
from envoyassert.names import (
    ERRNO_ALIASES,
    ERRNOS,
    LEVEL_ALIASES,
    LEVELS,
)

#: The arguments of every recorded call that a scenario may ask for.
CALL_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    name: asked_arguments(row) for name, row in CALLS.items()
}
#: System calls whose events have another name.
_RECORDED_AS = {
    call: row.name
    for row in CALLS.values()
    for call in (*row.also, *row.strace, *(name for one in row.sources for name in one.syscalls))
    if call not in CALLS
}

_LEVEL_NAMES = tuple(LEVELS.values()) + tuple(LEVEL_ALIASES)

#: Words that stand for a number without a name: an address family, bits of an event mask.
_NUMBERED = re.compile(r"AF_[0-9]+|0x[0-9a-f]+")
_ADDRESS_FIELDS = ("family", "host", "port", "path", "abstract")
_ARGUMENT_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    (row.name, argument): words for row in CALLS.values() for argument, words in row.words.items()
}

#: How a program argument looks that is set from a field of the scenario.
OWN_ARGUMENT_PATTERN = r"^(--concurrency|--config-path|-c)(=.*)?$"

_NAMES = "|".join(OPTION_NAMES)
#: An option with its level, either of them by name or number: `1/15`, `SOL_SOCKET/15`.
QUALIFIED_OPTION_PATTERN = f"^({'|'.join(_LEVEL_NAMES)}|[0-9]+)/({_NAMES}|[0-9]+)$"
#: An option by its name, or with its level.
OPTION_PATTERN = f"^({_NAMES}|{QUALIFIED_OPTION_PATTERN[1:-1]})$"

ROLE_PATTERN = r"^(main|workers|other|worker_[0-9]+)$"
ROLE_OR_NONE_PATTERN = r"^(main|workers|other|none|worker_[0-9]+)$"
BUILD_ID_PATTERN = r"^[0-9a-f]{40}$"
CALL_SITE_PATTERN = r"^[0-9a-f]{12}$"
ERRNO_PATTERN = r"^E[A-Z0-9]+$"
DURATION_PATTERN = r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|0+\.[0-9]*[1-9][0-9]*)(ms|s|m)$"
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
REFERENCE_PATTERN = r"^\$[a-z][a-z0-9_]*$"
MODE_PATTERN = r"^(0?[0-7]{3,4}|umask)$"
VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+$"
KERNEL_PATTERN = r"^>=[0-9]+\.[0-9]+$"
_BOUND = r"(>=|<=|==|<|>)[0-9]+\.[0-9]+(\.[0-9]+)?"
VERSIONS_PATTERN = rf"^{_BOUND}(, ?{_BOUND})*$"
UPSTREAM_PATTERN = r"^(unreported|https?://[^\s]+|[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+#[0-9]+)$"
MARK_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
#: A day: what is longer is a slip of the pen, and no timer takes it.
LONGEST_S = 86_400
_PART = r"(\.{0,2}[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*)"
FILE_PATTERN = rf"^{_PART}(/{_PART})*$"

#: Names of variables that a shell can set (environ(7) forbids only `=` and NUL).
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
#: A file in the run directory.
RUNDIR_FILE_PATTERN = r"^\$\{rundir\}/[^/]+$"
#: A device's name (netdevice(7): at most 15 characters).
_DEVICE = r"%[A-Za-z0-9_.-]{1,15}"
#: An IP address, a device, or the one on the other.
ADDRESS_PATTERN = (
    r"^(([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.]*)"
    rf"({_DEVICE})?|{_DEVICE})$"
)
#: A network namespace by the file that it is entered by.
NETNS_PATTERN = r"^(own|(/|\$\{rundir\}/).+)$"

#: Capabilities of Linux, without their prefix (linux/capability.h).
_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
CAPABILITY_PATTERN = f"^CAP_({'|'.join(_CAPABILITIES)})$"

#: Patterns in words, for messages.
MEANING = {
    CAPABILITY_PATTERN: "the name of a capability, such as CAP_NET_BIND_SERVICE",
    BUILD_ID_PATTERN: "a build id: 40 hexadecimal digits",
    CALL_SITE_PATTERN: "a class of call sites as `show` prints it: 12 hexadecimal digits",
    r"^[0-9a-f]{8,64}$": "8 to 64 hexadecimal digits",
    ROLE_PATTERN: "`main`, `workers`, `other` or `worker_<number>`",
    ROLE_OR_NONE_PATTERN: "`main`, `workers`, `other`, `none` or `worker_<number>`",
    ERRNO_PATTERN: "the name of an error, such as EADDRINUSE",
    DURATION_PATTERN: "a duration above zero, such as 5s, 0.25s or 100ms",
    REFERENCE_PATTERN: "a name that `let` gave, behind a dollar sign, such as $ingress_port",
    MODE_PATTERN: 'a mode in octal digits, such as "0660", or `umask`',
    NAME_PATTERN: "lower-case letters, digits and underscores, beginning with a letter",
    VERSION_PATTERN: "a full version, such as 1.40.0",
    KERNEL_PATTERN: 'the oldest kernel, such as ">=5.15"',
    VERSIONS_PATTERN: 'bounds of versions, such as ">=1.20" or ">=1.20, <1.40"',
    UPSTREAM_PATTERN: "`unreported`, owner/repository#number, or an address with https://",
    FILE_PATTERN: "a relative path of letters, digits, `_ . @ + -`, without `..`",
    RUNDIR_FILE_PATTERN: "a file in ${rundir}, such as ${rundir}/pressure",
    ADDRESS_PATTERN: "an IP address, ADDRESS%DEVICE or %DEVICE, such as 10.1.2.3%eth0",
    NETNS_PATTERN: "`own`, or a file with its whole path, such as ${rundir}/netns/blue",
    VARIABLE_PATTERN: "the name of a variable: letters, digits, `_ . -`, no digit first",
    MARK_PATTERN: "the name of a pytest mark",
}
#: The words that a pattern takes as they are, for a suggestion.
WORDS_IN: Mapping[str, tuple[str, ...]] = {
    ROLE_PATTERN: ("main", "workers", "other"),
    ROLE_OR_NONE_PATTERN: ("main", "workers", "other", "none"),
    MODE_PATTERN: ("umask",),
    UPSTREAM_PATTERN: ("unreported",),
    NETNS_PATTERN: ("own",),
}


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that `word` is most likely meant to be, or None.

    Of many, only the few that share most pairs of letters with it are compared in full, which takes
    long; a word that is no word is like none.
    """
    if len(word) > _LONGEST_WORD:
        return None
    names = list(itertools.islice(known, _MOST_NAMES))
    pairs = _pairs(word)
    likely = heapq.nlargest(8, names, key=lambda name: len(pairs & _pairs(name)) - len(name) / 100)
    import difflib

    found = difflib.get_close_matches(word, likely, n=1, cutoff=cutoff)
    if found:
        return found[0]
    folded = {name.casefold(): name for name in names}
    return folded.get(word.casefold())


_LONGEST_WORD = 100
_MOST_NAMES = 1000


@functools.lru_cache(4096)
def _pairs(word: str) -> frozenset[str]:
    framed = f"^{word[:_LONGEST_WORD]}$"
    return frozenset(map("".join, itertools.pairwise(framed)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …?`, or "" if nothing is close."""
    match = closest(word, list(known))
    return f"did you mean `{match}`?" if match else ""


def word_fault(
    message: str, remedy: str = "", key: str | None = None, *, at_key: bool = False
) -> PydanticCustomError:
    """Return the error of a word that is not known.

    Args:
        message: what is wrong.
        remedy: what to write instead, or "".
        key: the member of the value at which the fault is, or None if it is the value.
        at_key: whether the member itself is at fault, and not what it is set to.
    """
    context = {"message": message, "remedy": remedy, "key": key, "at_key": at_key}
    return PydanticCustomError("word", "{message}", context)


def check_call(name: str) -> str:
    """Return the name of a recorded call, or raise with the name that was meant."""
    if name in CALL_ARGUMENTS:
        return name
    if name in _RECORDED_AS:
        raise word_fault(f"`{name}` is recorded as `{_RECORDED_AS[name]}`", "write that name")
    raise word_fault(
        f"`{name}` is not a call that is recorded",
        did_you_mean(name, CALL_ARGUMENTS) or f"these are: {', '.join(CALL_ARGUMENTS)}",
    )


def check_option(name: str) -> str:
    """Return the name of a socket option, or raise with the name that was meant."""
    if re.fullmatch(OPTION_PATTERN[1:-1], name):
        return name
    level, separator, option = name.partition("/")
    if separator and not re.fullmatch("[0-9]+", level) and level not in _LEVEL_NAMES:
        remedy = did_you_mean(level, _LEVEL_NAMES) or "write the level's number"
        raise word_fault(f"`{level}` is not a level of socket options", remedy)
    wrong = option if separator else name
    raise word_fault(
        f"`{wrong}` is not a socket option that is known",
        did_you_mean(wrong, OPTION_NAMES) or "write level/number, such as 1/15 for SO_REUSEPORT",
    )


#: Marks of pytest, and of the plugins that come with us, that are nothing without an argument.
_MARKS_WITH_ARGUMENTS = {
    "timeout": "write `timeout: 30s`",
    "skipif": "write `requires`, or `skip` for always",
    **dict.fromkeys(("parametrize", "usefixtures", "filterwarnings"), ""),
}


def check_mark(name: str) -> str:
    """Return the name of a mark that says something without arguments, or raise."""
    if name in _MARKS_WITH_ARGUMENTS:
        remedy = _MARKS_WITH_ARGUMENTS[name] or "leave it out"
        raise word_fault(
            f"the mark `{name}` takes arguments, which a mark here has none of", remedy
        )
    return name


def check_duration(text: str) -> str:
    """Return a duration of a day at most, or raise."""
    if parse_duration(text) > LONGEST_S:
        raise word_fault(f"`{text}` is longer than a day", f"write {LONGEST_S}s at most")
    return text


def check_errno(name: str) -> str:
    """Return the name of an error, or raise with the name that was meant."""
    names = ERRNOS.values()
    if name in names or re.fullmatch(r"E[0-9]+", name):
        return name
    if name in ERRNO_ALIASES:
        raise word_fault(f"`{name}` is another name of {ERRNO_ALIASES[name]}", "write that one")
    raise word_fault(
        f"`{name}` is not the name of an error",
        did_you_mean(name, names) or "write a name as errno(3) has it, such as EADDRINUSE",
    )


def check_address(address: str) -> str:
    """Return the text of an IP address, or raise."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise word_fault(
            f"`{address}` is not an IP address",
            "write one such as 127.0.0.1 or ::1; names are not resolved",
        ) from None
    return address


def _check_address_fields(fields: dict[str, object]) -> None:
    for name in fields:
        if name not in _ADDRESS_FIELDS:
            raise word_fault(
                f"an address has no `{name}`",
                did_you_mean(name, _ADDRESS_FIELDS) or f"it has: {', '.join(_ADDRESS_FIELDS)}",
                "address",
            )


def check_arguments(calls: tuple[str, ...], arguments: dict[str, object]) -> None:
    """Raise if an argument is not one that all of the calls have, or its word is not known."""
    for key, value in arguments.items():
        for call in calls:
            known = CALL_ARGUMENTS.get(call)
            if known is None:
                continue
            if key not in known:
                raise word_fault(
                    f"{call} has no argument `{key}`",
                    did_you_mean(key, known) or f"it has: {', '.join(known) or 'none'}",
                    key,
                    at_key=True,
                )
            if key == "address" and isinstance(value, dict):
                _check_address_fields(value)
            words = _ARGUMENT_WORDS.get((call, key))
            for word in value if isinstance(value, list) else (value,):
                if words is None or not isinstance(word, str) or _NUMBERED.fullmatch(word):
                    continue
                if word not in words:
                    raise word_fault(
                        f"`{word}` is not a value of {key} that {call} is recorded with",
                        did_you_mean(word, words) or "write the number",
                        key,
                    )
