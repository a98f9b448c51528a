"""`make distros`: what a root tree is given, how it is entered, and what the table says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distros.catalogue import DISTRIBUTIONS, distribution
from tests.distros.settings import apt_lines, handed_on, paths_in, pip_environment
from tests.distros.table import Row, row_of, table_lines
from tests.distros.tree import Inside, entering

ROOT = Path(__file__).resolve().parents[2]


def test_distribution_is_found_by_its_name():
    assert distribution("ubuntu:22.04").suite == "jammy"
    assert [distribution(one.name) for one in DISTRIBUTIONS] == list(DISTRIBUTIONS)


def test_unknown_distribution_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"no distribution 'debian:11' here; there are debian:12,"):
        distribution("debian:11")


def test_security_updates_are_on_the_main_mirror_of_ubuntu_only():
    assert distribution("ubuntu:24.04").suites == ("noble", "noble-updates", "noble-security")
    assert distribution("debian:13").suites == ("trixie", "trixie-updates")


def test_every_setting_of_pip_becomes_a_variable():
    listed = """\
:env:.default-timeout='180'
global.find-links='\\n/wheels\\n/more wheels'
install.no-index='true'

not a setting
"""
    assert pip_environment(listed) == {
        "PIP_DEFAULT_TIMEOUT": "180",
        "PIP_FIND_LINKS": "/wheels /more wheels",
        "PIP_NO_INDEX": "true",
    }


def test_tree_is_given_how_apt_reaches_the_archive_and_nothing_else():
    dumped = """\
APT::Architecture "amd64";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy-Auto-Detect "/usr/bin/auto-apt-proxy";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::Check-Date "false";
Acquire::Languages "none";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt";
"""
    assert apt_lines(dumped) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::CaInfo "/etc/ssl/own.pem";',
        'Acquire::Check-Date "false";',
    ]


def test_variables_of_proxies_and_certificates_are_handed_on():
    environment = {
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "PYTHONPATH": "/elsewhere",
        "MAKEFLAGS": "-j",
        "LD_PRELOAD": "/elsewhere.so",
    }
    assert set(handed_on(environment)) == {"https_proxy", "NO_PROXY", "SSL_CERT_FILE"}


def test_files_and_folders_that_variables_name_are_found():
    environment = {
        "PIP_CERT": "/etc/ssl/own.pem",
        "PIP_FIND_LINKS": "/wheels/ https://index.example/wheels",
        "PIP_EXTRA_INDEX_URL": "file:///mirror/simple file:///other/simple/",
        "PIP_TIMEOUT": "180",
    }
    assert list(paths_in(environment)) == ["/etc/ssl/own.pem", "/wheels", "/mirror", "/other"]


def test_tree_is_entered_without_a_mount_that_this_machine_sees(tmp_path):
    """In a mount namespace of its own, and with a root that is no chroot."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "engine.sock").touch()
    binds = {
        str(tmp_path / "wheels"): "/wheels",
        str(tmp_path / "engine.sock"): "/run/engine.sock",
    }
    script = entering(Path("/a tree"), ["make", "run"], Inside({"A": "b c"}, binds), "/root/x")
    lines = script.splitlines()
    assert lines[:2] == ["mount --bind '/a tree' '/a tree'", "cd '/a tree'"]
    assert f"mount --bind {tmp_path}/engine.sock run/engine.sock" in lines
    assert lines.index("mkdir -p wheels") < lines.index(f"mount --bind {tmp_path}/wheels wheels")
    assert lines[-4:-1] == ["pivot_root . .", "umount --lazy .", "cd /root/x"]
    assert lines[-1].startswith("exec env -i PATH=")
    assert lines[-1].endswith(" 'A=b c' make run")
    # What is named relative to the tree is all that is mounted on.
    targets = [line.split()[-1] for line in lines[2:] if line.startswith("mount ")]
    assert all(not target.startswith("/") for target in targets)


