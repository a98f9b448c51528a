"""The words of the language are those that events carry."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, Tag, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from envoyassert.calls import CALLS, SOURCES
from envoyassert.calls.sockets import OPTION_NAMES
from envoyassert.durations import parse_duration
from envoyassert.scenario.complaint import complaints_of
from envoyassert.scenario.grammar import Model, choice, one_of
from envoyassert.scenario.listeners import NotWholeError, proto_int
from envoyassert.scenario.model import Envoy
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.quantity import Linear
from envoyassert.scenario.vocabulary import (
    CALL_ARGUMENTS,
    CALL_SITE_PATTERN,
    DURATION_PATTERN,
    FILE_PATTERN,
    MEANING,
    MODE_PATTERN,
    NETNS_PATTERN,
    OPTION_PATTERN,
    OWN_ARGUMENT_PATTERN,
    REFERENCE_PATTERN,
    ROLE_OR_NONE_PATTERN,
    ROLE_PATTERN,
    UPSTREAM_PATTERN,
    check_option,
)


@pytest.mark.parametrize("number", SOURCES)
def test_arguments_are_those_that_events_carry(number: int) -> None:
    source, row = SOURCES[number]

    made = set(source.decode((0,) * 6, bytes(64), 0))

    assert made == set(CALL_ARGUMENTS[row.name])


def test_every_call_says_what_its_arguments_are() -> None:
    for row in CALLS.values():
        assert row.arguments.__doc__, row.name


@pytest.mark.parametrize(
    "args",
    [
        {"address": "127.0.0.1:80"},
        {"address": {"host": "127.0.0.1", "port": 80}},
        {"fd": 5},
    ],
)
def test_arguments_of_a_pattern_keep_their_form(args: dict[str, Any]) -> None:
    assert CallPattern.model_validate({"call": "bind", "args": args}).args == args


def test_list_in_a_pattern_stays_a_list() -> None:
    """Events carry lists, and a list equals no tuple."""
    args = {"op": "EPOLL_CTL_ADD", "events": ["EPOLLIN", "0x40000"]}
    assert CallPattern.model_validate({"call": "epoll_ctl", "args": args}).args == args


@pytest.mark.parametrize(
    "call, args, message",
    [
        ("bind", {"adress": "x"}, "bind has no argument `adress`"),
        ("bind", {"address": {"prt": 80}}, "an address has no `prt`"),
        ("epoll_ctl", {"events": ["EPOLIN"]}, "`EPOLIN` is not a value of events"),
        ("epoll_ctl", {"op": "ADD"}, "`ADD` is not a value of op"),
        ("socket", {"family": "AF_INTE"}, "`AF_INTE` is not a value of family"),
        ("shutdown", {"how": "RD"}, "`RD` is not a value of how"),
        ("tcp_state", {"new": "LISTEN"}, "`LISTEN` is not a value of new"),
        (["bind", "listen"], {"backlog": 5}, "bind has no argument `backlog`"),
        ("bind", {"fd": 1.5}, "a plain value, a list of them, or an address"),
    ],
)
def test_argument_that_no_event_can_have_is_refused(
    call: Any, args: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        CallPattern.model_validate({"call": call, "args": args})


@pytest.mark.parametrize("text", ["5s", "0.25s", "100ms", "2m", "10s", "0.001s", "007s"])
def test_duration_pattern_and_parser_agree_on_durations(text: str) -> None:
    assert re.search(DURATION_PATTERN, text)
    assert parse_duration(text) > 0


@pytest.mark.parametrize("text", ["0s", "0.0s", "5", "5 s", "-1s", "1h", "s", "1.s", ".5s", "5sm"])
def test_duration_pattern_refuses_the_rest(text: str) -> None:
    assert not re.search(DURATION_PATTERN, text)


def test_digits_of_other_scripts_are_none() -> None:
    """Python takes them for digits; YAML, protobuf and Envoy do not."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration("\u0665s")
    with pytest.raises(NotWholeError):
        proto_int("\u0665")
    with pytest.raises(PydanticCustomError, match="`\u00b2` is not a level"):
        check_option("\u00b2/1")


