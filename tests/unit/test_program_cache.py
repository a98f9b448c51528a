"""The compiled program that is kept: what is taken back, and what is as good as none."""

from __future__ import annotations

import os
import platform
import struct
import time
from pathlib import Path

import pytest

from envoyassert.launch import kept as kept_files
from envoyassert.probe import program_cache
from envoyassert.probe.compiled import (
    Compiled,
    Function,
    _digest,
    from_bytes,
    to_bytes,
    without_maps,
)
from envoyassert.probe.kernel import MapKind
from envoyassert.probe.program_cache import capability, recall, remember

KEY = "0123456789abcdef"
COMPILED = Compiled(
    {"marks": MapKind(2, 4, 8, 1, 0), "records": MapKind(27, 0, 0, 4096, 0)},
    {"ea_one": Function(bytes(range(64)), ((4, "marks"), (28, "records")))},
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    """Where programs are kept, in a cache of the test's own."""
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    return tmp_path / "probe"


@pytest.fixture
def kept(place: Path) -> Path:
    """A file that holds the program."""
    remember(KEY, COMPILED)
    assert recall(KEY) == COMPILED
    (file,) = place.iterdir()
    return file


def test_program_that_is_kept_is_root_s_alone(place, kept):
    assert place.stat().st_mode & 0o777 == 0o700
    assert kept.stat().st_mode & 0o777 == 0o600


def test_program_is_not_taken_for_one_of_another_key(kept):
    assert recall("f" * 16) is None
    kept.rename(kept.with_name(kept.name.replace(KEY, "f" * 16)))
    assert recall("f" * 16) is None


def test_program_of_which_a_byte_is_lost_or_changed_is_none(kept):
    whole = kept.read_bytes()
    for at in range(len(whole)):
        assert from_bytes(whole[:at], KEY) is None
        assert from_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], KEY) is None
    assert from_bytes(whole + b"\n", KEY) is None
    assert from_bytes(whole, KEY) == COMPILED
    kept.write_bytes(whole[:-1])
    assert recall(KEY) is None


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"no JSON",
        b'{"maps":{}}',
        b'{"maps":{"records":[27,0]},"functions":{}}',
        b'{"maps":{},"functions":{"ea_one":{"code":"","maps":[[4]]}}}',
    ],
)
def test_program_that_another_release_kept_in_another_form_is_none(body):
    assert from_bytes(_digest(KEY, body) + body, KEY) is None


def link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def linked_directory(file: Path) -> None:
    file.parent.rename(file.parent.with_name("real"))
    file.parent.symlink_to("real")


ATTACKS = {
    "a link": link,
    "a pipe without a writer": pipe,
    "a directory": directory,
    "a link in place of the directory": linked_directory,
    "the group may write": lambda file: file.chmod(0o620),
    "others may write": lambda file: file.chmod(0o602),
    "the group may write to the directory": lambda file: file.parent.chmod(0o770),
    "others may write to the directory": lambda file: file.parent.chmod(0o1777),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_file_that_another_user_may_have_put_there_is_none(kept, attack):
    attack(kept)
    assert recall(KEY) is None


def test_file_of_another_user_is_none(kept, monkeypatch):
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert recall(KEY) is None


def test_nothing_is_written_to_a_directory_of_another_user(place, monkeypatch):
    place.mkdir(mode=0o777)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    remember(KEY, COMPILED)
    assert not list(place.iterdir())
    assert not capability().ok


def test_file_is_replaced_whole(place, kept):
    kept.write_bytes(b"")
    remember(KEY, COMPILED)
    assert recall(KEY) == COMPILED
    assert [file.name for file in place.iterdir()] == [kept.name]


def test_disk_that_fills_up_leaves_no_part_of_a_program(place, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    remember(KEY, COMPILED)
    assert recall(KEY) is None
    assert not list(place.iterdir())
    assert "No space left on device" in capability().detail


def test_cache_that_cannot_be_made_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "file"))
    remember(KEY, COMPILED)
    assert recall(KEY) is None
    check = capability()
    assert not check.ok
    assert "each session takes a second to compile" in check.detail
    assert "ENVOYASSERT_CACHE" in check.remedy


