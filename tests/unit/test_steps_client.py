"""Clients of a listener: every way in which an attempt may go, on sockets of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envoyassert.addresses import Address
from envoyassert.driver.client import Client
from envoyassert.steps.base import StepProblem
from envoyassert.trace import ConnectionAttempt

LOCAL = "127.0.0.1"
#: SO_LINGER that makes close() send a reset (socket(7)).
RESET = struct.pack("ii", 1, 0)


def echo(peer: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):  # the client did not read it all
        while text := peer.recv(100):
            peer.sendall(text)


def end(peer: socket.socket) -> None:
    peer.recv(100)


def reset(peer: socket.socket) -> None:
    peer.recv(100)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def echo_once(peer: socket.socket) -> None:
    peer.sendall(peer.recv(100))


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[tuple[Address, threading.Thread]]:
    """A server that takes one client; its thread ends when the connection does."""

    def run() -> None:
        peer, _ = listener.accept()
        with peer:
            serve(peer)

    with socket.create_server((LOCAL, 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield Address.inet(LOCAL, listener.getsockname()[1]), thread
        thread.join(10)


def attempt(client: Client, send: str | None = "hello", within_s: float = 5) -> ConnectionAttempt:
    return client.attempt(lambda make, _: make(), send, time.monotonic() + within_s)


@pytest.mark.parametrize(
    "serve, first_byte, how, name",
    [(echo, True, "held", ""), (end, False, "eof", ""), (reset, False, "reset", "ECONNRESET")],
)
def test_attempt_shows_how_the_server_answered(
    serve: Callable[[socket.socket], None], first_byte: bool, how: str, name: str
) -> None:
    with server(serve) as (place, _), Client("TCP", place, "") as client:
        shown = attempt(client)
        assert (shown.ok, shown.first_byte, shown.end, shown.errno) == (True, first_byte, how, name)
        assert shown.local is not None
        assert shown.local.port
        assert 0 < shown.began_ns < shown.ended_ns


def test_attempt_where_nothing_listens_is_refused() -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        place = Address.inet(LOCAL, listener.getsockname()[1])
    with Client("TCP", place, "") as client:
        shown = attempt(client)
    assert (shown.ok, shown.errno, shown.end) == (False, "ECONNREFUSED", "")


def test_datagram_that_nothing_receives_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOCAL, 0))
        place = Address.inet(LOCAL, taken.getsockname()[1])
    with Client("UDP", place, "") as client:
        assert attempt(client).errno == "ECONNREFUSED"
        assert not client.last.ok


def test_client_that_is_not_answered_before_the_deadline_is_reported_as_such() -> None:
    with socket.create_server((LOCAL, 0)) as listener:
        place = Address.inet(LOCAL, listener.getsockname()[1])
        with Client("TCP", place, "") as client:
            shown = attempt(client, within_s=0.01)
    assert (shown.ok, shown.errno, shown.first_byte) == (True, "ETIMEDOUT", False)


@pytest.mark.parametrize("bound, name", [(True, "ECONNREFUSED"), (False, "ENOENT")])
def test_unix_path_without_anybody_behind_it_is_refused(
    bound: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be longer than a Unix address
    if bound:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind("./s")
    with Client("UNIX", Address.unix("/s"), ".") as client:
        assert attempt(client).errno == name


def test_network_that_went_with_its_container_is_a_failed_attempt() -> None:
    def gone(make: Callable[[], socket.socket], netns: str) -> socket.socket:
        raise ProcessLookupError("Envoy ended before its network namespace was entered")

    with Client("TCP", Address.inet(LOCAL, 1), "") as client:
        attempted = client.attempt(gone, "hello", time.monotonic() + 1)
    assert (attempted.ok, attempted.errno) == (False, "ESRCH")


def test_mapped_address_is_asked_over_ipv4() -> None:
    with server(echo) as (place, _):
        assert place.port is not None
        mapped = Address.inet(f"::ffff:{place.host}", place.port)
        with Client("TCP", mapped, "") as client:
            assert attempt(client).first_byte
            assert client.last.local is not None
            assert client.last.local.host == mapped.host


def test_namespace_that_cannot_be_entered_is_named() -> None:
    def absent(_make: object, netns: str) -> socket.socket:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), netns)

    place = Address.inet(LOCAL, 1).within("/run/netns/blue")
    with (
        Client("TCP", place, "") as client,
        pytest.raises(StepProblem, match="in the network namespace /run/netns/blue: No such file"),
    ):
        client.attempt(absent, None, time.monotonic() + 1)


def test_client_that_cannot_be_made_is_no_fact_about_the_server() -> None:
    def no_more(make: Callable[[], socket.socket], netns: str) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with (
        Client("TCP", Address.inet(LOCAL, 1), "") as client,
        pytest.raises(StepProblem, match="Too many open files"),
    ):
        client.attempt(no_more, None, time.monotonic() + 1)
    with (
        Client("UNIX", Address.unix("/" + "x" * 300), "/") as client,
        pytest.raises(StepProblem, match="too long"),
    ):
        attempt(client)


def test_talk_over_a_connection_that_lives_is_answered_again() -> None:
    with server(echo) as (place, _), Client("TCP", place, "") as client:
        attempt(client, "a long first text, of which one byte is read")
        shown = client.talk("again", time.monotonic() + 5)
        assert (shown.first_byte, shown.end) == (True, "held")
        assert client.close().end == "closed"


@pytest.mark.parametrize("serve", [echo_once, end, reset])
def test_talk_over_a_connection_that_has_ended_is_not_answered_by_what_is_left_of_the_first(
    serve: Callable[[socket.socket], None],
) -> None:
    with server(serve) as (place, thread), Client("TCP", place, "") as client:
        attempt(client, "first text")
        thread.join(10)
        shown = client.talk("again", time.monotonic() + 5)
        assert not shown.first_byte
        assert shown.end in ("eof", "reset")


@pytest.mark.parametrize("lost", [0, 1])
def test_batch_is_datagrams_of_their_own_and_each_is_to_be_answered(lost: int) -> None:
    taken: list[bytes] = []

    def answer() -> None:
        for number in range(4):
            text, peer = served.recvfrom(100)
            taken.append(text)
            if number >= lost:
                served.sendto(text, peer)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.settimeout(10)
        served.bind((LOCAL, 0))
        place = Address.inet(LOCAL, served.getsockname()[1])
        with Client("UDP", place, "") as client:
            attempt(client, None)
            thread = threading.Thread(target=answer)
            thread.start()
            shown = client.talk("hello", time.monotonic() + (0.2 if lost else 10), batch=4)
            thread.join(10)
    assert taken == [b"hello"] * 4
    wanted = (False, "ETIMEDOUT") if lost else (True, "")
    assert (shown.first_byte, shown.errno) == wanted


def test_batch_over_a_stream_is_not_carried_out() -> None:
    with server(echo) as (place, _), Client("TCP", place, "") as client:
        attempt(client)
        with pytest.raises(StepProblem, match="over UDP, not over TCP"):
            client.talk("again", time.monotonic() + 5, batch=2)
