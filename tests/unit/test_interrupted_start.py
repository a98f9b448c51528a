"""An interrupt while a program is being started, and no code has its process: it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.attach import command
from envoyassert.launch.asked import ask
from envoyassert.launch.kernel import process_start
from envoyassert.launch.programs import run_program
from envoyassert.probe import new_run_id


def attach(program: Path) -> None:
    arm: Any = SimpleNamespace(command=lambda _: (), run_id=new_run_id())
    with command.started([str(program)], arm):
        raise AssertionError("the interrupt was lost")


STARTS: dict[str, Callable[[Path], object]] = {
    "executable": lambda program: ask(program, ["--version"], 60),
    "tool": lambda program: run_program([str(program)], 60),
    "recorded": attach,
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that does not end by itself."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("threads", [0, 1])
def test_program_that_is_being_started_ends_with_the_command(
    monkeypatch: pytest.MonkeyPatch, program: Path, start: Callable[[Path], object], threads: int
) -> None:
    started = []

    class Interrupted(subprocess.Popen[Any]):
        """Interrupted when the process is there, and its caller does not have it."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            if str(program) in str(self.args) or "/proc/self/fd" in str(self.args):
                started.append(self.pid)
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = threading.Event()
    others = [threading.Thread(target=stop.wait) for _ in range(threads)]
    for other in others:
        other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            start(program)
        assert [process_start(pid) for pid in started] == [None]
    finally:
        stop.set()
        signal.signal(signal.SIGINT, before)
        for pid in started:
            if process_start(pid) is not None:
                os.kill(pid, signal.SIGKILL)
