"""Many runs as JSON types."""

from __future__ import annotations

from envoyassert.compare.diff_json import difference_json
from envoyassert.compare.survey import EqualRuns, SeenRun, Survey

FORMAT = "envoyassert-report/1"


def survey_json(survey: Survey) -> dict[str, object]:
    """Return every run, which of them have the same listeners, and what differs between these."""
    return {
        "format": FORMAT,
        "traces": [_run(run) for run in survey.runs],
        "sets": [
            {
                "listeners": [one.title for one in found.listeners],
                "groups": [_group(group) for group in found.groups],
            }
            for found in survey.sets
        ],
        "faults": list(survey.faults),
    }


def _run(run: SeenRun) -> dict[str, object]:
    envoy = run.header.envoy
    return {
        "trace": run.path,
        "envoy": envoy.version,
        "build_id": envoy.build_id,
        "source": envoy.source,
        "image_digest": envoy.image_digest,
        "launcher": run.header.launcher,
        "where": dict(run.header.where),
        "scenario": run.header.scenario,
        "matrix": dict(run.header.matrix),
        "workers": run.workers,
        "state": run.state,
        "events": run.events,
        "listeners": [
            {
                "listener": one.title,
                "sockets": one.sockets,
                "reach": one.reach,
                "served_by": one.served,
                "hot_restart": one.own,
            }
            for one in run.listeners
        ],
        "sockets": run.sockets,
        "whole": run.whole,
        "certificate": run.certificate,
        "verdict": None if run.judged is None else run.judged.word,
        "reason": "" if run.judged is None else run.judged.reason,
    }


def _group(group: EqualRuns) -> dict[str, object]:
    against = group.against
    return {
        "traces": [run.path for run in group.runs],
        "sure": all(run.whole for run in group.runs),
        "differences": []
        if against is None
        else [difference_json(one) for one in against.differences],
        "not_compared": [] if against is None else list(against.not_compared),
    }
