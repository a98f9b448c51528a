"""What was read of executables and libraries, kept for the next run.

A note is of a file by its identity: device, inode, size and times. The time of the last change of
the inode is among them, which no program sets to another time. So a file that was changed or
replaced has no note, whatever its name and its build id. Whoever reads one that changed just now
keeps nothing of it: it may change again without another time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from envoyassert import __version__
from envoyassert.launch.kept import Kept, state_of

#: Counts the changes of what a note says.
_FORM = 1
#: Files that are noted, the newest; a run has about ten.
_KEPT = Kept("symbols", ".json", most=100, longest=1 << 20)
#: C++ that the runtime here could not put in plain text: another time it may.
_MANGLED = "_Z"


def identity(status: os.stat_result) -> str:
    """Return what a file is known by.

    Args:
        status: of the file, from before it is read.
    """
    return " ".join(map(str, state_of(status)))


class NotedFile:
    """What is known of one file; a note that cannot be read is none.

    Args:
        file: its `identity`.
        debug: that of its separate debug file, "" if it has none; None if only its build id counts.

    Attributes:
        build_id: its GNU build id, "" if it has none; None if that is not known.
        whole: whether it names all of its functions, and not only those that it exports.
    """

    def __init__(self, file: str, debug: str | None = None) -> None:
        state = " ".join([__version__, str(_FORM), file, "" if debug is None else f"debug {debug}"])
        self._key = hashlib.sha256(state.encode()).hexdigest()
        self.build_id: str | None = None
        self.whole = False
        self._functions: dict[int, str] = {}
        self._callees: dict[int, str] = {}
        content = _KEPT.recall(self._key)
        if content is not None:
            try:
                self._take(json.loads(content))
            except (ValueError, LookupError, TypeError, AttributeError):
                self._functions, self._callees = {}, {}

    def _take(self, note: Mapping[str, Any]) -> None:
        self._functions = {int(offset): str(name) for offset, name in note["functions"].items()}
        self._callees = {int(offset): str(name) for offset, name in note["callees"].items()}
        self.whole = bool(note["whole"])
        self.build_id = None if note["build_id"] is None else str(note["build_id"])

    def has(self, asked: Mapping[int, bool]) -> bool:
        """Whether places are known.

        Args:
            asked: offsets in the file, and of each whether its callee is asked for.
        """
        return all(
            offset in self._functions and (offset in self._callees or not with_callee)
            for offset, with_callee in asked.items()
        )

    def add(self, offset: int, function: str, callee: str | None) -> None:
        """Take note of a place; `callee` is None if it was not asked for."""
        self._functions[offset] = function
        if callee is not None:
            self._callees[offset] = callee

    def names(self, offset: int) -> tuple[str, str]:
        """Return the function of a place and its callee, "" for what has no name."""
        return self._functions.get(offset, ""), self._callees.get(offset, "")

    def keep(self) -> None:
        """Keep it for the next time; where that cannot be done, nothing happens."""
        if any(
            name.startswith(_MANGLED)
            for name in (*self._functions.values(), *self._callees.values())
        ):
            return
        note = {
            "build_id": self.build_id,
            "whole": self.whole,
            "functions": self._functions,
            "callees": self._callees,
        }
        _KEPT.remember(self._key, json.dumps(note).encode())
