"""What an Envoy's command line says of its config, workers and epochs.

Envoy takes a value as the word after its option and refuses `--option=value` (seen on 1.36.4 and
1.40.0), so nothing else is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoyassert.frozen import frozen
from envoyassert.ranges import MOST_WORKERS

#: With one of these words it says something and ends, or only looks at its config.
_SAYS_ONLY = ("--version", "--help", "-h", "--hot-restart-version")


@frozen
class EnvoyArguments:
    """What is read of a command line.

    Args:
        config_path: the config file, as Envoy finds it; "" for none.
        config_yaml: text that is merged over it; "" for none.
        concurrency: the number of workers; None where it is left to Envoy. 0 means one.
        admin_address_path: where Envoy writes the address of its admin endpoint; "" for nowhere.
        base_id: what distinguishes the hot restarts of a machine; None if Envoy chooses one.
        restart_epoch: which Envoy of a hot restart it is; 0 for the first.
        serves: whether it is started to serve, and not to say something or to check a config.
    """

    config_path: str = ""
    config_yaml: str = ""
    concurrency: int | None = None
    admin_address_path: str = ""
    base_id: int | None = 0
    restart_epoch: int = 0
    serves: bool = True


def envoy_arguments_of(argv: Sequence[str]) -> EnvoyArguments:
    """Return what a command line says, from its words, the first of which is the program."""
    values: dict[str, str] = {}
    words = list(argv[1:])
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        values["--config-path" if word == "-c" else word] = following
    dynamic = "--use-dynamic-base-id" in values
    return EnvoyArguments(
        config_path=values.get("--config-path", ""),
        config_yaml=values.get("--config-yaml", ""),
        concurrency=_number(values.get("--concurrency"), MOST_WORKERS),
        admin_address_path=values.get("--admin-address-path", ""),
        base_id=None if dynamic else _number(values.get("--base-id")) or 0,
        restart_epoch=_number(values.get("--restart-epoch")) or 0,
        serves=not any(word in values for word in _SAYS_ONLY)
        and values.get("--mode", "serve") == "serve",
    )


def _number(text: str | None, most: int = 2**32 - 1) -> int | None:
    if text is None or not text.isdecimal() or int(text) > most:
        return None
    return int(text)


def with_config_yaml(config: Any, more: Any) -> Any:
    """Return a bootstrap with what `--config-yaml` says merged over it, as protobuf merges.

    Messages merge, elements of a list follow those before them, other values replace (protobuf,
    `Message::MergeFrom`; Envoy, source/server/configuration_impl.cc).

    Args:
        config: the data of the config file.
        more: the data of the text.
    """
    if isinstance(config, dict) and isinstance(more, dict):
        merged = dict(config)
        for key, value in more.items():
            merged[key] = with_config_yaml(config[key], value) if key in config else value
        return merged
    if isinstance(config, list) and isinstance(more, list):
        return [*config, *more]
    return more
