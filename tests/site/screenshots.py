"""Photograph the pages by a real browser, each made from real runs: `make screenshots`.

    python -m tests.site.screenshots [--directory DIR]

Needs what a run needs, and Chromium. It writes NAME-WIDTH-SCHEME.png for each page at the width of
a desk and of a telephone, light and dark, and says which pages are wider than their window.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from tests.browser_page import NARROW, WIDE, browser, opened
from tests.one_socket import CONFIG
from tests.site.source import ROOT

SCENARIOS = ROOT / "scenarios"
LOG = ROOT / "tests" / "traces" / "istio-1.11-envoy-1.19.1.bpftrace.txt"
#: A page, and the scenario of which it is the run's.
RUNS = {
    "reuse_port": "reuse_port_on",
    "dup": "reuse_port_off",
    "one_worker": "single_worker",
    "hot_restart": "hot_restart",
    "lds_push": "lds_removed_clients",
    "failing": "a_socket_per_worker",
}
#: What the atlas has: some that differ from version to version.
ATLAS = ("reuse_port_on", "reuse_port_off", "udp", "lds_backlog_update", "unix_path", "port_taken")
VERSIONS = "1.36.4 1.40.0"
FAILING = f"""\
name: a_socket_per_worker
description: Each worker should have a kernel socket of its own, but the config asks for one alone.
envoy:
  concurrency: 2
  config:
{indent(CONFIG, "    ")}expect:
- listener: {{name: ingress}}
  bound: {{times: workers, by: main}}
  sockets: workers
  listened: {{by: workers, via: reuse_port}}
  why: A connection should wake one worker alone.
"""
OF_LOG = """\
name: log
expect:
- listener: {port: 15006}
  bound: {times: workers, by: main}
  listened: {by: workers}
"""


def _envoyassert(*words: str, at: Path, codes: Sequence[int] = (0,)) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "envoyassert", *words],
        cwd=at,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in codes:
        sys.exit(f"envoyassert {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")


def make_pages(directory: Path) -> dict[str, Path]:
    """Run all that there is a page of, and return the pages by their names.

    Args:
        directory: where they are written; what was there is removed.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "a_socket_per_worker.yaml").write_text(FAILING)
    (directory / "log.yaml").write_text(OF_LOG)
    (directory / "old.yaml").write_text(CONFIG)
    (directory / "new.yaml").write_text(CONFIG.replace("enable_reuse_port: false\n    ", ""))
    shipped = [str(SCENARIOS / f"{name}.yaml") for name in RUNS.values() if name in _shipped()]
    _envoyassert(
        *("run", "--once", "--html", "session", "--keep=all"),
        *(*shipped, "a_socket_per_worker.yaml"),
        at=directory,
        codes=(1,),
    )
    pages = {name: _page(directory / "session", scenario) for name, scenario in RUNS.items()}
    traces = [str(pages[name].with_name("trace.ndjson")) for name in ("dup", "reuse_port")]
    draw = ("--format", "html", "-o")
    _envoyassert("diff", *traces, *draw, "diff.html", at=directory, codes=(1,))
    _envoyassert(
        "plan", "--model", "old.yaml", "new.yaml", *draw, "plan.html", at=directory, codes=(3,)
    )
    _envoyassert(
        "plan", "--run", "old.yaml", "new.yaml", *draw, "plan_run.html", at=directory, codes=(3,)
    )
    _envoyassert("import", str(LOG), "--concurrency", "2", "-o", "log.ndjson", at=directory)
    judge = ("replay", "log.ndjson", "--scenario", "log.yaml")
    _envoyassert(*judge, *draw, "inconclusive.html", at=directory, codes=(10,))
    chosen = [str(SCENARIOS / f"{name}.yaml") for name in ATLAS]
    _envoyassert("matrix", *chosen, "--versions", VERSIONS, "-o", "atlas", at=directory)
    for name in ("diff", "plan", "plan_run", "inconclusive"):
        pages[name] = directory / f"{name}.html"
    pages["session"] = directory / "session" / "index.html"
    pages["atlas"] = directory / "atlas" / "index.html"
    return pages


def _shipped() -> set[str]:
    return {path.stem for path in SCENARIOS.glob("*.yaml")}


def _page(session: Path, scenario: str) -> Path:
    (found,) = (
        path
        for path in session.glob("runs/*/run.html")
        if path.parent.name.startswith((f"{scenario}-", f"{scenario}["))
    )
    return found


def photograph(pages: dict[str, Path], directory: Path) -> list[str]:
    """Photograph pages, and return what of them stands out of the window, a line each.

    Args:
        pages: by their names.
        directory: where the pictures are written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    wrong = []
    with browser() as started:
        for name, file in pages.items():
            for width in (WIDE, NARROW):
                for scheme in ("light", "dark"):
                    target = directory / f"{name}-{width}-{scheme}.png"
                    with opened(started, file, width=width, scheme=scheme) as page:
                        page.screenshot(path=str(target), full_page=True)
                        seen = page.evaluate("document.documentElement.scrollWidth")
                    if seen > width:
                        wrong.append(f"{target.name}: {seen} pixels wide")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pages and photograph them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.site.screenshots")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / "build" / "screenshots", metavar="DIR"
    )
    directory = parser.parse_args(arguments).directory.absolute()
    wrong = photograph(make_pages(directory / "pages"), directory)
    print("\n".join([f"screenshots: {directory}", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
