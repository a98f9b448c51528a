"""One line for pytest's configuration, in whichever file holds it, and nothing else changed."""

import pytest

from envoyassert.errors import ScenarioError
from envoyassert.starter.pytest_config import test_directories as directories
from envoyassert.starter.pytest_config import with_envoy

VERSION = "1.2.3"
INI_LINE = f"envoyassert_envoy = {VERSION}"
TOML_LINE = f'envoyassert_envoy = ["{VERSION}"]'


def without_added(text: str) -> list[str]:
    return [line for line in text.split("\n") if "envoyassert" not in line.lower()]


def test_without_any_file_pytest_ini_is_made():
    edit = with_envoy({}, VERSION)
    assert (edit.name, edit.new) == ("pytest.ini", True)
    assert edit.text is not None
    lines = edit.text.splitlines()
    assert (lines[0], lines[-1]) == ("[pytest]", INI_LINE)


def test_pyproject_without_a_section_is_extended_at_its_end():
    before = '[project]\nname = "x"  # no newline at the end'
    edit = with_envoy({"pyproject.toml": before, "tox.ini": "[tox]\n"}, VERSION)
    assert (edit.name, edit.new) == ("pyproject.toml", False)
    assert edit.text is not None
    assert edit.text.startswith(before + "\n\n[tool.pytest.ini_options]\n")
    assert edit.text.endswith(f"\n{TOML_LINE}\n")


@pytest.mark.parametrize(
    "name, before, line",
    [
        ("pytest.ini", "# mine\n[pytest]\naddopts = -ra\n", INI_LINE),
        ("tox.ini", "[tox]\nx = 1\n[pytest]\n# why\naddopts = -ra\n[other]\ny=2\n", INI_LINE),
        ("setup.cfg", "[tool:pytest]\naddopts=-ra", INI_LINE),
        ("pyproject.toml", '[tool.pytest.ini_options] # x\naddopts = "-ra"\n', TOML_LINE),
        ("pyproject.toml", "[ tool . pytest.ini_options ]\n[tool.x]\n", TOML_LINE),
        ("pyproject.toml", '[tool.pytest]\naddopts = ["-ra"]\n', TOML_LINE),
        ("pytest.toml", "[pytest]\nstrict = true\n", TOML_LINE),
        ("pytest.ini", "[pytest]\r\naddopts = -ra\r\n", INI_LINE + "\r"),
    ],
)
def test_section_that_is_there_gets_one_line_and_keeps_the_rest(name, before, line):
    edit = with_envoy({"setup.cfg": "[x]\n", name: before}, VERSION)
    assert (edit.name, edit.to_add) == (name, "")
    assert edit.text is not None
    assert line in edit.text.split("\n")
    assert without_added(edit.text) == before.split("\n")


@pytest.mark.parametrize("name", ["pytest.ini", ".pytest.ini", "pytest.toml"])
def test_file_of_pytests_own_counts_even_if_it_is_empty(name):
    edit = with_envoy({name: "", "pyproject.toml": "[tool.pytest.ini_options]\n"}, VERSION)
    assert edit.name == name


def test_option_that_is_set_stays():
    files = {"setup.cfg": "[tool:pytest]\nenvoyassert_envoy = 9.9.9\n"}
    edit = with_envoy(files, VERSION)
    assert (edit.name, edit.text, edit.to_add) == ("setup.cfg", None, "")


@pytest.mark.parametrize(
    "before",
    [
        'tool.pytest.ini_options = {addopts = "-ra"}\n',
        '[tool]\npytest.ini_options.addopts = "-ra"\n',
    ],
)
def test_section_without_a_header_is_left_to_the_user(before):
    edit = with_envoy({"pyproject.toml": before}, VERSION)
    assert edit.text is None
    assert TOML_LINE in edit.to_add


def test_header_inside_a_text_is_not_taken_for_one():
    before = 'x = """\n[tool.pytest.ini_options]\n"""\n[tool.pytest]\nini_options.addopts = "-ra"\n'
    edit = with_envoy({"pyproject.toml": before}, VERSION)
    assert edit.text is None
    assert edit.to_add


@pytest.mark.parametrize(
    "name, text, place",
    [
        ("pyproject.toml", "[project]\nname = \n", "pyproject.toml:2:"),
        ("pytest.ini", "[pytest]\nx\n", "pytest.ini:2:1: error: "),
        ("tox.ini", "[pytest]\na = 1\na = 2\n", "tox.ini:3:1: error: "),
    ],
)
def test_file_that_cannot_be_parsed_is_a_problem_with_its_place(name, text, place):
    with pytest.raises(ScenarioError) as caught:
        with_envoy({name: text}, VERSION)
    assert str(caught.value).startswith(place)
    assert "repair it first" in str(caught.value)


@pytest.mark.parametrize(
    "files, found",
    [
        ({}, []),
        ({"pytest.ini": "[pytest]\ntestpaths = tests/ 'other tests'\n"}, ["tests", "other tests"]),
        ({"pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["a", "b*"]\n'}, ["a"]),
    ],
)
def test_directories_are_those_of_testpaths(files, found):
    assert directories(files) == found
