"""Why Envoy ended, from what it printed: as 1.36.4 and 1.40.0 print it, and in other formats."""

from __future__ import annotations

import json

import pytest

from envoyassert.launch.base import tail
from envoyassert.report.envoy_log import Reason, cause, reason_of, said_lines
from envoyassert.trace import Outcome

FILE = "/run/r/envoy.yaml"
BIND = "cannot bind '192.0.2.1:80': Cannot assign requested address"
UNKNOWN = (
    "Protobuf message (type envoy.config.bootstrap.v3.Bootstrap reason INVALID_ARGUMENT: invalid "
    "JSON in envoy.config.bootstrap.v3.Bootstrap @   static_resources.listeners[0]: message "
    "envoy.config.listener.v3.Listener, near  1:2   (offset 1):  no such field: 'no_such') has "
    "unknown fields"
)
UNKNOWN_SAID = Reason(
    "static_resources.listeners[0]: no such field: 'no_such'",
    ("static_resources", "listeners", 0, "no_such"),
)
NUMBER = (
    "Unable to parse JSON as proto (INVALID_ARGUMENT: invalid JSON in envoy.config.bootstrap.v3."
    "Bootstrap @ admin.address.socket_address.port_value: uint32, near 1:2 (offset 1): JSON number "
    'out of range for int): {"admin":{"address":{}}}'
)
NUMBER_PATH = ("admin", "address", "socket_address", "port_value")
LINES = [f'    name: "l{number}"' for number in range(200)]
END = (
    ": Proto constraint validation failed (BootstrapValidationError.Node: embedded message "
    "failed validation | caused by NodeValidationError.Id: value length must be at least 1)"
)
CONSTRAINT = "\n".join(
    [
        "static_resources {",
        *LINES,
        "}",
        END,
    ]
)
MARKED = f"goo.gle/debugonly   \n{CONSTRAINT}"
CONSTRAINT_SAID = Reason("node.id: value length must be at least 1", ("node", "id"))
DEPRECATED = (
    "type envoy.A Using deprecated option 'envoy.A.b' from file a.proto. This configuration will "
    "be removed from Envoy soon. Please see https://example.org for details."
)


def brackets(level: str, component: str, text: str) -> str:
    return f"[2026-01-02 03:04:05.678][24504][{level}][{component}] [source/a.cc:1] {text}"


def fine_grain(level: str, _component: str, text: str) -> str:
    return f"[2026-01-02 03:04:05.678][24504][{level}] [source/a.cc:1] {text}"


def tabs(level: str, component: str, text: str) -> str:
    return f"2026-01-02T03:04:05.6Z\t{level}\tenvoy {component} source/a.cc:1\t{text}\tthread=24504"


def in_json(level: str, component: str, text: str) -> str:
    return json.dumps({"Level": level, "Name": component, "Message": text})


def other_json(level: str, _component: str, text: str) -> str:
    return json.dumps({"at": "2026", "severity": level, "what": text})


def bare(_level: str, _component: str, text: str) -> str:
    return text


def letters(level: str, _component: str, text: str) -> str:
    return f"{level[0].upper()} {text}"


def nothing(_level: str, _component: str, _text: str) -> str:
    return ""


FORMATS = [brackets, fine_grain, tabs, in_json, other_json, bare, letters, nothing]


