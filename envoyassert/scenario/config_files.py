"""The files that an Envoy config names, and what stands in for them in a run.

Envoy resolves a relative name against its working directory, which is the run directory. A file
that lies beside the config is put there under the same name, so the config stays as it is. What the
config has at another place is given one in the run directory if the scenario says so
(`envoy.stand_in`): nothing is written to this machine's own directories.

Source of the fields: Envoy's protos (DataSource, ConfigSource, PathConfigSource, WatchedDirectory,
FileAccessLog, RuntimeLayer.DiskLayer, Pipe). What Envoy says of a file that is not there was
measured on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from envoyassert.errors import ScenarioError
from envoyassert.scenario.absent import DIRECTORY, MADE_UP
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.file_names import LOGS, NETNS, leads_out
from envoyassert.scenario.listeners import proto_name, proto_names
from envoyassert.scenario.load import read_text
from envoyassert.scenario.overlay import Path

#: Where what stands in for files is, in the run directory.
STAND_IN = "stand_in"
#: What Envoy does with a file: reads it as an answer of a control plane, or as data; watches a
#: directory, or reads all of it; makes a socket or a log; connects to a socket of others.
SOURCE, DATA, WATCHED, TREE = "source", "data", "watched", "tree"
MADE, UPSTREAM = "made", "upstream"

_SOURCE_FIELD = re.compile(r".*config_source|(lds|cds|eds|sds|rtds|srds|rds)_config")
#: Names of DataSource fields by what may take their place; others take any text.
_MADE_FOR = {
    **dict.fromkeys(("certificate_chain", "cert_chain"), "certificate"),
    **dict.fromkeys(("trusted_ca", "root_certs", "ca_cert"), "certificate"),
    "private_key": "private_key",
    "crl": "crl",
    "keys": "ticket_key",
    "users": "users",
    "pkcs12": "",
    "local": "wasm",
    **dict.fromkeys(("ocsp_staple", "local_jwks", "body", "text_format_source"), "empty"),
    **dict.fromkeys(("source_code", "default_source_code", "source_codes"), "empty"),
}
_LISTENERS = ("listeners", "additional_addresses", "resources", "xds")
_TEXT_FORMATS = (".yaml", ".yml", ".json")
#: Names in the run directory that a launcher, a control plane or this module uses.
_TAKEN = (LOGS, NETNS, "xds", STAND_IN)
_LONGEST = 16
_MOST_FILES = 1000


class NamedFile(NamedTuple):
    """A file or directory that a config names.

    Args:
        use: what Envoy does with it, one of the words above.
        path: where it is named.
        text: its name.
        made: which of `MADE_UP` may take its place, "" for none.
    """

    use: str
    path: Path
    text: str
    made: str

    @property
    def is_elsewhere(self) -> bool:
        """Whether the name is of a place that a run may lack."""
        own = self.text.startswith(("${", "@", "/dev/", "/proc/"))
        return bool(self.text) and not own


@dataclass(eq=False, repr=False)
class OwnFiles:
    """A config whose files are in the run directory.

    Args:
        config: the config, with the names that they have there.
        files: what is to be put into the run directory by name: text, data, the file that is
            copied, None for a directory.
        named: all that the config names, and the files of discovery that it names.
        stood_in: what stands in for what, a line each.
        faults: why a file cannot be read.
    """

    config: Any
    files: dict[str, Any] = field(default_factory=dict)
    named: list[NamedFile] = field(default_factory=list)
    stood_in: dict[str, None] = field(default_factory=dict)
    faults: dict[str, None] = field(default_factory=dict)


def with_own_files(
    config: object,
    taken: Mapping[str, object],
    stand_in: Mapping[str, str | pathlib.Path],
    directory: pathlib.Path | None,
    folder: pathlib.Path | None = None,
) -> OwnFiles:
    """Return a config whose files are in the run directory, as far as they are known.

    Args:
        config: a bootstrap, or a part of one.
        taken: files that are put into the run directory anyway, by name.
        stand_in: what takes the place of what the config names, one of `MADE_UP` or a file.
        directory: where the config lies; None if that is not known, and no file is looked for.
        folder: the folder that no file may lie outside of: such a one counts as not there. None if
            files may lie anywhere.
    """
    return _Placing(OwnFiles(config), taken, stand_in, directory, folder).done()


@dataclass(eq=False, repr=False)
class _Placing:
    found: OwnFiles
    taken: Mapping[str, object]
    stand_in: Mapping[str, str | pathlib.Path]
    directory: pathlib.Path | None
    folder: pathlib.Path | None

    def done(self) -> OwnFiles:
        self.stand_in = {os.path.normpath(name): kind for name, kind in self.stand_in.items()}
        self.places = directory_names(
            name for name, kind in self.stand_in.items() if kind == DIRECTORY
        )
        named = named_files(self.found.config)
        if named:
            self.sockets = {one.text for one in named if one.use == MADE}
            self.found.config = renamed(self.found.config, self._place)
        return self.found

    def _place(self, one: NamedFile) -> str:
        self.found.named.append(one)
        if not one.is_elsewhere:
            return one.text
        name = os.path.normpath(one.text)
        if one.use == MADE or (one.use == UPSTREAM and one.text in self.sockets):
            return self._in_directory(name) or one.text
        if one.use == UPSTREAM:
            return one.text
        kind = self.stand_in.get(name)
        if kind is not None:
            return self._stood_in(one, name, kind)
        if name.startswith("/"):
            # Root may read it here, and Envoy is another user.
            foreign = self.folder is not None or _is_for_every_user(pathlib.Path(name))
            return one.text if foreign else self._beside(one, name, pathlib.Path(name))
        if self.directory is None or name in self.taken:
            return one.text
        return self._beside(one, name, self.directory / name)

    def _in_directory(self, name: str) -> str:
        for parent in map(str, pathlib.PurePosixPath(name).parents):
            if parent in self.places:
                own = self.places[parent]
                rest = os.path.relpath(name, parent)
                self.found.files.setdefault(os.path.normpath(f"{own}/{rest}/.."), None)
                self.found.stood_in[f"{parent}: ${{rundir}}/{own} in its place"] = None
                return f"${{rundir}}/{own}/{rest}"
        return ""

    def _stood_in(self, one: NamedFile, name: str, kind: str | pathlib.Path) -> str:
        own = f"{STAND_IN}/{_inside(name)}"
        if isinstance(kind, pathlib.Path):
            if self._leads_out(kind):
                return one.text
            self._copy(one, own, kind)
            self.found.stood_in[f"{one.text}: {kind.name} in its place"] = None
        else:
            if one.use == SOURCE and not own.endswith(_TEXT_FORMATS):
                own += ".yaml"
            self.found.files.setdefault(own, MADE_UP[kind])
            self.found.stood_in[f"{one.text}: made up ({kind})"] = None
        return f"${{rundir}}/{own}"

    def _beside(self, one: NamedFile, name: str, file: pathlib.Path) -> str:
        own = _inside(name)
        if self._leads_out(file):
            return one.text
        try:
            if not (file.is_dir() if one.use in (WATCHED, TREE) else file.is_file()):
                return one.text
        except (OSError, ValueError):  # a name that no file can have
            return one.text
        self._copy(one, own, file)
        return one.text if own == name else f"${{rundir}}/{own}"

    def _leads_out(self, file: pathlib.Path) -> bool:
        return self.folder is not None and leads_out(file, self.folder)

    def _copy(self, one: NamedFile, own: str, file: pathlib.Path) -> None:
        if own in self.found.files:
            return
        if one.use in (WATCHED, TREE):
            self.found.files[own] = None
        if one.use == TREE:
            self._copy_all(own, file)
        elif one.use == SOURCE:
            self._copy_answer(own, file)
        elif one.use == DATA:
            self.found.files[own] = file

    def _copy_all(self, own: str, directory: pathlib.Path) -> None:
        files = [file for file in sorted(directory.rglob("*")) if file.is_file()]
        files = [file for file in files if not self._leads_out(file)]
        if len(files) > _MOST_FILES:
            self.found.faults[f"{directory} holds more than {_MOST_FILES} files"] = None
            return
        for file in files:
            self.found.files[f"{own}/{file.relative_to(directory).as_posix()}"] = file

    def _copy_answer(self, own: str, file: pathlib.Path) -> None:
        """Take an answer as it is, unless files that it names have other names in the run."""
        self.found.files[own] = file
        if file.suffix not in _TEXT_FORMATS:
            return
        try:
            text = read_text(file)
            data = parse_envoy_file(text, str(file)).data
        except ScenarioError as error:
            self.found.faults[str(error.problems[0])] = None
            return
        changed = renamed(data, self._place)
        self.found.files[own] = text if changed == data else changed


def _is_for_every_user(file: pathlib.Path) -> bool:
    """Whether every user may read a file; so is one that is not there."""
    try:
        entered = all(parent.stat().st_mode & 0o001 for parent in file.parents)
        return entered and bool(file.stat().st_mode & 0o004)
    except (OSError, ValueError):
        return True


def _inside(name: str) -> str:
    """Return a name that stays inside the run directory, for one that may lead out of it."""
    parts = pathlib.PurePosixPath(name).parts
    return "/".join("up" if part == ".." else part for part in parts if part != "/") or "up"


def directory_names(directories: Iterator[str]) -> dict[str, str]:
    """Return names in the run directory for directories in which Envoy makes something.

    They are short, for a Unix socket's path holds at most 107 bytes (unix(7)).
    """
    names: dict[str, str] = {}
    for path in directories:
        parts = [part for part in pathlib.PurePosixPath(path).parts if part != "/"]
        last = re.sub(r"[^\w.-]", "_", "_".join(parts[-2:]))[-_LONGEST:].lstrip(".-") or "root"
        name, number = last, 1
        while name in _TAKEN or name in names.values():
            number += 1
            name = f"{last}_{number}"
        names[path] = name
    return names


def named_files(config: object) -> list[NamedFile]:
    """Return the files and directories that a config names, in its order."""
    found: list[NamedFile] = []
    if not _may_name_files(config):
        return found

    def noted(one: NamedFile) -> str:
        found.append(one)
        return one.text

    renamed(config, noted)
    return found


def stands_alone(scenario: object) -> bool:
    """Whether a scenario's data names no file that is looked at: its text alone says what it is.

    In doubt it does name one: the path of a Unix socket counts too.
    """
    envoy = scenario.get("envoy") if isinstance(scenario, dict) else None
    if not isinstance(envoy, dict) or not isinstance(envoy.get("config"), dict):
        return False
    others = {"files", "stand_in", "xds"} & envoy.keys()
    return not others and not _may_name_files(scenario)


def missing_beside(config: object, files: Mapping[str, object]) -> list[NamedFile]:
    """Return the relative files that a run's config names and its run directory lacks.

    Args:
        config: the bootstrap of the run.
        files: what is put into the run directory, by name.
    """
    return [
        one
        for one in named_files(config)
        if one.use in (SOURCE, DATA)
        and one.is_elsewhere
        and not one.text.startswith("/")
        and os.path.normpath(one.text) not in files
    ]


def renamed(value: Any, change: Callable[[NamedFile], str], path: Path = ()) -> Any:
    """Return a config in which each file that it names has the name that `change` returns."""
    if isinstance(value, list):
        return [renamed(element, change, (*path, index)) for index, element in enumerate(value)]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, member in value.items():
        place = (*path, proto_name(str(key)))
        use = _use(place, value) if isinstance(member, str) else ""
        if use:
            result[key] = change(NamedFile(use, place, member, _made(use, place, value)))
        else:
            result[key] = renamed(member, change, place)
    return result


def _may_name_files(value: object) -> bool:
    """Whether a config has a field that names a file in some message: most have none."""
    if isinstance(value, dict):
        for key, member in value.items():
            if isinstance(member, str):
                if key in _NAMES:
                    return True
            elif _may_name_files(member):
                return True
    elif isinstance(value, list):
        return any(map(_may_name_files, value))
    return False


#: Fields that name a file in some messages.
_OTHER_FIELDS = ("access_log_path", "profile_path", "symlink_root", "path", "path_prefix")
_NAMES = proto_names(("filename", *_OTHER_FIELDS))


def _use(path: Path, message: dict[str, object]) -> str:
    """Return what Envoy does with the file that a field names, "" if the field names none."""
    last = path[-1]
    if last == "filename":
        return DATA
    if last not in _OTHER_FIELDS:
        return ""
    around = _words(path[:-1])
    if last in ("access_log_path", "profile_path") and around == "admin":
        return MADE
    if last == "symlink_root":
        return TREE
    if last != "path":
        return MADE if last == "path_prefix" and around == "file_per_tap" else ""
    if around == "watched_directory":
        return WATCHED
    if around == "path_config_source" or _SOURCE_FIELD.fullmatch(around):
        return SOURCE
    if around == "pipe":
        return MADE if _is_listener_address(path[:-2]) else UPSTREAM
    return MADE if str(message.get("@type", "")).endswith(".FileAccessLog") else ""


def _words(path: Path) -> str:
    """Return the last field of a path that is no number of an element."""
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _is_listener_address(path: Path) -> bool:
    """Whether an address is that of a listener or of the admin endpoint."""
    if path[-1:] != ("address",):
        return False
    return path[-2:-1] == ("admin",) or (
        isinstance(path[-2:][0], int) and len(path) > 2 and path[-3] in _LISTENERS
    )


def _made(use: str, path: Path, message: dict[str, object]) -> str:
    if use == SOURCE:
        return "nothing"
    if use in (WATCHED, TREE, MADE):
        return DIRECTORY
    if str(message.get("@type", "")).endswith(".InjectedResourceConfig"):
        return "number"
    around = [part for part in path[:-1] if isinstance(part, str)]
    if around[-1:] == ["local"] and around[-2:-1] != ["code"]:
        return "text"
    # The sources of a map are under names of the user's own.
    known = next((part for part in reversed(around[-2:]) if part in _MADE_FOR), "")
    return _MADE_FOR[known] if known else "text"
