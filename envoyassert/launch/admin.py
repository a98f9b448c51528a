"""Requests to Envoy's admin endpoint.

Envoy does not answer HTTP/1.0; each request has a connection of its own, which Envoy closes.
"""

from __future__ import annotations

import http.client
import socket

from envoyassert.addresses import Address

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, never bound


class AdminUnreachableError(OSError):
    """The admin endpoint did not answer: not there yet, gone, or too slow."""


def connect_admin(address: Address, root: str, timeout_s: float) -> socket.socket:
    """Connect to an admin endpoint; call it inside Envoy's network namespace.

    Args:
        address: where it listens; a wildcard is reached by loopback.
        root: what absolute paths of Unix sockets are relative to, `/proc/<pid>/root` or "".
        timeout_s: for connecting, and later for each read.

    Raises:
        OSError: nothing listens there.
    """
    target: tuple[str, int] | str
    if address.is_ip:
        family = socket.AF_INET6 if address.family == "AF_INET6" else socket.AF_INET
        target = (_WILDCARDS.get(address.host, address.host), address.port or 0)
    else:
        family = socket.AF_UNIX
        name = address.abstract
        target = f"\0{name}" if name is not None else f"{root}{address.path}"
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(target)
    except BaseException:
        connection.close()
        raise
    return connection


def request(connection: socket.socket, path: str, method: str = "GET") -> tuple[int, str]:
    """Send one request over a connection, read the whole reply, close the connection.

    Args:
        connection: from `connect_admin`.
        path: path and query, `/ready`.
        method: `GET`, or `POST` for what changes Envoy.

    Returns:
        Status and body.

    Raises:
        AdminUnreachableError: the reply did not come, or was cut off.
    """
    client = http.client.HTTPConnection("localhost")
    client.sock = connection
    try:
        client.request(method, path, headers={"connection": "close"})
        reply = client.getresponse()
        return reply.status, reply.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise AdminUnreachableError(f"{method} {path}: {error}") from error
    finally:
        client.close()
