"""The page of a run: what is said without its script, what its script reads, what is escaped."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.picture.html.data import page_data
from envoyassert.picture.html.page import _coded, page_with_index, pair_page, run_page
from envoyassert.picture.map_words import answer
from envoyassert.picture.pair import pair_picture
from envoyassert.picture.run import run_picture
from envoyassert.report.changes import remedies
from envoyassert.report.failure import RunContext
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord
from tests.odd_text import ODD, raw_in
from tests.unit.cli_words import run_cli

TRACES = Path(__file__).resolve().parents[1] / "traces"
SHARED, REUSE = "reuse_port_off-1.40.0.ndjson", "reuse_port_on-1.40.0.ndjson"
INGRESS = ListenerRecord("ingress", "TCP", (Address.inet("0.0.0.0", 15006),))
MARKUP = "</script><script>alert(1)</script><!--\"'&"


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


def shared(listeners=(INGRESS,)):
    builder = TraceBuilder(2, listeners=listeners)
    builder.shared_listener("0.0.0.0:15006", backlog=128)
    return builder


def pictured(trace, *items):
    graph = fold(trace)
    verdict = None
    if items:
        parsed = list(enumerate(map(parse_expectation, items)))
        verdict = judge(trace, parsed, workers=2, graph=graph)
    return run_picture(trace, graph, verdict, title="built")


class Page(HTMLParser):
    """The parts of a page: its text, what it names elsewhere, and the data for its script."""

    def __init__(self, text):
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.data: dict[str, str] = {}
        self._in: list[tuple[str, str]] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.links += [given[name] for name in ("src", "href", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        self._in.append((tag, given.get("id", "")))

    def handle_endtag(self, tag):
        while self._in and self._in.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, name = self._in[-1] if self._in else ("", "")
        if tag == "script":
            self.data[name] = data
        elif tag != "style":
            self.words.append(data)


FAILING = {
    "listener": {"port": 15006},
    "sockets": 2,
    "via": "reuse_port",
    "served_by": "workers",
}


def test_page_says_the_verdict_first_and_the_failures_before_the_map():
    page = Page(run_page(pictured(shared().build(), FAILING)))
    order = [page.text.index(words) for words in ("FAILED", "What did not hold", "Socket map")]
    assert order == sorted(order)
    assert "more for the same cause" in page.text
    assert "expected 2 kernel sockets (live), saw 1 kernel socket (live)" in page.text
    assert "1 kernel socket" in page.text


def test_page_leads_to_the_index_that_it_is_given_and_to_no_other():
    alone = run_page(pictured(shared().build(), FAILING))
    assert '<p id="up" hidden></p>' in alone
    assert "All runs" not in Page(alone).text
    page = page_with_index(alone, "../../index.html#scenario-a")
    link = '<p id="up"><a href="../../index.html#scenario-a">← All runs</a></p>'
    assert page == alone.replace('<p id="up" hidden></p>', link)
    assert page_with_index(page, "../../index.html#scenario-a") == page
    assert page_with_index(page, '"><script>') == page.replace(
        "../../index.html#scenario-a", "&#34;&gt;&lt;script&gt;"
    )
    assert page_with_index("<p>mine</p>", "index.html") == "<p>mine</p>"


def test_page_shows_expected_and_actual_once_for_each_state():
    text = run_page(pictured(shared().build(), FAILING))
    assert text.count("map sketch") == 1
    sketch = text[text.index("map sketch") :].partition("</svg>")[0]
    assert sketch.count(">kernel socket<") == 2
    assert ">worker_0<" in sketch
    assert ">worker_1<" in sketch


def test_page_of_what_is_open_names_each_reason_once():
    builder = shared()
    trace = builder.build(lost=(len(builder.events) - 1,))
    items = {**FAILING, "sockets": {"serving": 1, "spare": 0}, "via": "dup"}
    text = run_page(pictured(trace, items))
    page = Page(text)
    assert "INCONCLUSIVE" in page.text
    assert page.text.count("Why: ") == 1
    assert "more for the same reason" in page.text
    assert "What could not be judged" in page.text
    sketch = text[text.index("map sketch") :].partition("</svg>")[0]
    assert sketch.count(">kernel socket<") == 1


def test_page_shows_a_finding_about_a_phase_by_the_map_of_its_end():
    builder = TraceBuilder(2, listeners=(INGRESS,))
    fds = builder.shared_listener("0.0.0.0:15006")
    builder.end_phase("startup", "startup")
    for fd in fds:
        builder.close(builder.main, fd)
    builder.end_phase("closing", "drain")
    item = {"listener": {"port": 15006}, "at_end_of": "startup", "sockets": 2}
    picture = pictured(builder.build(), item)
    (failed,) = [one for one in picture.findings if one.listener is not None]
    assert failed.map.when == "at the end of startup"
    assert [socket.state for socket in failed.listener.sockets] == ["LISTEN"]
    assert [socket.state for socket in picture.map.listeners[0].sockets] == ["CLOSED"]


def test_page_answers_how_many_kernel_sockets_serve_a_port_and_who_holds_them():
    page = Page(run_page(pictured(shared().build())))
    assert "1 kernel socket dup" in page.text
    assert "Held by worker_0 and worker_1: the workers share one socket" in page.text
    picture = pictured(shared().build())
    assert answer(picture.map.listeners[0], picture.map) == (
        "1 kernel socket; held by worker_0 and worker_1; "
        "the workers share one socket by copies of its descriptor (dup)"
    )


def test_page_of_one_worker_does_not_say_that_the_kernel_deals_clients_out():
    builder = TraceBuilder(1, listeners=(INGRESS,))
    builder.reuse_port_listener("0.0.0.0:15006")
    page = Page(run_page(pictured(builder.build())))
    assert "Held by worker_0: one thread waits on one socket (SO_REUSEPORT is set)." in page.text
    assert "deals clients out" not in page.text


def test_code_in_advice_is_code_and_the_rest_is_text():
    assert str(_coded("say `<b>` twice")) == "say <code>&lt;b&gt;</code> twice"
    assert str(_coded("one ` alone")) == "one ` alone"
    assert str(_coded("a\x1bb")) == "a\\x1bb"


def test_page_needs_nothing_but_itself_and_runs_no_script_but_its_own():
    text = run_page(pictured(shared().build(), FAILING))
    page = Page(text)
    assert {link[:1] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in unescape(text)
    assert "http:" not in text
    assert "https:" not in text


def test_data_of_a_page_has_every_call():
    trace = shared().build()
    data = json.loads(Page(run_page(pictured(trace, FAILING))).data["data"])
    calls = [data["texts"][place] for place in data["text"]]
    assert len(calls) == len(trace.events)
    assert "bind(21, 0.0.0.0:15006) = 0" in calls
    shown = {calls[place] for places in data["findings"].values() for place in places}
    assert "bind(21, 0.0.0.0:15006) = 0" in shown
    assert sum(data["t"]) == (trace.events[-1].ts_ns - trace.events[0].ts_ns) // 1000


def test_data_of_a_large_trace_is_packed_and_says_the_same():
    builder = shared()
    for number in range(6000):
        builder.call(builder.worker(0), "close", -9, fd=100 + number)
    picture = pictured(builder.build())
    page = Page(run_page(picture))
    packed = gzip.decompress(base64.b64decode(page.data["data"]))
    assert json.loads(packed) == json.loads(json.dumps(page_data(picture)))
    assert len(page.data["data"]) < len(packed) / 4


def test_page_shows_names_and_logs_of_others_as_text():
    name = MARKUP + ODD
    builder = shared((ListenerRecord(name, "TCP", INGRESS.addresses),))
    builder.start_thread(builder.main + 9, name[:40])
    builder.call(builder.main, "unlink", -2, path=f"/tmp/{name}")
    builder.end_phase("startup", "startup")
    builder.end_phase(name, "wait_for", missed=name)
    trace = builder.build()
    header = replace(trace.header, kernel=name, where={"pod": name}, stood_in=(name,))
    outcome = replace(trace.end.outcome, log_tail=(f"error {name}",), live=False)
    trace = replace(trace, header=header, end=replace(trace.end, outcome=outcome))
    failing = {**FAILING, "listener": {"name": name}, "why": name}
    text = run_page(pictured(trace, failing))
    page = Page(text)
    assert page.tags.count("script") == 2
    assert raw_in(text.replace("\n", "").replace(page.data[""], "")) == []
    assert MARKUP in page.text
    data = json.loads(page.data["data"])
    assert raw_in("".join(data["texts"])) == []
    assert any(MARKUP in words for words in data["texts"])


def test_page_of_two_runs_shows_which_listeners_moved():
    traces = []
    for start in ("shared_listener", "reuse_port_listener"):
        builder = TraceBuilder(2, listeners=(INGRESS,))
        getattr(builder, start)("0.0.0.0:15006")
        builder.shared_listener("0.0.0.0:80")
        traces.append(builder.build())
    picture = pair_picture((traces[0], traces[1]), ("old", "new"), "different", ["+1 socket"], 1)
    assert [pair.differs for pair in picture.listeners] == [True, False]
    page = Page(pair_page(picture))
    assert "Before: old" in page.text
    assert "+1 socket" in page.text
    assert "DIFFERENT 1 of 2 listeners looks different; 1 difference in all" in page.text
    assert "One held by each of worker_0 and worker_1" in page.text
    assert page.text.count("What looks the same") == 2
    assert "script" not in page.tags


def test_page_of_two_runs_marks_an_address_that_differs():
    traces = []
    for port in (15006, 10000):
        record = ListenerRecord("ingress", "TCP", (Address.inet("0.0.0.0", port),))
        builder = TraceBuilder(2, listeners=(record,))
        builder.shared_listener(f"0.0.0.0:{port}")
        traces.append(builder.build())
    text = pair_page(pair_picture((traces[0], traces[1]), ("old", "new"), "different", []))
    assert "The address differs: 0.0.0.0:15006 → 0.0.0.0:10000 ." in Page(text).text
    assert text.count("<mark>0.0.0.0:10000</mark>") == 2
    text = pair_page(pair_picture((traces[0], traces[0]), ("old", "new"), "same", []))
    assert "<mark>" not in text


@pytest.mark.parametrize(
    "start, masks, said",
    [
        ("shared_listener", (), "(dup); a connection may wake up to 2 workers."),
        ("reuse_port_listener", (), "(SO_REUSEPORT); a connection wakes one worker."),
        (
            "shared_listener",
            ("EPOLLIN", "EPOLLEXCLUSIVE"),
            "a connection wakes one or more of 2 workers (EPOLLEXCLUSIVE).",
        ),
    ],
)
def test_page_says_how_many_workers_a_connection_wakes(start, masks, said):
    builder = TraceBuilder(2, listeners=(INGRESS,))
    fds = getattr(builder, start)("0.0.0.0:15006")
    for number, fd in enumerate(fds if masks else ()):
        builder.epoll_delete(builder.worker(number), fd)
        builder.epoll_add(builder.worker(number), fd, masks)
    assert said in Page(run_page(pictured(builder.build()))).text


def test_page_does_not_say_who_is_woken_where_that_is_not_known():
    builder = shared()
    trace = builder.build(lost=(len(builder.events) - 1,))
    text = Page(run_page(pictured(trace, FAILING))).text
    assert "Held by" in text
    assert "wake" not in text
    alone = TraceBuilder(1, listeners=(INGRESS,))
    alone.shared_listener("0.0.0.0:15006")
    assert "wakes" not in Page(run_page(pictured(alone.build()))).text


def test_page_says_that_the_recording_is_complete_and_links_to_its_checks():
    text = run_page(pictured(shared().build(), FAILING))
    assert re.search(r'The recording is complete: <a href="#certificate">\d+ checks hold', text)
    assert "hole (" not in text
    builder = shared()
    torn = Page(run_page(pictured(builder.build(lost=(len(builder.events) - 1,)), FAILING)))
    assert "The recording is NOT complete: " in torn.text


def test_page_names_the_cause_and_what_to_set_before_what_the_scenario_could_say():
    trace = shared().build()
    graph = fold(trace)
    parsed = [(0, parse_expectation({**FAILING, "sockets": "workers"}))]
    verdict = judge(trace, parsed, workers=2, graph=graph)
    found = remedies(verdict, trace, graph, parsed, workers=2)
    page = Page(run_page(run_picture(trace, graph, verdict, RunContext(remedies=found))))
    words = (
        "Cause: enable_reuse_port: false : one kernel socket, dup()ed for each worker",
        "What to do: in Envoy's config, set enable_reuse_port: true on listener ingress",
        "Or, in the scenario: sockets: 1 in place of workers",
    )
    places = [page.text.index(one) for one in words]
    assert places == sorted(places)
    assert "Would hold" not in page.text
    bare = Page(run_page(pictured(trace, FAILING))).text
    assert "What to do: for a socket per worker set enable_reuse_port: true" in bare


def test_sketch_says_what_it_leaves_out():
    text = Page(run_page(pictured(shared().build(), FAILING))).text
    assert text.count("epolls are not part of what is expected") == 1


def test_page_of_two_runs_shows_a_listener_that_is_gone():
    here, gone = shared().build(), TraceBuilder(2).build()
    picture = pair_picture((here, gone), ("old", "new"), "different", [])
    assert picture.listeners[0].after is None
    assert "This listener is not there." in Page(pair_page(picture)).text


def test_page_of_many_listeners_stays_small_and_names_all():
    records, builder = [], TraceBuilder(2)
    for port in range(20000, 20200):
        builder.reuse_port_listener(f"0.0.0.0:{port}")
        records.append(ListenerRecord(f"l{port}", "TCP", (Address.inet("0.0.0.0", port),)))
    builder.header = replace(builder.header, listeners=tuple(records))
    text = run_page(pictured(builder.build()))
    assert all(f">{record.name} <" in text or f"{record.name} " in text for record in records)
    assert len(text) < 400_000


@pytest.mark.parametrize("name", [SHARED, REUSE])
def test_show_and_replay_write_a_page(cli, tmp_path, name):
    target = tmp_path / "run.html"
    done = cli("show", str(TRACES / name), "--format", "html", "-o", str(target))
    assert (done.code, done.out) == (0, "")
    assert "Socket map" in target.read_text()

    scenario = tmp_path / "one.yaml"
    scenario.write_text(
        yaml.safe_dump({"name": "one", "expect": [{"listener": {"name": "ingress"}, "sockets": 1}]})
    )
    given = [str(TRACES / name), "--scenario", str(scenario), "--format", "html"]
    done = cli("replay", *given, "-o", str(target))
    assert done.code == (0 if name == SHARED else 1)
    words = Page(target.read_text()).text
    assert ("PASSED" if name == SHARED else "FAILED") in words
    shown = cli("show", *given)
    assert Page(shown.out).text == words


def test_diff_writes_a_page_and_keeps_its_exit_code(cli, tmp_path):
    target = tmp_path / "diff.html"
    traces = [str(TRACES / SHARED), str(TRACES / REUSE)]
    done = cli("diff", *traces, "--format", "html", "-o", str(target))
    assert (done.code, done.out) == (1, "")
    assert "What moved" in target.read_text()


@pytest.mark.parametrize(
    "words, said",
    [
        (["show", "{trace}", "-o", "run.html"], "prints what it finds"),
        (["show", "{trace}", "--scenario", "{trace}"], "--scenario goes with a format that draws"),
    ],
)
def test_a_file_and_a_scenario_go_with_a_format_that_draws(cli, words, said):
    done = cli(*(word.format(trace=TRACES / SHARED) for word in words))
    assert done.code == 4
    assert said in re.sub(r"\s+", " ", done.err)
