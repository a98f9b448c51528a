"""What was read of an executable is not read again, unless the file is another one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from envoyassert import symbolize
from envoyassert.launch import kept
from envoyassert.launch.kept_symbols import NotedFile, identity

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads an ELF executable")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "cache"
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(directory))
    monkeypatch.setattr(symbolize, "_known", {})
    # Of a file that was just made nothing is kept.
    monkeypatch.setattr(kept, "_SETTLED_S", -1.0)
    return directory


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return Path(shutil.copy(Path(sys.executable).resolve(), tmp_path / "program"))


def refuse(*_: object) -> None:
    raise AssertionError("the file is read again")


def read(program: Path, asked: dict[int, bool]) -> object:
    return symbolize._named("ab" * 20, program, (), asked)


def test_what_is_known_of_a_file_is_not_read_again(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {place: place % 3 == 0 for place in range(0x1000, 0x9000, 0x100)}
    before = read(program, asked)
    build_id = symbolize._build_id(program)

    monkeypatch.setattr(symbolize, "read_symbols", refuse)
    monkeypatch.setattr(symbolize, "_known", {})
    monkeypatch.setattr("envoyassert.launch.elf.read_build_id", refuse)

    assert read(program, asked) == before
    assert symbolize._build_id(program) == build_id


@pytest.mark.parametrize("asked", [{0x1234: False}, {0x1000: True}])
def test_a_place_that_is_not_known_is_looked_up(
    program: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[int, bool]
) -> None:
    read(program, {0x1000: False})

    monkeypatch.setattr(symbolize, "read_symbols", refuse)
    monkeypatch.setattr(symbolize, "_known", {})

    with pytest.raises(AssertionError, match="again"):
        read(program, asked)


def test_a_file_that_was_changed_is_read_again(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(program, {0x1000: False})
    status = program.stat()
    with program.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))

    monkeypatch.setattr(symbolize, "read_symbols", refuse)

    with pytest.raises(AssertionError, match="again"):
        read(program, {0x1000: False})


def test_of_a_file_that_may_change_within_the_same_tick_nothing_is_kept(
    program: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SETTLED_S", 2.0)
    assert symbolize._build_id(program)
    read(program, {0x1000: True})
    assert not (cache / "symbols").exists()

    (debug := program.with_name("debug")).write_bytes(program.read_bytes())
    monkeypatch.setattr(symbolize, "is_settled", lambda file: file.st_ino != debug.stat().st_ino)
    monkeypatch.setattr(symbolize, "find_debug_file", lambda *_: debug)
    read(program, {0x1000: True})
    assert not (cache / "symbols").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"functions": 1}', b"\xff"])
def test_a_damaged_note_is_none(cache: Path, damage: bytes) -> None:
    noted = NotedFile("a file")
    noted.build_id = "ab"
    noted.add(1, "bind", None)
    noted.keep()
    assert NotedFile("a file").build_id == "ab"

    (note,) = (cache / "symbols").iterdir()
    note.write_bytes(damage)

    again = NotedFile("a file")
    assert again.build_id is None
    assert not again.has({1: False})


def test_a_name_that_was_not_put_in_plain_text_is_not_kept() -> None:
    noted = NotedFile("a file")
    noted.add(1, "_ZN5Envoy4mainEv", None)
    noted.keep()

    assert not NotedFile("a file").has({1: False})


def test_a_debug_file_that_appears_counts(program: Path) -> None:
    file = identity(program.stat())
    noted = NotedFile(file, "")
    noted.add(1, "", None)
    noted.keep()

    assert NotedFile(file, "").has({1: False})
    assert not NotedFile(file, "another").has({1: False})


def test_a_debug_file_that_was_replaced_is_read_again(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debug = program.with_name("debug")
    monkeypatch.setattr(symbolize, "find_debug_file", lambda *_: debug)

    def symbols(_: Path, separate: Path) -> object:
        name = separate.read_text()
        return SimpleNamespace(name_at=lambda _: name), True

    monkeypatch.setattr(symbolize, "read_symbols", symbols)
    for name in ("first", "the second"):
        debug.write_text(name)
        assert read(program, {1: False}) == ({1: (name, "")}, True)
