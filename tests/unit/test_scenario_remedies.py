"""The remedies that are written for mistakes in a scenario are valid themselves, for every word."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from envoyassert.errors import ScenarioError
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.selector import selector_meant
from envoyassert.words.listener import WORDS

START = "name: s\nenvoy: {config: {}}\nexpect:\n"


def remedies(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(START + text, Path("s.yaml"))
    return [problem.remedy for problem in caught.value.problems]


def accepts(text: str) -> bool:
    try:
        parse_scenario(START + text, Path("s.yaml"))
    except ScenarioError:
        return False
    return True


def test_no_two_words_have_one_other_name_and_none_has_the_name_of_a_word() -> None:
    names = Counter(name for word in WORDS.values() for name in word.also_called)
    assert [name for name, times in names.items() if times > 1 or name in WORDS] == []


@pytest.mark.parametrize(
    ("word", "name"), [(word, name) for word in WORDS for name in WORDS[word].also_called]
)
def test_other_name_of_a_word_leads_to_it_with_an_example(word: str, name: str) -> None:
    (remedy,) = remedies(f"  - listener: {{port: 80}}\n    {name}: 1\n")
    said = re.match(rf"did you mean `{word}`, as in `([^`]+)`\?", remedy)
    assert said
    assert accepts(f"  - listener: {{port: 80}}\n    {said[1]}\n")


# `in_order` is about a run, too, and `let` gives a name that another expectation must use.
@pytest.mark.parametrize(
    "name", ["dup", "reuse_port", "bind", *sorted({*WORDS} - {"in_order", "let"})]
)
def test_word_that_names_no_listener_is_written_with_one(name: str) -> None:
    (remedy,) = remedies(f"  - {name}: 1\n")
    said = re.match(r"write `(- .+?})`", remedy)
    assert said
    written = said[1].replace("port: …", "port: 80").replace("path: …", "path: /x")
    assert accepts(f"  {written}\n")


@pytest.mark.parametrize("call", ["dup", "bind", "unlink"])
def test_item_that_counts_a_call_is_valid(call: str) -> None:
    (remedy,) = remedies(f"  - {call}: 1\n")
    said = re.search(r"`(- calls: [^`]+)`", remedy)
    assert said
    assert accepts(f"  {said[1]}\n")


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("shared", {"name": "shared"}),
        (80, {"port": 80}),
        ("'80'", {"port": 80}),
        ("0.0.0.0:80", {"address": "0.0.0.0", "port": 80}),
        ("'[::]:80'", {"address": "::", "port": 80}),
        ("'*:80'", {"port": 80}),
        ("':80'", {"port": 80}),
        ("/run/x.sock", {"path": "/run/x.sock"}),
        ("'@x'", {"abstract": "x"}),
        ("'a: b'", {"name": "a: b"}),
        ("'[a]'", {"name": "[a]"}),
        ("'it''s'", {"name": "it's"}),
    ],
)
def test_listener_as_plain_text_is_written_as_a_mapping(value: object, members: object) -> None:
    (remedy,) = remedies(f"  - listener: {value}\n    sockets: 1\n")
    said = re.fullmatch(r"write `(.+)`", remedy)
    assert said
    assert yaml.safe_load(said[1]) == {"listener": members}
    assert accepts(f"  - {said[1]}\n    sockets: 1\n")


def test_what_is_short_for_no_listener_has_no_members() -> None:
    values: list[object] = [True, None, [80], {}, 1.5]
    assert [selector_meant(value) for value in values] == [{}] * 5


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("bound: main", "bound: {by: main}"),
        ("bound: 2", "bound: {times: 2}"),
        ("listened: workers", "listened: {by: workers}"),
        ("connections: 5", "connections: {total: 5}"),
    ],
)
def test_plain_value_of_a_mapping_is_written_with_the_one_key_that_takes_it(
    plain: str, written: str
) -> None:
    item = "  - listener: {port: 80}\n    "
    assert remedies(f"{item}{plain}\n") == [f"write `{written}`"]
    assert accepts(f"{item}{written}\n")


def test_key_that_is_there_already_is_not_what_another_means() -> None:
    assert remedies("  - listener: {port: 80}\n    lisstener: 1\n")[0].startswith(
        "did you mean `listened`?"
    )
