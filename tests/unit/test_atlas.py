"""What an atlas shows of results, as text and as pages; the results are hand-written."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from envoyassert.atlas.model import (
    STATES,
    Atlas,
    AtlasRun,
    AtlasState,
    Cell,
    VersionChange,
    atlas_run,
    in_order,
)
from envoyassert.atlas.page import atlas_lines, index_page
from envoyassert.report.parts import AskedPart, EnvoyPart, Location, ScenarioPart
from envoyassert.report.results import RunDocument
from envoyassert.report.summary import EXECUTED, SKIPPED
from envoyassert.report.verdict_json import FindingPart, Judgement, ValuesPart, WordsPart
from tests.odd_text import ODD, raw_in
from tests.unit.some_machine import MACHINE

HOSTILE = "<script>alert('&\"')</script>"


def run(scenario="udp", envoy="1.40.0", state=AtlasState.PASSED, concurrency=2, **more):
    launcher = more.pop("launcher", "process")
    return AtlasRun(scenario, "", envoy, launcher, launcher, concurrency, state, **more)


RUNS = (
    run(envoy="1.40.0", page="runs/a.html"),
    run(
        envoy="1.39.3",
        state=AtlasState.FAILED,
        reason="port 80 backlog: no",
        page="runs/b.html",
    ),
    run(envoy="1.39.3", concurrency=4, launcher="docker", page="runs/c.html"),
    run(
        "admin",
        "1.40.0",
        AtlasState.KNOWN_DEFECT,
        reason="known defect (x#1)",
        page="runs/d.html",
    ),
    run("admin", "1.39.3", AtlasState.NOT_APPLICABLE, reason="requires 1.40"),
)
CHANGE = VersionChange(
    "1.39.3", "1.40.0", "udp", ("concurrency 2, process",), (("port 80", "moved"),)
)
ATLAS = Atlas(RUNS, (CHANGE,), {"udp": "About datagrams."}, MACHINE, "2026-01-01T00:00:00.000Z")


def test_table_has_a_line_for_each_scenario_and_a_column_for_each_version_in_order():
    assert atlas_lines(ATLAS) == [
        "scenario  launchers        concurrency  1.39.3            1.40.0",
        "admin     process          2            1 not applicable  1 known defect",
        "udp       docker, process  2 4          1 of 2 failed     1 passed",
        "",
        "failed: udp: port 80 backlog: no (1.39.3)",
        "known defect: admin: known defect (x#1) (1.40.0)",
        "",
        "1.39.3 -> 1.40.0: 1 scenario differs",
        "5 runs of 2 scenarios on 2 Envoys: 1 failed, 1 known defect, 2 passed, 1 not applicable",
    ]


@pytest.mark.parametrize(
    "given, wanted",
    [
        (["1.40.0", "1.9.0", "1.40.0"], ["1.9.0", "1.40.0"]),
        (["1.40.0", "/opt/envoy", "1.9.0"], ["1.40.0", "/opt/envoy", "1.9.0"]),
    ],
)
def test_envoys_are_in_the_order_of_their_versions_or_as_they_are_given(given, wanted):
    assert in_order(given) == wanted


def test_worst_run_decides_a_cell_and_an_empty_one_is_no_state():
    states = [
        AtlasState.NOT_APPLICABLE,
        AtlasState.PASSED,
        AtlasState.KNOWN_DEFECT,
        AtlasState.INCONCLUSIVE,
    ]
    states += [AtlasState.ERROR, AtlasState.FAILED]
    for worst in range(1, len(states) + 1):
        cell = Cell(tuple(run(state=state) for state in states[:worst]))
        assert cell.state is states[worst - 1]
    assert Cell(()).state is None


def test_every_outcome_has_a_state_and_only_a_verdict_can_be_green():
    assert set(EXECUTED) | {SKIPPED, "error"} == set(STATES)
    assert [word for word, state in STATES.items() if state is AtlasState.PASSED] == ["passed"]


def test_incomplete_session_says_so_in_text_and_page():
    torn = replace(ATLAS, complete=False)
    assert "did not come to its end" in atlas_lines(torn)[-1]
    assert "did not come to its end" in index_page(torn)
    assert "did not come to its end" not in index_page(ATLAS)


def test_page_has_first_what_asks_for_a_look_and_the_table_is_by_name():
    states = {
        "a": (AtlasState.PASSED, AtlasState.KNOWN_DEFECT),
        "b": (AtlasState.INCONCLUSIVE,),
        "c": (AtlasState.NOT_APPLICABLE,),
        "d": (AtlasState.PASSED, AtlasState.FAILED),
        "e": (AtlasState.ERROR,),
        "f": (AtlasState.FAILED,),
    }
    runs = tuple(run(name, state=one) for name, all_ in states.items() for one in all_)
    atlas = Atlas(runs)
    assert re.findall(r'<tr id="scenario-(\w)"', index_page(atlas)) == list("dfebac")
    assert [line[0] for line in atlas_lines(atlas)[1:7]] == list("abcdef")


class Page(HTMLParser):
    """Collects links, ids and elements, and sees whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.tags, self.open = [], [], [], []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)
        values = dict(attrs)
        self.links += [values["href"]] if "href" in values else []
        self.ids += [values["id"]] if "id" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_links_to_the_page_of_each_run_and_to_what_changed():
    page = Page(index_page(ATLAS))
    assert page.open == []
    assert {link for link in page.links if not link.startswith("#")} == {
        run.page for run in RUNS if run.page
    }
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert {"since-1.40.0", "scenario-udp", "known"} <= inside
    assert "port 80: moved" in page.text
    assert "About datagrams." in page.text


