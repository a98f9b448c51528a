"""Runs that end badly, one of each kind; `make ends` has more of them, and larger ones."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ends.session import Place

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]


@pytest.fixture
def place(tmp_path_factory) -> Iterator[Place]:
    # Not tmp_path: that is root's alone, and Envoy is not root.
    directory, temporary = (Path(tempfile.mkdtemp(prefix="ea-", dir="/tmp")) for _ in range(2))
    for one in (directory, temporary):
        one.chmod(0o755)
    yield Place(directory, temporary)
    for one in (directory, temporary):
        shutil.rmtree(one)


@pytest.mark.parametrize(("kind", "reason"), [("drip", "took too long"), ("endless", "more than")])
def test_admin_reply_without_an_end_leaves_the_run_inconclusive(place, kind, reason):
    end = place.play(kind, deadline_s=3, agent=kind)
    assert end.code == 10, end.printed
    assert f"GET /ready: the reply {'has ' if kind == 'endless' else ''}{reason}" in end.printed
    assert end.left == ()


def test_log_of_many_megabytes_passes(place):
    end = place.play("log", deadline_s=20, agent="64")
    assert end.code == 0, end.printed
    assert end.left == ()


def test_disk_without_room_for_the_admin_address_leaves_the_run_inconclusive(place):
    full = f'mount -t tmpfs -o size=16k none {place.temporary} && exec "$@"'
    end = place.play("full", deadline_s=3, under=("unshare", "--mount", "sh", "-c", full, "sh"))
    assert end.code == 10, end.printed
    assert "as it is where the disk is full" in end.printed
    assert end.left == ()


def test_killed_session_leaves_nothing_that_clean_does_not_find(place):
    end = place.play("killed", deadline_s=20, agent="drip", kill_after_s=4)
    assert end.code == -signal.SIGKILL
    assert end.left == ()
