"""init: what it writes, and that it takes nothing away."""

from __future__ import annotations

import os
import re
import stat
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from envoyassert.starter.files import requirement
from tests.unit.cli_words import run_cli

SCENARIO = "scenarios/first.envoyassert.yaml"
GITHUB = ".github/workflows/envoyassert.yml"
GITLAB_JOB = ".gitlab/envoyassert.gitlab-ci.yml"
GITLAB = ".gitlab-ci.yml"
IGNORED = ".gitignore"


@pytest.fixture
def init(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_cli(capsys, "init", *arguments)


def contents(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_text() for path in files}


def words(out: str) -> dict[str, str]:
    """The result of each file, by its name."""
    return {name: word for word, name in re.findall(r"^(\w+) +(\S+)  ", out, re.MULTILINE)}


def test_init_of_an_empty_directory_writes_four_files_that_are_valid(init, capsys, tmp_path):
    done = init()
    assert done.code == 0
    assert set(contents(tmp_path)) == {SCENARIO, "pytest.ini", IGNORED, GITHUB}
    assert words(done.out) == dict.fromkeys((SCENARIO, "pytest.ini", IGNORED, GITHUB), "wrote")
    assert run_cli(capsys, "check").code == 0
    assert "@" not in (tmp_path / GITHUB).read_text().replace("@v", "")


def test_init_makes_the_directory_that_it_is_given(init, tmp_path):
    done = init("new/repository", "--ci", "none")
    assert set(contents(tmp_path / "new/repository")) == {SCENARIO, "pytest.ini", IGNORED}
    assert f"envoyassert check new/repository/{Path(SCENARIO).parent}\n" in done.out


def test_init_again_changes_nothing_and_says_what_exists(init, tmp_path):
    init()
    before = contents(tmp_path)
    again = init()
    assert again.code == 0
    assert contents(tmp_path) == before
    assert set(words(again.out).values()) == {"exists"}


def test_init_leaves_what_differs_unless_forced(init, tmp_path):
    init()
    fresh = contents(tmp_path)
    (tmp_path / SCENARIO).write_text("mine")
    (tmp_path / GITHUB).write_text("mine")
    (tmp_path / "pytest.ini").write_text("[pytest]\nenvoyassert_envoy = 9.9.9\n")
    again = init()
    assert again.out.count("left as it is; --force replaces it") == 2
    assert (tmp_path / SCENARIO).read_text() == "mine"
    forced = init("--force")
    assert words(forced.out)[SCENARIO] == "replaced"
    assert contents(tmp_path) == {
        **fresh,
        "pytest.ini": "[pytest]\nenvoyassert_envoy = 9.9.9\n",
    }


def test_init_for_gitlab_writes_a_job_and_its_include(init, tmp_path):
    assert init("--ci", "gitlab").code == 0
    assert yaml.safe_load((tmp_path / GITLAB).read_text()) == {"include": [{"local": GITLAB_JOB}]}
    assert "envoyassert" in yaml.safe_load((tmp_path / GITLAB_JOB).read_text())
    assert set(words(init("--ci", "gitlab").out).values()) == {"exists"}


def test_init_beside_a_gitlab_file_says_what_to_add_to_it_even_if_forced(init, tmp_path):
    (tmp_path / GITLAB).write_text("test: {script: make}\n")
    done = init("--ci", "gitlab", "--force")
    assert (tmp_path / GITLAB).read_text() == "test: {script: make}\n"
    assert f"add to it:\ninclude:\n  - local: {GITLAB_JOB}\n" in done.out


def test_init_extends_the_configuration_that_is_there_and_keeps_its_mode(init, tmp_path):
    real = tmp_path / "shared.toml"
    real.write_text('[project]\nname = "x"\n')
    real.chmod(0o640)
    (tmp_path / "pyproject.toml").symlink_to(real)
    assert words(init().out)["pyproject.toml"] == "extended"
    assert (tmp_path / "pyproject.toml").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_text().startswith('[project]\nname = "x"\n\n[tool.pytest.ini_options]\n')


def test_init_writes_through_no_link_that_leads_out(init, tmp_path):
    outside = tmp_path / "outside"
    (outside / "ci").mkdir(parents=True)
    for name, text in (("pytest.ini", "[pytest]\n"), (".gitignore", "*.o\n")):
        (outside / name).write_text(text)
    before = contents(outside)
    (tmp_path / "sub").mkdir()
    for name in ("pytest.ini", ".gitignore"):
        (tmp_path / "sub" / name).symlink_to(outside / name)
    done = init("sub", "--ci", "none")
    assert (words(done.out)["pytest.ini"], words(done.out)[".gitignore"]) == ("exists", "exists")
    assert "leads out of the repository" in done.out
    (tmp_path / "sub" / ".github").symlink_to(outside / "ci")
    done = init("sub")
    assert done.code == 77
    assert ".github is a link" in done.err
    assert contents(outside) == before


def test_init_puts_scenarios_where_pytest_looks(init, tmp_path):
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\ntestpaths = absent tests/unit\n")
    assert init().code == 0
    place = "tests/unit/scenarios"
    assert (tmp_path / place / "first.envoyassert.yaml").exists()
    assert f'envoyassert" run {place} ' in (tmp_path / GITHUB).read_text()


def test_init_given_a_broken_configuration_writes_nothing(init, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/pyproject.toml").write_text("[project\n")
    done = init("sub")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("sub/pyproject.toml:1:9: error: ")
    assert set(contents(tmp_path)) == {"sub/pyproject.toml"}


def test_init_given_a_configuration_that_is_no_text_says_so(init, tmp_path):
    (tmp_path / "pytest.ini").write_bytes(b"[pytest]\n# caf\xe9\n")
    done = init()
    assert done.code == 4
    assert done.err == "pytest.ini: error: byte 14 is not UTF-8 (save it as UTF-8)\n"


def test_init_given_a_configuration_nested_too_deep_says_so(init, tmp_path):
    (tmp_path / "pyproject.toml").write_text(f"a = {'[' * 100_000}")
    done = init()
    assert done.code == 4
    assert done.err.startswith("pyproject.toml:1:1: error: it is nested too deep (")


@pytest.mark.parametrize("name", ["pytest.ini", IGNORED])
def test_init_waits_for_no_fifo(init, tmp_path, name):
    os.mkfifo(tmp_path / name)
    done = init()
    assert done.code == 77
    assert f"{name} cannot be " in done.err


def test_init_given_a_file_is_a_usage_error(init, tmp_path):
    (tmp_path / "file").touch()
    assert init("file").code == 4


def test_init_where_a_directory_cannot_be_made_names_a_remedy(init, tmp_path):
    (tmp_path / "scenarios").touch()
    done = init()
    assert done.code == 77
    assert "cannot be written: Not a directory\n  remedy: " in done.err.replace(
        "File exists", "Not a directory"
    )


def test_init_below_a_repository_says_that_its_ci_file_counts_nowhere(init, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    assert "note: CI files count in the root" in init("sub").out
    assert "note:" not in init("sub", "--ci", "none").out
    assert "note:" not in init().out


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (None, ".envoyassert/\n", "wrote"),
        ("", ".envoyassert/\n", "extended"),
        ("/build/\n*.log", "/build/\n*.log\n.envoyassert/\n", "extended"),
        ("/.envoyassert/\n", "/.envoyassert/\n", "exists"),
        (".envoyassert\n", ".envoyassert\n", "exists"),
        ("#.envoyassert/\n", "#.envoyassert/\n.envoyassert/\n", "extended"),
    ],
)
def test_init_keeps_traces_out_of_commits(init, tmp_path, before, after, word):
    if before is not None:
        (tmp_path / IGNORED).write_text(before)
    done = init()
    assert (tmp_path / IGNORED).read_text() == after
    assert words(done.out)[IGNORED] == word


def test_ignored_files_that_are_no_text_are_left_alone(init, tmp_path):
    (tmp_path / IGNORED).write_bytes(b"caf\xe9\n")
    done = init()
    assert (tmp_path / IGNORED).read_bytes() == b"caf\xe9\n"
    assert ".gitignore: add to it:\n.envoyassert/\n" in done.out


WHEEL = "./wheels/envoyassert-1.2.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("origin", "text", "made_by"),
    [
        (None, "envoyassert==1.2.0", ""),
        (
            {"url": "https://host/e.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}},
            "envoyassert @ git+https://host/e.git@ab12",
            "",
        ),
        ({"url": "https://host/e.whl", "archive_info": {}}, "envoyassert @ https://host/e.whl", ""),
        (
            {"url": "file:///home/a%20b/e", "dir_info": {"editable": True}},
            WHEEL,
            "python -m pip wheel --no-deps --wheel-dir wheels '/home/a b/e'",
        ),
        (
            {"url": "file:///tmp/e.whl", "archive_info": {}},
            WHEEL,
            "python -m pip wheel --no-deps --wheel-dir wheels /tmp/e.whl",
        ),
    ],
)
def test_ci_installs_what_can_be_installed_there(origin, text, made_by):
    found = requirement("1.2.0", origin)
    assert (found.text, found.made_by) == (text, made_by)


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_ci_file_and_what_init_prints_name_the_same_install(init, tmp_path, monkeypatch, kind):
    origin = {"url": "file:///src/envoyassert", "dir_info": {}}
    monkeypatch.setattr("envoyassert.cli.init._origin", lambda: origin)
    done = init("--ci", kind)
    wanted = requirement(version("envoyassert"), origin)
    written = (tmp_path / (GITHUB if kind == "github" else GITLAB_JOB)).read_text()
    assert f'REQUIREMENT: "{wanted.text}"' in written
    assert f"CI installs {wanted.text}: {wanted.made_by}\n" in done.out
