"""Compiling the program, by bcc and its clang."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from envoyassert.errors import ProbeLoadError
from envoyassert.probe.bcc_import import import_bcc
from envoyassert.probe.compiled import Compiled, without_maps
from envoyassert.probe.kernel import map_kind
from envoyassert.probe.program_text import kernel_headers_dir, source_dir
from envoyassert.probe.refusal import refused_by_compiler

#: Environment variable by which users name kernel headers of their own to bcc.
HEADERS_VARIABLE = "BCC_KERNEL_SOURCE"


def compile_program(text: str, defines: Mapping[str, int]) -> Compiled:
    """Compile the program; that takes most of a second.

    bcc makes its maps in the kernel meanwhile, which are removed again.

    Args:
        text: the whole program.
        defines: macros.

    Raises:
        ProbeUnavailableError: bcc cannot be imported.
        ProbeLoadError: the compiler refused it.
    """
    bcc = import_bcc()
    flags = [f"-I{source_dir()}", *(f"-D{name}={value}" for name, value in defines.items())]
    with _captured_output() as captured, _kernel_headers():
        try:
            # Bytes: bcc warns about text, and a warning may be an error in this session.
            module = bcc.BPF(text=text.encode(), cflags=flags)
        # bcc raises bare Exception for whatever clang or the kernel refuse.
        except Exception as error:
            raise refused_by_compiler(error, captured()) from error
    try:
        return _taken_from(module, bcc.libbcc.lib)
    except ValueError as error:
        raise ProbeLoadError(
            f"the BPF program was compiled to what cannot be loaded: {error}"
        ) from error
    finally:
        # bcc registers this for the end of the interpreter, which would keep all of it alive.
        atexit.unregister(module.cleanup)
        module.cleanup()


def _taken_from(module: Any, library: Any) -> Compiled:
    """Return what bcc compiled.

    Raises:
        ValueError: it is something that the loader does not know.
    """
    library.bpf_num_tables.restype = ctypes.c_size_t
    library.bpf_num_tables.argtypes = [ctypes.c_void_p]
    library.bpf_table_name.restype = ctypes.c_char_p
    library.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.bpf_table_fd_id.restype = ctypes.c_int
    library.bpf_table_fd_id.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    names: dict[int, str] = {}
    for number in range(library.bpf_num_tables(module.module)):
        name = library.bpf_table_name(module.module, number).decode("ascii")
        names[library.bpf_table_fd_id(module.module, number)] = name
    functions = {}
    for number in range(library.bpf_num_functions(module.module)):
        function = library.bpf_function_name(module.module, number)
        functions[function.decode("ascii")] = without_maps(module.dump_func(function), names)
    return Compiled({name: map_kind(fd) for fd, name in names.items()}, functions)


@contextmanager
def _kernel_headers() -> Iterator[None]:
    """Point bcc at the stub headers, unless the user named headers of their own."""
    if os.environ.get(HEADERS_VARIABLE):
        yield
        return
    os.environ[HEADERS_VARIABLE] = str(kernel_headers_dir())
    try:
        yield
    finally:
        del os.environ[HEADERS_VARIABLE]


@contextmanager
def _captured_output() -> Iterator[Callable[[], str]]:
    """Collect what clang and the verifier print to descriptors 1 and 2."""
    sys.stdout.flush()
    sys.stderr.flush()
    sink = os.memfd_create("envoyassert-compiler-output", os.MFD_CLOEXEC)
    saved = [(fd, os.dup(fd)) for fd in (1, 2)]

    def read() -> str:
        return os.pread(sink, os.fstat(sink).st_size, 0).decode("utf-8", "replace")

    try:
        for fd, _ in saved:
            os.dup2(sink, fd)
        yield read
    finally:
        for fd, copy in saved:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(sink)
