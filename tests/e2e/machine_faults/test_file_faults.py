"""Disks and files that cannot be written, as a user of the command line meets them."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

import pytest

from envoyassert.trace_file import parse_trace
from tests.e2e.launching import VERSION
from tests.e2e.machine_faults.command_line import executable, full_disk, in_mounts, without

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


def test_record_on_a_full_disk_leaves_no_half_of_a_trace(run):
    under = in_mounts(full_disk("full"), "trap 'ls -A full' EXIT")[:-1]
    under = (*under[:-1], under[-1].replace('exec "$@"', '"$@"'), "sh")
    done = run("record", "one.yaml", "-o", "full/x.ndjson", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: full/x.ndjson cannot be written: No space left on device",
        "  remedy: free some space, or name a file or directory elsewhere",
    ]
    assert done.out == "all\n"


def test_record_into_a_read_only_directory_names_another_way(run):
    Path("fixed").mkdir()
    under = in_mounts("mount -t tmpfs -o ro none fixed")
    done = run("record", "one.yaml", "-o", "fixed/x.ndjson", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: fixed/x.ndjson cannot be written: Read-only file system",
        "  remedy: name a file or directory elsewhere",
    ]


def test_record_into_a_device_writes_there_and_leaves_it_a_device(run):
    device = Path("null")
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # another /dev/null
    assert run("record", "one.yaml", "-o", "null").code == 0
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert sorted(one.name for one in Path().iterdir()) == ["null", "one.yaml"]


def test_record_into_a_link_is_refused_before_anything_runs(run):
    started = Path("started").absolute()
    path = executable(f"#!/bin/sh\ntouch {started}\n")
    Path("x.ndjson").symlink_to("elsewhere")
    done = run("record", "one.yaml", "-o", "x.ndjson", "--envoy", path)
    assert done.code == 77
    assert done.err.splitlines()[0] == (
        "envoyassert: error: x.ndjson cannot be written: it is a link"
    )
    assert not started.exists()
    assert not Path("elsewhere").exists()


def test_record_to_the_standard_output_is_a_trace_and_nothing_else(run):
    done = run("record", "one.yaml", "-o", "/dev/stdout")
    assert done.code == 0
    assert parse_trace(done.out.splitlines(), "out").events


def test_run_on_a_full_disk_keeps_the_verdict_and_says_what_is_not_kept(run):
    path = executable("#!/bin/sh\nexit 3\n")
    under = in_mounts(full_disk("full"))
    done = run("run", "-q", "one.yaml", "--envoy", path, "--artifacts", "full", under=under)
    assert done.code == 1
    lines = done.out.splitlines()
    assert "  seen      exited with 3" in lines
    (note,) = (line for line in lines if line.startswith("not kept: full/"))
    assert note.endswith("trace.ndjson cannot be written: No space left on device")
    assert "  remedy: free some space, or name a file or directory elsewhere" in lines


def test_record_with_a_full_cache_names_the_variable(run):
    done = run(
        *("record", "one.yaml", "-o", "x", "--launcher", "process"),
        under=in_mounts("mkdir full", "mount -t tmpfs -o nr_inodes=1 none full"),
        ENVOYASSERT_CACHE="full",
    )
    assert done.code == 77
    assert f"error: Envoy {VERSION} cannot be kept in " in done.err
    assert "No space left on device" in done.err
    assert "  remedy: set ENVOYASSERT_CACHE to a directory of this user with 120 MB" in done.err


def test_record_without_a_place_for_temporary_files_names_the_variable(run):
    here = shlex.quote(str(Path.cwd()))
    under = in_mounts(
        # The directory it is called in would be the last resort.
        f"mount --bind {here} /var/tmp",
        "mount -o remount,ro,bind /var/tmp",
        "cd /var/tmp",
        # Read-only, not hidden: the checkout itself may be below it.
        "mount --bind /tmp /tmp",
        "mount -o remount,ro,bind /tmp",
    )
    done = run("record", "one.yaml", "-o", "/nonexistent/x", under=under)
    assert done.code == 77
    assert done.err.splitlines() == [
        "envoyassert: error: there is no directory for temporary files that can be written",
        "  remedy: set TMPDIR to one (in a container with a read-only root: mount a tmpfs on /tmp)",
    ]


def test_record_where_no_namespace_can_be_made_names_the_other_launcher(run):
    done = run("record", "one.yaml", "-o", "x", under=without("sys_admin"))
    assert done.code == 77
    assert "error: no network namespace can be made for Envoy: " in done.err
    assert "  remedy: run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, or use " in done.err