def started(form, text: str, marker: str = "goo.gle/debugonly   \n", more=()) -> str:
    """Return the log of an Envoy whose start an exception ended, and what it prints behind it."""
    config = f"{marker}  {FILE}"
    lines = [
        form("info", "main", "initializing epoch 0 (base id=0, hot restart version=11.104)"),
        form("info", "config", "loading 1 listener(s)"),
        *(form(*record) for record in more),
        form("critical", "main", f"error `{text}` initializing config '{config}'"),
        form("info", "main", "exiting"),
        text,
    ]
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("marker", ["goo.gle/debugstr    \n", ""], ids=["1.40.0", "1.36.4"])
@pytest.mark.parametrize(
    "text, reason",
    [
        (BIND, Reason(BIND)),
        (UNKNOWN, UNKNOWN_SAID),
        (NUMBER, Reason(f"{'.'.join(NUMBER_PATH)}: JSON number out of range for int", NUMBER_PATH)),
        (CONSTRAINT, CONSTRAINT_SAID),
        (MARKED, CONSTRAINT_SAID),
        ("script load error: line 1\nline 2: bad", Reason("script load error: line 1 line 2: bad")),
        ("A thing is missing: goo.gle/debugonly  \nname: 1", Reason("A thing is missing: …")),
        (DEPRECATED, Reason("type envoy.A Using deprecated option 'envoy.A.b' from file a.proto.")),
    ],
    ids=["bind", "field", "number", "constraint", "marked", "lines", "dump", "deprecated"],
)
def test_exception_at_start_is_the_reason_in_every_format(form, marker, text, reason):
    if form is nothing and text.startswith("script"):
        reason = Reason("line 2: bad")  # of several lines without a sign the last one
    found = reason_of(tail(started(form, text, marker)))
    assert found == reason


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_what_envoy_said_is_the_reason_and_not_a_dump_of_the_config(form):
    lines = said_lines(Outcome(exit_code=1, log_tail=tail(started(form, MARKED))))
    text = "\n".join(lines)
    assert "node.id: value length must be at least 1" in text
    for noise in ("goo.gle", "thread=", "l199", "exiting"):
        assert noise not in text


@pytest.mark.parametrize("form", [brackets, tabs, in_json], ids=lambda form: form.__name__)
def test_talkative_log_behind_the_exception_is_no_reason(form):
    log = started(form, BIND).splitlines()
    behind = [form("trace", "init", f"target {number} destroyed") for number in range(60)]
    assert reason_of(tail("\n".join([*log[:-1], *behind, log[-1]]))) == Reason(BIND)


@pytest.mark.parametrize("text", [BIND, UNKNOWN, MARKED], ids=["other", "field", "constraint"])
def test_validation_gives_the_same_reason_as_a_start(text):
    log = brackets("critical", "main", f"error initializing configuration '{FILE}': {text}")
    log += "\n" + brackets("debug", "init", "init manager Server destroyed")
    assert reason_of(tail(log)) == reason_of(tail(started(brackets, text)))


@pytest.mark.parametrize(
    "option, name",
    [
        ("1/36", "SOL_SOCKET/SO_MARK"),
        ("1/9999", "SOL_SOCKET/9999"),
        ("IPPROTO_IP/IP_TRANSPARENT", "IPPROTO_IP/IP_TRANSPARENT"),
    ],
)
@pytest.mark.parametrize("start", ["ListenSocket", "ingress"])
def test_option_that_could_not_be_set_is_named(option, name, start):
    failed = f"{start}: Setting socket options failed"
    more = [
        ("warning", "connection", f"Setting {option} option on socket failed: Not permitted"),
        ("error", "config", f"listener 'in' failed to bind or apply socket options: {failed}"),
    ]
    reason = reason_of(tail(started(brackets, failed, more=more))).text
    assert reason == f"listener 'in': Setting socket options failed ({name}: Not permitted)"


def test_plugin_that_could_not_be_created_says_why():
    more = [
        ("error", "wasm", "Wasm VM failed Missing or unknown ABI version"),
        ("error", "wasm", "Wasm VM failed Failed to load Wasm code"),
        ("critical", "wasm", "Plugin configured to fail closed failed to load"),
    ]
    text = "Unable to create Wasm plugin "
    assert reason_of(tail(started(brackets, text, more=more))).text == (
        "Unable to create Wasm plugin (Missing or unknown ABI version)"
    )


