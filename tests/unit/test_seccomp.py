"""What the program of a seccomp filter can answer."""

from __future__ import annotations

import struct

import pytest

from envoyassert.calls.hidden import answers_of, may_claim_success

LOAD = (0x20, 0, 0, 0)


def program(*instructions: tuple[int, int, int, int]) -> tuple[bytes, int]:
    return b"".join(struct.pack("=HBBI", *one) for one in instructions), len(instructions)


def answer(value: int) -> tuple[int, int, int, int]:
    return (0x06, 0, 0, value)


@pytest.mark.parametrize(
    "value, words, claims",
    [
        (0x7FFF0000, "ALLOW", False),
        (0x7FFC0000, "LOG", False),
        (0x80000000, "KILL_PROCESS", False),
        (0x00000000, "KILL_THREAD", False),
        (0x00050001, "ERRNO EPERM", False),
        (0x00050062, "ERRNO EADDRINUSE", False),
        (0x00050000, "ERRNO 0", True),
        (0x00030000, "TRAP", True),
        (0x7FF00005, "TRACE", True),
        (0x7FC00000, "USER_NOTIF", True),
        (0x12340000, "0x12340000", True),
    ],
)
def test_answer_has_its_name_and_may_claim_success_or_not(
    value: int, words: str, claims: bool
) -> None:
    answers = answers_of(*program(LOAD, answer(value), answer(0x7FFF0000)))
    assert answers == sorted({words, "ALLOW"})
    assert may_claim_success(answers) is claims


def test_program_that_is_not_known_whole_may_answer_anything() -> None:
    data, length = program(LOAD, answer(0x7FFF0000))
    assert answers_of(data[:-8], length) is None
    assert answers_of(b"", 0) is None
    # BPF_RET|BPF_A: what was computed before.
    assert answers_of(*program(LOAD, (0x16, 0, 0, 0))) is None
    assert may_claim_success(None)


def test_filter_that_only_lets_calls_be_made_claims_nothing() -> None:
    assert not may_claim_success([])
