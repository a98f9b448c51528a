"""The corpus command, without an Envoy: what it counts, and that no config ends it."""

from __future__ import annotations

import json
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.corpus.__main__ import configs_of, main, page
from tests.corpus.pool import WorkerError, serve, try_all
from tests.corpus.table import counts, document, summary
from tests.corpus.trial import Outcome, Result, kind_of

PAGE = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text("utf-8")
PLACE = {"socket_address": {"address": "0.0.0.0", "port_value": 80}}
LISTENER = {"name": "web", "address": PLACE, "filter_chains": []}


def trial(project: str, file: str) -> Result:
    """Passes, or does what the file's name says."""
    if file == "ends":
        os._exit(3)
    if file == "hangs":
        threading.Event().wait()
    return Result(project, file, "bootstrap", Outcome.PASSED, took_s=os.getpid())


def work(orders: Connection) -> None:
    serve(orders, trial)


def no_probe(orders: Connection) -> None:
    orders.close()


def outcomes(results: list[Result]) -> dict[str, tuple[Outcome, str]]:
    return {one.file: (one.outcome, one.reason) for one in results}


def test_a_config_that_ends_its_process_costs_its_own_result_alone():
    files = [("p", "first"), ("p", "ends"), ("p", "last")]
    found = outcomes(list(try_all(files, 1, 60, work)))
    ended = (Outcome.FAILED, "the process that tried it ended with 3")
    passed = (Outcome.PASSED, "")
    assert found == {"first": passed, "ends": ended, "last": passed}


def test_a_config_that_is_not_over_in_time_is_inconclusive():
    found = outcomes(list(try_all([("p", "hangs"), ("p", "last")], 1, 2, work)))
    outcome, reason = found["hangs"]
    assert outcome is Outcome.INCONCLUSIVE
    assert reason.startswith("not over after ")
    assert found["last"] == (Outcome.PASSED, "")


def test_a_process_tries_one_config_after_the_other():
    results = list(try_all([("p", str(number)) for number in range(5)], 1, 60, work))
    assert len({one.took_s for one in results}) == 1


def test_a_process_that_does_not_get_ready_is_an_error():
    with pytest.raises(WorkerError, match="did not get ready: it ended with 0"):
        list(try_all([("p", "first")], 1, 60, no_probe))


def test_projects_are_the_folders_and_every_file_below_is_tried(tmp_path):
    for file in ("b/deep/er/x.yaml", "a/y.golden", "a/z", "no_project.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert configs_of(tmp_path) == [("a", "y.golden"), ("a", "z"), ("b", "deep/er/x.yaml")]


@pytest.mark.parametrize("argument", ["", "nowhere", "loose"])
def test_what_is_no_corpus_is_one_error(argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "no_project.yaml").touch()
    monkeypatch.setattr("sys.argv", ["corpus", argument])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "folder" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "data, kind",
    [
        ({"static_resources": {"listeners": [LISTENER]}}, "bootstrap"),
        ({"dynamicResources": {"adsConfig": {}}}, "bootstrap"),
        ({"admin": {"address": PLACE}}, "bootstrap"),
        ([LISTENER], "listeners"),
        ({"Listeners": [{"address": {}, "filterChains": []}]}, "listeners"),
        (
            {"configs": [{"dynamic_listeners": [{"active_state": {"listener": LISTENER}}]}]},
            "listeners",
        ),
        (
            {"resources": [{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}]},
            "listeners",
        ),
        ({"kind": "ConfigMap", "data": {"envoy.yaml": "static_resources: {}"}}, ""),
        ({"static_resources": None, "clusters": [{"address": PLACE}]}, ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_a_file_is_what_is_in_it(data, kind):
    assert kind_of(data) == kind


RESULTS = [
    Result("b", "listeners.json", "listeners", Outcome.FAILED, "no | admin", drafted=True),
    Result("a", "ok.yaml", "bootstrap", Outcome.PASSED, drafted=True, same=True),
    Result(
        "a", "differs.yaml", "bootstrap", Outcome.PASSED, "", True, True, False, "one more socket"
    ),
    Result("a", "old.yaml", "bootstrap", Outcome.REFUSED, "v2", drafted=True),
    Result("a", "readme.yaml", "", Outcome.NO_CONFIG, "nothing in it"),
    Result("b", "slow.yaml", "bootstrap", Outcome.INCONCLUSIVE, "lost events", drafted=True),
]


def test_what_envoy_refuses_and_what_is_no_config_is_counted_and_not_held_against_us():
    assert summary(RESULTS) == (
        "2 of 3 bootstraps (66.7 %) and 0 of 1 listener sets and dumps (0.0 %) that Envoy accepts "
        "pass as drafted."
    )
    assert counts(RESULTS) == {
        "files": 6, "bootstrap": 4, "listeners": 1, "drafted": 5, "passed": 2, "failed": 1,
        "inconclusive": 1, "refused by Envoy": 1, "not a config": 1, "stood in": 1, "same": 1,
    }  # fmt: skip


def test_the_page_has_the_projects_and_each_config_that_did_not_pass():
    lines = page(RESULTS, "1.40.0").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert "| a | 4 | 3 | 0 | 3 | 2 | 0 | 0 | 1 | 1 | 1 | 1 |" in rows
    assert "| b | 2 | 1 | 1 | 2 | 0 | 1 | 1 | 0 | 0 | 0 | 0 |" in rows
    assert rows[-3:] == [
        "| a | `differs.yaml` | plan: a difference | one more socket |",
        "| b | `listeners.json` | failed | no \\| admin |",
        "| b | `slow.yaml` | inconclusive | lost events |",
    ]


def test_the_document_has_every_file_with_its_reason():
    data = json.loads(json.dumps(document(RESULTS, "1.40.0")))
    assert data["format"] == "envoyassert-corpus/1"
    assert data["all"]["files"] == 6
    assert [one["file"] for one in data["files"]] == [
        "differs.yaml",
        "ok.yaml",
        "old.yaml",
        "readme.yaml",
        "listeners.json",
        "slow.yaml",
    ]
    assert data["files"][2]["reason"] == "v2"


def test_the_page_in_the_docs_is_one_that_the_command_writes():
    written = page([], "1.40.0")
    before, after = written.split(summary([]))
    assert PAGE.startswith(before)
    notes, *tables = after.split("| project |")
    assert notes in PAGE
    # Its columns; what is in them depends on the configs.
    assert tables
    head = [line for line in PAGE.splitlines() if line.startswith("| project | files")]
    assert head == [line for line in written.splitlines() if line.startswith("| project")]
