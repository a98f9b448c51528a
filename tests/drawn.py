"""Runs that were recorded, and a change, as pages and pictures for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.picture.html.page import page_with_index, pair_page, plan_page, run_page
from envoyassert.picture.pair import PairPicture, pair_picture
from envoyassert.picture.plan import PlanPicture, plan_picture
from envoyassert.picture.run import RunPicture, run_picture
from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Side, Way
from envoyassert.predict.start import predict_start
from envoyassert.review.answer import Answer
from tests.recorded_trace import recorded

SHARED, REUSE = "reuse_port_off-1.40.0.ndjson", "reuse_port_on-1.40.0.ndjson"


class Drawn(NamedTuple):
    """A recorded trace, and what is expected of it."""

    file: str
    items: tuple[dict[str, Any], ...] = ()


RUNS = {
    "shared": Drawn(SHARED),
    "failed": Drawn(
        SHARED,
        ({"listener": {"port": 15006}, "sockets": 2, "bound": {"times": 2}, "via": "reuse_port"},),
    ),
    "hot_restart": Drawn("regressions/hot_restart.ndjson.gz"),
    "connections": Drawn("regressions/connections.ndjson.gz"),
    "port_taken": Drawn("regressions/lds_port_taken.ndjson.gz"),
}


def run_of(name: str) -> RunPicture:
    """Return a run as it is drawn, by its name in `RUNS`."""
    trace = recorded(RUNS[name].file)
    graph = fold(trace)
    parsed = list(enumerate(map(parse_expectation, RUNS[name].items)))
    verdict = judge(trace, parsed, workers=2, graph=graph) if parsed else None
    return run_picture(trace, graph, verdict, title=name)


def pair_of() -> PairPicture:
    """Return two runs side by side."""
    return pair_picture(
        (recorded(SHARED), recorded(REUSE)), ("off", "on"), "different", ["+1 socket"]
    )


def bootstrap(*listeners: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of an Envoy with these listeners."""
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
    return {"admin": admin, "static_resources": {"listeners": [*listeners]}}


def listener(name: str, port: int, **more: Any) -> dict[str, Any]:
    """Return the config of a listener."""
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{"filters": []}], **more}


def plan_of(
    old: Any, new: Any, workers: tuple[int, int] = (2, 2), run: PairPicture | None = None
) -> PlanPicture:
    """Return a change of a config as it is drawn, in each way.

    Args:
        old, new: the configs.
        workers: of each.
        run: what was recorded of both.
    """
    sides = Side(old, workers=workers[0]), Side(new, workers=workers[1])
    changes = tuple(predict_change(*sides, way) for way in Way)
    starts = [predict_start(side.config, concurrency=side.workers) for side in sides]
    return plan_picture(Answer("old.yaml", "new.yaml", changes), (starts[0], starts[1]), run)


def some_plan(run: PairPicture | None = None) -> PlanPicture:
    """Return a change in which listeners are changed, moved, added, removed and refused."""
    kept = listener("kept", 10001), listener("moved", 10002), listener("removed", 10003)
    old = bootstrap(listener("ingress", 10000), *kept)
    new = bootstrap(
        listener("ingress", 10000, enable_reuse_port=False),
        *kept[:1],
        listener("moved", 10012),
        listener("added", 10004),
    )
    return plan_of(old, new, (2, 4), run)


def pages() -> dict[str, str]:
    """Return each kind of page, by a name."""
    drawn = {name: run_page(run_of(name)) for name in RUNS}
    drawn["of_session"] = page_with_index(drawn["failed"], "../../index.html")
    drawn["pair"] = pair_page(pair_of())
    drawn["plan"] = plan_page(some_plan())
    drawn["plan_run"] = plan_page(some_plan(pair_of()))
    return drawn


PAGES = (*RUNS, "of_session", "pair", "plan", "plan_run")
