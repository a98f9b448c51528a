"""Record what an Envoy does when LDS changes the backlog of a listener that serves already.

    sudo python tests/traces/pairs/record_lds_backlog.py 1.39.3 1.40.0

starts each version on lds_backlog_update.yaml, replaces the file that Envoy watches by one with
`tcp_backlog_size: 64`, waits until the new listener serves and the old one is gone, and writes
lds_backlog_update-<version>.ndjson next to this file.
"""

from __future__ import annotations

import copy
import sys
import time
from pathlib import Path

from envoyassert.launch.choose import choose_launcher, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan, as_text
from envoyassert.trace import Trace
from envoyassert.trace_file import write_trace

HERE = Path(__file__).parent
SCENARIO = HERE / "lds_backlog_update.yaml"
DEADLINE_S = 20.0
PAUSE_S = 0.1


def updated(plan: RunPlan) -> str:
    """Return the file with the other backlog."""
    content = copy.deepcopy(plan.files["lds.yaml"])
    assert isinstance(content, dict)
    content["version_info"] = "2"
    content["resources"][0]["tcp_backlog_size"] = 64
    return as_text(content)


def replace(run: LiveRun, text: str) -> None:
    """Replace the watched file by another: Envoy watches for renames."""
    watched = Path(run.plan.config["dynamic_resources"]["lds_config"]["path_config_source"]["path"])
    new = watched.with_suffix(".new")
    new.write_text(text)
    new.rename(watched)


def wait_replaced(run: LiveRun) -> None:
    """Wait until every worker has the new listener and the old one is gone."""
    wanted = {
        "listener_manager.listener_modified: 1",
        f"listener_manager.listener_create_success: {2 * run.plan.workers}",
        "listener_manager.total_listeners_draining: 0",
        "listener_manager.total_listeners_warming: 0",
    }
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        _, stats = run.admin_get("/stats?filter=^listener_manager")
        if wanted <= set(stats.splitlines()):
            return
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the listener was not replaced within {DEADLINE_S} s:\n{stats}")
        time.sleep(PAUSE_S)


def record(version: str, probe: Probe) -> Trace:
    """Run one version and return its trace."""
    (plan,) = expand(load_scenario(SCENARIO), envoys=[parse_envoy_argument(version)])
    with (
        choose_launcher("process", source_of(plan)) as launcher,
        LiveRun(plan, probe, launcher) as run,
    ):
        replace(run, updated(run.plan))
        wait_replaced(run)
        return run.trace()


def main(versions: list[str]) -> None:
    """Record each version."""
    with Probe.load() as probe:
        for version in versions:
            trace = record(version, probe)
            write_trace(trace, HERE / f"{SCENARIO.stem}-{version}.ndjson")


if __name__ == "__main__":
    main(sys.argv[1:])
