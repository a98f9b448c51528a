"""Build the documentation site: `make docs`.

    python -m tests.site [OUT] [--serve [PORT]]

OUT is the directory of the pages, build/docs by default. With --serve they are served on loopback
until Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.site.source import ROOT, write_source

_PORT = 8000


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, build, and serve if that is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.site")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "build" / "docs")
    parser.add_argument("--serve", nargs="?", type=int, const=_PORT, metavar="PORT")
    options = parser.parse_args(arguments)
    code = build(options.out)
    if code == 0:
        print(f"{options.out / 'index.html'}")
        if options.serve is not None:
            serve(options.out, options.serve)
    return code


def build(out: Path) -> int:
    """Build the site; return Sphinx's exit code.

    Args:
        out: directory of the pages; it is made.
    """
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory)
        write_source(source)
        command = ["-q", "-W", "--keep-going", "-E", "-d", f"{source}/.doctrees", "-b", "html"]
        command += ["-c", str(ROOT / "docs"), str(source), str(out)]
        return subprocess.run([sys.executable, "-m", "sphinx", *command], check=False).returncode


def serve(directory: Path, port: int) -> None:
    """Serve a directory on loopback until Ctrl-C."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    sys.exit(main())
