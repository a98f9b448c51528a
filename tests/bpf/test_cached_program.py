"""A program that is kept is loaded without the compiler; any other is compiled again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.errors import ProbeLoadError
from envoyassert.probe import (
    Probe,
    compiler,
    kernel,
    new_run_id,
    program,
    program_cache,
    program_text,
)
from envoyassert.probe.compiled import Compiled, Function, from_bytes, to_bytes
from tests.bpf.conftest import CHILD_S, DRAIN_S, run_python
from tests.bpf.kernel_objects import bpf_descriptors

pytestmark = [pytest.mark.bpf, pytest.mark.usefixtures("require_bpf")]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    """Where programs are kept, in a cache of the test's own."""
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path))
    return tmp_path / "probe"


@pytest.fixture
def compilations(monkeypatch):
    """The programs that were compiled."""
    done: list[str] = []
    real = compiler.compile_program

    def compile_program(text, defines):
        done.append(text)
        return real(text, defines)

    monkeypatch.setattr(compiler, "compile_program", compile_program)
    return done


def recorded_backlogs() -> list[int]:
    """Load the probe, and return what it recorded of a process that listens once."""
    with Probe.load(ring_pages=16) as probe, probe.arm(new_run_id()) as arm:
        run_python("libc.listen(-1, 7)", arm.run_id)
        arm.drain(DRAIN_S)
        events = arm.snapshot().events
    return [event.args["backlog"] for event in events if event.call == "listen"]


LOADS = """
import sys
from envoyassert.probe import Probe
with Probe.load(ring_pages=16):
    mapped = open("/proc/self/maps").read()
    print("bcc" in sys.modules, "libbcc" in mapped, "libclang" in mapped)
"""


def start_loading(code: str = LOADS) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_second_session_touches_neither_bcc_nor_clang(place):
    first, _ = start_loading().communicate(timeout=CHILD_S)
    second, _ = start_loading().communicate(timeout=CHILD_S)
    assert first.split() == ["True", "True", "True"]
    assert second.split() == ["False", "False", "False"]
    assert len(list(place.iterdir())) == 1


def test_two_sessions_at_once_leave_one_program(place, compilations):
    both = [start_loading(), start_loading()]
    for session in both:
        session.communicate(timeout=2 * CHILD_S)
        assert session.returncode == 0
    assert [path.suffix for path in place.iterdir()] == [".program"]
    assert recorded_backlogs() == [7]
    assert not compilations


def kept(place: Path) -> Path:
    (file,) = place.iterdir()
    return file


def changed(file: Path, change) -> None:
    """Change the functions of a program that is kept, with a digest that is right."""
    before = from_bytes(file.read_bytes(), file.stem)
    assert before is not None
    functions = {name: change(name, one) for name, one in before.functions.items()}
    file.write_bytes(to_bytes(Compiled(before.maps, functions), file.stem))


def refused(_: str, function: Function) -> Function:
    """Return it without its last instruction: the verifier misses the end."""
    return Function(function.code[:-8], function.maps)


def of_other_maps(_: str, function: Function) -> Function:
    return Function(function.code, tuple((at, "unknown") for at, _ in function.maps))


ATTACKS = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:10_000]),
    "empty": lambda file: file.write_bytes(b""),
    "of another key": lambda file: file.write_bytes(
        to_bytes(Compiled({}, {}), file.stem.replace(file.stem[0], "x"))
    ),
    "without functions": lambda file: file.write_bytes(to_bytes(Compiled({}, {}), file.stem)),
    "refused by the kernel": lambda file: changed(file, refused),
    "of other maps": lambda file: changed(file, of_other_maps),
    "another user's": lambda file: os.chown(file, 65534, 65534),
    "of a directory that others may write to": lambda file: file.parent.chmod(0o777),
}


def test_program_that_is_not_as_it_was_kept_is_compiled_again(place, compilations):
    assert recorded_backlogs() == [7]
    assert len(compilations) == 1
    for number, (name, attack) in enumerate(ATTACKS.items(), 2):
        attack(kept(place))
        assert recorded_backlogs() == [7], name
        assert len(compilations) == number, name
        place.chmod(0o700)
        compilations_before = len(compilations)
        if name != "of a directory that others may write to":
            assert recorded_backlogs() == [7], name
            assert len(compilations) == compilations_before, name


def test_program_that_the_kernel_refuses_is_not_kept(place, monkeypatch):
    real = program_text.program_text()
    unchecked = real.replace("if (!class || ea_is_idle(", "if (ea_is_idle(")
    assert unchecked != real
    monkeypatch.setattr(program, "program_text", lambda: unchecked)
    with pytest.raises(ProbeLoadError, match="refused by the kernel"):
        Probe.load(ring_pages=16)
    assert not place.exists()


def test_cache_that_cannot_be_written_changes_nothing(tmp_path, monkeypatch, compilations):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(tmp_path / "file"))
    assert recorded_backlogs() == [7]
    assert recorded_backlogs() == [7]
    assert len(compilations) == 2
    assert not program_cache.capability().ok


def test_disk_without_room_leaves_no_part_of_a_program(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o size=8k none {disk}"
    code = f"{LOADS}\nimport os; print(os.listdir('{disk}/probe'))"
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{mounted} && exec "$@"',
            "sh",
            sys.executable,
            "-c",
            code,
        ],
        env={**os.environ, "ENVOYASSERT_CACHE": str(disk)},
        capture_output=True,
        text=True,
        timeout=2 * CHILD_S,
        check=True,
    )
    assert done.stdout.splitlines() == ["True True True", "[]"]
    assert done.stderr == ""


def loaded_functions(monkeypatch) -> list[str]:
    """The functions that this process loads from now on."""
    loaded: list[str] = []
    real = kernel.load_program

    def load_program(name, *rest):
        loaded.append(name)
        return real(name, *rest)

    monkeypatch.setattr(kernel, "load_program", load_program)
    return loaded


def test_program_that_was_loaded_early_is_the_one_that_is_used(monkeypatch):
    start_loading().communicate(timeout=CHILD_S)
    functions = loaded_functions(monkeypatch)
    program.load_early()
    with Probe.load() as probe, probe.arm(new_run_id()) as arm:
        run_python("libc.listen(-1, 7)", arm.run_id)
        arm.drain(DRAIN_S)
        assert "listen" in {event.call for event in arm.snapshot().events}
    once = list(functions)
    assert sorted(once) == sorted(set(once)) != []
    with Probe.load():
        assert sorted(functions) == sorted(2 * once)


def test_program_of_another_size_that_was_loaded_early_is_unloaded(monkeypatch):
    start_loading().communicate(timeout=CHILD_S)
    before = bpf_descriptors()
    program.load_early()
    assert recorded_backlogs() == [7]
    assert bpf_descriptors() == before


def test_nothing_is_compiled_early(compilations):
    program.load_early()
    program._early.take({}, {})
    assert compilations == []
    assert recorded_backlogs() == [7]
    assert len(compilations) == 1
