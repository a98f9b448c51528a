"""Run directories: who owns them, and when they may be removed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile

import pytest

from envoyassert.errors import MachineError
from envoyassert.launch import rundir
from envoyassert.launch.kernel import Owner, process_start, process_started_s


@pytest.fixture
def base(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as base:
        monkeypatch.setattr(tempfile, "tempdir", base)
        yield base


def dead_owner() -> Owner:
    """Return the identity of a process that has ended and was reaped."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = process_start(process.pid)
        assert start is not None
        owner = Owner(process.pid, start, Owner.current().namespace)
        assert not owner.is_dead()
        process.communicate()
    return owner


def test_create_names_a_directory_after_its_owner(base):
    directory = rundir.create_rundir()
    assert directory.parent == rundir.root()
    assert str(directory).startswith(base)
    assert Owner.parse(directory.name.rpartition("-")[0]) == Owner.current()
    # Room for `/envoy_domain.sock` in the 107 bytes of a Unix socket's path.
    assert len(str(directory)) < 90


def test_root_below_a_long_temporary_directory_is_short(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 60)
    assert str(rundir.root()) == f"/tmp/envoyassert-{os.getuid()}"


def test_create_where_nothing_can_be_written_names_the_remedy(base):
    rundir.root().write_text("a file is in the way")
    with pytest.raises(MachineError) as caught:
        rundir.create_rundir()
    assert "TMPDIR" in caught.value.remedy


def test_sweep_removes_directories_of_the_dead_alone(base):
    mine = rundir.create_rundir()
    dead = rundir.root() / f"{dead_owner()}-abcd"
    (dead / "deep").mkdir(parents=True)
    foreign = rundir.root() / "something-else"
    foreign.mkdir()
    elsewhere = rundir.root() / f"{dead_owner()._replace(namespace=1)}-abcd"
    elsewhere.mkdir()
    assert rundir.sweep_rundirs() == [str(dead)]
    assert sorted(rundir.root().iterdir()) == sorted([mine, foreign, elsewhere])


def test_sweep_without_any_run_ever_removes_nothing(base):
    assert rundir.sweep_rundirs() == []


def test_file_where_the_directories_are_made_is_named(base):
    rundir.root().write_text("")
    assert rundir.sweep_rundirs() == []
    with pytest.raises(MachineError) as caught:
        rundir.create_rundir()
    assert str(caught.value).splitlines() == [
        f"{rundir.root()} is not a directory of this user",
        "  remedy: remove it, or set TMPDIR",
    ]


def test_owner_with_a_reused_number_is_dead():
    current = Owner.current()
    assert current._replace(start=current.start + 2).is_dead()
    # One tick is how far another time namespace may round.
    assert not current._replace(start=current.start + 1).is_dead()
    assert not current.is_dead()


@pytest.mark.parametrize("text", ["", "1-2", "1-2-x", "1-2-3-4", "-1-2-3", "1--3"])
def test_owner_parse_of_something_else_is_none(text):
    assert Owner.parse(text) is None


def test_process_started_is_before_now():
    import time

    started = process_started_s(os.getpid())
    assert started is not None
    assert started < time.monotonic()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x"])
def test_write_files_outside_the_directory_is_refused(base, name):
    with pytest.raises(ValueError, match="inside the run directory"):
        rundir.write_files(rundir.create_rundir(), {name: "text"})


def test_parent_goes_with_its_last_run_directory(base):
    one, two = rundir.create_rundir(), rundir.create_rundir()
    rundir.remove_rundir(one)
    assert list(rundir.root().iterdir()) == [two]
    rundir.remove_rundir(two)
    assert not rundir.root().exists()
    assert rundir.create_rundir().is_dir()


def test_create_beside_a_run_that_ends_and_removes_the_parent(base, monkeypatch):
    make = os.mkdir

    def removed_meanwhile(path, *arguments, **options):
        monkeypatch.setattr(os, "mkdir", make)
        raise FileExistsError(errno.EEXIST, "it was there when this call was made", str(path))

    monkeypatch.setattr(os, "mkdir", removed_meanwhile)
    assert rundir.create_rundir().is_dir()
    assert os.mkdir is make, "the parent was made by another call than the one that is replaced"
