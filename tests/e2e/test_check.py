"""`envoyassert check --validate` refuses what Envoy would not start with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.envoy]

NOT_THERE = "paths must refer to an existing path in the system: '{}' does not exist"
SOURCE = {"path": "${rundir}/lds.yaml"}
#: The source of LDS, the files of the run, and what is said of it, "" if it is valid.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "there": ({"path_config_source": SOURCE}, {"lds.yaml": {"resources": []}}, ""),
    "absent": ({"path_config_source": SOURCE}, {}, NOT_THERE.format("${rundir}/lds.yaml")),
    "otherwise": (
        {"path_config_source": SOURCE},
        {"lds.yml": {"resources": []}},
        NOT_THERE.format("${rundir}/lds.yaml"),
    ),
    "elsewhere": (
        {"path_config_source": {"path": "/nowhere/lds.yaml"}},
        {},
        NOT_THERE.format("/nowhere/lds.yaml"),
    ),
    "older": (SOURCE, {}, NOT_THERE.format("${rundir}/lds.yaml")),
    "unwatched": (
        {"path_config_source": {**SOURCE, "watched_directory": {"path": "/nowhere"}}},
        {"lds.yaml": {"resources": []}},
        "/nowhere/: No such file or directory",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_file_of_lds_must_be_there(name: str, tmp_path: Path) -> None:
    source, files, said = CASES[name]
    config = {"dynamic_resources": {"lds_config": {"resource_api_version": "V3", **source}}}
    envoy = {"version": VERSION, "config": config, "files": files}
    scenario = {"name": name, "envoy": envoy, "expect": [{"process": {"stays_up": True}}]}
    (tmp_path / f"{name}.yaml").write_text(json.dumps(scenario, indent=1))
    words = [sys.executable, "-m", "envoyassert", "check", "--validate", f"{name}.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (4 if said else 0), done.stdout
    lines = done.stdout.splitlines()
    assert [said in line for line in lines] == ([True] if said else []), lines
    # At the line that names the file.
    for line in lines:
        at = int(line.split(":")[1])
        assert "path" in (tmp_path / f"{name}.yaml").read_text().splitlines()[at - 1]