@pytest.mark.parametrize("order", [1, -1])
def test_name_of_a_scenario_leads_to_the_page_of_its_worst_run(order):
    runs = (
        run(envoy="1.36.4", page="runs/passed"),
        run(envoy="1.38.0", state=AtlasState.INCONCLUSIVE, page="runs/inconclusive"),
        run(envoy="1.39.0", state=AtlasState.ERROR, page="runs/error"),
        run(envoy="1.40.0", state=AtlasState.FAILED),  # its page could not be made
        run("admin", state=AtlasState.NOT_APPLICABLE),
    )
    page = index_page(Atlas(runs[::order]))
    assert re.findall(r'<th scope="row"><a href="([^"]+)" title="([^"]+)">(\w+)</a>', page) == [
        ("runs/error", "concurrency 2, 1.39.0: not judged", "udp")
    ]
    assert '<th scope="row">admin\n' in page


def test_each_known_defect_is_shown_once_whatever_was_seen_of_it():
    def known(envoy, times, defect="x#1, owner o"):
        more = {"reason": f"accept() failed {times} times", "defect": defect}
        return run("emfile", envoy, AtlasState.KNOWN_DEFECT, **more)

    runs = (known("1.40.0", 17), known("1.39.3", 23), known("1.39.3", 42), known("1.39.3", 1, "y"))
    text = Page(index_page(Atlas(runs))).text.rpartition("What fails")[2]
    assert text.count("accept() failed") == 2
    assert "1.39.3, 1.40.0" in text
    assert [line for line in atlas_lines(Atlas(runs)) if line.startswith("known defect")] == [
        "known defect: emfile: accept() failed 17 times (1.40.0, 1.39.3)",
        "known defect: emfile: accept() failed 1 times (1.39.3)",
    ]


def document(text):
    finding = FindingPart(
        status="FAIL",
        path=("expect", 0),
        code=text,
        atom=text,
        why=text,
        values=ValuesPart(
            subject={},
            wanted={},
            seen={},
            scope=None,
            reason=None,
            near=(),
            cause=None,
            known_defect=None,
        ),
        words=WordsPart(**dict.fromkeys(WordsPart.model_fields, text)),
        remedy=None,
        location=Location(file=text, line=1, column=1),
        evidence=(),
    )
    return RunDocument(
        id="x",
        run="x",
        scenario=ScenarioPart(
            name=text,
            description=text,
            location=Location(file=text, line=1, column=1),
            matrix={"concurrency": "2", "reuse": "false"},
        ),
        outcome="failed",
        reason=text,
        defect=text,
        started="",
        duration_s=1,
        asked=AskedPart(envoy=text, launcher="auto", concurrency=2),
        envoy=None,
        machine=MACHINE,
        verdict=Judgement(status="FAIL", assumed=(), findings=(finding,), certificate=()),
        figures=None,
        attempts=(),
    )


def test_run_of_the_results_keeps_what_was_asked_for():
    shown = atlas_run(document("name"), "stories/x.html")
    assert (shown.envoy, shown.launcher, shown.concurrency) == ("name", "auto", 2)
    assert (shown.state, shown.title) == (AtlasState.FAILED, "concurrency 2, reuse=false")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("(/tmp/envoyassert-0/26362-8783463-4026531836-b65ny4mg/a.sock)", "(…/a.sock)"),
        ("at /var/tmp/x/envoyassert-1000/1-2-3-a_b/netns/blue, not /a", "at …/netns/blue, not /a"),
        (
            "/etc/envoyassert-0/a and /tmp/envoyassert/a/b",
            "/etc/envoyassert-0/a and /tmp/envoyassert/a/b",
        ),
    ],
)
def test_reason_is_without_the_folder_of_the_run(reason, said):
    found = document("name").model_copy(update={"reason": reason})
    assert atlas_run(found).reason == said


def test_row_says_why_a_run_did_not_pass_each_reason_once_and_the_worst_first():
    runs = (
        run(concurrency=1, state=AtlasState.KNOWN_DEFECT, reason="known", defect="x#1"),
        run(concurrency=2, state=AtlasState.FAILED, reason="expected 2, saw 1"),
        run(concurrency=4, state=AtlasState.FAILED, reason="expected 2, saw 1"),
    )
    row = Page(index_page(Atlas(runs))).text.partition("What changed from")[0]
    assert row.count("expected 2, saw 1") == 1
    assert row.index("expected 2, saw 1") < row.rindex("known")


def page_of(odd):
    hostile = atlas_run(document(odd), f"runs/{odd}.html")
    change = VersionChange(odd, odd, odd, (odd,), ((odd, odd),))
    known = replace(hostile, state=AtlasState.KNOWN_DEFECT)
    return index_page(Atlas((run(), hostile, known), (change,), {odd: odd}, MACHINE, odd))


def test_odd_characters_are_escapes_on_a_page():
    page = page_of(ODD)
    assert "odd\\x1b[31m" in page
    assert raw_in(page) == []


def test_hostile_text_stays_text():
    page = Page(page_of(HOSTILE))
    assert page.open == []
    assert page.tags.count("script") == 1
    assert page.text.count(HOSTILE) >= 5


def test_run_that_does_not_apply_is_in_the_row_of_those_that_do():
    skipped = atlas_run(document("name").model_copy(update={"outcome": "skipped"}))
    done = atlas_run(
        document("name").model_copy(
            update={
                "envoy": EnvoyPart(
                    version="1.40.0",
                    build_id="",
                    source="",
                    image_digest="",
                    launcher="process",
                    concurrency=2,
                )
            }
        )
    )
    assert (skipped.launcher, done.launcher) == ("auto", "process")
    assert skipped.row == done.row
