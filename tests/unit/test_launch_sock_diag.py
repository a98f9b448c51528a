"""The kernel's list of sockets, compared with what this process knows of its own."""

import os
import socket
import struct

import pytest

from envoyassert.addresses import Address
from envoyassert.launch import admin
from envoyassert.launch.sock_diag import (
    CLOSE,
    LISTEN,
    diagnosis,
    inet_sockets,
    unix_listeners,
)

SO_COOKIE = 57


def cookie(made: socket.socket) -> int:
    return int(struct.unpack("=Q", made.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


def v6only(made: socket.socket) -> bool:
    return bool(made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def inode(made: socket.socket) -> int:
    return os.fstat(made.fileno()).st_ino


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["4", "6"])
def place(request: pytest.FixtureRequest) -> tuple[int, str]:
    family, host = request.param
    return family, host


def test_a_listener_is_found_with_its_queue(place):
    family, host = place
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((host, 0))
        listener.listen(7)
        client.connect(listener.getsockname())
        with diagnosis() as netlink:
            everything = list(inet_sockets(netlink, family, socket.IPPROTO_TCP, LISTEN))
        (found,) = [one for one in everything if one.inode == inode(listener)]
        assert found[:3] == (*listener.getsockname()[:2], 0)
        assert found.cookie == cookie(listener)
        assert (found.waiting, found.backlog) == (1, 7)
        assert found.v6only is (None if family == socket.AF_INET else v6only(listener))
        assert inode(client) not in {one.inode for one in everything}


def test_a_bound_udp_socket_is_found(place):
    family, host = place
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, 0))
        with diagnosis() as netlink:
            found = {
                one.inode: one for one in inet_sockets(netlink, family, socket.IPPROTO_UDP, CLOSE)
            }[inode(bound)]
        assert (found.host, found.port) == bound.getsockname()[:2]
        assert found.v6only is (None if family == socket.AF_INET else v6only(bound))


@pytest.mark.parametrize("abstract", [True, False])
def test_a_unix_listener_is_found_by_its_name(tmp_path, abstract):
    name = f"\0{tmp_path}\0" if abstract else str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(5)
        with diagnosis() as netlink:
            (found,) = [one for one in unix_listeners(netlink) if one.inode == inode(listener)]
        assert found.name.rstrip(b"\0" if not abstract else b"") == os.fsencode(name)
        assert (found.cookie, found.waiting, found.backlog) == (cookie(listener), 0, 5)


def test_more_sockets_than_one_answer_holds_are_all_found(place):
    family, host = place
    listeners = [socket.create_server((host, 0), family=family) for _ in range(800)]
    try:
        with diagnosis() as netlink:
            found = list(inet_sockets(netlink, family, socket.IPPROTO_TCP, LISTEN))
        assert {inode(one) for one in listeners} <= {one.inode for one in found}
    finally:
        for one in listeners:
            one.close()


@pytest.mark.parametrize("errno", [2, 93])
def test_who_listens_is_known_on_a_kernel_that_has_no_such_list(monkeypatch, place, errno):
    def refuse():
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(admin, "diagnosis", refuse)
    with socket.create_server((place[1], 0), family=place[0]) as listener:
        address = Address.inet(place[1], listener.getsockname()[1])
        admin.connect_admin(address, "/", 1.0, os.getpid).close()
        with pytest.raises(ConnectionRefusedError, match="does not listen"):
            admin.connect_admin(address, "/", 1.0, os.getppid)
    with pytest.raises(ConnectionRefusedError, match="does not listen"):
        admin.connect_admin(address, "/", 1.0, os.getpid)


def test_a_request_that_the_kernel_refuses_is_its_error():
    with diagnosis() as netlink, pytest.raises(FileNotFoundError):
        list(inet_sockets(netlink, socket.AF_INET, 250, LISTEN))


def test_who_is_meant_is_not_looked_for_until_something_listens():
    def meant() -> int:
        raise AssertionError("nothing listens there")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address.inet("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(ConnectionRefusedError):
        admin.connect_admin(address, "/", 1.0, meant)
