"""What is written for the user: files are replaced, streams written to, the rest is refused."""

from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import MachineError
from envoyassert.output_file import (
    append_text,
    check_output,
    directory_at,
    write_files,
    write_lines,
)
from tests.unit.cli_words import run_cli

LOG = Path(__file__).parents[1] / "traces" / "istio-1.11-envoy-1.19.1.bpftrace.txt"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and owners")

#: The device numbers of /dev/null (Linux, admin-guide/devices.txt).
NULL = os.makedev(1, 3)


@pytest.fixture(autouse=True)
def _no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("SUDO_GID", raising=False)


def imported(*output: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """Write a trace by the command line in a process of its own."""
    command = [sys.executable, "-m", "envoyassert", "import", str(LOG), "--concurrency", "2"]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*command, "-o", *output], text=True, check=False, timeout=60, **streams
    )
    return done


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def test_new_file_and_its_directories_are_made_and_nothing_else(tmp_path: Path) -> None:
    write_lines(["one", "two"], tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b" / "file").read_text() == "one\ntwo\n"
    assert names(tmp_path / "a" / "b") == ["file"]


def test_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    file.chmod(0o640)
    write_lines(["new"], file)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new\n", 0o640)


def test_failure_half_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    def lines():
        yield "new"
        raise RuntimeError("half-way")

    (tmp_path / "file").write_text("old")
    with pytest.raises(RuntimeError, match="half-way"):
        write_lines(lines(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


@needs_root
def test_files_of_root_under_sudo_belong_to_who_called_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "1337")
    monkeypatch.setenv("SUDO_GID", "1338")
    write_lines(["x"], tmp_path / "a" / "b" / "file")
    append_text("x", tmp_path / "a" / "more")
    made = [tmp_path / name for name in ("a", "a/b", "a/b/file", "a/more")]
    assert [(one.stat().st_uid, one.stat().st_gid) for one in made] == [(1337, 1338)] * 4
    assert tmp_path.stat().st_uid == 0


@needs_root
def test_file_that_root_replaces_keeps_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1400, 1401)
    monkeypatch.setenv("SUDO_UID", "1337")
    monkeypatch.setenv("SUDO_GID", "1338")
    write_lines(["x"], tmp_path / "file")
    found = (tmp_path / "file").stat()
    assert (found.st_uid, found.st_gid, found.st_size) == (1400, 1401, 2)


@needs_root
def test_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    os.mknod(device, 0o666 | stat.S_IFCHR, NULL)
    assert imported(str(device)).returncode == 0
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert names(tmp_path) == ["null"]


def test_fifo_is_written_to_as_long_as_it_is_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    read: list[str] = []

    def read_all() -> None:
        # A FIFO that has had no writer yet seems to be at its end.
        select.select([file], [], [], 20)
        read.append(file.read())

    with os.fdopen(reading) as file:
        reader = threading.Thread(target=read_all)
        line = "x" * 100_000  # more than a pipe holds
        writer = threading.Thread(target=write_lines, args=([line], fifo))
        reader.start()
        writer.start()
        writer.join(20)
        reader.join(20)
    assert read == [f"{line}\n"]
    assert fifo.is_fifo()


def test_fifo_without_a_reader_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MachineError, match="fifo cannot be written: No such device"):
        write_lines(["x"], tmp_path / "fifo")
    assert (tmp_path / "fifo").is_fifo()


@pytest.mark.parametrize("target", ["file", "absent", "/dev/null"])
def test_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    for refused in (
        lambda: write_lines(["x"], link),
        lambda: append_text("x", link),
        lambda: check_output(link),
    ):
        with pytest.raises(MachineError, match="link cannot be written: it is a link"):
            refused()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file", "link"]


def test_socket_and_directory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be longer than a Unix address
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        for name, why in (("directory", "Is a directory"), ("socket", "neither a file nor")):
            for refused in (lambda n=name: write_lines([], n), lambda n=name: check_output(n)):
                with pytest.raises(MachineError, match=why):
                    refused()


