"""An agent that starts a real Envoy, and does one thing more: the first argument says which.

drip, endless   replies to the admin's address come from here, by a listener of Envoy's own
log             so many MiB of lines go to the log before Envoy has its turn
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

#: Where Envoy's listener takes replies from, and where that listens.
UPSTREAM, LISTENER = 10002, 10001
_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_LINE = b"[2026-01-01 00:00:00.000][1][info][main] a line of a log that has a great many lines\n"


def _answer(connection: socket.socket, size: int, pause_s: float) -> None:
    pause = threading.Event()
    try:
        connection.recv(1 << 16)
        connection.sendall(_HEAD)
        while not pause.wait(pause_s):
            connection.sendall(b"%x\r\n%b\r\n" % (size, b"x" * size))
    except OSError:
        connection.close()


def _serve(size: int, pause_s: float) -> None:
    server = socket.create_server(("127.0.0.1", UPSTREAM))
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_answer, args=(connection, size, pause_s), daemon=True).start()


def _instead_of_the_admin(kind: str, command: list[str]) -> None:
    """Start Envoy, and give out the address of its listener as that of its admin endpoint."""
    size, pause_s = (1, 0.05) if kind == "drip" else (1 << 16, 0.0)
    threading.Thread(target=_serve, args=(size, pause_s), daemon=True).start()
    place = command.index("--admin-address-path") + 1
    address, own = Path(command[place]), Path(command[place]).with_name("own-address")
    # Its own address is for no one else to read, not even for an instant.
    command[place] = str(own)
    envoy = subprocess.Popen(command)
    while envoy.poll() is None and not (own.exists() and own.read_bytes()):
        time.sleep(0.001)  # Envoy does not report when it has written it
    new = address.with_name("address")
    new.write_text(f"127.0.0.1:{LISTENER}")
    new.replace(address)
    sys.exit(envoy.wait())


def main() -> None:
    """Do what the first argument says, and start the command behind it with two workers."""
    kind, *command = sys.argv[1:]
    command += ["--concurrency", "2"]
    if kind in ("drip", "endless"):
        _instead_of_the_admin(kind, command)
    many = _LINE * ((1 << 20) // len(_LINE))
    for _ in range(int(kind)):
        os.write(1, many)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
