"""What a config names beside itself, and what a draft says of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoyassert.draft.expected import EnvoyField
from envoyassert.errors import ScenarioError
from envoyassert.scenario import STAND_IN_OPTION
from envoyassert.scenario.absent import DIRECTORY, server_sources, unknown_clusters
from envoyassert.scenario.config_files import (
    DATA,
    MADE,
    SOURCE,
    TREE,
    UPSTREAM,
    WATCHED,
    NamedFile,
    OwnFiles,
    named_files,
    with_own_files,
)
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import discovered_listeners, proto_field

_OPTIONS = {"id": "--service-node", "cluster": "--service-cluster"}
_PAIR = ("certificate", "private_key")


@dataclass(frozen=True)
class Beside:
    """A config as a run has it, and what a draft says of the files that it names.

    Args:
        config: the config, with the names that its files have in the run directory.
        fields: what the scenario says of them.
        listeners: those of the file that it names for LDS; None if it names none that is there.
        notes: what the reader must know.
    """

    config: dict[str, Any]
    fields: tuple[EnvoyField, ...]
    listeners: list[dict[str, Any]] | None
    notes: tuple[str, ...]


def files_beside(config: dict[str, Any], directory: Path, *, stand_in: bool) -> Beside:
    """Return what is beside a config, and what stands in for what is not.

    Sockets and logs are always made in the run directory, whatever this machine has. A discovery
    file that lies beside the config under the end of its name is followed.

    Args:
        config: a bootstrap.
        directory: where it lies.
        stand_in: whether files that this machine lacks are stood in for.
    """
    chosen: dict[str, object] = {}
    while True:
        found = with_own_files(config, {}, _places(chosen, directory), directory)
        named = found.named
        absent = [one.text for one in named if _is_read(one) and not _is_there(one, directory)]
        more: dict[str, Any] = dict.fromkeys(_directories(named), DIRECTORY)
        if stand_in:
            more |= _in_place_of([*_with_its_pair(named, absent)], directory)
        else:  # a file of LDS or CDS that lies beside is the real one
            more |= {
                one.text: {"file": near}
                for one in named
                if one.use == SOURCE and one.text in absent and (near := _near(one, directory))
            }
        if more == chosen:
            break
        chosen = more  # what stands in may name files of its own
    lost = [name for name in dict.fromkeys(absent) if not chosen.get(name)]
    notes = []
    if lost:
        what = (
            "nothing can stand in" if stand_in else f"{STAND_IN_OPTION} puts something in its place"
        )
        notes.append(f"not on this machine, and Envoy reads it: {', '.join(lost)} ({what})")
    fields = [*_node(config)]
    replaced = {name: kind for name, kind in chosen.items() if kind}
    if replaced:
        why = "in the run directory, instead of what the config names"
        fields.append(EnvoyField("stand_in", replaced, why))
    unknown = unknown_clusters(found.config, [*_answers(found)]) if stand_in else []
    if unknown:
        why = "without members: listeners refer to them, and the config does not have them"
        fields.append(EnvoyField("empty_clusters", unknown, why))
    return Beside(found.config, tuple(fields), _discovered(found), tuple(notes))


def _places(chosen: Mapping[str, Any], directory: Path) -> dict[str, str | Path]:
    """Return what stands in as `with_own_files` takes it."""
    return {
        name: directory / kind["file"] if isinstance(kind, dict) else kind
        for name, kind in chosen.items()
        if kind
    }


def _node(config: object) -> Iterator[EnvoyField]:
    """Yield the arguments that give Envoy a node, without which it reads no config source.

    For servers `control_plane` does that.
    """
    ads = proto_field(proto_field(config, "dynamic_resources"), "ads_config")
    reads = ads is not None or any(one.use == SOURCE for one in named_files(config))
    if not reads or server_sources(config):
        return
    node = proto_field(config, "node")
    missing = [key for key in _OPTIONS if not proto_field(node, key)]
    if missing:
        why = f"the config's node has no {' and no '.join(missing)}, and Envoy asks for it"
        arguments = [word for key in missing for word in (_OPTIONS[key], "envoyassert")]
        yield EnvoyField("args", arguments, why)


def _directories(named: Sequence[NamedFile]) -> Iterator[str]:
    """Yield where Envoy makes sockets and logs, but for the run directory itself."""
    for one in named:
        place = os.path.dirname(os.path.normpath(one.text))  # noqa: PTH120 - of any system
        if one.use == MADE and one.is_elsewhere and place:
            yield place


def _with_its_pair(named: Sequence[NamedFile], absent: Collection[str]) -> Iterator[NamedFile]:
    """Yield the files that are absent; a certificate and its key together, for only a pair fits."""
    split = {one.path[:-2] for one in named if one.text in absent and one.made in _PAIR}
    for one in named:
        if one.text in absent or (one.made in _PAIR and one.path[:-2] in split):
            yield one


def _is_read(one: NamedFile) -> bool:
    return one.use not in (MADE, UPSTREAM) and one.is_elsewhere


def _is_there(one: NamedFile, directory: Path) -> bool:
    try:
        file = directory / one.text
        if one.use == TREE:  # Envoy watches where it is, and does without it
            return file.parent.is_dir()
        return file.is_dir() if one.use == WATCHED else file.is_file()
    except (OSError, ValueError):
        return False


def _in_place_of(missing: Sequence[NamedFile], directory: Path) -> dict[str, object]:
    """Return what stands in for files: one beside the config if there is one, else a kind."""
    near = {one.text: _near(one, directory) for one in missing}
    single = {one.path[:-2] for one in missing if one.made in _PAIR and not near[one.text]}
    return {
        one.text: {"file": near[one.text]}
        if near[one.text] and not (one.made in _PAIR and one.path[:-2] in single)
        else one.made
        for one in missing
    }


def _near(one: NamedFile, directory: Path) -> str:
    """Return a file that lies beside the config as the end of a name says, "" if none does."""
    parts = Path(os.path.normpath(one.text)).parts
    for start in range(len(parts)):
        near = Path(*parts[start:])
        if one.use in (SOURCE, DATA) and not near.is_absolute() and (directory / near).is_file():
            return near.as_posix()
    return ""


def _answers(found: OwnFiles) -> Iterator[object]:
    """Yield what the discovery files of a run hold."""
    for name, content in found.files.items():
        if isinstance(content, str) and "resources" in content:
            with contextlib.suppress(ScenarioError):  # Envoy reads it, or says why not
                yield parse_envoy_file(content, name).data
        elif isinstance(content, dict):
            yield content


def _discovered(found: OwnFiles) -> list[dict[str, Any]] | None:
    """Return the listeners of the file of LDS, if it is among those of the run."""
    for one in found.named:
        if one.use == SOURCE and one.path[:2] == ("dynamic_resources", "lds_config"):
            source = proto_field(proto_field(found.config, "dynamic_resources"), "lds_config")
            name = next(n.text for n in named_files({"lds_config": source}))
            own = os.path.normpath(name.removeprefix("${rundir}/"))
            if own in found.files and not isinstance(found.files[own], Path):
                return [*discovered_listeners(found.files[own])]
    return None
