"""The kernel's own account, taken of this very process."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import subprocess
import sys
import time

import pytest

from envoyassert.addresses import Address
from envoyassert.launch.admin import REPLY_BYTES
from envoyassert.witness import take_witness
from envoyassert.witness.envoy import ask_envoy
from envoyassert.witness.process import is_filtered


@pytest.fixture
def listener():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def seen(witness, fd):
    return next(found for found in witness.sockets if found.fd == fd)


def test_witness_of_a_listener_and_its_duplicate_is_one_kernel_socket(listener):
    with listener.dup() as duplicate, socket.socket() as other:
        witness = take_witness(os.getpid())
        first, second = seen(witness, listener.fileno()), seen(witness, duplicate.fileno())
        assert witness.error == ""
        assert first.cookie == second.cookie != seen(witness, other.fileno()).cookie
        assert first.inode == second.inode == os.fstat(listener.fileno()).st_ino
        assert first.address == Address.inet("127.0.0.1", listener.getsockname()[1])
        assert (first.listening, first.reuse_port) == (True, True)
        unbound = seen(witness, other.fileno())
        assert (unbound.address, unbound.listening, unbound.reuse_port) == (None, False, False)


def test_witness_of_unix_sockets_distinguishes_path_from_abstract(tmp_path):
    name = f"envoyassert-{os.getpid()}\0\0"
    with socket.socket(socket.AF_UNIX) as path, socket.socket(socket.AF_UNIX) as abstract:
        path.bind(str(tmp_path / "s"))
        abstract.bind(f"\0{name}")
        witness = take_witness(os.getpid())
        assert seen(witness, path.fileno()).address == Address.unix(str(tmp_path / "s"))
        assert seen(witness, abstract.fileno()).address == Address.unix(f"@{name}")


def test_witness_of_registrations_names_epoll_and_socket(listener):
    with select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN)
        witness = take_witness(os.getpid())
        (found,) = (item for item in witness.registrations if item.epfd == epoll.fileno())
        assert found.fd == listener.fileno()
        assert found.inode == os.fstat(listener.fileno()).st_ino


def test_witness_leaves_descriptors_and_sockets_as_they_were(listener):
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names alone
    take_witness(os.getpid())
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    with socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        accepted.close()
        assert client.recv(1) == b""


def test_witness_leaves_out_other_families():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        fds = {found.fd for found in take_witness(os.getpid()).sockets}
        assert netlink.fileno() not in fds


def test_envoy_that_forbids_the_questions_gives_no_account():
    assert ask_envoy(lambda path: (403, f"request to path {path} not allowed")) is None
    account = ask_envoy(lambda path: (404, ""))
    assert account is not None
    assert "status 404" in account.error


PLACE = {"socket_address": {"address": "127.0.0.1", "port_value": 80}}


def _said(replies):
    return lambda path: replies[path.partition("?")[0]]


NO_STATS = '{"stats": []}'


@pytest.mark.parametrize(
    "listeners",
    [
        [{"name": 1, "local_address": PLACE}],
        [{"name": {}, "local_address": PLACE}],
        [{"local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 65536}}}],
        [{"local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 1e999}}}],
        [{"local_address": {"socket_address": {"address": "no address"}}}],
        [{"local_address": {"pipe": {"path": []}}}],
        [{"name": "\ud800", "local_address": PLACE}],
        {},
    ],
)
def test_listeners_of_another_form_are_no_account(listeners):
    body = json.dumps({"listener_statuses": listeners})
    account = ask_envoy(lambda path: (200, body if path.startswith("/listeners") else NO_STATS))
    assert account is not None
    assert account.error.startswith("the admin endpoint gave an answer of another form: ")
    assert len(account.error) < 300


@pytest.mark.parametrize("value", ["x", "-1", "1e999", str(2**64), "9" * 5000, "[" * 20_000])
def test_gauges_of_another_form_are_no_account(value):
    stats = f'{{"stats": [{{"name": "server.state", "value": {value}}}, {{"histograms": {{}}}}]}}'
    account = ask_envoy(lambda path: (200, "{}" if path.startswith("/listeners") else stats))
    assert account is not None
    assert account.error.startswith("the admin endpoint gave an answer of another form: ")
    assert len(account.error) < 300


@pytest.mark.parametrize("part", ["[],", "{},", "1,", '{"":{}},', '{"local_address":{}},'])
def test_answer_of_many_small_parts_takes_neither_time_nor_memory(part):
    parts = part * (REPLY_BYTES // len(part))
    listeners, stats = (f'{{"{key}": [{parts}0]}}' for key in ("listener_statuses", "stats"))
    begun_s = time.process_time()
    for text in (listeners, stats):
        json.loads(text)
    # What reading it takes at all, on this machine and with what it does beside.
    reading_s = time.process_time() - begun_s
    before_kb, begun_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for listed in (listeners, "{}"):
        replies = {"/listeners": (200, listed), "/stats": (200, stats)}
        account = ask_envoy(_said(replies))
        assert account is not None
        assert account.error.startswith("the admin endpoint gave an answer of another form: ")
    assert time.process_time() - begun_s < 20 * reading_s
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 500 << 10


def test_account_has_the_gauges_that_were_asked_for_and_no_other():
    stats = [{"name": "server.state", "value": 0}, {"name": "server_state", "value": "text"}]
    body = json.dumps({"stats": [*stats, {"histograms": {}}]})
    account = ask_envoy(lambda path: (200, "{}" if path.startswith("/listeners") else body))
    assert account is not None
    assert (account.error, account.stats) == ("", {"server.state": 0})


def test_witness_of_no_process_says_so():
    witness = take_witness(2**22 + 1)
    assert witness.sockets == ()
    assert witness.error != ""


FILTERED = """
import ctypes, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
lines = struct.pack("=HBBI", 0x06, 0, 0, 0x7fff0000)  # every call is made
kept = ctypes.create_string_buffer(lines, len(lines))
program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(kept))
def set_filter():
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program) == 0
    print("ready", flush=True)
    sys.stdin.readline()
thread = threading.Thread(target=set_filter); thread.start(); thread.join()
"""


def test_seccomp_filter_of_a_single_thread_is_reported() -> None:
    command = [sys.executable, "-I", "-S", "-c", FILTERED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert is_filtered(child.pid)
        child.communicate(b"\n")
    assert not is_filtered(child.pid)
