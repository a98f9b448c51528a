"""Reading an ELF file's own words."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
from pathlib import Path

import pytest

from envoyassert.launch import elf as elf_module
from envoyassert.launch import kept
from envoyassert.launch.elf import (
    NotAnExecutableError,
    parse_build_id,
    parse_interpreter,
    read_build_id,
)

BUILD_ID = bytes(range(20))


def note(order: str, name: bytes, kind: int, description: bytes) -> bytes:
    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    head = struct.pack(order + "III", len(name), len(description), kind)
    return head + padded(name) + padded(description)


def elf(segments: list[tuple[int, bytes]], wide: bool = True, order: str = "<") -> bytes:
    """Return a file of one ELF header, program headers and the segments' contents."""
    header_size, entry_size = (64, 56) if wide else (52, 32)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    layout = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    header = ident + struct.pack(
        order + layout, 3, 62, 1, 0, header_size, 0, 0, header_size, entry_size, len(segments),
        0, 0, 0,
    )  # fmt: skip
    position = header_size + entry_size * len(segments)
    entries = contents = b""
    for kind, data in segments:
        size = len(data)
        if wide:
            entries += struct.pack(order + "IIQQQQQQ", kind, 4, position, 0, 0, size, size, 4)
        else:
            entries += struct.pack(order + "IIIIIIII", kind, position, 0, 0, size, size, 4, 4)
        contents += data
        position += size
    return header + entries + contents


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_parse_of_every_class_and_byte_order_finds_build_id_and_loader(wide, order):
    notes = note(order, b"GNU\0", 1, b"abi") + note(order, b"GNU\0", 3, BUILD_ID)
    file = elf([(1, b"code"), (3, b"/lib/ld.so\0"), (4, notes)], wide, order)
    assert parse_build_id(io.BytesIO(file)) == BUILD_ID.hex()
    assert parse_interpreter(io.BytesIO(file)) == "/lib/ld.so"


def test_parse_build_id_in_the_second_note_segment_is_found():
    other = note("<", b"stapsdt\0", 3, b"not it")
    file = elf([(4, other), (4, note("<", b"GNU\0", 3, BUILD_ID))])
    assert parse_build_id(io.BytesIO(file)) == BUILD_ID.hex()


def test_parse_of_a_file_without_them_is_empty():
    file = elf([(1, b"code")])
    assert parse_build_id(io.BytesIO(file)) == ""
    assert parse_interpreter(io.BytesIO(file)) == ""


@pytest.mark.parametrize("length", [0, 3, 16, 40, 63, 80, 130])
def test_parse_of_a_file_that_is_cut_off_is_an_error(length):
    file = elf([(4, note("<", b"GNU\0", 3, BUILD_ID))])
    assert len(file) > 130
    with pytest.raises(NotAnExecutableError):
        parse_build_id(io.BytesIO(file[:length]))


@pytest.mark.parametrize("parse", [parse_build_id, parse_interpreter])
@pytest.mark.parametrize(
    ("place", "damage"),
    [(32, bytes([255] * 8)), (40, bytes([255] * 8)), (54, b"\0\0"), (96, bytes([255] * 8))],
    ids=["program headers beyond all", "sections beyond all", "no entry size", "huge segment"],
)
def test_damaged_header_is_an_error_or_shows_nothing(parse, place, damage):
    file = bytearray(elf([(4, note("<", b"GNU\0", 3, BUILD_ID))]))
    file[place : place + len(damage)] = damage
    with contextlib.suppress(NotAnExecutableError):
        assert parse(io.BytesIO(file)) in ("", BUILD_ID.hex())


def test_note_that_is_longer_than_its_segment_is_not_read_beyond_it():
    long = note("<", b"GNU\0", 5, b"x" * 8)
    long = long[:4] + struct.pack("<I", 1 << 31) + long[8:]
    with pytest.raises(NotAnExecutableError):
        parse_build_id(io.BytesIO(elf([(4, long)]) + bytes(1 << 20)))


def test_read_build_id_of_a_text_file_is_empty(tmp_path):
    (tmp_path / "envoy").write_text("#!/bin/sh\n")
    assert read_build_id(tmp_path / "envoy") == ""


def test_read_build_id_of_what_is_no_file_is_empty_and_waits_for_nothing(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert read_build_id(tmp_path / "fifo") == ""
    assert read_build_id("/dev/zero") == ""


def test_build_id_is_read_once_of_a_file_that_stays_and_by_whatever_path(monkeypatch, tmp_path):
    monkeypatch.setattr(elf_module, "_known", {})
    ids = iter(["ab", "cd"])
    monkeypatch.setattr(elf_module, "parse_build_id", lambda _: next(ids))
    (tmp_path / "python").symlink_to(sys.executable)
    assert [read_build_id(path) for path in (sys.executable, tmp_path / "python")] == ["ab"] * 2


def test_build_id_of_a_file_that_may_change_within_the_same_tick_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(elf_module, "_known", {})
    file = tmp_path / "envoy"
    for build_id in (BUILD_ID, BUILD_ID[::-1]):
        file.write_bytes(elf([(4, note("<", b"GNU\0", 3, build_id))]))
        assert read_build_id(file) == build_id.hex()
    assert elf_module._known == {}


def test_as_many_build_ids_are_kept_as_a_session_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(elf_module, "_known", {})
    monkeypatch.setattr(kept, "_SETTLED_S", -1.0)
    for number in range(elf_module._KNOWN_FILES + 5):
        (tmp_path / str(number)).touch()
        read_build_id(tmp_path / str(number))
    assert len(elf_module._known) == elf_module._KNOWN_FILES


def test_parse_interpreter_of_this_python_exists():
    with Path(sys.executable).open("rb") as file:
        assert "ld-" in parse_interpreter(file)