@pytest.mark.parametrize("name", OPTION_NAMES)
def test_option_is_known_by_name_and_with_its_level(name: str) -> None:
    assert re.search(OPTION_PATTERN, name)
    assert re.search(OPTION_PATTERN, f"SOL_SOCKET/{name}")


@pytest.mark.parametrize("name", ["1/15", "SOL_SOCKET/15", "SOL_TCP/TCP_NODELAY"])
def test_option_may_be_given_by_number(name: str) -> None:
    assert re.search(OPTION_PATTERN, name)


@pytest.mark.parametrize("name", ["15", "SO_REUSEPORTS", "SOL_SOCKET", "/15", "1/", "1/2/3", ""])
def test_option_without_level_or_name_is_refused(name: str) -> None:
    assert not re.search(OPTION_PATTERN, name)


@pytest.mark.parametrize("name", ["lds.yaml", "certs/key.pem", ".hidden", "a/b/c", "..a"])
def test_file_inside_the_run_directory_is_allowed(name: str) -> None:
    assert re.search(FILE_PATTERN, name)


@pytest.mark.parametrize("name", ["", "/etc/x", "..", "../x", "a/../b", "a//b", "a/", ".", "./x"])
def test_file_outside_the_run_directory_is_refused(name: str) -> None:
    assert not re.search(FILE_PATTERN, name)


@pytest.mark.parametrize("argument", ["--concurrency", "--concurrency=4", "-c", "--config-path=x"])
def test_own_arguments_of_envoy_are_recognised(argument: str) -> None:
    assert re.search(OWN_ARGUMENT_PATTERN, argument)
    assert not re.search(OWN_ARGUMENT_PATTERN, f"-{argument}")
    assert not re.search(OWN_ARGUMENT_PATTERN, f"{argument.partition('=')[0]}ly")


def test_models_take_no_value_for_one_of_another_kind() -> None:
    strict = [model for model in Model.__subclasses__() if not model.model_config.get("strict")]
    assert strict == []
    with pytest.raises(ValidationError):
        Envoy.model_validate({"config": {}, "concurrency": True})


def remedies(annotation: Any, value: object) -> list[str]:
    """Return the remedies of a value that is not of a type."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_python(value)
    return [complaint.remedy for complaint in complaints_of(caught.value)]


@pytest.mark.parametrize(
    "value, word", [("w0rkers", "workers"), ("worker", "workers"), ("token", None)]
)
def test_word_of_a_choice_is_suggested_whatever_the_choice_says(
    value: str, word: str | None
) -> None:
    form = choice(one_of(("workers", "none"), Linear=("plus",)), "a token: `worker`, `token`")
    text = Annotated[Literal["workers", "none"], Tag("|text")]
    annotation = Annotated[text | Annotated[Linear, Tag("|Linear")], form]
    assert remedies(annotation, value) == ["" if word is None else f"did you mean `{word}`?"]


@pytest.mark.parametrize(
    "pattern, value, word",
    [
        (ROLE_PATTERN, "works", "workers"),
        (ROLE_OR_NONE_PATTERN, "n0ne", "none"),
        (MODE_PATTERN, "umsk", "umask"),
        (UPSTREAM_PATTERN, "unreporte", "unreported"),
        (NETNS_PATTERN, "owm", "own"),
        # What is said of a pattern may have other words in it.
        (CALL_SITE_PATTERN, "shows", None),
        (REFERENCE_PATTERN, "lets", None),
    ],
)
@pytest.mark.parametrize("reworded", [False, True])
def test_word_of_a_pattern_is_suggested_whatever_is_said_of_the_pattern(
    monkeypatch: pytest.MonkeyPatch, pattern: str, value: str, word: str | None, reworded: bool
) -> None:
    if reworded:
        monkeypatch.setitem(MEANING, pattern, "a token")
    annotation = Annotated[str, Field(pattern=pattern)]
    assert remedies(annotation, value) == ["" if word is None else f"did you mean `{word}`?"]
