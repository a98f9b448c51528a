"""What the checks of the machine say about a kernel that is not like this one."""

from __future__ import annotations

import os

import pytest

from envoyassert.errors import Capability, ProbeUnavailableError
from envoyassert.probe import machine, tracepoints


def found(name: str) -> Capability:
    (check,) = (check for check in machine.probe_capability() if check.name == name)
    return check


@pytest.mark.parametrize(
    ("text", "ok", "detail"),
    [
        ("[none] integrity confidentiality\n", True, "none"),
        ("none [integrity] confidentiality\n", True, "integrity"),
        ("none integrity [confidentiality]\n", False, "the kernel is locked down"),
        (None, True, "none"),
    ],
)
def test_lockdown_that_keeps_bpf_from_reading_is_named(monkeypatch, tmp_path, text, ok, detail):
    place = tmp_path / "lockdown"
    if text is not None:
        place.write_text(text)
    monkeypatch.setattr(machine, "_LOCKDOWN", place)
    check = found("lockdown")
    assert check.ok is ok
    assert check.detail.startswith(detail)
    assert ("--tracer strace" in check.remedy) is not ok


def test_user_who_is_not_root_learns_of_strace(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check = found("privileges")
    assert not check.ok
    assert "--tracer strace" in check.remedy


@pytest.mark.parametrize(
    ("mounted", "says", "remedy"),
    [
        (True, "is mounted at /sys/kernel/tracing, and user id", "run as root"),
        (False, "is not mounted", "mount -t tracefs"),
    ],
)
def test_tracefs_that_may_not_be_read_is_distinguished_from_one_that_is_not_mounted(
    monkeypatch, mounted, says, remedy
):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os.path, "ismount", lambda _: mounted)
    with pytest.raises(ProbeUnavailableError, match=says) as caught:
        tracepoints.tracefs_dir()
    assert remedy in caught.value.remedy
