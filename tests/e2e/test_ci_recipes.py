"""The wheel, what `init` writes and the CI files, tried on a clean machine without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from envoyassert.launch.engine import SOCKET, connect
from envoyassert.launch.image import ensure_image
from tests.e2e.ci_steps import Step, github_steps, gitlab_steps
from tests.e2e.clean_machine import HOME, CleanMachine, clean_machine
from tests.e2e.launching import VERSION
from tests.e2e.package_mirrors import (
    build_wheel,
    collect_debian_packages,
    collect_wheels,
    pack_envoy,
)

pytestmark = [
    pytest.mark.bpf,
    pytest.mark.envoy,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not shutil.which("dpkg-deb"), reason="the recipes are for apt; install dpkg"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = f"{HOME}/repository"
#: The variables that the documentation names for a place without a package index.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mirror/wheels"}
#: What lies in a checkout and is not of the project.
NOT_CLONED = (".git", ".venv", ".*_cache", ".hypothesis", ".envoyassert", "__pycache__")
SCENARIO = "scenarios/first.envoyassert.yaml"
FLIP = f"sed -i 's/enable_reuse_port: true/enable_reuse_port: false/' {SCENARIO}"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    """Wheels of the project, of what it needs and of Envoy; bcc for apt; the project's files."""
    directory: Path = tmp_path_factory.mktemp("mirror")
    for part in ("wheels", "debian"):
        (directory / part).mkdir()
    build_wheel(directory / "wheels")
    collect_wheels(directory / "wheels", "envoyassert", "hatchling")
    pack_envoy(directory / "wheels", VERSION)
    collect_debian_packages(directory / "debian", "python3-bpfcc", "python3-venv")
    subprocess.run(
        [sys.executable, "-m", "envoyassert", "init", directory / "gitlab", "--ci=gitlab"],
        check=True,
        capture_output=True,
    )
    shutil.copytree(ROOT, directory / "checkout", ignore=shutil.ignore_patterns(*NOT_CLONED))
    directory.chmod(0o755)  # the users of the machine are others than ours
    return directory


@pytest.fixture
def machine(tmp_path, mirror) -> Iterator[CleanMachine]:
    place = tmp_path / "machine"
    place.mkdir()
    with clean_machine(place, mirror) as started:
        yield started


def execute(machine: CleanMachine, steps: list[Step]) -> tuple[dict[str, int], str]:
    """Execute steps as a runner does; return the exit code of each that ran, and all output."""
    codes: dict[str, int] = {}
    shown = ""
    for step in steps:
        if any(codes.values()) and not step.after_failure:
            continue
        done = machine.run(step.script, directory=REPOSITORY, environment=step.environment)
        codes[step.name] = done.returncode
        shown += f"--- {step.name}\n{done.stdout}{done.stderr}"
    return codes, shown


def parsed(machine: CleanMachine, name: str) -> Any:
    return yaml.safe_load(machine.must(f"cat {name}", directory=REPOSITORY))


def install_and_init(machine: CleanMachine) -> str:
    """Install the wheel as a newcomer does and set a repository up; return the command."""
    environment = f"{HOME}/temp/envoyassert"
    machine.must(
        f"python -m venv {environment} && {environment}/bin/python -m pip install envoyassert",
        environment=OFFLINE,
    )
    command = f"{environment}/bin/envoyassert"
    machine.must(f"mkdir {REPOSITORY} && {command} init {REPOSITORY}")
    return command


def foreign_files(machine: CleanMachine) -> str:
    """Files in the repository that the user could not remove."""
    return machine.must("find . ! -user runner", directory=REPOSITORY)


GITHUB_CONTEXT = {
    "github.workspace": REPOSITORY,
    "vars.PIP_INDEX_URL": "",
    "github.event.pull_request.head.repo.fork": "",
    **{f"vars.{name}": value for name, value in OFFLINE.items()},
}
RUNNER = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_WORKSPACE": REPOSITORY,
    "GITHUB_STEP_SUMMARY": f"{HOME}/summary.md",
    "RUNNER_TEMP": f"{HOME}/temp",
}


def test_wheel_and_init_in_an_empty_environment_and_their_github_workflow(machine):
    """From nothing to a repository whose workflow passes, and fails when Envoy does otherwise."""
    command = install_and_init(machine)
    machine.must(f"touch {HOME}/summary.md")
    machine.must(f"{command} check", directory=REPOSITORY)
    lacking = machine.run(f"sudo {command} doctor")
    assert lacking.returncode == 1
    assert "apt install python3-bpfcc" in lacking.stdout

    (job,) = parsed(machine, ".github/workflows/envoyassert.yml")["jobs"].values()
    steps = github_steps(job["steps"], {**job["env"], **RUNNER}, GITHUB_CONTEXT)
    codes, shown = execute(machine, steps)
    assert set(codes.values()) == {0}, shown
    assert "1 run executed: 1 passed" in shown
    assert f"Envoy {VERSION}" in shown
    assert foreign_files(machine) == ""

    # pytest by itself, with what init wrote alone: no conftest, no plugin named.
    variables = f"env PYTHONDONTWRITEBYTECODE=1 ENVOYASSERT_CACHE={REPOSITORY}/.cache/envoyassert"
    shown = machine.must(
        f"sudo {variables} {HOME}/temp/envoyassert/bin/pytest -p no:cacheprovider",
        directory=REPOSITORY,
    )
    assert "1 run executed: 1 passed" in shown

    machine.must(FLIP, directory=REPOSITORY)
    start = next(number for number, step in enumerate(steps) if step.name == "Run the scenarios")
    codes, shown = execute(machine, steps[start:])
    assert codes == {"Run the scenarios": 1, "Hand root's files back": 0}, shown
    assert f"::error file={SCENARIO},line=" in shown
    assert "expected 2 bind() calls, saw 1" in shown
    machine.must("grep -q first summary.md")
    assert foreign_files(machine) == ""
    machine.must("test -s .envoyassert/junit.xml && rm -r .envoyassert", directory=REPOSITORY)


