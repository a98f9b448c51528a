"""Files that `check` found valid before: which it need not check again, and which it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.cli import checked_file, known_valid
from envoyassert.scenario.config_files import stands_alone
from envoyassert.scenario.load import load_scenario, parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.source import parse_yaml
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: one
envoy: {config: {static_resources: {listeners: []}}}
expect:
- process: {stays_up: true}
"""
VALID = "1 of 1 scenario files are valid\n"
UNCLEAR = SCENARIO.replace("stays_up", "stay_up")


@pytest.fixture
def nothing_is_known():
    """What is known is what is tested here."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    """Where notes are kept, in a cache of the test's own."""
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/valid"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "one.yaml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def checked(monkeypatch) -> list[str]:
    """The names of the files that are checked."""
    names: list[str] = []
    real = checked_file.check_file

    def noted(file: Path, **options: object) -> checked_file.Checked:
        names.append(file.name)
        return real(file, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(checked_file, "check_file", noted)
    return names


def test_file_that_is_as_it_was_is_not_read_as_a_scenario_again(file):
    loaded = []
    for _ in range(2):
        code = (
            "import contextlib, json, sys\n"
            "from envoyassert.cli import main\n"
            f"with contextlib.suppress(SystemExit): main(['check', {str(file)!r}])\n"
            "print(json.dumps(sorted(sys.modules)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stderr.decode() == VALID
        loaded.append({"pydantic", "yaml"} & set(json.loads(done.stdout)))
    assert loaded == [{"pydantic", "yaml"}, set()]


def test_only_what_was_found_valid_is_passed_over(cli, file, checked):
    other = file.with_name("two.yaml")
    other.write_text(UNCLEAR.replace("one", "two"))
    for _ in range(2):
        done = cli("check", file.parent)
        assert (done.code, done.err) == (4, "1 of 2 scenario files are valid\n")
        assert "stay_up" in done.out
    assert checked == ["one.yaml", "two.yaml", "two.yaml"]


def test_change_of_the_text_is_checked_and_the_way_back_is_known(cli, file, checked):
    assert cli("check", file).code == 0
    file.write_text(UNCLEAR)
    assert cli("check", file).code == 4
    file.write_text(SCENARIO)
    assert cli("check", file).code == 0
    assert checked == ["one.yaml"] * 2


def test_the_same_text_in_a_file_of_another_name_is_checked(cli, file):
    assert cli("check", file).code == 0
    renamed = file.rename(file.with_name("other.yaml"))
    done = cli("check", renamed)
    assert (done.code, "the file is called `other.yaml`" in done.out) == (4, True)


def test_a_warning_is_said_each_time(cli, file):
    file.write_text(SCENARIO + "- {listener: {port: 1}, bound: {times: '>=0'}}\n")
    said = [cli("check", file) for _ in range(2)]
    assert "warning" in said[0].out
    assert said[0] == said[1]


@pytest.mark.parametrize("options", [("--untrusted",), ("--attached",)])
def test_other_questions_about_a_known_file_are_asked(cli, file, checked, options):
    for arguments in ((), options, options):
        assert cli("check", file, *arguments).code == 0
    assert checked == ["one.yaml"] * 3


BESIDE = {
    "a config": "{config: other.yaml}",
    "a file that a config names": "{config: {admin: {filename: other.yaml}}}",
    "a file of the run": "{config: {}, files: {f.yaml: {from: other.yaml}}}",
    "a file that stands in": "{config: {}, stand_in: {/etc/x.yaml: {file: other.yaml}}}",
    "what a control plane serves": "{config: {}, xds: {listeners: {from: other.yaml}}}",
    "a file that is not said where": "{}",
}


@pytest.mark.parametrize("envoy", BESIDE.values(), ids=BESIDE)
def test_scenario_that_looks_at_other_files_does_not_stand_alone(envoy, tmp_path):
    text = f"name: one\nenvoy: {envoy}\nexpect: []\n"
    assert not stands_alone(parse_yaml(text, "one.yaml").data)


def test_config_beside_a_scenario_is_read_each_time(cli, file):
    file.write_text(
        SCENARIO.replace("{config: {static_resources: {listeners: []}}}", "{config: e}")
    )
    beside = file.with_name("e")
    beside.write_text("static_resources: {listeners: []}\n")
    assert cli("check", file).code == 0
    beside.write_text("static_resources: [")
    assert cli("check", file).code == 4


def test_shipped_scenarios_that_stand_alone_are_the_same_in_a_place_without_files(tmp_path):
    alone = 0
    for path in sorted((ROOT / "scenarios").glob("*.yaml")):
        loaded = load_scenario(path)
        if stands_alone(loaded.document.data):
            alone += 1
            elsewhere = parse_scenario(loaded.text, path, directory=tmp_path)
            assert [_given(plan) for plan in expand(loaded)] == [
                _given(plan) for plan in expand(elsewhere)
            ]
    assert alone > 20


def _given(plan) -> tuple[object, ...]:
    return plan.id, plan.config, plan.files, plan.expectations, plan.listeners


def damaged(notes: Path) -> None:
    notes.write_bytes(notes.read_bytes()[:-1])


def of_another_state(notes: Path) -> None:
    notes.rename(notes.with_name("0" * 64 + notes.suffix))


def group_may_write(notes: Path) -> None:
    notes.chmod(0o620)


def others_may_write_beside(notes: Path) -> None:
    notes.parent.chmod(0o777)


@pytest.mark.parametrize(
    "attack", [damaged, of_another_state, group_may_write, others_may_write_beside]
)
def test_notes_that_are_not_as_they_were_kept_are_none(cli, file, checked, place, attack):
    assert cli("check", file).code == 0
    (notes,) = place.iterdir()
    attack(notes)
    assert cli("check", file).err == VALID
    assert checked == ["one.yaml"] * 2


def test_where_nothing_can_be_kept_all_is_checked(cli, file, checked, place):
    place.parent.write_text("no directory")
    for _ in range(2):
        assert cli("check", file).err == VALID
    assert checked == ["one.yaml"] * 2


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """A package with the module that looks for its files."""
    package = tmp_path / "package"
    (package / "cli").mkdir(parents=True)
    (package / "words").mkdir()
    (package / "words/one.py").write_text("LIMIT = 1\n")
    monkeypatch.setattr(known_valid, "__file__", str(package / "cli/known_valid.py"))
    return package


def changed(package: Path) -> None:
    module = package / "words/one.py"
    times = (module.stat().st_atime_ns, module.stat().st_mtime_ns)
    module.write_text("LIMIT = 2\n")
    os.utime(module, ns=times)


CHANGES = {
    "a module, of the same size and time": changed,
    "a new module": lambda package: (package / "words/two.py").touch(),
    "a module that was removed": lambda package: (package / "words/one.py").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_notes_are_of_one_state_of_the_code(cli, file, checked, package, change):
    for _ in range(2):
        assert cli("check", file).code == 0
    change(package)
    assert cli("check", file).code == 0
    assert checked == ["one.yaml"] * 2


def test_notes_are_of_one_version_of_a_library(cli, file, checked, monkeypatch, package):
    for library in ("csv", "json"):
        monkeypatch.setattr(known_valid, "_LIBRARIES", (library,))
        for _ in range(2):
            assert cli("check", file).code == 0
    assert checked == ["one.yaml"] * 2


def test_code_that_is_in_no_directory_keeps_nothing(cli, file, checked, monkeypatch, tmp_path):
    monkeypatch.setattr(known_valid, "__file__", str(tmp_path / "all.zip/package/cli/x.py"))
    for _ in range(2):
        assert cli("check", file).code == 0
    assert checked == ["one.yaml"] * 2
