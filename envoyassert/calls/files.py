"""Calls on the files of Unix sockets."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Len
from typing_extensions import NotRequired

from envoyassert.calls.payload import UNSIGNED, Args, text_at
from envoyassert.calls.row import Arguments, Effect, Numbers, RecordedCall, Source, quoted_path
from envoyassert.ranges import I32, U32
from envoyassert.strace import values as printed


class UnlinkArguments(Arguments):
    """unlink(2)."""

    path: str | None


def _path_text(args: dict[str, Any]) -> str:
    return quoted_path(args["path"])


UNLINK = RecordedCall(
    "unlink",
    UnlinkArguments,
    (
        Source(
            "EA_UNLINK", 23, lambda _a, d, _r: {"path": text_at(d)}, {"unlink": Numbers(87, None)}
        ),
    ),
    _path_text,
    {"unlink": lambda a, _: {"path": printed.path_of(a[0])}},
    Effect.ON_PATH,
    before_accept=True,
)


class UnlinkatArguments(UnlinkArguments):
    """unlinkat(2); dirfd: -100 for the working directory; absent from older files."""

    dirfd: NotRequired[I32]


UNLINKAT = RecordedCall(
    "unlinkat",
    UnlinkatArguments,
    (
        Source(
            "EA_UNLINKAT",
            24,
            lambda a, d, _r: {"path": text_at(d), "dirfd": a[0]},
            {"unlinkat": Numbers(263, 35)},
        ),
    ),
    _path_text,
    {"unlinkat": lambda a, _: {"path": printed.path_of(a[1]), "dirfd": printed.directory_of(a[0])}},
    Effect.ON_PATH,
    before_accept=True,
)


class RenameArguments(Arguments):
    """renameat2(2), under whose name rename(2) and renameat(2) are recorded too.

    to: where to.
    dirfds: of the two paths.
    """

    path: str | None
    to: str | None
    dirfds: Annotated[list[I32], Len(2, 2)]
    flags: U32


def _renamed(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    old, _, new = data.partition(b"\0")
    return {
        "path": text_at(old),
        "to": text_at(new) if new else None,
        "dirfds": [args[0], args[1]],
        "flags": args[2] & UNSIGNED,
    }


def _printed_rename(a: list[str]) -> dict[str, object]:
    return {
        "path": printed.path_of(a[1]),
        "to": printed.path_of(a[3]),
        "dirfds": [printed.directory_of(a[0]), printed.directory_of(a[2])],
        "flags": printed.mask_of(
            a[4], {"RENAME_NOREPLACE": 1, "RENAME_EXCHANGE": 2, "RENAME_WHITEOUT": 4}
        ),
    }


def _rename_text(args: dict[str, Any]) -> str:
    flags = [hex(args["flags"])] if args["flags"] else []
    return ", ".join([quoted_path(args["path"]), quoted_path(args["to"]), *flags])


RENAMEAT2 = RecordedCall(
    "renameat2",
    RenameArguments,
    (
        Source("EA_FILE_RENAME", 40, _renamed, {"rename": Numbers(82, None)}),
        Source("EA_RENAMEAT", 41, _renamed, {"renameat": Numbers(264, 38)}),
        Source("EA_RENAMEAT2", 42, _renamed, {"renameat2": Numbers(316, 276)}),
    ),
    _rename_text,
    {
        "rename": lambda a, _: _printed_rename([printed.CWD, a[0], printed.CWD, a[1], "0"]),
        "renameat": lambda a, _: _printed_rename([*a, "0"]),
        "renameat2": lambda a, _: _printed_rename(a),
    },
    Effect.ON_PATH,
    before_accept=True,
)


class ModeArguments(Arguments):
    """chmod(2), fchmodat(2)."""

    path: str | None
    mode: I32


class FdModeArguments(Arguments):
    """fchmod(2)."""

    fd: I32
    mode: I32


def _mode_text(args: dict[str, Any]) -> str:
    changed = str(args["fd"]) if "fd" in args else quoted_path(args["path"])
    mode = args.get("mode")
    return f"{changed}, {'?' if mode is None else format(mode, '04o')}"


CHMOD = RecordedCall(
    "chmod",
    ModeArguments,
    (
        Source(
            "EA_CHMOD",
            25,
            lambda a, d, _r: {"path": text_at(d), "mode": a[1]},
            {"chmod": Numbers(90, None)},
        ),
    ),
    _mode_text,
    {"chmod": lambda a, _: {"path": printed.path_of(a[0]), "mode": int(a[1], 8)}},
    Effect.ON_PATH,
    before_accept=True,
)

FCHMODAT = RecordedCall(
    "fchmodat",
    ModeArguments,
    (
        Source(
            "EA_FCHMODAT",
            26,
            lambda a, d, _r: {"path": text_at(d), "mode": a[2]},
            {"fchmodat": Numbers(268, 53), "fchmodat2": Numbers.everywhere(452)},
        ),
    ),
    _mode_text,
    {"fchmodat": lambda a, _: {"path": printed.path_of(a[1]), "mode": int(a[2], 8)}},
    Effect.ON_PATH,
    before_accept=True,
)

FCHMOD = RecordedCall(
    "fchmod",
    FdModeArguments,
    (
        Source(
            "EA_FCHMOD",
            27,
            lambda a, _d, _r: {"fd": a[0], "mode": a[1]},
            {"fchmod": Numbers(91, 52)},
        ),
    ),
    _mode_text,
    {"fchmod": lambda a, _: {"fd": int(a[0]), "mode": int(a[1], 8)}},
    Effect.ON_PATH,
)

ROWS: tuple[RecordedCall[Any], ...] = (UNLINK, UNLINKAT, RENAMEAT2, CHMOD, FCHMODAT, FCHMOD)
