"""Overlays: what merges, what replaces, what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from envoyassert.scenario.overlay import OverlayError, map_text, merge, set_at

CONFIG: dict[str, Any] = {
    "admin": {"address": {"port": 9901}},
    "listeners": [
        {"name": "a", "port": 1, "options": [1, 2]},
        {"name": "b", "port": 2},
        {"name": "b.c", "port": 3},
    ],
}


@pytest.mark.parametrize(
    "overlay, changed",
    [
        ({}, {}),
        ({"admin": {"path": "/x"}}, {"admin": {"address": {"port": 9901}, "path": "/x"}}),
        ({"admin": "text"}, {"admin": "text"}),
        ({"admin": {"address": {"port": 1}}}, {"admin": {"address": {"port": 1}}}),
        ({"listeners": []}, {"listeners": []}),
        ({"node": {"id": "n", "gone": None}}, {"node": {"id": "n"}}),
    ],
)
def test_mapping_merges_and_other_values_replace(
    overlay: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert merge(CONFIG, overlay) == {**CONFIG, **changed}


def test_null_removes_a_key() -> None:
    assert merge(CONFIG, {"admin": {"address": None}})["admin"] == {}


@pytest.mark.parametrize(
    "key, ports", [("0", [9, 2, 3]), ("b", [1, 9, 3]), ("b.c", [1, 2, 9]), ("*", [9, 9, 9])]
)
def test_mapping_in_place_of_a_list_names_elements(key: str, ports: list[int]) -> None:
    merged = merge(CONFIG, {"listeners": {key: {"port": 9}}})
    assert [listener["port"] for listener in merged["listeners"]] == ports
    assert merged["listeners"][0]["name"] == "a"


def test_null_removes_elements_by_their_first_indexes() -> None:
    merged = merge(CONFIG, {"listeners": {"0": None, "2": None, "1": {"port": 7}}})
    assert merged["listeners"] == [{"name": "b", "port": 7}]


def test_star_removes_a_key_from_elements_that_have_it() -> None:
    merged = merge(CONFIG, {"listeners": {"*": {"options": None}}})
    assert all("options" not in listener for listener in merged["listeners"])
    assert len(merged["listeners"]) == 3


def test_config_stays_as_it_was() -> None:
    before = copy.deepcopy(CONFIG)
    merged = merge(CONFIG, {"listeners": {"*": {"port": 9}}, "admin": None})
    set_at(CONFIG, ("listeners", "*", "port"), 8)
    assert before == CONFIG
    assert merged != CONFIG


@pytest.mark.parametrize(
    "overlay, path, message, remedy",
    [
        (
            {"listeners": {"3": {}}},
            ("listeners", "3"),
            "there is no element 3; the list has 3",
            "the last one is 2",
        ),
        (
            {"listeners": {"bb": {}}},
            ("listeners", "bb"),
            "no element of the list is named `bb`",
            "did you mean `b`?",
        ),
        (
            {"listeners": {"zzz": {}}},
            ("listeners", "zzz"),
            "no element of the list is named `zzz`",
            "their names: a, b, b.c",
        ),
        (
            {"listeners": {"a": {"options": {"one": 1}}}},
            ("listeners", "a", "options", "one"),
            "no element of the list is named `one`",
            "write an index, or * for all",
        ),
        (
            {"listners": {"0": {}}},
            ("listners",),
            "there is no list `listners`",
            "did you mean `listeners`?",
        ),
        ({"admi": None}, ("admi",), "there is no `admi` to remove", "did you mean `admin`?"),
    ],
)
def test_overlay_that_does_not_fit_is_refused(
    overlay: dict[str, Any], path: tuple[str, ...], message: str, remedy: str
) -> None:
    with pytest.raises(OverlayError) as caught:
        merge(CONFIG, overlay)
    assert (caught.value.path, caught.value.message, caught.value.remedy) == (
        path,
        message,
        remedy,
    )


def test_name_of_several_elements_is_refused() -> None:
    with pytest.raises(OverlayError, match="several elements are named `x`"):
        merge([{"name": "x"}, {"name": "x"}], {"x": {}})


def test_value_is_set_along_a_path() -> None:
    assert set_at(CONFIG, ("listeners", "b", "port"), 5)["listeners"][1] == {"name": "b", "port": 5}
    assert set_at(CONFIG, ("admin", "new"), True)["admin"]["new"] is True


@pytest.mark.parametrize(
    "parts, message",
    [
        (("admn", "x"), "the config has no `admn`"),
        (("admin", "addres", "x"), "the config has no `admin.addres`"),
        (("admin", "address", "port", "x"), "`admin.address.port` has no members"),
        (("listeners", "9", "x"), "there is no element 9; the list has 3"),
    ],
)
def test_path_through_what_is_not_there_is_refused(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(OverlayError) as caught:
        set_at(CONFIG, parts, 1)
    assert caught.value.message == message


def test_text_is_mapped_and_the_rest_is_shared() -> None:
    changed = map_text(CONFIG, lambda text: text.replace("b.c", "d"))
    assert changed["listeners"][2]["name"] == "d"
    assert changed["admin"] is CONFIG["admin"]
    assert map_text(CONFIG, lambda text: text) is CONFIG
