"""What stands in for files that a config names and that are not there.

Each is the least that Envoy 1.36.4 and 1.40.0 take: no socket depends on what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from envoyassert.scenario.absent import NO_RESOURCES

#: What a file that is not there may have in its place.
Kind = Literal[
    "certificate", "private_key", "crl", "ticket_key", "wasm", "users", "nothing", "empty",
    "text", "number", "directory",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
#: The option of commands that has them stood in for.
OPTION = "--stand-in"
#: The kind that is a directory and no file.
DIRECTORY = "directory"

#: For tests alone: the key is public, and protects nothing. The certificate is its own authority,
#: valid until 9999, for stand-in.invalid; its list revokes nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBhjCCASygAwIBAgIBATAKBggqhkjOPQQDAjAbMRkwFwYDVQQDDBBzdGFuZC1p
bi5pbnZhbGlkMCAXDTIwMDEwMTAwMDAwMFoYDzk5OTkxMjMxMjM1OTU5WjAbMRkw
FwYDVQQDDBBzdGFuZC1pbi5pbnZhbGlkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAE9p7LZUMOaGezusxC3VSGYo63GMMnlo16ktK8yeKLsOesywcVoVACcNIk7jL1
tooltB5YGdVvLV92ZYu4oH4Zr6NfMF0wDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAYYwHQYDVR0OBBYEFG23ZKFNVuwdHurR5KsvmSmPDFVpMBsGA1UdEQQU
MBKCEHN0YW5kLWluLmludmFsaWQwCgYIKoZIzj0EAwIDSAAwRQIgOBOH7rOugbP1
cMeESu2StpKYqeZwEbgIsj5Fu1ah0O4CIQDl6c0J6lc8ibDTmzqEpOLIhn8TNoNx
VJ5hYONiIP/Zlg==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAJWuRMjH+Q9dofEV
21QdNOSaVv0JPxOhwBmGTNkw75KhRANCAAT2nstlQw5oZ7O6zELdVIZijrcYwyeW
jXqS0rzJ4ouw56zLBxWhUAJw0iTuMvW2iiW0HlgZ1W8tX3Zli7igfhmv
-----END PRIVATE KEY-----
"""
_CRL = """\
-----BEGIN X509 CRL-----
MIGzMFwCAQEwCgYIKoZIzj0EAwIwGzEZMBcGA1UEAwwQc3RhbmQtaW4uaW52YWxp
ZBcNMjYxMTI4MDg1NzA2WhgPOTk2NjExMDMwODU3MDZaoA4wDDAKBgNVHRQEAwIB
ATAKBggqhkjOPQQDAgNHADBEAiA3s4LzaGSg4fQxKY7J6SgyHq4a18NgH2BDQIEQ
KpHMawIgOU7Q65znG5VEJdgk8AzK/AmwJvdnplFkp7oaZ1NZOKQ=
-----END X509 CRL-----
"""

# A WebAssembly module of functions that do nothing, and of the Proxy-Wasm ABI 0.2.0
# (proxy-wasm/spec): memory, the ABI's version, an allocator and an initializer.
_WASM = (
    "\0asm\x01\0\0\0"
    "\x01\x09\x02\x60\0\0\x60\x01\x7f\x01\x7f"  # types: () -> (), i32 -> i32
    "\x03\x03\x02\0\x01"  # a function of each
    "\x05\x03\x01\0\x01"  # one page of memory
    "\x07\x3b\x04"  # what is exported
    "\x06memory\x02\0"
    "\x17proxy_abi_version_0_2_0\0\0"
    "\x06malloc\0\x01"
    "\x0b_initialize\0\0"
    "\x0a\x09\x02"  # code: nothing; the address 16
    "\x02\0\x0b"
    "\x04\0\x41\x10\x0b"
)

#: What each kind is; None is a directory.
MADE_UP: Mapping[str, Any] = {
    "certificate": CERTIFICATE,
    "private_key": KEY,
    "crl": _CRL,
    "ticket_key": "0" * 80,
    "wasm": _WASM,
    "users": "stand-in:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n",
    "nothing": NO_RESOURCES,
    "empty": "",
    "text": "stand-in\n",
    "number": "0",
    DIRECTORY: None,
}
