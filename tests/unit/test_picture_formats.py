"""A run as SVG, Mermaid, Markdown and for Perfetto: what is drawn, and that names are text."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoyassert.addresses import Address
from envoyassert.cli import main
from envoyassert.graph.fold import fold
from envoyassert.picture.markdown import pair_markdown, run_markdown
from envoyassert.picture.mermaid import map_mermaid, pair_mermaid, quoted, sequence_mermaid
from envoyassert.picture.pair import PairPicture, names_apart, pair_picture
from envoyassert.picture.perfetto import perfetto_json
from envoyassert.picture.run import RunPicture, run_picture
from envoyassert.picture.sequence import MOST_LINES, sequence
from envoyassert.picture.svg import map_svg, pair_svg, sequence_svg
from envoyassert.shown import shown
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ConnectionAttempt, ListenerRecord, Trace
from envoyassert.trace_file import write_trace
from tests.odd_text import ODD, raw_in

PORT = "0.0.0.0:15006"
SVG = "{http://www.w3.org/2000/svg}"
#: What `quoted` lets through, and an entity code.
QUOTED = r"(?:[A-Za-z0-9 _.:=/(),-]|#\d+;)*"
#: The lines of the two diagrams: everything that is not ours is within `QUOTED`.
LABEL = rf"{QUOTED}(?:<br/>{QUOTED})*"
FLOWCHART = (
    r"flowchart LR",
    rf"accTitle: {QUOTED}",
    r"classDef \w+ [a-z0-9:.,\- ]+",
    rf'\w+(?:\{{\{{"{LABEL}"\}}\}}|\["{LABEL}"\]|\(\["{LABEL}"\]\))',
    r"class \w+ \w+",
    rf'\w+ (?:-->|---|-\.->)(?:\|"{LABEL}"\|)? \w+',
    rf'subgraph \w+\["{LABEL}"\]',
    r"end",
)
SEQUENCE = (
    r"sequenceDiagram",
    rf"accTitle: {QUOTED}",
    rf"participant \w+ as {LABEL}",
    rf"\w+(?:->>|-x)\w+: {LABEL}",
    rf"Note over \w+(?:,\w+)?: {LABEL}",
)


def picture_of(trace: Trace) -> RunPicture:
    return run_picture(trace, fold(trace))


def built(name: str = "ingress", *, shared: bool = True, workers: int = 2) -> TraceBuilder:
    record = ListenerRecord(name, "TCP", (Address.inet("0.0.0.0", 15006),))
    build = TraceBuilder(workers, listeners=(record,))
    (build.shared_listener if shared else build.reuse_port_listener)(PORT)
    return build


def with_steps() -> Trace:
    build = built()
    build.end_phase("startup", "startup")
    accepting = build.worker(0)
    for _ in range(9):
        build.call(accepting, "accept4", 40, fd=21, address=Address.inet("127.0.0.1", 9), flags=[])
        build.call(accepting, "close", 0, fd=40)
    build.call(accepting, "accept4", -11, fd=21, address=None, flags=[])
    made = ConnectionAttempt("TCP", Address.inet("0.0.0.0", 15006), True, first_byte=True)
    build.end_phase("clients", "connect", attempts=(made,))
    return build.build()


def names_of(text: str) -> Trace:
    """Return a run in which everything that has a free name has this one."""
    record = ListenerRecord(text, "TCP", (Address.inet("0.0.0.0", 15006),))
    build = TraceBuilder(1, listeners=(record,))
    build.shared_listener(PORT)
    build.start_thread(build.main + 7, text)
    other = build.socket(build.main + 7, "AF_UNIX")
    build.call(build.main + 7, "bind", 0, fd=other, address=Address("AF_UNIX", abstract=text))
    build.listen(build.main + 7, other)
    build.end_phase("startup", "startup")
    build.end_phase(text, "wait_for", missed=text)
    trace = build.build()
    trace.header = replace(trace.header, scenario=text, matrix={text: text})
    return trace


# SVG


@pytest.mark.parametrize("draw", [lambda run: map_svg(run.map, title=run.title), sequence_svg])
@given(text=st.text(max_size=40))
@settings(max_examples=25, deadline=None)
def test_svg_is_xml_in_which_names_are_text(draw, text):
    drawn = draw(picture_of(names_of(text + ODD)))
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert raw_in(drawn) == []
    known = {"svg", "title", "desc", "style", "rect", "g", "path", "text", "ellipse"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= known
    assert not [name for element in root.iter() for name in element.attrib if name[:2] == "on"]


def test_svg_of_the_map_says_in_words_what_it_shows():
    drawn = map_svg(picture_of(built(shared=False).build()).map, title="one")
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    title, desc, style, paper = list(root)[:4]
    assert (title.text, root.get("role")) == ("Sockets of one at the end", "img")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert desc.text is not None
    assert desc.text.startswith(f"ingress {PORT}: 2 kernel sockets; held by worker_0 and worker_1")
    assert "prefers-color-scheme:dark" in str(style.text)
    assert (paper.get("width"), paper.get("height")) == (root.get("width"), root.get("height"))
    shown_texts = [str(text.text) for text in root.iter(f"{SVG}text")]
    assert shown_texts.count("worker_0") == shown_texts.count("worker_1") == 1


def test_svg_of_the_map_may_have_some_of_the_listeners():
    build = built()
    build.reuse_port_listener("0.0.0.0:81")
    drawn = map_svg(picture_of(build.build()).map, ["ingress"])
    assert "15006" in drawn
    assert "0.0.0.0:81" not in drawn
    assert "no listener" in map_svg(picture_of(build.build()).map, [])


def test_svg_loads_nothing():
    drawn = map_svg(picture_of(built().build()).map) + sequence_svg(picture_of(with_steps()))
    assert not re.search(r"href|url\(|@import|<script|<image", drawn)


def two_runs(before: Trace, after: Trace, name: str = "old") -> PairPicture:
    return pair_picture((before, after), (name, "new"), "different", ["+1 socket"])


def test_svg_of_two_runs_has_both_maps_side_by_side():
    drawn = pair_svg(two_runs(built().build(), built(shared=False).build()))
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    figures = [
        str(one.get("transform")) for one in root.iter(f"{SVG}g") if one.get("class") == "map"
    ]
    (left, top), (right, beside) = (figure[10:-1].split() for figure in figures)
    assert (int(left) < int(right), top) == (True, beside)
    texts = [str(text.text) for text in root.iter(f"{SVG}text")]
    assert texts.count("Before: old") == texts.count("After: new") == 1
    desc = next(root.iter(f"{SVG}desc")).text
    assert desc is not None
    assert "1 kernel socket; held by worker_0" in desc
    assert "2 kernel sockets; held by worker_0" in desc


def test_svg_of_two_runs_draws_what_moved_alone_if_anything_did():
    build, changed = built(), built(shared=False)
    for one in (build, changed):
        one.reuse_port_listener("0.0.0.0:81")
    assert "0.0.0.0:81" not in pair_svg(two_runs(build.build(), changed.build()))
    assert "0.0.0.0:81" in pair_svg(two_runs(build.build(), build.build()))


def test_svg_of_two_runs_says_which_listener_is_not_there():
    drawn = pair_svg(two_runs(TraceBuilder(2).build(), built().build()))
    assert "This listener is not there." in drawn


def test_mermaid_of_two_runs_has_each_in_a_frame_of_its_own():
    drawn = pair_mermaid(two_runs(built().build(), built(shared=False).build()))
    before, after = re.findall(r"  subgraph (.*?)\n  end", drawn, re.DOTALL)
    assert 'a_side["Before#58; old"]' in before
    assert "dup of 21" in before
    assert "dup" not in after
    nodes = re.findall(r"^  (\w+)(?:\{|\[|\()", drawn, re.MULTILINE)
    assert len(nodes) == len(set(nodes))
    assert {node[:2] for node in nodes} == {"a_", "b_"}


@pytest.mark.parametrize("text", [ODD, '"]; click x callback "', "end", "`a`", "%%{init}%%"])
def test_names_of_two_runs_are_text(text):
    pair = two_runs(names_of(text), built(shared=False).build(), text)
    for line in pair_mermaid(pair).split("\n"):
        assert any(re.fullmatch(form, line.strip()) for form in FLOWCHART), line
    drawn = pair_svg(pair)
    ET.fromstring(drawn)  # noqa: S314 - our own
    assert raw_in(drawn) == []


def test_mermaid_of_two_large_runs_stays_below_what_it_draws():
    before, after = built(shared=False, workers=400), built(shared=False, workers=300)
    drawn = pair_mermaid(two_runs(before.build(), after.build()))
    assert len(drawn) < 50_000
    assert len(re.findall(r"--", drawn)) < 500


@pytest.mark.parametrize(
    "before, after, names",
    [
        ("a/old.ndjson", "b/new.ndjson", ("old.ndjson", "new.ndjson")),
        ("/runs/a/t.ndjson", "/runs/b/t.ndjson", ("a/t.ndjson", "b/t.ndjson")),
        ("t.ndjson", "b/t.ndjson", ("t.ndjson", "b/t.ndjson")),
        ("t.ndjson", "t.ndjson", ("t.ndjson", "t.ndjson")),
    ],
)
def test_names_of_two_runs_are_as_short_as_they_differ(before, after, names):
    assert names_apart(before, after) == names


# the sequence


def test_sequence_has_every_call_that_made_a_listener_in_order():
    found = sequence(picture_of(built().build()))
    labels = {one.id: one.lines[0] for one in found.lifelines}
    assert [(labels[line.source], line.words.partition("(")[0]) for line in found.lines] == [
        ("main", "socket"),
        ("main", "setsockopt"),
        ("main", "bind"),
        ("main", "dup"),
        ("main", "listen"),
        ("main", "listen"),
        ("worker_0", "epoll_ctl"),
        ("worker_1", "epoll_ctl"),
    ]
    assert [one.lines for one in found.lifelines if not one.is_thread] == [
        ("socket #0", "ingress", PORT)
    ]


def test_sequence_counts_accepts_and_shows_ends_of_phases():
    words = [line.words for line in sequence(picture_of(with_steps())).lines]
    assert words[-2:] == [
        "accept4() 9 times",
        "end of clients: 1 attempt to connect (1 made, 1 answered)",
    ]
    assert "end of startup" in words


def test_sequence_has_a_line_for_the_accepts_of_each_worker_though_they_take_turns():
    build = built(shared=False)
    for number in range(20):
        worker = build.worker(number % 2)
        peer = Address.inet("127.0.0.1", 9)
        build.call(worker, "accept4", 40 + number, fd=21 + number % 2, address=peer, flags=[])
    words = [line.words for line in sequence(picture_of(build.build())).lines]
    assert words[-2:] == ["accept4() 10 times", "accept4() 10 times"]
    assert not any(word.startswith("accept4(2") for word in words)


def test_sequence_of_many_sockets_has_a_lifeline_for_each_listener():
    found = sequence(picture_of(built(shared=False, workers=40).build()))
    (target,) = [one for one in found.lifelines if not one.is_thread]
    assert target.lines == ("ingress", PORT, "40 kernel sockets")
    assert len(found.lines) <= MOST_LINES


def test_sequence_of_a_run_without_listeners_says_so():
    run = picture_of(TraceBuilder(1).build())
    assert sequence(run).lines == ()
    assert "no call on a socket" in sequence_svg(run)
    assert "no call on a socket" in sequence_mermaid(run)


# Mermaid


@given(st.text())
def test_text_in_mermaid_is_plain_or_an_entity_and_reads_as_the_same(text):
    written = quoted(text)
    assert re.fullmatch(QUOTED, written)
    read = html.unescape(re.sub(r"#(\d+);", r"&#\1;", written))
    cut = shown(text) if len(shown(text)) <= 120 else shown(text)[:119] + "…"
    assert read.replace("\u200b", "") == cut


@pytest.mark.parametrize("text", ["$$x^2$$", "$$$", "fa:fa-car", "fab:fa-x"])
def test_mermaid_takes_no_text_for_a_formula_or_an_icon(text):
    read = html.unescape(re.sub(r"#(\d+);", r"&#\1;", quoted(text)))
    assert "$$" not in read
    assert ":fa-" not in read


@pytest.mark.parametrize(
    ("draw", "lines"),
    [(lambda run: map_mermaid(run.map, run.title), FLOWCHART), (sequence_mermaid, SEQUENCE)],
)
@pytest.mark.parametrize(
    "text", [ODD, '"]; click x callback "', "end", "1. x", "`a`", "%%{init}%%"]
)
def test_mermaid_has_lines_of_its_own_alone(draw, lines, text):
    for run in (names_of(text), with_steps(), built(shared=False).build()):
        for line in draw(picture_of(run)).split("\n"):
            assert any(re.fullmatch(form, line.strip()) for form in lines), line


def test_mermaid_map_leads_from_listener_to_sockets_to_descriptors_to_threads():
    run = picture_of(built().build())
    drawn = map_mermaid(run.map)
    edges = re.findall(r"^  (\w+) (?:-->|---)(?:\|[^|]*\|)? (\w+)$", drawn, re.MULTILINE)
    leads = Counter(source for source, _ in edges)
    assert leads["l0"] == 1
    assert leads["s0"] == 2
    ends = {target for _, target in edges} - set(leads)
    labels = dict(re.findall(r'^  (\w+)\["(\w+)"\]$', drawn, re.MULTILINE))
    assert sorted(labels[end] for end in ends) == ["worker_0", "worker_1"]
    assert 'fd 22<br/>dup of 21"' in drawn


@pytest.mark.parametrize("workers", [64, 400])
def test_mermaid_stays_below_what_it_draws(workers):
    build = built(shared=False, workers=workers)
    for port in range(90, 95):
        build.reuse_port_listener(f"0.0.0.0:{port}")
    run = picture_of(build.build())
    drawn = map_mermaid(run.map)
    assert len(drawn) < 50_000
    assert len(re.findall(r"--", drawn)) < 500
    assert re.search(r'and \d+ more (?:listener|kernel socket)s?"', drawn)
    assert len(sequence_mermaid(run)) < 50_000


# Markdown


@given(text=st.text(max_size=30))
@settings(max_examples=25, deadline=None)
def test_markdown_has_names_as_text_in_the_cells_of_its_tables(text):
    drawn = run_markdown(picture_of(names_of(text + ODD + "|`<b>@user")))
    assert raw_in(drawn) == []
    outside = re.sub(r"```mermaid\n.*?\n```", "", drawn, flags=re.DOTALL)
    assert "<b>" not in outside
    assert "@user" not in outside
    rows = [line for line in outside.split("\n") if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_markdown_has_verdict_map_and_sockets():
    drawn = run_markdown(picture_of(built().build()))
    assert "```mermaid\nflowchart LR\n" in drawn
    assert "| ingress | 0.0.0.0:15006 | kernel socket \\#0 | listens" in drawn
    assert "fd 21 → worker\\_0; fd 22 (dup of 21) → worker\\_1" in drawn
    assert "\n- certificate: " in drawn


def test_markdown_of_two_runs_has_both_maps_of_what_moved():
    traces = (built().build(), built(shared=False).build())
    pair = pair_picture(traces, ("old", "new"), "different", ["+1 socket"])
    drawn = pair_markdown(pair)
    assert drawn.startswith("## old → new: different\n")
    before, after = re.findall(r"```mermaid\n(.*?)```", drawn, re.DOTALL)
    assert ("1 kernel socket<br/>" in before, "2 kernel sockets<br/>" in after) == (True, True)
    same = pair_picture((traces[0], traces[0]), ("old", "new"), "same", ["same"])
    assert "mermaid" not in pair_markdown(same)


# Perfetto


def events_of(trace: Trace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(perfetto_json(picture_of(trace)))["traceEvents"]
    return found


def test_perfetto_has_a_track_for_each_thread_and_a_slice_for_each_call():
    trace = with_steps()
    events = events_of(trace)
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    slices = [e for e in events if e["ph"] == "X" and e["cat"] != "phase"]
    assert len(slices) == len(trace.events)
    by = Counter(names[e["tid"]] for e in slices)
    assert by == Counter(
        {"main": 0, "worker_0": 0, "worker_1": 0}
        | {
            role: sum(fold(trace).threads[e.tid].role == role for e in trace.events)
            for role in ("main", "worker_0", "worker_1")
        }
    )
    assert [e["name"] for e in events if e.get("cat") == "phase"] == ["startup", "clients"]
    assert any(e["args"]["call"].startswith("bind(") for e in slices)


def test_perfetto_slices_of_a_thread_do_not_overlap_and_times_grow():
    events = [e for e in events_of(with_steps()) if e["ph"] != "M"]
    assert [e["ts"] for e in events] == sorted(e["ts"] for e in events)
    assert events[0]["ts"] >= 0
    ends: dict[int, float] = {}
    for event in events:
        if event["ph"] == "X":
            assert event["ts"] >= ends.get(event["tid"], 0) - 1e-9
            ends[event["tid"]] = event["ts"] + event["dur"]


def test_perfetto_arrows_lead_from_bind_to_copy_to_listen_to_epoll():
    """An arrow begins and ends in the slice that is the last one before it on its track."""
    last: dict[int, str] = {}
    begun: dict[int, str] = {}
    arrows = []
    for event in events_of(built().build()):
        if event["ph"] == "X":
            last[event["tid"]] = event["name"]
        elif event["ph"] == "s":
            begun[event["id"]] = last[event["tid"]]
        elif event["ph"] == "f":
            assert event["bp"] == "e"
            arrows.append((begun.pop(event["id"]), last[event["tid"]]))
    assert begun == {}
    assert arrows == [
        ("bind", "dup"),
        ("bind", "listen"),
        ("dup", "listen"),
        ("listen", "epoll_ctl"),
        ("listen", "epoll_ctl"),
    ]


def test_perfetto_counts_the_connections_of_a_thread():
    counters = [e for e in events_of(with_steps()) if e["ph"] == "C"]
    assert {e["name"] for e in counters} == {"connections of worker_0"}
    assert [e["args"]["held"] for e in counters] == [1, 0] * 9


@given(text=st.text(max_size=30))
@settings(max_examples=25, deadline=None)
def test_perfetto_has_nothing_raw(text):
    drawn = perfetto_json(picture_of(names_of(text + ODD)))
    assert raw_in(drawn) == []
    assert json.loads(drawn)["displayTimeUnit"] == "ns"


# the command


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (("svg",), "<svg "),
        (("svg", "--picture", "sequence"), "<svg "),
        (("mermaid",), "flowchart LR\n"),
        (("mermaid", "--picture", "map"), "flowchart LR\n"),
        (("mermaid", "--picture", "sequence"), "sequenceDiagram\n"),
        (("markdown",), "## "),
        (("perfetto",), '{"traceEvents": ['),
    ],
)
def test_show_draws_to_a_file_and_to_the_output(arguments, begins, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_trace(built().build(), "t.ndjson")
    for more in ((), ("-o", "drawn")):
        with pytest.raises(SystemExit) as caught:
            main(["show", "t.ndjson", "--format", *arguments, *more])
        assert not caught.value.code
    printed = capfd.readouterr().out
    assert printed.startswith(begins)
    assert Path("drawn").read_text() == printed


def test_a_part_of_what_is_no_single_picture_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_trace(built().build(), "t.ndjson")
    for name in ("text", "html", "markdown", "perfetto"):
        with pytest.raises(SystemExit) as caught:
            main(["show", "t.ndjson", "--format", name, "--picture", "map"])
        assert caught.value.code
        assert "--picture goes with --format svg" in capfd.readouterr().err
