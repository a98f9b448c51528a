"""Names of constants, against those that Python and the system's headers know."""

import errno
import socket
import sys

import pytest

from envoyassert import names

linux = pytest.mark.skipif(sys.platform != "linux", reason="the numbers are Linux's")


@linux
def test_errno_names_are_those_of_the_system() -> None:
    assert {name: getattr(errno, name) for name in names.ERRNOS.values()} == {
        name: number for number, name in names.ERRNOS.items()
    }
    assert set(names.ERRNOS) >= {n for n in errno.errorcode if n < 133}
    assert names.errno_name(9999) == "E9999"


@linux
def test_option_names_are_those_of_the_system() -> None:
    checked = 0
    for options in names.OPTIONS.values():
        for number, name in options.items():
            known = getattr(socket, name, None)
            if known is not None:
                assert known == number, name
                checked += 1
    assert checked > 40


@linux
def test_level_and_family_names_are_those_of_the_system() -> None:
    for table in (names.FAMILIES, names.SOCKET_TYPES, names.LEVELS):
        for number, name in table.items():
            assert getattr(socket, name, number) == number


def test_epoll_event_names_keep_unknown_bits() -> None:
    assert names.epoll_event_names(0x1 | 1 << 31) == ["EPOLLIN", "EPOLLET"]
    assert names.epoll_event_names(0x1 | 1 << 20) == ["EPOLLIN", "0x100000"]


def test_level_aliases_are_one_level() -> None:
    assert names.level_name("SOL_TCP") == names.level_name(6) == "IPPROTO_TCP"
    assert names.option_name("SOL_TCP", 4) == "TCP_KEEPIDLE"
    assert names.find_option("TCP_KEEPIDLE") == ("IPPROTO_TCP", "TCP_KEEPIDLE")
    assert names.find_option("TCP_KEEPIDEL") is None
