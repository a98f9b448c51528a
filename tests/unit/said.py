"""Findings that say a given text, for tests of what is made of findings."""

from __future__ import annotations

from typing import Any

from envoyassert.judge.near import Mismatch, NearListener
from envoyassert.judge.values import (
    Act,
    Count,
    Fact,
    Number,
    Quote,
    ThreadName,
    Topic,
)
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.selector import Selector

#: `TCP 0.0.0.0:15007: port 15007, not 15006; bound by main`
ELSEWHERE = NearListener(
    "TCP",
    "0.0.0.0:15007",
    None,
    (Mismatch("port", 15007, 15006),),
    (ThreadName("main"),),
)


def a_finding(
    status: Status = Status.FAIL,
    atom: tuple[str, ...] = ("bound", "times"),
    *,
    expected: str | None = None,
    seen: str | None = None,
    reason: str = "",
    hint: str = "",
    **fields: Any,
) -> Finding:
    """Return a finding about port 15006; what it says is `bound` twice, and not once, by default.

    Args:
        status: its status.
        atom: its place in the expectation; `process` makes it one about the process.
        expected, seen, reason, hint: texts.
        fields: further fields of the finding.
    """
    process = atom[:1] == ("process",)
    listener = Topic("listener", listener=Selector(port=15006))
    return Finding(
        status,
        ("expect", 0, *atom),
        ".".join(atom),
        Topic("process") if process else listener,
        Count(Act("bind"), 1, 1) if expected is None else Quote(expected),
        Number(Act("bind"), 2) if seen is None else Quote(seen),
        Fact("step_problem", said=Quote(reason)) if reason else None,
        cause=Fact("fault", said=Quote(hint)) if hint else None,
        **fields,
    )