def test_composite_action_runs_the_shipped_scenarios_from_its_own_source(machine):
    machine.must(
        f"cp -r /mirror/checkout action && mkdir -p {REPOSITORY} temp && touch summary.md\n"
        f"cp -r action/scenarios {REPOSITORY}"
    )
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    inputs = {f"inputs.{name}": item["default"] for name, item in action["inputs"].items()}
    inputs["github.event.pull_request.head.repo.fork"] = ""
    inputs["inputs.paths"] = "scenarios/udp.yaml scenarios/admin_only.yaml"
    inputs["inputs.arguments"] = "-k 'udp or admin' --artifacts '.envoyassert/$(touch injected)'"
    environment = {**RUNNER, **OFFLINE, "GITHUB_ACTION_PATH": f"{HOME}/action"}
    steps = github_steps(
        action["runs"]["steps"], environment, {**inputs, "runner.temp": f"{HOME}/temp"}
    )
    codes, shown = execute(machine, steps)
    assert set(codes.values()) == {0}, shown
    assert " passed (2 scenarios, " in shown
    assert foreign_files(machine) == ""
    machine.must("test ! -e injected && test ! -e ../injected", directory=REPOSITORY)
    machine.must("test -s summary.md")


@pytest.fixture(scope="module")
def after_gitlab(tmp_path_factory, mirror) -> Iterator[tuple[CleanMachine, dict[str, int], str]]:
    """A machine on which the job has run that init writes for GitLab; its codes and its output."""
    with clean_machine(tmp_path_factory.mktemp("machine"), mirror, SOCKET) as machine:
        machine.must(f"cp -r /mirror/gitlab {REPOSITORY} && mkdir {REPOSITORY}/wheels")
        # The wheel that init asks for: it ran from a checkout.
        machine.must(f"cp /mirror/wheels/envoyassert-*.whl {REPOSITORY}/wheels")
        (job,) = parsed(machine, ".gitlab/envoyassert.gitlab-ci.yml").values()
        project = {"CI": "true", "CI_PROJECT_DIR": REPOSITORY, "CI_PROJECT_ID": "1", **OFFLINE}
        yield machine, *execute(machine, gitlab_steps(job, project))


def test_gitlab_job_that_init_writes_passes_and_leaves_no_files_of_root(after_gitlab):
    machine, codes, shown = after_gitlab
    assert codes == {"script": 0, "after_script": 0}, shown
    assert "1 run executed: 1 passed" in shown
    assert foreign_files(machine) == ""
    machine.must("test -s .envoyassert/junit.xml", directory=REPOSITORY)


# Commands of the documentation, each block as it stands there; on the machine of the GitLab job, so
# that not everything is installed again.


def blocks() -> list[str]:
    page = (ROOT / "docs/ci.md").read_text().replace("1.40.0", VERSION)
    return re.findall(r"```sh\n(.*?)```", page, re.DOTALL)


def do(machine: CleanMachine, script: str, **environment: str) -> str:
    return machine.must(script, directory=REPOSITORY, environment=environment)


def test_documented_commands_collect_what_is_needed_without_a_network(after_gitlab):
    machine, _, _ = after_gitlab
    whole, collect, offline, _ = blocks()
    # The first block expects a network: pip and apt find their mirrors, Envoy is there already.
    do(machine, "sudo mkdir -p /root/.cache && sudo cp -r .cache/envoyassert /root/.cache")
    assert "1 run executed: 1 passed" in do(machine, whole, **OFFLINE)
    do(machine, collect, **OFFLINE)
    do(machine, "sudo rm -r /root/.cache")
    # As into an empty environment, which the job has filled already: all of it is among the wheels.
    among = "--no-index --find-links wheels"
    do(machine, f".venv/bin/python -m pip install --dry-run --ignore-installed {among} envoyassert")
    assert "1 run executed: 1 passed" in do(machine, offline)


@pytest.mark.docker
def test_documented_commands_run_an_image_from_an_archive_in_the_machines_engine(after_gitlab):
    machine, _, _ = after_gitlab
    with connect() as client:
        image = ensure_image(client, VERSION).name
    do(machine, f"sudo docker save {image} --output envoy.tar && sudo rm -rf .cache /root/.cache")
    assert "1 run executed: 1 passed" in do(machine, blocks()[-1])