def test_user_without_a_home_directory_keeps_nothing(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ENVOYASSERT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    remember(KEY, COMPILED)
    assert recall(KEY) is None
    assert "Could not determine home directory" in capability().detail


def test_doctor_says_whether_a_program_is_kept(place):
    assert capability().detail == f"{place}, compiled programs: 0"
    remember(KEY, COMPILED)
    assert capability() == ("program cache", True, f"{place}, compiled programs: 1", "")
    assert len(list(place.iterdir())) == 1


def test_oldest_programs_and_abandoned_parts_are_removed(place):
    for number in range(12):
        remember(f"{number:016x}", COMPILED)
        os.utime(place / f"{number:016x}.program", (number, number))
    abandoned, being_written = place / ".abandoned", place / ".being-written"
    abandoned.touch()
    os.utime(abandoned, (1, 1))
    being_written.touch()
    remember(KEY, COMPILED)
    names = sorted(file.name for file in place.iterdir())
    expected = [KEY, *(f"{number:016x}" for number in range(5, 12))]
    assert names == sorted([".being-written", *(f"{key}.program" for key in expected)])
    assert time.time() - being_written.stat().st_mtime < kept_files._ABANDONED_S


CHANGES = {
    "the source": lambda patch: ("other text", {"EA": 1}),
    "a macro": lambda patch: ("text", {"EA": 2}),
    "the release of the kernel": lambda patch: patch(platform, "release", lambda: "7.0.0"),
    "the build of the kernel": lambda patch: patch(platform, "version", lambda: "#9 SMP"),
    "the architecture": lambda patch: patch(platform, "machine", lambda: "aarch64"),
    "the kernel's notes": lambda patch: patch(program_cache, "_NOTES", Path(__file__)),
    "bcc": lambda patch: patch(program_cache, "bcc_version", lambda: "0.99"),
    "bcc's library": lambda patch: patch(program_cache, "libraries", lambda: [Path(__file__)]),
    "the stub headers": lambda patch: patch(
        program_cache, "kernel_headers_dir", lambda: Path(__file__).parent
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_key_depends_on(change, monkeypatch, tmp_path):
    monkeypatch.setattr(program_cache, "bcc_version", lambda: "0.26.0")
    monkeypatch.setattr(program_cache, "libraries", list)
    (tmp_path / "notes").write_bytes(b"GNU")
    monkeypatch.setattr(program_cache, "_NOTES", tmp_path / "notes")
    before = program_cache.key_of("text", {"EA": 1})
    assert program_cache.key_of("text", {"EA": 1}) == before
    arguments = change(monkeypatch.setattr) or ("text", {"EA": 1})
    assert program_cache.key_of(*arguments) != before


def test_kernel_without_notes_is_known_by_its_types(monkeypatch, tmp_path):
    monkeypatch.setattr(program_cache, "bcc_version", lambda: "0.26.0")
    monkeypatch.setattr(program_cache, "_NOTES", tmp_path / "absent")
    types = tmp_path / "vmlinux"
    monkeypatch.setattr(program_cache, "PUBLISHED", types)
    types.write_bytes(b"one")
    before = program_cache.key_of("text", {})
    types.write_bytes(b"two")
    assert program_cache.key_of("text", {}) != before


def load_64(source: int, value: int) -> bytes:
    return struct.pack("=BBhi", 0x18, source << 4, 0, value) + bytes(8)


def test_maps_are_named_in_place_of_descriptors_and_put_back():
    move = struct.pack("=BBhi", 0xB7, 0, 0, 24)
    # The second half of a constant may look like the beginning of an instruction.
    constant = struct.pack("=BBhi", 0x18, 0, 0, 7) + struct.pack("=BBhi", 0x18, 0x10, 0, 5)
    code = move + load_64(1, 7) + constant + load_64(1, 5)
    function = without_maps(code, {5: "five", 7: "seven"})
    assert [name for _, name in function.maps] == ["seven", "five"]
    assert function.with_maps({"seven": 7, "five": 5}) == code
    other = function.with_maps({"seven": 70, "five": 50})
    assert other == move + load_64(1, 70) + constant + load_64(1, 50)


@pytest.mark.parametrize(("source", "says"), [(1, "has no name: 9"), (2, "of kind 2")])
def test_instruction_that_refers_to_something_unknown_is_refused(source, says):
    with pytest.raises(ValueError, match=says):
        without_maps(load_64(source, 9), {5: "five"})


def test_what_is_kept_holds_no_descriptor():
    function = without_maps(load_64(1, 77), {77: "marks"})
    assert function == without_maps(load_64(1, 5), {5: "marks"})
    compiled = Compiled({"marks": MapKind(2, 4, 8, 1, 0)}, {"ea_one": function})
    assert from_bytes(to_bytes(compiled, KEY), KEY) == compiled
