"""Import the distribution's bcc into any interpreter.

bcc is pure Python over `libbcc.so` and is published by distributions alone. It is loaded from its
own directory, so that nothing else of the distribution's packages becomes visible to a virtual
environment. The package named `bcc` on PyPI is an unrelated numeric library.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from envoyassert.errors import ProbeUnavailableError

INSTALL_REMEDY = (
    "install the distribution's package: apt install python3-bpfcc "
    "(Debian, Ubuntu), dnf install python3-bcc (Fedora); it is not on PyPI"
)
WRONG_REMEDY = (
    "pip uninstall bcc, then install the distribution's package: "
    "apt install python3-bpfcc (Debian, Ubuntu), dnf install python3-bcc (Fedora)"
)

#: Where distributions install Python packages of their own.
_PATTERNS = (
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python3.*/site-packages",
    "/usr/lib/python3.*/dist-packages",
    "/usr/local/lib/python3.*/dist-packages",
)


def _distribution_dirs() -> list[Path]:
    found: list[Path] = []
    for pattern in _PATTERNS:
        found.extend(sorted(Path("/").glob(pattern.lstrip("/")), reverse=True))
    return found


def _is_bpf_compiler_collection(package: Path) -> bool:
    return (package / "libbcc.py").is_file() and (package / "table.py").is_file()


def _importable_bcc() -> Path | None:
    """Return the directory of the `bcc` that a plain import would take, or None."""
    loaded = sys.modules.get("bcc")
    spec = PathFinder.find_spec("bcc", _installed()) if loaded is None else loaded.__spec__
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _installed() -> list[str]:
    """Return where imports look, without the current directory: root's code is not there."""
    here = Path.cwd()
    return [one for one in sys.path if Path(one).is_absolute() and Path(one).resolve() != here]


def find_bcc(directories: Iterable[Path] | None = None) -> Path:
    """Return the directory of the package `bcc`.

    Args:
        directories: where to look besides this interpreter's own path; the distributions' places
            if None.

    Raises:
        ProbeUnavailableError: there is none, or PyPI's unrelated one is in the way.
    """
    plain = _importable_bcc()
    if plain is not None:
        if _is_bpf_compiler_collection(plain):
            return plain
        raise ProbeUnavailableError(
            f"the package `bcc` in {plain} is not the BPF Compiler Collection but PyPI's "
            "unrelated package of that name",
            WRONG_REMEDY,
        )
    for directory in _distribution_dirs() if directories is None else directories:
        if _is_bpf_compiler_collection(directory / "bcc"):
            return directory / "bcc"
    raise ProbeUnavailableError(
        "the BPF Compiler Collection's Python package `bcc` is not installed", INSTALL_REMEDY
    )


def bcc_version() -> str:
    """Return the version that bcc's package says it has, "" if it does not.

    Raises:
        ProbeUnavailableError: as `find_bcc` does.
    """
    version = find_bcc() / "version.py"
    found = re.search(r"__version__ = '([^']+)'", version.read_text()) if version.exists() else None
    return found[1] if found else ""


def libraries() -> list[Path]:
    """Return each libbcc that this machine may load."""
    places = ("usr/lib/*/libbcc.so.0", "usr/lib64/libbcc.so.0", "usr/local/lib/libbcc.so.0")
    return sorted({path.resolve() for place in places for path in Path("/").glob(place)})


def import_bcc() -> ModuleType:
    """Import the distribution's bcc and return it.

    Raises:
        ProbeUnavailableError: it is absent, it is the wrong one, or it cannot be imported here.
    """
    package = find_bcc()
    loaded = sys.modules.get("bcc")
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        with warnings.catch_warnings():
            # bcc's sources have escape sequences that Python 3.12 warns about.
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError, AttributeError) as error:
        for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
            del sys.modules[name]
        raise ProbeUnavailableError(
            f"bcc in {package} cannot be imported by Python {sys.version.split()[0]}: {error}",
            "install the library that it needs (libbpfcc, libbcc) or a newer bcc",
        ) from error
    return module
