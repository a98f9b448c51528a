"""Untrusted scenario files: what is refused, and that nothing beside them is executed."""

from __future__ import annotations

import os
import sys

import pytest

from tests.plugin.conftest import INNER_CONFTEST, SCENARIO

SCENARIO = SCENARIO.replace("  env: {{FAKE: {fake}}}\n", "")
BINARY = SCENARIO.replace("envoy:\n", "envoy:\n  binary: ./envoy\n")
TOUCH = "open({!r}, 'w').close()\n"


@pytest.fixture
def caller(tmp_path_factory, monkeypatch, pytester):
    """The made-up Envoy as a plugin that the caller names: the directory has no conftest.py."""
    place = tmp_path_factory.mktemp("caller")
    (place / "made_up_envoy.py").write_text(INNER_CONFTEST)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("PYTEST_PLUGINS", f"{os.environ['PYTEST_PLUGINS']},made_up_envoy")
    return pytester


@pytest.fixture
def write(pytester):
    """A function that writes a scenario and returns the name of its file."""

    def write(name="one", text=SCENARIO):
        file = pytester.path / f"{name}.envoyassert.yaml"
        file.write_text(text.format(name=name, head=""))
        return file.name

    return write


@pytest.fixture
def run(caller):
    return lambda *arguments: caller.run(sys.executable, "-m", "envoyassert", "run", *arguments)


CODE = {
    "conftest.py": ("conftest.py", "{touch}"),
    "a plugin of the ini file": ("pytest.ini", "[pytest]\npythonpath = .\naddopts = -p evil\n"),
    "a plugin of pyproject.toml": (
        "pyproject.toml",
        '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = "-p evil"\n',
    ),
    "a package": ("__init__.py", "{touch}"),
}


@pytest.fixture(params=list(CODE.values()), ids=list(CODE))
def marker(request, pytester):
    """A file that code beside the scenario leaves behind, if it is executed."""
    path = pytester.path.parent / f"{pytester.path.name}.marker"
    touch = TOUCH.format(str(path))
    name, text = request.param
    (pytester.path / name).write_text(text.format(touch=touch))
    (pytester.path / "evil.py").write_text(touch)
    return path


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "workers"])
def test_nothing_beside_untrusted_files_is_executed(write, run, marker, workers):
    write()
    trusted = run(".", *workers)
    trusted.stdout.fnmatch_lines(["*1 passed*"])
    assert marker.exists()
    marker.unlink()
    result = run(".", "--untrusted", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 run executed: 1 passed*"])
    assert not marker.exists()


def test_tests_in_python_are_not_collected(write, run, pytester):
    write()
    path = pytester.path / "touched"
    (pytester.path / "test_it.py").write_text(TOUCH.format(str(path)) + "def test_it(): pass\n")
    result = run("test_it.py", "--untrusted")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: test_it.py is untrusted, and no YAML: *"])
    assert run(".", "--untrusted").ret == 0
    assert not path.exists()
    assert run("test_it.py").ret == 0
    assert path.exists()


def test_nothing_is_written_through_links_of_the_directory(write, run, pytester, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in (".pytest_cache", "out"):
        (pytester.path / name).symlink_to(elsewhere)
    write()
    result = run(".", "--untrusted", "--junitxml=out/junit.xml")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --junitxml: out is a link, and files here are untrusted*"])
    assert run(".", "--untrusted", "--junitxml=junit.xml").ret == 0
    assert (pytester.path / "junit.xml").exists()
    assert list(elsewhere.iterdir()) == []
    assert run(".").ret == 0
    assert list(elsewhere.iterdir()) != []


REFUSED = "two.envoyassert.yaml:4:3: error: the scenario is untrusted, and names an executable (*)"
WAYS = {
    "option": (("--envoyassert-untrusted",), "", ""),
    "variable": ((), "1", ""),
    "ini file": ((), "", "true"),
    "ini file that takes it back": (("--envoyassert-untrusted",), "", "false"),
    "variable that takes it back": ((), "0", "true"),
}


@pytest.mark.parametrize(("words", "variable", "ini"), WAYS.values(), ids=WAYS)
def test_nothing_is_run_where_one_of_the_files_is_refused(
    write, caller, monkeypatch, words, variable, ini
):
    write()
    write("two", BINARY)
    assert caller.runpytest_subprocess().ret == 0
    monkeypatch.setenv("ENVOYASSERT_UNTRUSTED", variable)
    if ini:
        caller.makeini(f"[pytest]\nenvoyassert_untrusted = {ini}\n")
    result = caller.runpytest_subprocess(*words)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([REFUSED])
    result.assert_outcomes(errors=1)


@pytest.mark.parametrize(("words", "code"), [((), 4), (("--against", "1.36.4"), 2)])
def test_command_refuses_before_anything_is_run(write, run, words, code):
    write()
    write("two", SCENARIO.replace("envoy:\n", "envoy:\n  env: {{LD_PRELOAD: ./x.so}}\n"))
    result = run(".", "--untrusted", *words)
    assert result.ret == code
    result.stdout.fnmatch_lines(
        ["two.envoyassert.yaml:4:9: error: the scenario is untrusted, and sets the variable *"]
    )
    result.stdout.no_fnmatch_line("*passed*")


def test_command_takes_it_from_the_environment(write, run, monkeypatch):
    write("two", BINARY)
    monkeypatch.setenv("ENVOYASSERT_UNTRUSTED", "true")
    result = run(".")
    assert result.ret == 4
    result.stdout.fnmatch_lines([REFUSED])
    assert run(".", "--envoy", "1.36.4").ret == 0


def test_unknown_word_in_the_environment_is_an_error(write, run, caller, monkeypatch):
    write()
    monkeypatch.setenv("ENVOYASSERT_UNTRUSTED", "perhaps")
    result = run(".")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*'perhaps'*"])
    result = caller.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: environment variable ENVOYASSERT_UNTRUSTED: `perhaps` *"])


def test_session_says_that_files_are_untrusted(write, caller):
    write()
    result = caller.runpytest_subprocess("--envoyassert-untrusted")
    result.stdout.fnmatch_lines(
        ["envoyassert: launcher auto; Envoy as each scenario says; untrusted"]
    )


def test_envoy_of_a_test_in_python_is_refused_the_same(caller):
    caller.makepyfile(
        "def test_it(envoy_factory):\n    envoy_factory(config={}, binary='./envoy')\n"
    )
    result = caller.runpytest_subprocess("--envoyassert-untrusted")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the scenario is untrusted, and names an executable*"])


def test_collecting_executes_conftest_and_nothing_of_a_scenario(write, pytester):
    touched = pytester.path / "touched"
    binary = pytester.path / "envoy"
    binary.write_text(f"#!/bin/sh\ntouch {touched}.executed\n")
    binary.chmod(0o755)
    write("one", BINARY)
    agent = f"requires: {{{{launcher: process}}}}\nenvoy:\n  agent: [{binary}]\n"
    write("two", SCENARIO.replace("envoy:\n", agent))
    (pytester.path / "conftest.py").write_text(TOUCH.format(f"{touched}.conftest"))
    result = pytester.runpytest_subprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::one", "*::two"])
    words = ("-m", "envoyassert", "run", "--collect-only", ".")
    assert (result.ret, pytester.run(sys.executable, *words).ret) == (0, 0)
    assert [path.name for path in pytester.path.glob("touched*")] == ["touched.conftest"]
