"""Draw the pictures of docs/listens.md, each from a run of a shipped scenario: `make pictures`.

    python -m tests.site.pictures [NAME...]

Needs what a run needs: root, eBPF, and the newest Envoy that is at hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from envoyassert.output_file import write_lines
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.trace import Trace
from tests.site.drawing import draw
from tests.site.source import ROOT

PICTURES = ROOT / "docs" / "pictures"


class Picture(NamedTuple):
    """From which run a picture is drawn.

    Args:
        scenario: name of the shipped scenario.
        listeners: the listeners that it shows; all but the admin endpoint if there are none.
        concurrency: how many workers it has.
        phase: at the end of which phase it is drawn; "" for the end.
    """

    scenario: str
    listeners: tuple[str, ...] = ()
    concurrency: int = 2
    phase: str = ""


WANTED = {
    "reuse_port": Picture("reuse_port_on"),
    "dup": Picture("reuse_port_off"),
    "one_worker": Picture("single_worker", concurrency=1),
    "admin": Picture("admin_only", ("admin",)),
    "udp": Picture("udp"),
    "quic": Picture("quic"),
    "unix": Picture("unix_path"),
    "no_socket": Picture("virtual_listener"),
    "hot_restart": Picture("hot_restart", phase="hot_restart"),
    "sidecar": Picture("istio_sidecar"),
}


def trace_of(picture: Picture, probe: Probe) -> Trace:
    """Run the scenario of a picture once and return the trace."""
    plans = expand(load_scenario(ROOT / "scenarios" / f"{picture.scenario}.yaml"))
    plan = next(plan for plan in plans if plan.concurrency == picture.concurrency)
    return run_plan(plan, probe, "process").trace


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.site.pictures")
    parser.add_argument("names", nargs="*", choices=[[], *WANTED], metavar="NAME")
    names = parser.parse_args(arguments).names or WANTED
    with Probe.load() as probe:
        for name in names:
            wanted = WANTED[name]
            drawn = draw(trace_of(wanted, probe), wanted.listeners, wanted.phase)
            write_lines(drawn.splitlines(), PICTURES / f"{name}.svg")
            print(PICTURES / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
