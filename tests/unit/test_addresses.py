"""Addresses compare as addresses and print in one way."""

import pytest
from pydantic import TypeAdapter

from envoyassert.addresses import Address, canonical_host


@pytest.mark.parametrize(
    "one, same",
    [
        ("::1", "0:0:0:0:0:0:0:1"),
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
        ("2001:DB8::1", "2001:db8:0::1"),
    ],
)
def test_spellings_of_one_address_are_equal(one: str, same: str) -> None:
    assert Address.inet(one, 80) == Address.inet(same, 80)


def test_mapped_wildcard_and_plain_addresses_are_distinguished() -> None:
    hosts = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:0.0.0.0"]
    addresses = [Address.inet(host, 80) for host in hosts]
    assert len(set(addresses)) == len(hosts)
    assert [address.is_wildcard for address in addresses] == [0, 0, 1, 1, 0, 0]


def test_mapped_address_prints_its_dotted_part_from_text_and_bytes() -> None:
    assert canonical_host("::FFFF:7F00:1") == "::ffff:127.0.0.1"
    assert canonical_host(bytes(10) + b"\xff\xff\x7f\x00\x00\x01") == "::ffff:127.0.0.1"


@pytest.mark.parametrize(
    "address, text",
    [
        (Address.inet("::1", 80), "[::1]:80"),
        (Address.inet("10.0.0.1", 80), "10.0.0.1:80"),
        (Address.unix("/run/x.sock"), "/run/x.sock"),
        (Address.unix("@name"), "@name"),
        (Address("AF_UNIX", abstract="a\0b"), "@a\\0b"),
        (Address("AF_UNIX", path=""), "(unnamed)"),
        (Address("AF_NETLINK"), "AF_NETLINK"),
    ],
)
def test_address_prints_and_survives_json(address: Address, text: str) -> None:
    assert str(address) == text
    assert TypeAdapter(Address).validate_python(address.to_json()) == address


def test_hostname_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        Address.inet("localhost", 80)


def test_zone_of_an_address_is_for_clients_and_not_compared() -> None:
    address = Address.inet("fe80::1%eth0", 80)
    assert address == Address.inet("FE80::1", 80) == Address.inet("fe80::1%1", 80)
    assert (str(address), address.target) == ("[fe80::1]:80", "fe80::1%eth0")
    assert Address.inet("fe80::1", 80).target == "fe80::1"
    assert TypeAdapter(Address).validate_python(address.to_json()) == address