USAGE = """\
PARSE ERROR:
Brief USAGE:
   envoy  [--log-format <string>]
          [--base-id <uint32_t>] [--] [--version] [-h]

For complete USAGE and HELP type:
   /bin/envoy --help

--no-such -- Couldn't find match for argument"""


@pytest.mark.parametrize(
    "log, reason",
    [
        (USAGE, "--no-such -- Couldn't find match for argument"),
        ("error: unknown mode 'strange'", "error: unknown mode 'strange'"),
        (
            f"{brackets('debug', 'init', 'destroyed')}\nunable to bind, errno=98 (see --base-id)",
            "unable to bind, errno=98 EADDRINUSE (see --base-id)",
        ),
    ],
    ids=["argument", "mode", "base_id"],
)
def test_end_before_the_log_has_its_last_words(log, reason):
    assert reason_of(tail(log)).text == reason
    assert said_lines(Outcome(exit_code=1, log_tail=tail(log)))[1:] == [f"  {reason}"]


SKIPPED = "Skipping initialization of secondary cluster: Unknown gRPC client cluster 'absent'"


@pytest.mark.parametrize("form", FORMATS[:-1], ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "said, reason",
    [
        (("warning", "main", SKIPPED), SKIPPED),
        (("warning", "main", "caught ENVOY_SIGTERM"), "caught ENVOY_SIGTERM"),
        (("warning", "main", "caught SIGINT"), "caught SIGINT"),
    ],
    ids=["by itself", "SIGTERM", "SIGINT"],
)
def test_end_with_0_has_its_reason(form, said, reason):
    lines = [
        form("info", "upstream", "cm init: initializing secondary clusters"),
        form(*said),
        form("info", "main", "shutting down server instance"),
        form("warning", "main", "There is no configured limit to the number of connections."),
        form("info", "main", "main dispatch loop exited"),
        form("info", "main", "exiting"),
    ]
    assert cause(Outcome(exit_code=0, log_tail=tail("\n".join(lines)))).text.endswith(reason)


def crash(form, *before: tuple[str, str, str]) -> Outcome:
    """Return what happened to an Envoy that crashed, having said something before."""
    lines = [form("info", "main", "starting main dispatch loop")]
    lines += [form(*record) for record in before]
    lines += [
        form("critical", "backtrace", text)
        for text in (
            "Caught Aborted, suspect faulting address 0x7",
            "Backtrace (use tools/stack_decode.py to get line numbers):",
            "Envoy version: 0/1.40.0/Clean/RELEASE/BoringSSL",
            "Address mapping: 1-2 /bin/envoy",
            "#0: [0x7f]",
        )
    ]
    return Outcome(signal=6, log_tail=tail("\n".join(lines)))


@pytest.mark.parametrize("form", [brackets, tabs, in_json, bare], ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "before, reason",
    [
        ((), "Caught Aborted, suspect faulting address 0x7"),
        ((("critical", "assert", "panic: cannot open shared memory"),), None),
        ((("critical", "assert", "assert failure: a != b."),), None),
        (
            (
                (
                    "critical",
                    "main",
                    "std::terminate called! Uncaught SomeException 'x', see trace.",
                ),
            ),
            "Uncaught SomeException 'x'",
        ),
    ],
    ids=["signal", "panic", "assert", "exception"],
)
def test_crash_has_its_reason_if_there_is_one(form, before, reason):
    assert cause(crash(form, *before)).text == (reason or before[0][2])


def test_kill_from_outside_has_no_reason_of_envoys():
    log = (brackets("error", "config", "an old complaint"),)
    assert cause(Outcome(signal=9, log_tail=log)) == Reason()


def test_exception_that_quotes_a_large_config_is_kept_without_its_middle():
    config = json.dumps({"static_resources": ["x" * 2_000_000]})
    kept = tail(started(brackets, NUMBER.replace('{"admin":{"address":{}}}', config)))
    assert sum(map(len, kept)) < 40_000
    assert reason_of(kept).path == NUMBER_PATH
