"""Loading and unloading: what is refused, with which words, and that nothing stays behind."""

from __future__ import annotations

import ctypes
import os
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import ProbeLoadError
from envoyassert.probe import Probe, bcc_import, kernel, new_run_id, program, program_text
from envoyassert.probe.program import SLOTS
from tests.bpf.kernel_objects import bpf_descriptors

pytestmark = [pytest.mark.bpf, pytest.mark.usefixtures("require_bpf")]


@pytest.fixture
def no_program_kept(tmp_path, monkeypatch):
    """A cache of the test's own: the program is compiled."""
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))


def test_closed_probe_leaves_no_program_map_or_event_open():
    before = bpf_descriptors()
    probe = Probe.load(ring_pages=1)
    assert len(bpf_descriptors()) > len(before)

    probe.close()
    probe.close()

    assert bpf_descriptors() == before


def seconds_of(action: Callable[[], None]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def test_closing_does_not_wait_until_the_kernel_has_detached_all():
    detaching, closing = [], []
    for _ in range(3):
        with Probe.load(ring_pages=1) as probe:
            detaching.append(seconds_of(probe._program.detach))
        probe = Probe.load(ring_pages=1)
        closing.append(seconds_of(probe.close))
    assert statistics.median(closing) < statistics.median(detaching) / 4


def test_closing_waits_where_io_uring_may_not_be_used(monkeypatch):
    before = bpf_descriptors()
    probe = Probe.load(ring_pages=1)
    # No system call has this number.
    monkeypatch.setattr(kernel, "_IO_URING_SETUP", 1 << 20)
    probe.close()
    assert bpf_descriptors() == before


def test_refused_program_leaves_nothing_open_and_says_what_the_compiler_said(monkeypatch, capfd):
    before = bpf_descriptors()
    text = program_text.program_text()
    broken = text + "int broken(void *ctx) { return x; }"
    monkeypatch.setattr(program, "program_text", lambda: broken)

    with pytest.raises(ProbeLoadError, match="undeclared identifier 'x'") as caught:
        Probe.load()

    assert "broken" in caught.value.compiler_output
    assert caught.value.remedy
    assert capfd.readouterr() == ("", "")
    assert bpf_descriptors() == before


@pytest.fixture
def strict_compiler(monkeypatch, no_program_kept):
    """All usual warnings of the compiler are errors."""
    bcc = bcc_import.import_bcc()
    real: Any = bcc.BPF

    class Strict(real):  # type: ignore[misc]  # bcc has no types
        def __init__(self, *, text, cflags):
            super().__init__(text=text, cflags=[*cflags, "-Wall", "-Werror"])

    monkeypatch.setattr(bcc, "BPF", Strict)


@pytest.mark.usefixtures("strict_compiler")
def test_program_compiles_without_a_warning():
    Probe.load(ring_pages=1).close()


@pytest.mark.usefixtures("strict_compiler")
@pytest.mark.parametrize(
    ("code", "warning"),
    [
        ("static int unused(void) { return 0; }", "unused function"),
        ("int unset(void *ctx) { int x; return x; }", "uninitialized"),
        ("int both(void *ctx, int x) { return x & 1 == 0; }", "precedence"),
    ],
)
def test_code_with_a_warning_would_not_compile(monkeypatch, code, warning):
    changed = program_text.program_text() + code
    monkeypatch.setattr(program, "program_text", lambda: changed)
    with pytest.raises(ProbeLoadError, match="refused by the compiler") as caught:
        Probe.load(ring_pages=1)
    assert warning in caught.value.compiler_output


def test_layout_that_differs_from_the_programs_is_refused_by_the_field_s_name(monkeypatch):
    real = program_text.program_text()
    changed = real.replace("\tu32 seq; ", "\tu64 seq; ")
    assert changed != real
    monkeypatch.setattr(program, "program_text", lambda: changed)

    with pytest.raises(ProbeLoadError, match=r"size of ea_record") as caught:
        Probe.load()

    assert "ea_record.pid: offset" in caught.value.compiler_output


def test_program_that_the_verifier_refuses_is_reported_with_its_log(monkeypatch):
    real = program_text.program_text()
    # A looked-up value that is used without asking whether it was found.
    changed = real.replace("if (!class || ea_is_idle(", "if (ea_is_idle(")
    assert changed != real
    monkeypatch.setattr(program, "program_text", lambda: changed)

    with pytest.raises(ProbeLoadError, match="refused by the kernel") as caught:
        Probe.load()

    assert "map_value_or_null" in caught.value.compiler_output


@pytest.mark.usefixtures("no_program_kept")
def test_headers_named_by_the_user_are_left_alone_and_ours_are_not_left_behind(monkeypatch):
    seen = []
    bcc = bcc_import.import_bcc()
    real: Any = bcc.BPF

    class Remember(real):  # type: ignore[misc]  # bcc has no types
        def __init__(self, *args, **kwargs):
            seen.append(os.environ.get("BCC_KERNEL_SOURCE"))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(bcc, "BPF", Remember)
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    Probe.load(ring_pages=1).close()
    assert "BCC_KERNEL_SOURCE" not in os.environ

    own = str(program_text.kernel_headers_dir())
    monkeypatch.setenv("BCC_KERNEL_SOURCE", own + "/.")
    Probe.load(ring_pages=1).close()

    assert seen == [own, own + "/."]
    assert os.environ["BCC_KERNEL_SOURCE"] == own + "/."


@pytest.mark.parametrize("pages", [0, 3, -8])
def test_ring_that_is_no_power_of_two_is_refused(pages):
    with pytest.raises(ValueError, match="power of two"):
        Probe.load(ring_pages=pages)


def test_bcc_is_imported_without_its_neighbours(monkeypatch):
    package = bcc_import.find_bcc()
    path_before = list(sys.path)

    module = bcc_import.import_bcc()

    assert module.__file__ is not None
    assert Path(module.__file__).parent == package
    assert sys.path == path_before


def test_run_id_must_be_fresh_and_well_formed(probe):
    run_id = new_run_id()
    with probe.arm(run_id):
        with pytest.raises(ValueError, match="armed already"):
            probe.arm(run_id)
        with pytest.raises(ValueError, match="16 hexadecimal digits"):
            probe.arm("short")
    with probe.arm(run_id):
        pass


def test_more_runs_than_slots_are_refused(probe):
    arms = [probe.arm(new_run_id()) for _ in range(SLOTS)]
    try:
        with pytest.raises(RuntimeError, match=f"{SLOTS} runs"):
            probe.arm(new_run_id())
    finally:
        for arm in arms:
            arm.disarm()


def test_misses_are_read_from_where_the_kernel_has_them(probe):
    """They are 0, as a rule; so the member behind them is compared, which is not."""
    for fd in probe._program._loaded.functions.values():
        text = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii")
        shown = dict(line.split(":\t") for line in text.splitlines())
        info = ctypes.create_string_buffer(kernel._PROGRAM_INFO.size + 4)
        request = kernel._request(kernel._INFO, fd, len(info), ctypes.addressof(info))
        kernel._bpf(kernel._OBJECT_INFO, request)
        found = struct.unpack_from("=QI", info, kernel._PROGRAM_INFO.size - 8)
        assert found == (int(shown["recursion_misses"]), int(shown["verified_insns"]))
        assert found[1] > 0
        assert kernel.misses_of(fd) == found[0]
