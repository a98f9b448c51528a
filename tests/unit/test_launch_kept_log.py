"""A log of any size is kept as text of a bounded one."""

from __future__ import annotations

import os

import pytest

from envoyassert.launch import kept_log as module
from envoyassert.launch.kept_log import HEAD_BYTES, TAIL_BYTES, kept_log, kept_text, log_since


def kept(text: bytes) -> str:
    return kept_log(len(text), lambda count, offset: text[offset : offset + count])


def test_short_log_is_kept_whole(monkeypatch):
    assert kept(b"one\ntwo\xff\n") == "one\ntwo\ufffd\n"
    assert kept(b"") == ""


def test_long_log_is_kept_head_and_tail_and_says_what_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "HEAD_BYTES", 20)
    monkeypatch.setattr(module, "TAIL_BYTES", 20)
    text = b"".join(b"line %03d\n" % number for number in range(100))
    assert kept(text) == (
        "line 000\nline 001\n[envoyassert: 864 bytes of the log left out here]\n"
        "line 098\nline 099\n"
    )


def test_line_without_an_end_is_cut():
    assert kept_text(b"aaaa", b"zzzz", 100) == (
        "aaaa\n[envoyassert: 92 bytes of the log left out here]\nzzzz"
    )
    assert "the middle of the log" in kept_text(b"a\n", b"z\n")


def test_log_of_a_gigabyte_is_read_in_part_only(tmp_path):
    size = 1 << 30
    file = tmp_path / "log"
    with file.open("wb") as log:
        log.write(b"first\n")
        log.seek(size - 5)
        log.write(b"last\n")
    read: list[int] = []
    with file.open("rb") as log:

        def piece(count: int, offset: int) -> bytes:
            read.append(count)
            return os.pread(log.fileno(), count, offset)

        text = kept_log(size, piece)
    assert sum(read) == HEAD_BYTES + TAIL_BYTES
    assert text.startswith("first\n")
    assert text.endswith("last\n")


@pytest.mark.parametrize(
    "before, now, more",
    [
        ("", "a\n", "a\n"),
        ("a\nb\n", "a\nb\nc\n", "c\n"),
        ("a\nb\nc\n", "a\n[…]\nc\nd\n", "d\n"),
        ("a\nb\n", "a\n[…]\ny\nz\n", "a\n[…]\ny\nz\n"),
    ],
    ids=["all", "end", "middle left out", "before left out"],
)
def test_what_a_log_has_gained(before, now, more):
    assert log_since(before, now) == more
