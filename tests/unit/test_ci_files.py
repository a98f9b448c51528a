"""The CI files, the project's own and those that init writes: correct shell, no host, no splicing.

Schema and security are linted by `make check`; here is what those linters do not look at.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert import __version__

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "envoyassert/starter/templates"
PLAN = ROOT / "contrib/github/plan.yml"
SHARDS = ROOT / "contrib/github/shards.yml"
FILES = [
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
    ROOT / "action.yml",
    ROOT / ".gitlab-ci.yml",
    *sorted(TEMPLATES.glob("*.yml")),
    PLAN,
    SHARDS,
]
NAMES = [str(file.relative_to(ROOT)) for file in FILES]


def scripts(node: Any) -> Iterator[str]:
    """Yield the scripts in a file: text below `run`, lists below `script` and its likes."""
    if isinstance(node, list):
        for item in node:
            yield from scripts(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "run" and isinstance(value, str):
            yield value
        elif key in ("before_script", "script", "after_script"):
            yield "\n".join(value)
        else:
            yield from scripts(value)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_scripts_of_ci_file_satisfy_shellcheck(file):
    found = list(scripts(yaml.safe_load(file.read_text())))
    assert found or file.name == "gitlab-include.yml"
    for script in found:
        done = subprocess.run(
            [Path(sys.executable).with_name("shellcheck"), "--shell=bash", "-"],
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_ci_file_names_no_host_and_splices_nothing_into_scripts(file):
    text = file.read_text()
    assert "://" not in text
    assert [script for script in scripts(yaml.safe_load(text)) if "${{" in script] == []


def test_action_is_named_by_the_tag_of_this_version():
    for name in ("README.md", "docs/ci.md"):
        tags = re.findall(r"uses: OWNER/envoyassert@(\S+)", (ROOT / name).read_text("utf-8"))
        assert tags == [f"v{__version__}"], name


def test_ci_files_use_one_release_of_each_action():
    used = re.findall(r"uses: (\S+)@(\S+)", "".join(file.read_text() for file in FILES))
    assert len(dict(used)) > 1
    assert len(set(used)) == len(dict(used))


EVENTS = {
    "a push": ("push", "", False),
    "a pull request of the repository's own": ("pull_request", "false", False),
    "a pull request from a fork": ("pull_request", "true", True),
    "a pull request from a fork that is gone": ("pull_request", "", True),
    "a pull request in the name of the target": ("pull_request_target", "true", True),
}


def step_of(file: Path) -> Any:
    """The step that runs the scenarios."""
    data = yaml.safe_load(file.read_text())
    steps = data["runs"]["steps"] if "runs" in data else data["jobs"]["scenarios"]["steps"]
    (step,) = [step for step in steps if step.get("name") == "Run the scenarios"]
    return step


def words_of_the_run(script: str, tmp_path: Path, **variables: str) -> list[str]:
    """Run a script in which sudo prints what it is to run; return the words."""
    for name in ("sudo", "setup/as-root.sh"):
        tool = tmp_path / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        tool.chmod(0o755)
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_ACTION_PATH": str(tmp_path)}
    own |= {"RUNNER_TEMP": "/away", "ENVOYASSERT_CACHE": "/here", "PATHS": "a b", "ARGUMENTS": ""}
    own |= dict.fromkeys(re.findall(r"\$([A-Z_]+)", script), "") | own | variables
    done = subprocess.run(
        ["/bin/bash", "-eu", "-c", script],
        env=own,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("event", "fork", "untrusted"), EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize(
    "file",
    [TEMPLATES / "github.yml", ROOT / "action.yml", SHARDS],
    ids=["workflow", "action", "shards"],
)
def test_scenarios_of_a_fork_are_untrusted(tmp_path, file, event, fork, untrusted):
    step = step_of(file)
    assert step["env"]["FORK"] == "${{ github.event.pull_request.head.repo.fork }}"
    words = words_of_the_run(step["run"], tmp_path, GITHUB_EVENT_NAME=event, FORK=fork)
    assert ("--untrusted" in words) is untrusted
    assert "--require=bpf,envoy" in words
    if file.name == "github.yml":
        assert f"ENVOYASSERT_CACHE={'/away/envoyassert-cache' if untrusted else '/here'}" in words


@pytest.mark.parametrize(("source", "untrusted"), [("", False), ("1", False), ("2", True)])
def test_scenarios_of_a_fork_are_untrusted_in_gitlab(tmp_path, source, untrusted):
    job = yaml.safe_load((TEMPLATES / "gitlab.yml").read_text())["envoyassert"]
    given = {"CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": source}
    words = words_of_the_run("\n".join(job["script"]), tmp_path, **given)
    assert ("--untrusted" in words) is untrusted
    assert ("ENVOYASSERT_CACHE=/here" in words) is not untrusted


def script_of_the_plan(name: str) -> str:
    steps = yaml.safe_load(PLAN.read_text())["jobs"]["plan"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == name]
    assert isinstance(script, str)
    return script


@pytest.mark.parametrize("file", [PLAN, SHARDS], ids=["plan", "shards"])
def test_workflow_is_the_one_of_the_documentation(file):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text("utf-8"), re.DOTALL)
    assert file.read_text("utf-8") in blocks


def test_workflow_of_parts_runs_one_part_and_merges_all(tmp_path):
    jobs = yaml.safe_load(SHARDS.read_text())["jobs"]
    words = words_of_the_run(step_of(SHARDS)["run"], tmp_path, PART="2", PARTS="3")
    assert words[-4:] == ["--shard", "2/3", "--html", "report"]
    (merge,) = [step["run"] for step in jobs["merge"]["steps"] if step.get("name") == "Merge"]
    assert merge.endswith('/envoyassert" merge parts/* -o report')
    assert jobs["merge"]["needs"] == "scenarios"


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 0), (3, 0), (2, 2)])
def test_workflow_of_a_plan_fails_for_trouble_alone(tmp_path, code, ends):
    program = tmp_path / "envoyassert/bin/envoyassert"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {code}\n')
    program.chmod(0o755)
    summary = tmp_path / "summary"
    variables = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
    variables |= {"BASE": "abc", "CONFIG": "envoy.yaml", "PATH": "/usr/bin:/bin"}
    script = script_of_the_plan("Plan")
    done = subprocess.run(["/bin/bash", "-e", "-c", script], env=variables, check=False)
    assert done.returncode == ends
    said = ["plan", "--model", "--format", "markdown", "abc:envoy.yaml", "envoy.yaml"]
    assert summary.read_text().splitlines() == said


@pytest.mark.parametrize("known", ["", "17"])
def test_workflow_of_a_plan_edits_its_comment_or_writes_one(tmp_path, known):
    tool = tmp_path / "gh"
    tool.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *--paginate*) echo {known};; *) echo "$@" > "$RUNNER_TEMP/asked";; esac\n'
    )
    tool.chmod(0o755)
    variables = {"RUNNER_TEMP": str(tmp_path), "GITHUB_REPOSITORY": "me/mine", "NUMBER": "4"}
    variables["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    script = script_of_the_plan("Comment")
    subprocess.run(["/bin/bash", "-e", "-c", script], env=variables, check=True)
    asked = (tmp_path / "asked").read_text().split()
    assert f"body=@{tmp_path}/plan.md" in asked
    edited, written = "repos/me/mine/issues/comments/17", "repos/me/mine/issues/4/comments"
    assert asked[-1] == (edited if known else written)
    assert ("PATCH" in asked) is bool(known)
