"""What a file is that describes an Envoy: the config that it reads, or a dump of what it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envoyassert.draft.expected import DraftError
from envoyassert.errors import Problem, ScenarioError
from envoyassert.predict.dumped import Dumped, envoys_of, is_bootstrap
from envoyassert.predict.prediction import PredictError
from envoyassert.scenario.envoy_file import parse_documents, parse_envoy_file
from envoyassert.scenario.listeners import with_lists

#: The dump of a busy sidecar is far larger than any file that a person wrote.
MAX_DUMP_BYTES = 256 * 1024 * 1024

#: Files that look like a dump and are none: by their keys, and what to take in their place.
_MISTAKEN = {
    "this is a scenario": ({"envoy", "expect"}, "name the config that it is about, or a dump"),
    "this is the answer of /listeners, which has addresses alone": (
        {"listener_statuses"},
        "ask for all of it: curl 127.0.0.1:PORT/config_dump",
    ),
}


def config_or_envoys(text: str, path: str) -> tuple[Any, list[Dumped]]:
    """Return a bootstrap's data, or the Envoys of a dump.

    Args:
        text: the text of the file.
        path: the file as the user named it.

    Returns:
        The config, as Envoy reads it, and no Envoys; or None and the Envoys.

    Raises:
        ScenarioError: it is neither YAML nor JSON, or a file of another kind.
    """
    try:
        documents = parse_documents(text, path)
    except ScenarioError:
        found = parse_envoy_file(text, path)  # Envoy reads the first document alone
        if not is_bootstrap(found.data):
            raise
        return with_lists(found.data), []
    keys = set(documents[0]) if documents and isinstance(documents[0], dict) else set()
    for what, (those, remedy) in _MISTAKEN.items():
        if those <= keys:
            raise ScenarioError([Problem(path, 1, 1, what, remedy)])
    envoys = envoys_of(documents)
    if envoys and not is_bootstrap(documents[0]):
        return None, envoys
    found = parse_envoy_file(text, path)
    if not isinstance(found.data, dict):
        what = "this is a single value or a list, and an Envoy config is a mapping"
        remedy = "name the file that Envoy is started with (-c), a dump or a trace"
        raise ScenarioError([found.problem((), what, remedy)])
    return with_lists(found.data), []


@contextmanager
def problems_of(path: Path) -> Iterator[None]:
    """Have what cannot be drafted said as a problem of the file that it is about."""
    try:
        yield
    except (DraftError, PredictError) as error:
        raise ScenarioError([Problem(str(path), 1, 1, error.message, error.remedy)]) from error
