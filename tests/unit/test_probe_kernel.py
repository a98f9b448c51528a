"""What the kernel answers to bpf(2), and what is made of it."""

from __future__ import annotations

import errno

import pytest

from envoyassert.probe import kernel

RETURN_0 = b"\xb7\0\0\0\0\0\0\0\x95\0\0\0\0\0\0\0"


class Kernel:
    """Answers each request to load a program with the next error; 0 is success."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def __call__(self, command: int, request: object) -> int:
        number = self.errors.pop(0)
        if number:
            raise OSError(number, "")
        return 7


def test_program_whose_check_a_signal_interrupted_is_loaded_again(monkeypatch):
    answers = Kernel(errno.EAGAIN, errno.EAGAIN, 0)
    monkeypatch.setattr(kernel, "_bpf", answers)
    assert kernel.load_program("one", kernel.TRACEPOINT, RETURN_0) == 7
    assert answers.errors == []


def test_program_whose_check_never_comes_to_an_end_is_an_error(monkeypatch):
    monkeypatch.setattr(kernel, "_bpf", Kernel(*[errno.EAGAIN] * 1000))
    with pytest.raises(BlockingIOError):
        kernel.load_program("one", kernel.TRACEPOINT, RETURN_0)


def test_log_of_a_refused_program_is_asked_for_again_too(monkeypatch):
    answers = Kernel(errno.EACCES, errno.EAGAIN, errno.EACCES)
    monkeypatch.setattr(kernel, "_bpf", answers)
    with pytest.raises(kernel.RefusedError) as raised:
        kernel.load_program("one", kernel.TRACEPOINT, RETURN_0)
    assert (raised.value.errno, answers.errors) == (errno.EACCES, [])
