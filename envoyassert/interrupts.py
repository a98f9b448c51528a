"""SIGTERM, and SIGHUP of a terminal that was closed, end a program as Ctrl-C does.

So everything is released, "interrupted" is said, and the exit code is the same.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

#: What ends a program beside Ctrl-C. Windows has no SIGHUP.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
#: The kernel and the shell each signal a closed terminal, and timeout(1) signals its child and then
#: its process group. What comes again so soon is the same request: it must not break off what is
#: released meanwhile.
_SAME_REQUEST_S = 2.0

_last_s = -_SAME_REQUEST_S


def heeded() -> set[signal.Signals]:
    """Return the signals that end a program here: Ctrl-C, and of `ENDING` what is not ignored."""
    ignored = [number for number in ENDING if signal.getsignal(number) == signal.SIG_IGN]
    return {signal.SIGINT, *ENDING}.difference(ignored)


def is_repeated() -> bool:
    """Return whether a signal that has come asks for what another one just asked for; note it."""
    global _last_s
    before_s, _last_s = _last_s, time.monotonic()
    return _last_s - before_s < _SAME_REQUEST_S


def interrupt(number: int, _frame: FrameType | None = None) -> None:
    """Be the handler of a signal: raise KeyboardInterrupt, but for a signal that is repeated.

    Args:
        number: of the signal.

    Raises:
        KeyboardInterrupt: it names the signal.
    """
    if not is_repeated():
        raise KeyboardInterrupt(ended_by(number))


def ended_by(number: int) -> str:
    """Return in words that a signal ended a program."""
    return f"ended by {signal.Signals(number).name}"


def interrupt_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt.

    Where one is handled or ignored, as SIGHUP is under nohup(1), it stays so. Does nothing outside
    the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Have them interrupt what is inside a `with` statement; then all is as it was."""
    before = {number: signal.getsignal(number) for number in ENDING}
    interrupt_on_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            # Only what was set here: a handler that was set meanwhile is not ours.
            if signal.getsignal(number) is interrupt and handler == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP for a `with` block; at its end they take effect.

    For a process that is being started: Python raises KeyboardInterrupt also where the process is
    there and `subprocess.Popen` has not returned, so that no code knows of it. To block the signals
    would not do: the kernel hands them to another thread, and Python to the main thread.

    Does nothing outside the main thread, where nothing is interrupted.

    Raises:
        KeyboardInterrupt: at the end, if a signal of that kind came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in heeded()}
    # What is ignored stays so: a process that is started inherits that.
    before = {number: set_ for number, set_ in before.items() if callable(set_)}

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


@contextlib.contextmanager
def interrupt_prevails() -> Iterator[None]:
    """Let no error of what is released after an interrupt take the place of the interrupt.

    It would count as the error of one run, and the session would go on.
    """
    try:
        yield
    except Exception as error:
        found: BaseException | None = error
        seen: set[int] = set()
        while found is not None and id(found) not in seen:
            if isinstance(found, KeyboardInterrupt):
                raise found from None
            seen.add(id(found))
            found = found.__context__
        raise
