"""Envoy's log as messages, whatever its format."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
_LEVEL = f"(?P<level>{'|'.join(_LEVELS)})"
# Envoy's default format `[time][thread][level][component] [file:line] text`, without a component
# where the log is fine-grained, and Istio's, which separates the same by tabs
# (`time<TAB>level<TAB>envoy component file:line<TAB>text<TAB>thread=n`).
_BRACKETS = re.compile(
    rf"\[[\d\- :.,]+\]\[\d+\]\[{_LEVEL}\](?:\[(?P<component>[^\]]*)\])?\s*"
    r"(?:\[[^\]\s]+:\d+\]\s?)?(?P<text>.*)"
)
_TABS = re.compile(
    rf"\S+\t{_LEVEL}\tenvoy (?P<component>\S+)(?: \S+:\d+)?\t(?P<text>.*?)(?:\tthread=\d+)?"
)
# `--log-format` and `application_log_config` choose the keys of a log in JSON.
_MESSAGE_KEYS = ("message", "msg", "text", "log")
_COMPONENT_KEYS = ("name", "logger", "component", "scope")
# A message with an exception in it may have lines that look like no part of it: a proto's text.
_BEGUN = re.compile(r"error `|error initializing configuration '")
_COMPLETE = re.compile(r"error `.*` initializing config '.*'", re.DOTALL)
_THREAD = re.compile(r"\tthread=\d+$")


@dataclass(frozen=True)
class LogRecord:
    """One message of Envoy's log, its continuation lines joined.

    Args:
        level: `critical`, `error`, `warning`, `info` …; "" for what was printed without one.
        component: `main`, `config` …; "" likewise.
        text: the message; with line breaks where it has several lines.
    """

    level: str
    component: str
    text: str

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        if not self.level:
            return text
        component = f"[{self.component}]" if self.component else ""
        return f"[{self.level}]{component} {text}"


def log_records(lines: Sequence[str]) -> list[LogRecord]:
    """Return the messages of a log.

    A line that does not look like the start of one belongs to the one before it if it is indented,
    or if that is about an exception and is not complete.

    Args:
        lines: of the log, or the end of one.
    """
    found: list[LogRecord] = []
    for line in lines:
        head = _head(line)
        last = found[-1] if found else None
        if head is not None:
            found.append(head)
        elif last is not None and _goes_on(last, line):
            if line.strip():
                text = f"{last.text}\n{_THREAD.sub('', line.rstrip())}"
                found[-1] = LogRecord(last.level, last.component, text)
        elif line.strip():
            found.append(LogRecord("", "", line))
    return found


def _goes_on(last: LogRecord, line: str) -> bool:
    if last.level and line[:1].isspace():
        return True
    return bool(_BEGUN.search(last.text)) and not _COMPLETE.search(last.text)


def _head(line: str) -> LogRecord | None:
    found = _BRACKETS.fullmatch(line) or _TABS.fullmatch(line)
    if found is not None:
        return LogRecord(found["level"], found["component"] or "", found["text"])
    return _of_json(line) if line.startswith("{") else None


def _of_json(line: str) -> LogRecord | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    words = {key.casefold(): value for key, value in data.items() if isinstance(value, str)}
    level = next((value for value in words.values() if value in _LEVELS), "")
    if not level:
        return None
    return LogRecord(level, _first(words, _COMPONENT_KEYS) or "", _message(words))


def _message(words: dict[str, str]) -> str:
    """Return what a key of a usual name has, or else the longest text."""
    named = _first(words, _MESSAGE_KEYS)
    return max(words.values(), key=len) if named is None else named


def _first(words: dict[str, Any], keys: Sequence[str]) -> str | None:
    return next((words[key] for key in keys if key in words), None)
