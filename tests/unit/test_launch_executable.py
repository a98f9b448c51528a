"""A file in the page cache, as mincore(2) sees it."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.launch import kernel, process
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.executable import load_into_page_cache
from envoyassert.launch.kernel import is_in_page_cache
from envoyassert.launch.namespace import NamespaceThread
from envoyassert.trace import EnvoyIdentity

PAGES = 512


def cached_pages(path):
    """How many pages of a file are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    found = (ctypes.c_ubyte * PAGES)()
    descriptor = os.open(path, os.O_RDONLY)
    size = PAGES * mmap.PAGESIZE
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    os.close(descriptor)
    assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), found) == 0
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return sum(page & 1 for page in found)


def test_file_is_in_the_page_cache_afterwards(tmp_path):
    path = tmp_path / "envoy"
    with path.open("wb") as file:
        file.write(os.urandom(PAGES * mmap.PAGESIZE))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    load_into_page_cache(path)
    assert cached_pages(path) == PAGES


@pytest.mark.parametrize("pages", [1, PAGES])
def test_what_is_in_the_page_cache_is_known(tmp_path, pages):
    path = tmp_path / "envoy"
    path.write_bytes(os.urandom(pages * mmap.PAGESIZE - 1))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        assert is_in_page_cache(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert not is_in_page_cache(file.fileno())


def test_file_is_loaded_where_the_kernel_does_not_say_what_is(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "_SYS_CACHESTAT", 9999)
    test_file_is_in_the_page_cache_afterwards(tmp_path)


def test_file_that_cannot_be_read_is_passed_over(tmp_path):
    load_into_page_cache(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    load_into_page_cache(tmp_path / "empty")


PEAK = """
import resource, sys
from pathlib import Path
from envoyassert.launch.executable import load_into_page_cache
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_into_page_cache(Path(sys.argv[1]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_file_takes_none_of_this_process_s_own_memory(tmp_path):
    path = tmp_path / "envoy"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, check=True)
    assert int(done.stdout) < 16


def test_launcher_loads_an_executable_once(tmp_path, monkeypatch):
    path, identity = tmp_path / "envoy", EnvoyIdentity("1.40.0", "ab12", "version 1.40.0")
    loaded: list[Path] = []
    monkeypatch.setattr(process, "find_executable", lambda source: (path, identity))
    monkeypatch.setattr(process, "load_into_page_cache", loaded.append)
    monkeypatch.setattr(process, "new_namespace", lambda *_: NamespaceThread(lambda: None, "test"))
    with process.ProcessLauncher() as launcher:
        source = EnvoySource(version="1.40.0")
        assert [launcher.prepare(source), launcher.prepare(source)] == [identity, identity]
    assert loaded == [path]
