"""The dump that the admin endpoint of a running Envoy gives, by HTTP or behind a Unix socket."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from envoyassert.errors import Problem, ScenarioError
from envoyassert.launch.admin import AdminUnreachableError, request

#: What the text of a source begins with that is no file.
HTTP, UNIX = "http://", "unix:"
_ASKED = "/config_dump"
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
        connection, path = _connected(source)
        status, body = request(connection, path, "GET", _DEADLINE_S, most)
    except AdminUnreachableError as error:
        raise _error(source, str(error), "name the socket of an admin endpoint") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise _error(source, f"no admin endpoint answers: {why}", "start it, or name it") from error
    if status != _OK:
        raise _error(source, f"status {status}", f"ask Envoy's admin endpoint for {_ASKED}")
    return body


def _connected(source: str) -> tuple[socket.socket, str]:
    if source.startswith(UNIX):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(_DEADLINE_S)
            made.connect(source.removeprefix(UNIX))
        except BaseException:
            made.close()
            raise
        return made, _ASKED
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
    return socket.create_connection((host, port or 80), _DEADLINE_S), f"{path}{query}"


def _error(source: str, message: str, remedy: str) -> ScenarioError:
    return ScenarioError([Problem(source, 0, 0, message, remedy)])