@needs_root
def test_block_device_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    os.mknod(disk, 0o600 | stat.S_IFBLK, os.makedev(7, 255))  # a loop device that is not set up
    with pytest.raises(MachineError, match="neither a file nor a stream"):
        write_lines(["x"], disk)
    assert stat.S_ISBLK(disk.lstat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_to_where_it_is(tmp_path: Path, name: str) -> None:
    piped = imported(name, stdout=subprocess.PIPE)
    assert piped.returncode == 0
    assert piped.stdout.startswith('{"format": "envoyassert-trace/')
    file = tmp_path / "out"
    file.write_text("before\n")
    with file.open("a") as output:
        assert imported(name, stdout=output).returncode == 0
    assert file.read_text() == "before\n" + piped.stdout


def test_standard_output_that_is_no_longer_read_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = imported("/dev/stdout", stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (done.returncode, "error" in done.stderr) == (0, False)


@needs_root
def test_temporary_file_cannot_be_laid_out_beforehand(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("as it was")
    (tmp_path / f".file.{os.getpid()}").symlink_to("foreign")
    write_lines(["x"], tmp_path / "file")
    assert (tmp_path / "foreign").read_text() == "as it was"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("link", ["own", "own/runs", "own/runs/one"])
def test_no_directory_below_our_own_is_a_link(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside)
    own = tmp_path / "own"
    with pytest.raises(MachineError, match=f"trace cannot be written: {place.name} is a link"):
        write_lines(["x"], own / "runs" / "one" / "trace", below=own)
    assert names(outside) == []


def test_directories_that_the_user_names_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_lines(["x"], tmp_path / "link" / "file")
    write_lines(["x"], tmp_path / "link" / "own" / "file", below=tmp_path / "link" / "own")
    assert names(tmp_path / "real") == ["file", "own"]


def test_directory_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    with directory_at(tmp_path / "a" / "b") as descriptor:
        assert os.fstat(descriptor).st_ino == (tmp_path / "a" / "b").stat().st_ino
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match="link is a link"), directory_at(tmp_path / "link"):
        pass


def test_where_names_cannot_be_relative_to_a_directory_files_are_replaced_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())  # as on Windows
    for text in ("one", "two"):
        write_lines([text], tmp_path / "a" / "file", below=tmp_path)
        assert (tmp_path / "a" / "file").read_text() == f"{text}\n"
    assert names(tmp_path / "a") == ["file"]


def test_draft_is_written_to_a_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("envoy.yaml").write_text(
        "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9}}}\n"
    )
    Path("edge.yaml").symlink_to("elsewhere")
    for output in ("/dev/stdout", "edge.yaml"):
        done = run_cli(capsys, "draft", "envoy.yaml", "-o", output)
        assert done.code == 4
        assert f"{output} is no file; leave -o out" in done.err
    assert names(tmp_path) == ["edge.yaml", "envoy.yaml"]


class Texts:
    """Three files, what is to be written to them, and what happens while that is done."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = [directory / name for name in ("a", "below/b", "c")]
        for path in self.paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("old\n")

    def write(self) -> None:
        write_files({path: ["new"] for path in self.paths}, below=self.directory)

    @property
    def there(self) -> list[str]:
        """What the files hold."""
        return [path.read_text() for path in self.paths]

    @property
    def others(self) -> list[Path]:
        """What else is beside them."""
        found = (path for path in self.directory.rglob("*") if path.is_file())
        return [path for path in found if path not in self.paths]


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(tmp_path / "texts")


def test_several_files_are_written(texts: Texts) -> None:
    texts.paths.append(texts.directory / "new/one")
    texts.write()
    assert texts.there == ["new\n"] * 4
    assert texts.others == []


def test_more_files_are_written_than_may_be_open(tmp_path: Path) -> None:
    """From 340 files on it failed at the usual limit of 1024: each kept three descriptors."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = {tmp_path / f"below/{number % 4}/{number}": ["x"] for number in range(200)}
    opened = len(names(Path("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, before[1]))
    try:
        write_files(files, below=tmp_path / "below")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert all(path.read_text() == "x\n" for path in files)
    assert len(names(Path("/dev/fd"))) == opened


@pytest.mark.parametrize("kind", ["fifo", pytest.param("device", marks=needs_root)])
def test_several_files_replace_neither_fifo_nor_device(texts: Texts, kind: str) -> None:
    """It was replaced by a file."""
    last = texts.paths[2]
    last.unlink()
    os.mknod(last, 0o600 | (stat.S_IFIFO if kind == "fifo" else stat.S_IFCHR), NULL)
    with pytest.raises(MachineError, match="c cannot be written: it is not a regular file"):
        texts.write()
    assert not last.is_file()
    assert [path.read_text() for path in texts.paths[:2]] == ["old\n"] * 2
    assert texts.others == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_of_several_files_none_is_replaced_before_all_are_written(
    texts: Texts, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def lines() -> Any:
        yield "new"
        raise error

    given = {path: ["new"] for path in texts.paths[:2]}
    with pytest.raises((MachineError, KeyboardInterrupt)):
        write_files({**given, texts.paths[2]: lines()}, below=texts.directory)
    assert texts.there == ["old\n"] * 3
    assert texts.others == []


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_interrupt_between_replacing_waits_for_the_last_file(
    texts: Texts, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    replace, calls = os.replace, []

    def interrupted(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2 and not late:
            raise KeyboardInterrupt
        replace(*arguments, **named)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        texts.write()
    assert texts.there == ["new\n"] * 3
    assert texts.others == []


def test_file_that_cannot_be_replaced_is_named_and_so_is_what_was_written(
    texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, []

    def refused(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(1, "Operation not permitted")
        replace(*arguments, **named)

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(MachineError) as raised:
        texts.write()
    assert texts.there == ["new\n", "old\n", "old\n"]
    assert texts.others == []
    left = ", ".join(map(str, texts.paths[1:]))
    said = f"{left} cannot be written: Operation not permitted; written are 1 of 3 files"
    assert raised.value.message == said
