"""Every broken scenario is shown in full: where, what, and what now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from envoyassert.errors import Problem, ScenarioError
from envoyassert.input_file import MAX_SCENARIO
from envoyassert.ranges import (
    MOST_EXPECTATIONS,
    MOST_FILES,
    MOST_IN_ORDER,
    MOST_STEPS,
    MOST_VARIABLES,
)
from envoyassert.scenario import source
from envoyassert.scenario.load import load_scenario, parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.words.listener import ListenerExpectation

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(path.name for path in BROKEN.glob("*.yaml"))
_KEYS = ", ".join(ListenerExpectation.model_fields)
EXPECTED = [
    line.replace("LISTENER_KEYS", _KEYS)
    for line in (BROKEN / "problems.txt").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("loader", ["fast", "pure"])
@pytest.mark.parametrize("name", FILES)
def test_broken_scenario_names_every_problem(
    name: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BROKEN)
    if loader == "pure":  # what PyYAML has where it was built without libyaml
        monkeypatch.setattr(source, "_Loader", yaml.BaseLoader)
    with pytest.raises(ScenarioError) as caught:
        expand(load_scenario(Path(name)))
    expected = [line for line in EXPECTED if line.startswith(f"{name}:")]
    assert expected
    assert str(caught.value).splitlines() == expected


def test_problem_list_has_no_line_without_a_file() -> None:
    assert {line.partition(":")[0] for line in EXPECTED} == set(FILES)


def test_broken_scenarios_are_many_and_no_two_are_the_same() -> None:
    first = [next(line for line in EXPECTED if line.startswith(f"{name}:")) for name in FILES]
    messages = [line.split(": error: ")[1] for line in first]
    assert len(set(messages)) == len(FILES) >= 30


def test_corrected_scenario_loads() -> None:
    """The files above are refused for their one fault and not for what they have in common."""
    text = (BROKEN / "misplaced_key.yaml").read_text(encoding="utf-8")
    fixed = text.replace("    times: 1\n", "    bound: {times: 1}\n")
    assert fixed != text
    parse_scenario(fixed, Path("misplaced_key.yaml"))


def test_missing_file_is_a_problem_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(tmp_path / "absent.yaml")
    expected = f"{tmp_path}/absent.yaml: error: cannot be read: no such file or directory"
    assert str(caught.value) == expected


def test_directory_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"error: cannot be read: is a directory$"):
        load_scenario(tmp_path)


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (MAX_SCENARIO + 1))
    with pytest.raises(ScenarioError, match=r"error: the file is larger than 4 MiB$"):
        load_scenario(huge)


def test_file_that_never_ends_or_waits_for_a_writer_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "fifo.yaml", Path("/dev/zero")):
        with pytest.raises(ScenarioError, match=r"error: this is not a regular file$"):
            load_scenario(path)


def test_of_many_problems_the_first_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    many = tmp_path / "many.yaml"
    text = "name: many\nenvoy: {config: {}}\nexpect: [{process: {live: true}}]\n"
    many.write_text(text + "".join(f"key_{number}: 1\n" for number in range(103)))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(many)
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[99].startswith(f"{many}:103:1: error: `key_99` is not a key of a scenario")
    assert lines[100] == f"{many}: error: 3 more problems (these are the first)"


def test_a_long_value_is_quoted_in_part(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"name: x\ntimeout: {'9' * 5000}s\n", Path("x.yaml"))
    (said,) = (line for line in str(caught.value).splitlines() if "longer than a day" in line)
    assert f"`{'9' * 200}…`" in said


def test_a_long_problem_is_cut() -> None:
    problem = Problem("x.yaml", 1, 1, f"the field {'a' * 70_000} is not known", "leave it out")
    assert str(problem).startswith("x.yaml:1:1: error: the field aaa")
    assert len(str(problem)) < 2_100


def test_fault_in_config_file_is_located_in_that_file(tmp_path: Path) -> None:
    (tmp_path / "bootstrap.yaml").write_text("admin: {}\n<<: {}\n", encoding="utf-8")
    scenario = tmp_path / "cut.yaml"
    scenario.write_text(
        "name: other\nenvoy: {config: bootstrap.yaml}\nexpect: [{process: {live: true}}]\n",
        encoding="utf-8",
    )
    with pytest.raises(ScenarioError) as caught:
        load_scenario(scenario)
    assert [(Path(p.path).name, p.line, p.column) for p in caught.value.problems] == [
        ("cut.yaml", 1, 7),
        ("bootstrap.yaml", 2, 1),
    ]


def test_excerpt_shows_the_line_and_a_caret_under_the_fault() -> None:
    text = (
        "name: shown\n"
        "envoy: {config: {}}\n"
        "expect:\n"
        "  - listener: {port: 80}\n"
        "    bound: {times: 1, by: main}\n"
    )
    loaded = parse_scenario(text, Path("shown.yaml"))
    line, column = loaded.mark(("expect", 0, "bound", "by"))
    assert (line, column) == (5, 23)
    assert loaded.excerpt(line, column) == (
        "  3 | expect:\n"
        "  4 |   - listener: {port: 80}\n"
        "> 5 |     bound: {times: 1, by: main}\n"
        "    |                       ^"
    )
    assert loaded.excerpt(99, 1) == ""
    assert loaded.mark(("expect", 0, "listened", "via")) == (4, 5)


@pytest.mark.parametrize("stem", ["shown.yaml", "shown.yml", "shown.envoyassert.yaml"])
def test_name_equals_the_stem_whatever_the_suffix(stem: str) -> None:
    text = "name: shown\nenvoy: {config: {}}\nexpect: [{process: {live: true}}]\n"
    assert parse_scenario(text, Path(stem)).scenario.name == "shown"


LISTEN = "{call: listen}"
LONG = {
    "expectations": ("expect: [%s]", "{process: {live: true}}", MOST_EXPECTATIONS),
    "steps": (
        "steps: [%s]\nexpect: [{process: {live: true}}]",
        "{drain: {graceful: true}}",
        MOST_STEPS,
    ),
    "in_order": ("expect: [{in_order: [%s]}]", LISTEN, MOST_IN_ORDER),
    "in_order of a listener": (
        "expect: [{listener: {port: 1}, in_order: [%s]}]",
        LISTEN,
        MOST_IN_ORDER,
    ),
    "let": ("expect: [{listener: {port: 1}, let: {%s}}]", "n%d: socket", MOST_VARIABLES),
    "files": ("expect: [{process: {live: true}}]\nenvoy: {files: {%s}}", "f%d: x", MOST_FILES),
}


@pytest.mark.parametrize(("text", "item", "most"), LONG.values(), ids=LONG)
def test_longer_list_than_any_that_is_meant_is_refused_with_its_place(
    text: str, item: str, most: int
) -> None:
    items = [item % number if "%d" in item else item for number in range(most + 1)]
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"name: x\n{text % ', '.join(items)}\n", Path("x.yaml"))
    assert any(
        f"must be at most {most} items long, not {most + 1}" in problem.message
        for problem in caught.value.problems
    ), caught.value
