"""The config of a foreign Envoy, read from below its own root."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoyassert.errors import ScenarioError
from envoyassert.launch.inside import proc_root, read_inside
from envoyassert.live.arguments import EnvoyArguments, with_config_yaml
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import proto_field, with_lists

#: More of a file is not read; a bootstrap of this size would be written by a machine.
_LARGEST = 16 << 20


@dataclass(frozen=True)
class FoundConfig:
    """What was found.

    Args:
        config: the bootstrap; {} if it could not be read.
        files: what the file of LDS holds, by its name.
        note: why the config is not known, "" if it is.
    """

    config: Any = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    note: str = ""


def config_of(pid: int, arguments: EnvoyArguments) -> FoundConfig:
    """Return the config that a process was started with, as far as it can be read now.

    Args:
        pid: the process, as seen from here.
        arguments: what its command line says.
    """
    config: Any = {}
    note = ""
    try:
        if arguments.config_path:
            config = _parsed(_read(pid, arguments.config_path), arguments.config_path)
        if arguments.config_yaml:
            config = with_config_yaml(config, _parsed(arguments.config_yaml, "config.yaml"))
        if not isinstance(config, dict):
            config, note = {}, "its config is no mapping"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        if _has_ended(pid):
            reason = "is not known: Envoy ended before it could be read"
        config, note = {}, f"its config {arguments.config_path} {reason}"
    except (ScenarioError, ValueError) as error:
        first = str(error).partition("\n")[0]
        config, note = {}, f"its config cannot be read: {first}"
    config = with_lists(config)
    return FoundConfig(config, _files(pid, config), note)


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie: that has no root directory any more."""
    try:
        Path(proc_root(pid)).stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _parsed(text: str, path: str) -> Any:
    found = parse_envoy_file(text, path).data
    return {} if found is None else found


def _files(pid: int, config: Any) -> dict[str, str]:
    """Return the file that listeners come from, if it is one and there by now."""
    source = proto_field(proto_field(config, "dynamic_resources"), "lds_config")
    watched = proto_field(proto_field(source, "path_config_source"), "path")
    path = watched or proto_field(source, "path")
    if not isinstance(path, str) or not path:
        return {}
    try:
        return {path: _read(pid, path)}
    except (OSError, ValueError):
        return {}


def _read(pid: int, path: str) -> str:
    content = read_inside(proc_root(pid, path), path, _LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST >> 20} MiB")
    return content.decode("utf-8")
