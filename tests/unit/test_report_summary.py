import pytest

from envoyassert.report.summary import RunRecord, summary_lines


def record(outcome, name="a", envoy="1.40.0", launcher="process", concurrency="2", **more):
    title = f"{name}[concurrency={concurrency}]"
    return RunRecord(title, envoy, launcher, concurrency, outcome, name=name, **more)


def test_summary_counts_runs_and_the_axes_they_cover():
    records = [
        record("passed", f"s{n}", envoy, launcher, c)
        for n in range(3)
        for envoy in ("1.36.4", "1.40.0")
        for launcher in ("docker", "process")
        for c in ("1", "2", "4")
    ]
    assert summary_lines(records) == [
        "36 runs executed: 36 passed (3 scenarios, 2 Envoys, 2 launchers, 3 concurrencies)"
    ]


def test_summary_counts_skips_and_errors_apart_from_executed_runs():
    records = [
        record("passed"),
        record("failed", "b"),
        record("inconclusive", "c"),
        record("error", "d"),
        record("skipped", "e", "1.30.0", reason="no root"),
        record("skipped", "f", "1.30.0", reason="no root"),
        record("skipped", "g", reason="needs docker"),
    ]
    first, *reasons = summary_lines(records)
    assert first == (
        "3 runs executed: 1 passed, 1 failed, 1 inconclusive, 1 error, 3 skipped "
        "(3 scenarios, 1 Envoy, 1 launcher, 1 concurrency)"
    )
    assert reasons == [
        "  2 skipped: no root",
        "  1 skipped: needs docker",
    ]


def test_summary_says_what_each_known_defect_is():
    seen = "port 80 backlog: expected 1, seen 2"
    records = [
        record("known_defect", defect="x#1, owner me", seen=seen, reason="first"),
        record("known_defect", defect="x#1, owner me", seen="expected 1, seen 3", reason="second"),
        record("known_defect", defect="x#2, owner me", seen=seen, reason="third"),
        record("known_defect", "b", defect="x#1, owner me", seen=seen, reason="fourth"),
        record("skipped", reason="no root"),
    ]
    assert summary_lines(records)[1:] == [
        f"  2 known defects: a: (x#1, owner me): {seen}",
        f"  1 known defect: a: (x#2, owner me): {seen}",
        f"  1 known defect: b: (x#1, owner me): {seen}",
        "  1 skipped: no root",
    ]


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([], "no runs executed"),
        ([record("skipped")], "no runs executed: 1 skipped"),
        ([record("error"), record("error", "b")], "no runs executed: 2 errors"),
    ],
)
def test_summary_of_nothing_executed_says_so_first(records, line):
    assert summary_lines(records)[0] == line
