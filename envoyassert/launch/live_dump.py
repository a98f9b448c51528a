"""What the admin endpoint of a running Envoy says of it, by HTTP or behind a Unix socket.

Its dump has the listeners, and `/server_info` how many workers there are.
"""

from __future__ import annotations

import json
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from envoyassert.errors import Problem, ScenarioError
from envoyassert.launch.admin import DEADLINE_S, AdminUnreachableError, request
from envoyassert.ranges import MOST_WORKERS

#: What the text of a source begins with that is no file.
HTTP, UNIX = "http://", "unix:"
_ASKED = "/config_dump"
_SERVER_INFO = "/server_info"
#: A busy sidecar takes a second to write all of its dump.
_DEADLINE_S = 30.0
_OK = 200


def fetch_dump(source: str, most: int) -> str:
    """Return what an admin endpoint answers.

    Args:
        source: `http://HOST:PORT/config_dump` or `unix:PATH`; without a path /config_dump is asked.
        most: how many bytes the answer may have.

    Raises:
        ScenarioError: it is no such address, nothing answers there, or not with what was asked.
    """
    try:
        place = _place_of(source)
        status, body = request(_connected(place), place.path, "GET", _DEADLINE_S, most)
    except AdminUnreachableError as error:
        raise _error(source, str(error), "name the socket of an admin endpoint") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise _error(source, f"no admin endpoint answers: {why}", "start it, or name it") from error
    if status != _OK:
        raise _error(source, f"status {status}", f"ask Envoy's admin endpoint for {_ASKED}")
    return body


def fetch_concurrency(source: str) -> tuple[int | None, str]:
    """Return how many workers an Envoy has, by its `/server_info`; or None, and why.

    Args:
        source: as `fetch_dump` takes it.
    """
    place = _place_of(source)
    head, asked, query = place.path.rpartition(_ASKED)
    if not asked or query[:1] not in ("", "?"):
        return None, f"{place.path} is no {_ASKED}, beside which there would be {_SERVER_INFO}"
    try:
        connection = _connected(place)
        status, body = request(connection, f"{head}{_SERVER_INFO}", "GET", DEADLINE_S)
    except OSError as error:
        return None, f"{_SERVER_INFO} is not answered: {error.strerror or error}"
    if status != _OK:
        return None, f"{_SERVER_INFO} is answered with status {status}"
    found = _reported_concurrency(body)
    return found, "" if found is not None else f"{_SERVER_INFO} does not say it"


def _reported_concurrency(body: str) -> int | None:
    """Return `command_line_options.concurrency` of envoy.admin.v3.ServerInfo, None without it.

    Without `--concurrency` Envoy has the number of the machine's threads there.
    """
    try:
        found = json.loads(body)["command_line_options"]["concurrency"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return found if is_number and 0 < found <= MOST_WORKERS else None


class _Place(NamedTuple):
    """An admin endpoint, by the path of its socket or by host and port, and what is asked there."""

    socket: str
    host: str
    port: int
    path: str


def _place_of(source: str) -> _Place:
    if source.startswith(UNIX):
        return _Place(source.removeprefix(UNIX), "", 0, _ASKED)
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _error(source, f"no address: {error}", f"say {HTTP}HOST:PORT{_ASKED}") from error
    if not source.startswith(HTTP) or not host:
        remedy = f"say {HTTP}HOST:PORT{_ASKED}, or save it (curl) and name the file"
        raise _error(source, "only http:// and unix: are asked", remedy)
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path if parts.path not in ("", "/") else _ASKED
    return _Place("", host, port or 80, f"{path}{query}")


def _connected(place: _Place) -> socket.socket:
    if place.host:
        return socket.create_connection((place.host, place.port), _DEADLINE_S)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(_DEADLINE_S)
        made.connect(place.socket)
    except BaseException:
        made.close()
        raise
    return made


def _error(source: str, message: str, remedy: str) -> ScenarioError:
    return ScenarioError([Problem(source, 0, 0, message, remedy)])
