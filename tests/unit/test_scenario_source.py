"""YAML text to data and places."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envoyassert.errors import ScenarioError
from envoyassert.scenario import source
from envoyassert.scenario.source import parse_yaml


def data(text: str) -> Any:
    return parse_yaml(text, "x.yaml").data


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_yaml(text, "x.yaml")
    return [str(problem).removeprefix("x.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text, value",
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("15", 15),
        ("-1", -1),
        ("+7", 7),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("10:30", "10:30"),
        ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"),
        ("1.40.0", "1.40.0"),
        ("0b11", "0b11"),
        ("tRUE", "tRUE"),
        ("'on'", "on"),
        ('"017"', "017"),
        ("'null'", "null"),
        ("'15'", "15"),
        ("127.0.0.1", "127.0.0.1"),
        ("-", None),
        ("=", "="),
        ("..", ".."),
    ],
)
def test_scalar_has_the_value_of_yaml_1_2(text: str, value: object) -> None:
    found = data(f"a: {text}\n") if text != "-" else data("a:\n")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize("word", ["on", "off", "yes", "No", "Y", "n", "017", "0660", "-08", "00"])
def test_scalar_that_readers_disagree_on_is_refused(word: str) -> None:
    (problem,) = problems(f"a: {word}\n")
    assert problem.startswith(f"1:4: error: `{word}` is ")


@pytest.mark.parametrize("key", ["on", "017", "true", "5", "1.0"])
def test_keys_are_text(key: str) -> None:
    assert data(f"{key}: 1\n") == {key: 1}


@pytest.mark.parametrize("number", ["99999999999999999999", "1e999", ".inf", "-.INF", ".nan"])
def test_number_that_cannot_be_held_is_refused(number: str) -> None:
    assert len(problems(f"a: {number}\n")) == 1


def test_all_problems_are_reported_at_once() -> None:
    text = "a: on\nb: 1\nb: 2\nc: !x 3\n"
    assert [problem.partition(" ")[0] for problem in problems(text)] == ["1:4:", "3:1:", "4:4:"]


def test_alias_is_shared_and_keeps_the_place_of_its_anchor() -> None:
    document = parse_yaml("a: &ports [1, 2]\nb: *ports\n", "x.yaml")
    assert document.data == {"a": [1, 2], "b": [1, 2]}
    assert document.mark(("b",)) == (2, 1)
    assert document.mark(("b", 1)) == (1, 15)


def test_alias_of_a_key_is_its_text() -> None:
    assert data("&k name: 1\nb: *k\n") == {"name": 1, "b": "name"}


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a: &x [*x]\n", "1:8: error: the alias *x refers to what it is part of"),
        ("a: &x {b: *x}\n", "1:11: error: the alias *x refers to what it is part of"),
        ("a: *x\n", "1:4: error: there is no anchor &x above this alias"),
        ("&k a: 1\n*k : 2\n", "2:1: error: an alias cannot be a key (write the key out)"),
        ("[a]: 1\n", "1:1: error: a key must be plain text, not a list or a mapping"),
        (
            ": 1\n",
            (
                "1:1: error: this does not continue what stands above it"
                " (check the indentation and the brackets)"
            ),
        ),
    ],
)
def test_odd_yaml_is_refused(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_and_does_not_end_the_interpreter(unit: str) -> None:
    (problem,) = problems(unit * 100_000)
    assert "nested more than 100 levels deep" in problem or "must be plain text" in problem


@pytest.mark.parametrize("unit", ["[", "{a: ", "- "])
@pytest.mark.parametrize("depth", [101, 1_500, 100_000])
def test_deep_nesting_is_refused_in_the_same_words_whoever_notices(unit: str, depth: int) -> None:
    (problem,) = problems(unit * depth)
    assert problem.endswith("error: nested more than 100 levels deep")


def test_deep_indentation_is_refused() -> None:
    (problem,) = problems("".join(f"{' ' * depth}a:\n" for depth in range(2_000)))
    assert problem == "101:101: error: nested more than 100 levels deep"


def test_byte_order_mark_is_ignored() -> None:
    document = parse_yaml("\ufeffa: 1\n", "x.yaml")
    assert (document.data, document.mark(("a",))) == ({"a": 1}, (1, 1))


def test_place_falls_back_to_what_encloses_it() -> None:
    document = parse_yaml("a:\n  b: [1, {c: 2}]\n", "x.yaml")
    assert document.mark(("a", "b", 1, "c")) == (2, 11)
    assert document.value_mark(("a", "b", 1, "c")) == (2, 14)
    assert document.mark(("a", "b", 7)) == (2, 3)
    assert document.value_mark(("a", "b", 7)) == (2, 3)
    assert document.mark(("x", "y")) == (1, 1)


def test_both_loaders_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, 'two', \"3\"]\nb: {c: *x, d: |\n    e\n  }\n"
    text = text.replace("{c: *x, d: |\n    e\n  }", "{c: *x, d: e}")
    fast = parse_yaml(text, "x.yaml")
    monkeypatch.setattr(source, "_Loader", yaml.BaseLoader)
    assert parse_yaml(text, "x.yaml") == fast


def places_of_problems(text: str) -> list[tuple[int, int]]:
    try:
        parse_yaml(text, "x.yaml")
    except ScenarioError as error:
        return [(problem.line, problem.column) for problem in error.problems] or [(0, 0)]
    return []


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcxyz_on017", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), _VALUES, min_size=1))
def test_json_is_read_as_what_it_says(value: dict[str, Any]) -> None:
    assert data(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(max_size=200))
def test_any_text_is_data_or_problems(text: str) -> None:
    assert all(place >= (1, 1) for place in places_of_problems(text))


@given(st.text("ab:-[]{}&*!|>'\"%@`,?#$ \t\n0", max_size=60))
def test_any_yaml_like_text_is_data_or_problems(text: str) -> None:
    assert all(place >= (1, 1) for place in places_of_problems(text))


def test_excerpt_of_a_line_without_end_is_the_part_around_the_column() -> None:
    text = "a: [" + "x" * 100_000 + ", here, " + "y" * 100_000 + "]\n"
    excerpt = parse_yaml(text, "x.yaml").excerpt(1, text.index("here") + 1)
    line, caret = excerpt.split("\n")
    assert len(line) < 1100
    assert line[caret.index("^") :].startswith("here")


@pytest.mark.parametrize(
    "text, nulls, placeholders",
    [
        ("a: [b, 1]", False, False),
        ("a: ~", True, False),
        ("a: [&x , *x]", True, False),
        ("a: '~'", False, False),
        ('a: "${x}"', False, True),
        ('a: "\\x24{x}"', False, True),
    ],
)
def test_document_says_whether_there_may_be_nulls_and_placeholders(
    text: str, nulls: bool, placeholders: bool
) -> None:
    """What is looked for in all of the data is not looked for where it cannot be."""
    document = parse_yaml(text, "a.yaml")
    assert (document.has_nulls, document.has_placeholders) == (nulls, placeholders)
