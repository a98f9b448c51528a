"""With every sentence replaced by a token, a session decides, counts, groups and points as before.

What an output needs beside the words it shows are values: of findings, of runs, of problems.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envoyassert.atlas.model import Atlas, AtlasState, atlas_run
from envoyassert.atlas.page import atlas_lines
from envoyassert.report.results import RunDocument

#: The words of a value become a token that says nothing; a line is another one each time.
REWORDED = """
import hashlib
import itertools
import json

from envoyassert import outcomes
from envoyassert.judge.value_json import to_json
from envoyassert.judge.values import Fact, Quote
from envoyassert.report import certificate, headline
from envoyassert.texts.facts import FACTS, add_those_of_words, text

NUMBERS = itertools.count()


def of_value(value):
    said = json.dumps(to_json(value), sort_keys=True, default=str)
    return "token" + hashlib.sha256(said.encode()).hexdigest()[:8]


def of_line(*_arguments, **_more):
    return f"line{next(NUMBERS)}"


add_those_of_words()
FACTS.update(dict.fromkeys(FACTS, of_value))
for kind in list(text.registry):
    if kind.__module__.startswith("envoyassert.judge") and kind not in (Fact, Quote):
        text.register(kind, of_value)
for module in (execute, outcomes, headline, certificate):
    for name in ("reason_line", "certificate_line", "sentence"):
        if hasattr(module, name):
            setattr(module, name, of_line)
"""
DEFECT = """\
  - listener: {port: 15006}
    sockets: 3
    known_defect: {versions: "<1.41", owner: %s, upstream: unreported, what: "it hangs: always"}
"""
MATRIX = "matrix: {concurrency: [1, 2]}"
#: What is words, or differs from run to run.
WORDS = {"words", "detail", "reason", "seen", "started", "duration_s", "machine", "figures"}
OF_REMEDIES = {"scenario", "config"}


def typed(value: Any, without: frozenset[str] | set[str] = WORDS) -> Any:
    """Return what a document says by values."""
    if isinstance(value, dict):
        return {
            key: typed(part, OF_REMEDIES if key == "remedy" else WORDS)
            for key, part in value.items()
            if key not in without
        }
    return [typed(part) for part in value] if isinstance(value, list) else value


def places_of(lines: list[str]) -> list[str]:
    """Return where annotations are, and their titles."""
    found = (re.fullmatch(r"::error (.*?)::(.*)", line) for line in lines)
    return [match[1] for match in found if match]


def known_defects(documents: list[RunDocument]) -> Iterator[tuple[AtlasState, int]]:
    """Yield of how many kinds the runs of an atlas are that show a known defect."""
    atlas = Atlas(tuple(map(atlas_run, documents)))
    lines = [line for line in atlas_lines(atlas) if line.startswith("known defect: ")]
    yield AtlasState.KNOWN_DEFECT, len(lines)
    yield from atlas.counts.items()


@pytest.fixture
def session(
    fake_envoy: pytest.Pytester,
    write_scenario: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], dict[str, Any]]:
    """Return a function that runs scenarios of all outcomes and returns what they say by values."""
    write_scenario(name="good")
    write_scenario(name="bad", fake="reuse_port")
    write_scenario(name="torn", fake="lossy")
    write_scenario(name="invalid", head="descripton: typo")
    for name, owner in (("one", "edge team"), ("two", "core team")):
        write_scenario(name=name, head=MATRIX, more=DEFECT % owner)
    summary = fake_envoy.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    def run() -> dict[str, Any]:
        summary.unlink(missing_ok=True)
        result = fake_envoy.runpytest_subprocess(
            "--envoyassert-report=out", "--continue-on-collection-errors"
        )
        out = Path(fake_envoy.path, "out")
        index = json.loads((out / "index.json").read_text())
        documents = [json.loads((out / run["document"]).read_text()) for run in index["runs"]]
        return {
            "exit": result.ret,
            "index": typed({name: index[name] for name in ("counts", "runs", "complete")}),
            "heads": [line.partition(": ")[0] for line in index["summary"]],
            "documents": typed(documents),
            "annotations": places_of(result.outlines),
            "job": [line for line in summary.read_text().splitlines() if "certificates" in line],
            "rows": re.findall(r"(?m)^\| (.*?) \| (.*?) \| (.*?) \| ", summary.read_text()),
            "atlas": [*known_defects([RunDocument.model_validate(one) for one in documents])],
            "words": [document["reason"] for document in documents],
        }

    return run


def test_session_is_the_same_by_values_whatever_its_words(
    session: Callable[[], dict[str, Any]], fake_envoy: pytest.Pytester
) -> None:
    before = session()
    conftest = fake_envoy.path / "conftest.py"
    conftest.write_text(conftest.read_text() + REWORDED)
    after = session()
    words = before.pop("words"), after.pop("words")
    assert not set(words[0]) & set(words[1]) - {""}
    assert after == before
    assert "  2 known defects" in before["heads"]
    assert before["heads"].count("  2 known defects") == 2
    assert before["job"] == ["- certificates: 6 whole, 1 NOT whole"]
    assert len(before["annotations"]) == 3
    remedies = [
        finding["remedy"]
        for document in before["documents"]
        for finding in document["verdict"]["findings"]
        if finding["remedy"]
    ]
    assert remedies
