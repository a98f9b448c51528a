"""The wheel holds what the checkout holds: package, probes, scenarios, entry points."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from the checkout, with the tools of this environment alone."""
    directory = tmp_path_factory.mktemp("dist")
    options = ["--wheel", "--no-isolation", "--outdir", str(directory)]
    result = subprocess.run(
        [sys.executable, "-m", "build", *options, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = directory.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.parametrize(
    "source, target",
    [
        ("envoyassert", "envoyassert"),
        ("bpf", "envoyassert/_bpf"),
        ("scenarios", "envoyassert/_scenarios"),
    ],
)
def test_wheel_holds_every_file_of_a_directory(wheel, source, target):
    files = {
        path.relative_to(ROOT / source).as_posix()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files
    assert {f"{target}/{name}" for name in files} - set(wheel.namelist()) == set()


def test_wheel_has_nothing_beside_the_package(wheel):
    """Neither tests nor contrib/, say."""
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"envoyassert"}


def test_wheel_declares_the_command_and_the_plugin_but_not_bcc(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert wheel.read(entry_points).decode().split("\n\n") == [
        "[console_scripts]\nenvoyassert = envoyassert.cli:program",
        "[pytest11]\nenvoyassert = envoyassert.pytest_plugin.plugin\n",
    ]
    (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    lines = wheel.read(metadata).decode().splitlines()
    assert "License-Expression: Apache-2.0" in lines
    assert not [line for line in lines if line.startswith("Requires-Dist: bcc")]
