"""The reason that Envoy gives for its end, by its own words and without their wrapping paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from envoyassert.names import errno_name, level_name, option_name
from envoyassert.report.log_records import LogRecord, log_records
from envoyassert.scenario.source import Path

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
