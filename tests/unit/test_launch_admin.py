"""Replies of an admin endpoint: whole, dripping, endless."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from envoyassert.launch import admin
from envoyassert.launch.admin import AdminIncompleteError, AdminUnreachableError, request

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answered(answer: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """Answer over one end of a connection, until the other is closed; return that."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            theirs.recv(1 << 16)
            answer(theirs)
        except OSError:
            pass  # the other end was closed
        finally:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield ours
    finally:
        ours.close()
        thread.join(10)


def chunks(connection: socket.socket, size: int) -> None:
    connection.sendall(OK + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"%x\r\n%b\r\n" % (size, b"x" * size))


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def drip(connection: socket.socket, text: bytes, forever: bytes) -> None:
    connection.sendall(text)
    pause = threading.Event()
    while not pause.wait(0.01):
        connection.sendall(forever)


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"content-length: 5\r\n\r\nLIVE\n",
        OK + b"connection: close\r\n\r\nLIVE\n",
        OK + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nLIVE\n\r\n0\r\n\r\n",
    ],
    ids=["length", "close", "chunked"],
)
def test_whole_reply_is_read_in_each_form(reply):
    with answered(lambda it: it.sendall(reply)) as connection:
        assert request(connection, "/ready") == (200, "LIVE\n")
        assert connection.fileno() == -1


@pytest.mark.parametrize(
    "text, forever",
    [
        (OK + b"content-length: 9999\r\n\r\n", b"x"),
        (OK, b"a"),
        (OK, b"a: b\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["body", "header", "headers", "chunks"],
)
def test_dripping_reply_ends_in_time(text, forever):
    began_s = time.monotonic()
    with (
        answered(lambda it: drip(it, text, forever)) as connection,
        pytest.raises(AdminUnreachableError) as caught,
    ):
        request(connection, "/ready", deadline_s=0.2)
    assert time.monotonic() - began_s < 2
    if forever != b"a: b\r\n":  # http.client counts them
        assert isinstance(caught.value, AdminIncompleteError)
        assert str(caught.value) == "GET /ready: the reply took too long"


def test_endless_reply_ends_at_its_size(monkeypatch):
    monkeypatch.setattr(admin, "REPLY_BYTES", 3 << 20)
    with (
        answered(lambda it: chunks(it, 1 << 16)) as connection,
        pytest.raises(AdminIncompleteError, match="the reply has more than 3 MiB"),
    ):
        request(connection, "/stats", deadline_s=30)


def test_reply_that_is_cut_off_is_no_reply():
    cut = OK + b"content-length: 5\r\n\r\nLI"
    with answered(lambda it: it.sendall(cut)) as connection, pytest.raises(AdminUnreachableError):
        request(connection, "/ready")


@pytest.mark.parametrize("size", [1 << 40, 1 << 70])
@pytest.mark.parametrize(
    "form", ["content-length: {0}\r\n\r\n", "transfer-encoding: chunked\r\n\r\n{0:x}\r\n"]
)
def test_size_that_a_reply_claims_to_have_takes_no_memory(size, form):
    reply = OK + form.format(size).encode() + b"x"
    with answered(lambda it: it.sendall(reply)) as connection, pytest.raises(AdminUnreachableError):
        request(connection, "/ready")


def test_of_a_long_status_line_there_is_its_beginning():
    with (
        answered(lambda it: it.sendall(b"x" * 60_000 + b"\r\n")) as connection,
        pytest.raises(AdminUnreachableError) as caught,
    ):
        request(connection, "/ready")
    assert len(str(caught.value)) < 300


def test_silence_is_no_reply():
    with answered(silent) as connection, pytest.raises(AdminUnreachableError):
        request(connection, "/ready", deadline_s=0.1)
