"""What is said where the compiler or the kernel refuses the program."""

from __future__ import annotations

import errno

from envoyassert.errors import ProbeLoadError
from envoyassert.probe.kernel import RefusedError

_REPORT = (
    "run `envoyassert doctor`; if it finds nothing, report the compiler's output together "
    "with the releases of the kernel and of bcc"
)


def refused_by_compiler(error: Exception, output: str) -> ProbeLoadError:
    """Return the error of a program that bcc did not compile.

    Args:
        error: what bcc raised.
        output: what clang printed.
    """
    if "Operation not permitted" in f"{error}{output}":
        return _not_allowed(output)
    if "Too many open files" in f"{error}{output}":
        return _too_many_files(output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    reason = errors[0] if errors else (lines[-1] if lines else str(error))
    return ProbeLoadError(f"the BPF program was refused by the compiler: {reason}", _REPORT, output)


def refused_by_kernel(what: str, error: OSError) -> ProbeLoadError:
    """Return the error of a program that the kernel did not take.

    Args:
        what: what was to be done: `load the BPF function x`.
        error: what the kernel said.
    """
    log = error.log if isinstance(error, RefusedError) else ""
    if error.errno == errno.EPERM:
        return _not_allowed(log)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return _too_many_files(log)
    return ProbeLoadError(
        f"the BPF program was refused by the kernel: it does not {what}: {error.strerror}",
        _REPORT,
        log,
    )


def _not_allowed(output: str) -> ProbeLoadError:
    return ProbeLoadError(
        "the kernel does not allow this process to load BPF programs",
        "run as root with CAP_BPF and CAP_PERFMON (in a container: --privileged), and check "
        "that the kernel is not locked down",
        output,
    )


def _too_many_files(output: str) -> ProbeLoadError:
    return ProbeLoadError(
        "this process may not open enough files to load the BPF program",
        "raise the limit of open files: ulimit -n 1024",
        output,
    )