RUNS = [
    {"run": "a", "outcome": "passed", "reason": ""},
    {"run": "b", "outcome": "known_defect", "reason": "as it must"},
    {"run": "c", "outcome": "inconclusive", "reason": "2 events were lost"},
]


def test_table_counts_the_runs_and_names_what_was_not_as_expected():
    row = row_of(
        "debian:13", {"Python": "3.13.5", "bcc": ""}, 10, 90.0, {"complete": True, "runs": RUNS}
    )
    assert not row.good
    assert list(table_lines([row])) == [
        (
            "| distribution | Python | bcc | strace | util-linux | engine | runs | passed |"
            " known defects | failed | inconclusive | errors | skipped | minutes |"
        ),
        f"|{' --- |' * 14}",
        "| debian:13 | 3.13.5 | - | - | - | - | 3 | 1 | 1 | 0 | 1 | 0 | 0 | 1.5 |",
        "",
        "- debian:13: inconclusive c: 2 events were lost",
    ]


def test_distribution_without_results_is_not_good():
    assert not row_of("debian:13", {}, 2, 1.0, {}).good
    assert not row_of("debian:13", {}, 0, 1.0, {"complete": True, "runs": []}).good
    assert "`make run` ended early, with 2" in row_of("debian:13", {}, 2, 1.0, {}).reason
    *_, last = table_lines([Row("debian:13", reason="no disk")])
    assert last == "- debian:13: no disk"


def test_distribution_is_good_only_when_make_says_so_too():
    passed = {"complete": True, "runs": RUNS[:2]}
    assert row_of("debian:13", {}, 0, 1.0, passed).good
    assert not row_of("debian:13", {}, 1, 1.0, passed).good


#: In a session of its own, and takes no SIGTERM.
STUBBORN = """
setsid sh -c 'trap "" TERM; echo $$; exec >/dev/null; echo >ready; read -r x <never' &
read -r x <ready
"""
#: Loses its parent at once, and ends when it is allowed to.
LOST = """
sh -c '(echo $(sh -c "echo \\$PPID"); exec >/dev/null; read -r x <ready) &'
echo >ready
exec >/dev/null
read -r x <never
"""


@pytest.fixture
def fifos(tmp_path):
    for name in ("ready", "never"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def start(grace_s: float, script: str, directory: Path, *front: str) -> subprocess.Popen[str]:
    """Start a shell script in a directory, below a keeper."""
    words = [sys.executable, "-m", "tests.distros.keeper", str(grace_s), *front]
    return subprocess.Popen(
        [*words, "sh", "-c", script],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def first_number(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def is_there(pid: int) -> bool:
    """Whether there is a process; also of one that ended and that no process waited for."""
    return Path(f"/proc/{pid}").exists()


def test_keeper_ends_what_left_its_session_and_gives_the_exit_code(fifos):
    with start(0, f"{STUBBORN}\nexit 3", fifos) as keeper:
        left = first_number(keeper)
        assert keeper.wait(30) == 3
    assert not is_there(left)


def test_keeper_waits_for_what_lost_its_parent(fifos):
    with start(0, LOST, fifos) as keeper:
        lost = first_number(keeper)
        deadline = time.monotonic() + 30
        while is_there(lost) and time.monotonic() < deadline:
            time.sleep(0.01)
        gone = not is_there(lost)
        keeper.terminate()
    assert gone


@pytest.mark.parametrize("how", ["stopped", "its parent killed"])
def test_keeper_ends_everything_when_it_is(fifos, how):
    inner = (sys.executable, "-m", "tests.distros.keeper", "0.1")
    with start(0, f"{STUBBORN}\nread -r x <never", fifos, *inner) as parent:
        left = first_number(parent)
        if how == "stopped":
            parent.terminate()
        else:
            parent.kill()
        parent.communicate(timeout=30)  # until no process has it open: all keepers ended
    assert not is_there(left)
