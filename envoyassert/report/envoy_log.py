"""What Envoy itself said: its log as messages, and the lines that explain why a run went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.names import errno_name, level_name, option_name
from envoyassert.report.table import wrapped
from envoyassert.scenario.source import Path
from envoyassert.trace import Outcome

# server.cc of Envoy, and that of `--mode validate`: the exception as the log quotes it. Envoy also
# prints it on its standard error, at its very end, whatever the log's level, format and file.
_QUOTED = re.compile(r"error `(.*?)(?:` initializing config '|$)", re.DOTALL)
_VALIDATING = re.compile(r"error initializing configuration '[^']*': (.*)", re.DOTALL)
_EXITING = re.compile(r"\bexiting\W*$")
#: The most lines that are taken for one message without a sign that they are.
_LINES = 8
_USAGE = "For complete USAGE and HELP type:"
# onRuntimeReady() of server.cc: Envoy ends by itself, and with 0.
_SKIPPED = re.compile(r"Skipping initialization of .* cluster: .*")
_ASKED = re.compile(r"caught (?:ENVOY_)?SIG\w+")
# What a crash prints beside its reason (backtrace.h), and its reason, if there is one.
_BACKTRACE = re.compile(r"Backtrace |Envoy version: |Address mapping: |#\d+: |Caught ")
_PANIC = re.compile(r"panic: .*|assert failure: .*|Uncaught \w+ '.*'")

# The text of a proto, with the mark of newer protobufs that it is for people alone.
_DUMP = re.compile(r"goo\.gle/debug\w+\s.*?(?=: Proto constraint validation failed|$)", re.DOTALL)
# protobuf: the message, then perhaps the whole config again; positions in a text that is not shown.
_UNPARSED = re.compile(r"Unable to parse JSON as proto \(INVALID_ARGUMENT: (.*?)\): \{.*")
_UNKNOWN = re.compile(r"Protobuf message \(.*?INVALID_ARGUMENT: (.*)\) has unknown fields")
_INVALID = re.compile(
    r"invalid JSON in [\w.]+(?: @ (?P<path>[^\s:]+):(?: (?:message )?[\w.]+)?)?"
    r",? near \S+ \(offset \d+\): (?P<reason>.*)"
)
_FIELD = re.compile(r"no such field: '([^']+)'")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
# protoc-gen-validate: the way down to the field, one message after the other.
_CONSTRAINT = re.compile(r"Proto constraint validation failed \((?P<chain>.*)\)", re.DOTALL)
_LINK = re.compile(r"\w+ValidationError\.(?P<field>\w+)(?:\[(?P<index>[^\]]+)\])?: (?P<reason>.*)")
# The long advice behind every use of a deprecated field.
_ADVICE = re.compile(r" This configuration will be removed from Envoy soon\. Please see .*")
# What does not say what failed, and the message before it that does.
_VAGUE = {
    "Setting socket options failed": re.compile(r"Setting (\S+) option on socket failed: (.*)"),
    "Unable to create Wasm plugin": re.compile(
        r"(?:Wasm VM failed (?=\S)|(?=Failed to create Wasm VM ))(.*)"
    ),
}
_LISTENER = re.compile(r"listener '.*'(?= failed to bind or apply socket options)")
_NUMBERS = re.compile(r"(\d+)/(\d+)")
_ERRNO = re.compile(r"\berrno=(\d+)")


@dataclass(frozen=True)
class Reason:
    """Why Envoy ended, or refused a config.

    Args:
        text: on one line, "" if it did not say.
        path: where in its config the fault is, as far as it names that; () if it does not.
    """

    text: str = ""
    path: Path = ()


def reason_of(lines: Sequence[str], *, crashed: bool = False) -> Reason:
    """Return why Envoy ended, by what it printed.

    Args:
        lines: what Envoy printed, or the end of it.
        crashed: whether a signal ended it.
    """
    records = messages(lines)
    if crashed:
        return _stripped(_panic(records))
    text = _thrown(records) or _last(_SKIPPED, records) or _last_words(records)
    return _stripped(_with_detail(text or _last(_ASKED, records), records))


def messages(lines: Sequence[str]) -> list[LogRecord]:
    """Return the messages of a log; what has the text of a proto behind it is one message.

    Args:
        lines: what Envoy printed, or the end of it.
    """
    records = log_records(lines)
    end = _end_of_log(records)
    text = "\n".join(record.text for record in records[end:])
    if _CONSTRAINT.search(text) or _DUMP.search(text):
        return [*records[:end], LogRecord("", "", text)]
    # The way to call Envoy takes a screen; what was wrong with the call stands below it.
    return records[-1:] if _USAGE in text else records


def tidy(text: str) -> str:
    """Return a message on one line, without its wrapping paper and the name of the config file."""
    quoted = _QUOTED.search(text)
    if quoted:
        return f"{text[: quoted.start()]}error `{_stripped(quoted[1]).text}`"
    validating = _VALIDATING.match(text)
    return _stripped(validating[1] if validating else text).text


def _thrown(records: Sequence[LogRecord]) -> str:
    """Return the exception that ended the start, as the log quotes it."""
    validating = [_VALIDATING.search(record.text) for record in records]
    for found in reversed(validating):
        if found is not None:
            return found[1]
    # Of a log in a format of the user's own the lines are records of their own.
    text = "\n".join(record.text for record in records)
    quoted = _QUOTED.match(text[max(text.rfind("error `"), 0) :])
    return quoted[1] if quoted else ""


def _panic(records: Sequence[LogRecord]) -> str:
    """Return what a crash says of its reason, or else what it is."""
    grave = [r.text for r in records if r.level == "critical" and not _BACKTRACE.match(r.text)]
    plain = [r.text for r in records if not r.level]
    caught = [r.text for r in records if r.text.startswith("Caught ")]
    said = [found[0] for text in (*plain, *grave) if (found := _PANIC.search(text))]
    return next(iter([*said[-1:], *grave[-1:], *caught[:1]]), "")


def _last(pattern: re.Pattern[str], records: Sequence[LogRecord]) -> str:
    found = [pattern.search(record.text) for record in records]
    return next((match[0] for match in reversed(found) if match), "")


def _last_words(records: Sequence[LogRecord]) -> str:
    """Return what Envoy printed behind its log."""
    ends = _end_of_log(records)
    texts = [record.text for record in records[ends:]]
    if not ends or len(texts) > _LINES:
        return texts[-1] if texts else ""
    return "\n".join(texts)


def _end_of_log(records: Sequence[LogRecord]) -> int:
    """Return the number of the message behind the log, 0 if nothing looks like a log."""
    ends = [n for n, r in enumerate(records) if r.level or _EXITING.search(r.text)]
    return ends[-1] + 1 if ends else 0


def _with_detail(text: str, records: Sequence[LogRecord]) -> str:
    """Return a reason with what failed, where another message says that."""
    for words, pattern in _VAGUE.items():
        found = [match for record in records if (match := pattern.search(record.text))]
        if found and text.strip().endswith(words):
            # Of options the last, for there the start ended; a plugin's first brings the others.
            detail = found[-1 if words.startswith("Setting") else 0]
            listener = _last(_LISTENER, records)
            start = f"{listener}: {words}" if listener else text.strip()
            return f"{start} ({_NUMBERS.sub(_option, ': '.join(detail.groups()))})"
    return text


def _option(numbers: re.Match[str]) -> str:
    level, option = int(numbers[1]), int(numbers[2])
    return f"{level_name(level)}/{option_name(level, option)}"


def _stripped(text: str) -> Reason:
    """Return a message on one line, without its wrapping paper, and the place that it names."""
    constraint = _CONSTRAINT.search(text)
    if constraint:
        return _constraint(constraint["chain"])
    text = " ".join(_ADVICE.sub("", _DUMP.sub("…", text)).split())
    text = _ERRNO.sub(lambda found: f"{found[0]} {errno_name(int(found[1]))}", text)
    for wrapping in (_UNPARSED, _UNKNOWN):
        text = wrapping.sub(r"\1", text)
    invalid = _INVALID.fullmatch(text)
    if not invalid:
        return Reason(text)
    path: Path = tuple(name or int(index) for name, index in _STEP.findall(invalid["path"] or ""))
    field = _FIELD.search(invalid["reason"])
    shown = f"{invalid['path']}: {invalid['reason']}" if path else invalid["reason"]
    return Reason(shown, (*path, field[1]) if field else path)


def _constraint(chain: str) -> Reason:
    path: list[str | int] = []
    reason = chain = " ".join(chain.split())
    for text in chain.split(" | caused by "):
        link = _LINK.fullmatch(text)
        if link is None:
            break
        path.append(re.sub(r"(?<=.)([A-Z])", r"_\1", link["field"]).lower())
        if link["index"] is not None:
            path.append(int(link["index"]) if link["index"].isdigit() else link["index"])
        reason = link["reason"]
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return Reason(f"{shown.lstrip('.')}: {reason}" if shown else reason, tuple(path))


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


#: Records shown at most, and lines of text for each.
_RECORDS = 4
_LAST_RECORDS = 3
_MOST_LINES = 4

# With a format of the user's own there is no level to see.

_WORTH = {"critical": 0, "error": 1, "": 2, "warning": 3}
# A warning explains something if it is about a refusal; the others are advice on the config.
_REFUSAL = re.compile(
    r"reject|fail|cannot|unable|error|duplicate|refus|denied|not permitted|in use|skipping",
    re.IGNORECASE,
)
# Hundreds of names at every start, and advice that every start gets: never the reason of anything.
_LISTING = re.compile(
    r"  [\w.]+: \S|statically linked extensions|HTTP header map|  \w+ \w+ map: "
    r"|There is no configured limit"
)


def _records_of(outcome: Outcome) -> list[LogRecord]:
    """Return the messages at the end of the log, each on one line, without what is in every log."""
    return [
        LogRecord(record.level, record.component, tidy(record.text))
        for record in messages(outcome.log_tail)
        if not (record.level and _LISTING.match(record.text))
    ]


def complaints(outcome: Outcome) -> list[LogRecord]:
    """Return the messages that say what went wrong, the gravest ones, in their order.

    Args:
        outcome: what happened to Envoy, with the end of its log.
    """
    records = _records_of(outcome)
    grave = [
        (number, record)
        for number, record in enumerate(records)
        if record.level in ("critical", "error")
        or (record.level == "warning" and _REFUSAL.search(record.text))
        # Without a level: what Envoy prints last before it gives up, or a library in distress.
        or (not record.level and not outcome.running and not _EXITING.search(record.text))
    ]
    worst = sorted(grave, key=_gravity)
    chosen: list[tuple[int, LogRecord]] = []
    for number, record in worst:
        if not any(record.text in other.text for _, other in chosen):
            chosen.append((number, record))
    return [record for _, record in sorted(chosen[:_RECORDS], key=lambda item: item[0])]


def _gravity(item: tuple[int, LogRecord]) -> tuple[int, int]:
    """Order numbered records: of the gravest ones the first, for the others wind up after it.

    Of what has no level the last one, for Envoy prints its reason right before it ends.
    """
    number, record = item
    return _WORTH[record.level], number if record.level else -number


def cause(outcome: Outcome) -> Reason:
    """Return why Envoy ended, by its own words; empty if they do not say."""
    if outcome.running:
        return Reason()
    reason = reason_of(outcome.log_tail, crashed=outcome.signal is not None)
    found = complaints(outcome)
    if reason.text or outcome.signal is not None or not found:
        return reason
    _, first = min(enumerate(found), key=_gravity)
    return Reason(first.text)


def said_lines(outcome: Outcome, *, captured: bool = True) -> list[str]:
    """Return what Envoy said as lines of text with a title, [] if nothing of it explains anything.

    A message too long for the page is wrapped, and what is cut off after that is marked with `…`.

    Args:
        outcome: what happened to Envoy.
        captured: whether what it prints comes here.
    """
    title, records = "Envoy said", complaints(outcome)
    wrong = not outcome.running or outcome.live is False
    if not records and wrong:
        title, records = "Envoy's log ends with", _records_of(outcome)[-_LAST_RECORDS:]
    if not records:
        nothing = "Envoy printed nothing" if captured else "what Envoy printed went elsewhere"
        return [nothing] if wrong else []
    lines = [title]
    for record in records:
        lines += wrapped(str(record), "  ", "    ", max_lines=_MOST_LINES)
    return lines
