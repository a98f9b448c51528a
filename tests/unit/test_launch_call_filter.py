"""The filter of system calls: what it answers, and that the kernel takes it."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from functools import partial

import pytest

from envoyassert.calls.hidden import answers_of, may_claim_success
from envoyassert.launch.call_filter import call_filter, filter_calls
from envoyassert.launch.namespace import NamespaceThread

ROOT = os.geteuid() == 0
INSTRUCTION = struct.Struct("=HBBI")
ALLOW, EPERM, ENOSYS = "ALLOW", "EPERM", "ENOSYS"
X86, ARM = 0xC000003E, 0xC00000B7
#: CLONE_NEWUSER, and what pthread_create(3) asks for (linux/sched.h).
NEW_USER, THREAD = 0x10000000, 0x3D0F00


def answer(program: bytes, number: int, audit: int = X86, first: int = 0) -> str:
    """What a filter answers to a call, as the kernel would run it (linux/filter.h)."""
    data = struct.pack("=IIQ6Q", number, audit, 0, first, *[0] * 5)
    steps = [*INSTRUCTION.iter_unpack(program)]
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            if value == 0x7FFF0000:
                return ALLOW
            assert value >> 16 == 5
            return errno.errorcode[value & 0xFFFF]
        else:
            met = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += yes if met else no


@pytest.mark.parametrize(
    "number, wanted",
    [
        (0, ALLOW),  # read
        (41, ALLOW),  # socket
        (101, ALLOW),  # ptrace, for strace
        (231, ALLOW),  # exit_group
        (165, EPERM),  # mount
        (272, EPERM),  # unshare
        (308, EPERM),  # setns
        (321, EPERM),  # bpf
        (425, EPERM),  # io_uring_setup
        (248, EPERM),  # add_key
        (435, ENOSYS),  # clone3
        (0x40000000, EPERM),  # read of the second table
    ],
)
def test_calls_that_docker_refuses_are_refused(number: int, wanted: str) -> None:
    assert answer(call_filter((), "x86_64"), number) == wanted


def test_new_namespaces_are_refused_and_threads_are_not() -> None:
    program = call_filter((), "x86_64")
    assert answer(program, 56, first=NEW_USER) == EPERM
    assert answer(program, 56, first=THREAD) == ALLOW


def test_another_machine_has_its_own_numbers() -> None:
    program = call_filter((), "aarch64")
    assert answer(program, 40, ARM) == EPERM  # mount
    assert answer(program, 63, ARM) == ALLOW  # read
    assert answer(program, 63, X86) == EPERM
    assert call_filter((), "riscv64") == b""


def test_capability_allows_its_calls_and_no_others() -> None:
    program = call_filter(("CAP_SYS_ADMIN",), "x86_64")
    assert answer(program, 308) == ALLOW  # setns
    assert answer(program, 435) == ALLOW  # clone3
    assert answer(program, 56, first=NEW_USER) == ALLOW
    assert answer(program, 169) == EPERM  # reboot
    assert answer(program, 425) == EPERM  # io_uring_setup


def test_root_with_all_capabilities_is_refused_what_needs_none() -> None:
    program = call_filter(None, "x86_64")
    assert answer(program, 165) == ALLOW  # mount
    assert answer(program, 425) == EPERM  # io_uring_setup


def test_filter_never_claims_that_a_call_succeeded() -> None:
    program = call_filter(())
    answers = answers_of(program, len(program) // INSTRUCTION.size)
    assert answers == ["ALLOW", "ERRNO ENOSYS", "ERRNO EPERM"]
    assert not may_claim_success(answers)


@pytest.mark.skipif(not ROOT, reason="without no_new_privs only root sets a filter")
def test_kernel_holds_what_a_thread_starts_to_it() -> None:
    tried = "import ctypes, os; print(ctypes.CDLL(None, use_errno=True).unshare(0x20000))"
    command = [sys.executable, "-c", tried]
    run = partial(subprocess.run, command, capture_output=True, text=True, check=False)
    thread = NamespaceThread(partial(filter_calls, call_filter(())), "test-filter")
    try:
        assert thread.call(run).stdout == "-1\n"
    finally:
        thread.close()
    assert run().stdout == "0\n"
