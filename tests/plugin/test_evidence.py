"""Where evidence is kept: each run has a place of its own, with a short name."""

import os
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import SCENARIO

FIELD = "static_resources.listeners.*.stat_prefix"
#: Values that differ in what no file's name, or no sensible one, may hold; and long ones.
VALUES = ["a b", "a/b", "a_b", "a-b", "a b/", "a", "a]", ".a", "é" * 140, "é" * 139, "..", ""]


@pytest.fixture
def run(fake_envoy):
    return lambda *arguments: fake_envoy.run(sys.executable, "-m", "pytest", *arguments)


def kept(directory: Path, *suffixes: str) -> dict[Path, str]:
    """Return what is in each kept file."""
    return {
        path.relative_to(directory): path.read_text()
        for path in directory.rglob("*")
        if path.name.endswith(suffixes)
    }


def scenario_with_values(name: str) -> str:
    """Return a scenario with a run for each value, which fails and says so in its log."""
    values = ", ".join(f'"{value}"' for value in VALUES)
    return SCENARIO.format(name=name, fake="reuse_port", head=f"matrix: {{{FIELD}: [{values}]}}")


@pytest.mark.parametrize("option", ["--envoyassert-artifacts=out", "--envoyassert-report=out"])
def test_every_run_keeps_its_own_trace_whatever_its_values(fake_envoy, run, option):
    (fake_envoy.path / "one.envoyassert.yaml").write_text(scenario_with_values("one"))
    assert run(option).ret == 1
    found = kept(fake_envoy.path / "out", ".ndjson")
    matrices = {text.splitlines()[0].partition('"matrix": ')[2] for text in found.values()}
    assert len(found) == len(matrices) == len(VALUES)
    assert max(len(os.fsencode(part)) for path in found for part in path.parts) < 120


def test_files_that_differ_in_their_suffix_alone_keep_a_trace_each(write_scenario, fake_envoy, run):
    for suffix in (".yaml", ".yml", ".envoyassert.yaml", ".envoyassert.yml"):
        write_scenario(name="both", fake="reuse_port", suffix=suffix)
    assert run("-o", "envoyassert_files=both.*").ret == 1
    assert {str(path.parent) for path in kept(fake_envoy.path / ".envoyassert", ".ndjson")} == {
        "both/both",
        "both.yaml/both",
        "both.yml/both",
        "both.envoyassert.yml/both",
    }


def test_file_outside_of_the_root_does_not_take_the_place_of_one_inside(
    write_scenario, fake_envoy, run, monkeypatch
):
    root, outside = fake_envoy.mkdir("root"), fake_envoy.mkdir("sub")
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "sub").mkdir()
    name = write_scenario(fake="reuse_port")
    text = (fake_envoy.path / name).read_text()
    for place in (root / "sub", outside):
        (place / name).write_text(text)
    monkeypatch.chdir(root)
    result = run("sub", "../sub", f"--rootdir={root}", f"--confcutdir={fake_envoy.path}")
    assert result.ret == 1
    assert len(kept(root / ".envoyassert", ".ndjson")) == 2


def test_axis_that_is_called_like_an_option_leaves_every_run_its_own_name(
    write_scenario, fake_envoy, run
):
    write_scenario(fake="reuse_port", head="matrix: {launcher: {a: {}, b: {}}}")
    run("--envoyassert-launcher=process,docker", "--envoyassert-report=out")
    assert len(kept(fake_envoy.path / "out", "trace.ndjson")) == 4
