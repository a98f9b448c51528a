"""The page of a plan: what is predicted of both configs, and what moves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from envoyassert.cli.plan_sides import side_of_plan
from envoyassert.graph.fold import fold
from envoyassert.picture.html.page import plan_page
from envoyassert.picture.map_parts import ADMIN, HOT_RESTART, Mark, SocketMap
from envoyassert.picture.map_words import answer
from envoyassert.picture.plan import predicted_map
from envoyassert.picture.socket_map import socket_map
from envoyassert.predict.start import predict_start
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.drawn import bootstrap, listener, pair_of, plan_of, some_plan
from tests.odd_text import ODD, raw_in
from tests.recorded_trace import TRACES, recorded
from tests.unit.cli_words import run_cli
from tests.unit.test_picture_page import MARKUP, Page

SCENARIOS = TRACES.parents[1] / "scenarios"
SHARED, REUSE = "reuse_port_off-1.40.0.ndjson", "reuse_port_on-1.40.0.ndjson"


@pytest.fixture
def cli(capsys):
    return lambda *arguments: run_cli(capsys, *arguments)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = bootstrap(listener("ingress", 10000)), bootstrap(listener("ingress", 10001))
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old))
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(new))
    return ["old.yaml", "new.yaml"]


def seen(picture: SocketMap) -> list[object]:
    """Return what one sees of a map that a model can know."""
    return [
        (
            one.kind == ADMIN,
            one.address,
            one.way,
            [
                (
                    socket.state,
                    socket.backlog,
                    sorted((o.name, o.value) for o in socket.options),
                    [
                        (Mark.DUP in d.marks, [picture.threads[t].role for t in d.threads])
                        for d in socket.descriptors
                        if d.open
                    ],
                )
                for socket in one.sockets
            ],
        )
        for one in sorted(picture.listeners, key=lambda one: one.address)
        if one.kind != HOT_RESTART
    ]


@pytest.mark.parametrize("name", ["reuse_port_on", "reuse_port_off", "istio_sidecar"])
def test_map_that_is_predicted_shows_what_the_recorded_one_does(name):
    trace = recorded(f"{name}-1.40.0.ndjson")
    plans = expand(load_scenario(SCENARIOS / f"{name}.yaml"))
    plan = next(plan for plan in plans if plan.concurrency == trace.header.concurrency)
    side = side_of_plan(plan)
    predicted = predict_start(side.config, concurrency=side.workers, discovered=side.discovered)
    recorded_map = socket_map(trace, fold(trace))
    # The recorded traces have the ports of the kernel's choice, or other ones.
    of_ports = re.compile(r":\d+$")
    wanted, found = seen(recorded_map), seen(predicted_map(predicted))
    strip = lambda rows: [(row[0], of_ports.sub("", row[1]), *row[2:]) for row in rows]  # noqa: E731
    assert sorted(map(repr, strip(found))) == sorted(map(repr, strip(wanted)))


def test_descriptors_that_are_copies_are_drawn_as_such():
    found = predict_start(bootstrap(listener("one", 80, enable_reuse_port=False)), concurrency=3)
    picture = predicted_map(found)
    (one,) = (one for one in picture.listeners if one.name == "one")
    assert answer(one, picture) == (
        "1 kernel socket; held by worker_0, worker_1 and worker_2; "
        "the workers share one socket by copies of its descriptor (dup)"
    )
    assert [Mark.DUP in d.marks for d in one.sockets[0].descriptors] == [False, True, True]


def test_listener_that_the_model_does_not_know_whole_is_marked():
    literal = {"level": 1, "name": 12345, "int_value": 1, "state": "STATE_LISTENING"}
    found = predict_start(bootstrap(listener("one", 80, socket_options=[literal])))
    unsure = {one.listener for one in found.unknown}
    picture = predicted_map(found)
    assert unsure == {"one"}
    for one in picture.listeners:
        assert (Mark.DOUBT in one.marks) == (one.name == "one")


def test_page_says_first_that_something_is_lost_and_that_it_is_a_prediction():
    text = plan_page(some_plan())
    page = Page(text)
    order = [
        "REFUSED BY A PUSH; AN ADDRESS IS NOT",
        "Prediction",
        "nothing was run",
        "What changes",
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert "Drawn with broken lines: predicted, not recorded" in page.text
    assert text.count('class="map') == text.count('class="map sketch"')
    for way in ("push", "hot restart", "restart"):
        assert f">{way}</th>" in text
    for words in ("Envoy says: Listener ingress: reuse port", "how long no one serves"):
        assert words in page.text


def removed_field(**new):
    """Return a change by which each way does something else."""
    old = bootstrap(listener("ingress", 80, enable_reuse_port=False), listener("kept", 90))
    return plan_of(old, bootstrap(listener("ingress", 80, **new), listener("kept", 90)))


def test_page_of_no_known_change_is_not_green():
    """It was, beside `No listener is known to change`."""
    config = bootstrap(listener("ingress", 80))
    assert '<div class="verdict PASS"><strong class="st">NO LISTENER CHANGES<' in plan_page(
        plan_of(config, config)
    )
    open_ = {**config, "dynamic_resources": {"lds_config": {"ads": {}}}}
    assert '<div class="verdict INCONCLUSIVE"><strong class="st">NO LISTENER IS KNOWN' in (
        plan_page(plan_of(open_, open_))
    )


def test_page_names_what_is_lost_by_which_way():
    text = plan_page(removed_field())
    page = Page(text)
    for words in (
        "REFUSED BY A PUSH; A RESTART LOSES CONNECTIONS",
        "push: listener ingress is refused; nothing changes",
        "hot restart: listener ingress keeps its sockets, the change is without effect; 1",
        "restart: listener ingress gets new sockets, connections are reset; 1 listener starts as",
        "enable_reuse_port: false → (removed; default true) push: refused hot restart: without",
        "effect restart: in effect; all connections are reset",
        "those waiting in 1 accept queue",
    ):
        assert words in page.text
    assert "1 refused" not in page.text


def test_page_says_what_is_so_with_every_restart_and_what_is_not():
    old, new = bootstrap(listener("one", 80)), bootstrap(listener("one", 80))
    new["admin"]["address"]["socket_address"]["port_value"] = 9902
    words = Page(plan_page(plan_of(old, new))).text
    assert "push: no listener changes" in words
    assert "nothing changes" not in words
    new = bootstrap(listener("one", 80, stat_prefix="other"))
    words = Page(plan_page(plan_of(old, new))).text
    assert "LISTENERS CHANGE, AND NOTHING IS LOST BUT WHAT ANY RESTART LOSES" in words
    assert "restart: listener one gets new sockets, connections are reset" in words
    words = Page(plan_page(plan_of(old, bootstrap(listener("one", 80), listener("b", 80))))).text
    assert "REFUSED BY A PUSH AND A HOT RESTART; ENVOY DOES NOT START WITH A RESTART" in words


def test_page_counts_more_listeners_than_three():
    names = ["a", "b", "c", "d"]
    for number, said in ((2, "listeners a and b get"), (3, "listeners a, b and c get")):
        old = bootstrap(*(listener(name, 80 + at) for at, name in enumerate(names[:number])))
        new = bootstrap(*(listener(name, 90 + at) for at, name in enumerate(names[:number])))
        assert f"push: {said} new sockets" in Page(plan_page(plan_of(old, new))).text
    old = bootstrap(*(listener(name, 80 + at) for at, name in enumerate(names)))
    new = bootstrap(*(listener(name, 90 + at) for at, name in enumerate(names)))
    page = Page(plan_page(plan_of(old, new)))
    assert "push: 4 listeners get new sockets, waiting connections are reset" in page.text
    assert "AN ADDRESS IS NOT SERVED AFTER EACH WAY; EACH WAY LOSES CONNECTIONS" in page.text


def test_legend_has_the_boxes_that_occur_and_no_others():
    old = bootstrap(listener("one", 80))
    moved = Page(plan_page(plan_of(old, bootstrap(listener("one", 81))))).text
    assert "a box with a cross" in moved
    assert "a box with a plus" in moved
    assert "a plain box" not in moved
    assert "a box with a bar" not in moved
    assert "Under “kernel sockets”" not in Page(plan_page(plan_of(old, old))).text


def test_field_that_is_new_says_what_it_was_by_default():
    old, new = listener("one", 80), listener("one", 80, enable_reuse_port=False)
    words = Page(plan_page(plan_of(bootstrap(old), bootstrap(new)))).text
    assert "enable_reuse_port: (not set; default true) → false" in words
    new = listener("one", 80, freebind=True)
    words = Page(plan_page(plan_of(bootstrap(old), bootstrap(new)))).text
    assert "freebind: (not set) → true" in words


def test_page_shows_what_each_way_does_to_the_kernel_sockets():
    text = plan_page(plan_of(bootstrap(listener("one", 80)), bootstrap(listener("one", 81))))
    assert text.count('aria-label="2 closed, 2 made"') == 3
    figure = text[text.index('<svg class="moves"') :].partition("</svg>")[0]
    assert [figure.count(f'class="{kind}"') for kind in ("kept", "closed", "made")] == [0, 2, 2]


def test_figure_of_many_sockets_counts_them():
    plan = plan_of(bootstrap(listener("one", 80)), bootstrap(listener("one", 81)), (64, 64))
    text = plan_page(plan)
    assert "64 closed, 64 made" in text
    assert text[text.index('<svg class="moves"') :].partition("</svg>")[0].count("<rect") == 2
    assert len(text) < 400_000


def test_page_of_a_config_with_which_envoy_does_not_start_says_what_envoy_says():
    twice = bootstrap(listener("one", 80), listener("two", 80))
    page = Page(plan_page(plan_of(bootstrap(listener("one", 80)), twice)))
    assert "Envoy does not start: it says" in page.text


def test_page_of_nothing_that_changes_shows_the_sockets():
    same = bootstrap(listener("one", 80))
    page = Page(plan_page(plan_of(same, same)))
    assert "NO LISTENER CHANGES" in page.text
    assert "2 kernel sockets" in page.text


def test_page_of_two_runs_beside_the_model_has_both_recorded_maps():
    text = plan_page(some_plan(pair_of()))
    page = Page(text)
    assert "What was recorded: both were run" in page.text
    assert page.text.index("What changes, as predicted") < page.text.rindex("What moved")
    assert text.count('class="map"') > 1
    assert "from a model of Envoy and two recorded traces" in page.text


def test_page_needs_nothing_but_itself_and_has_no_script():
    page = Page(plan_page(some_plan(pair_of())))
    assert {link[:1] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.tags


@pytest.mark.parametrize("name", [ODD, MARKUP, "x" * 3000])
def test_names_are_text(name):
    old = bootstrap(listener(name, 80), listener(f"{name}2", 90))
    new = bootstrap(listener(name, 81, stat_prefix=name), listener(f"{name}2", 90))
    plan = plan_of(old, new)
    text = plan_page(replace(plan, names=(name, name)))
    page = Page(text)
    assert raw_in(text) == []
    assert "script" not in page.tags
    assert page.text.count("alert(1)") == (0 if "alert" not in name else page.text.count(name))


def test_command_writes_the_page_and_keeps_its_exit_code(cli, files):
    done = cli("plan", "--model", *files, "--format", "html", "-o", "plan.html")
    assert (done.code, done.out, done.err) == (3, "", "")
    page = Page(Path("plan.html").read_text("utf-8"))
    assert "old.yaml → new.yaml" in page.text
    assert "10001" in page.text


def test_command_draws_two_traces_without_a_model(cli, files):
    traces = [str(TRACES / SHARED), str(TRACES / REUSE)]
    done = cli("plan", "--traces", *traces, "--format", "html")
    page = Page(done.out)
    assert (done.code, done.err) == (1, "")
    assert "What moved" in page.text
    assert "predicted" not in page.text


def test_command_draws_a_verdict_of_the_new_one(cli, files):
    expected = {"listener": {"port": 15006}, "bound": {"times": 7}}
    Path("expect.yaml").write_text(yaml.safe_dump({"expect": [expected]}))
    traces = [str(TRACES / SHARED), str(TRACES / REUSE)]
    done = cli("plan", "--traces", *traces, "--expect", "expect.yaml", "--format", "html")
    assert done.code == 1
    assert Page(done.out).text.index("FAILED") < 600
    assert "expected 7 bind() calls" in done.out


def test_markdown_may_go_to_a_file_too(cli, files):
    printed = cli("plan", "--model", *files, "--format", "markdown")
    written = cli("plan", "--model", *files, "--format", "markdown", "-o", "plan.md")
    assert (written.code, written.out) == (3, "")
    assert Path("plan.md").read_text("utf-8") == printed.out


@pytest.mark.parametrize(
    "words, said",
    [
        (["--transition", "push", "--format", "html"], "html has nothing of --transition"),
        (["--model", "-o", "plan.html"], "name a format that draws"),
    ],
)
def test_what_has_no_page_is_said_in_one_line(cli, files, words, said):
    done = cli("plan", *files, *words)
    assert done.code == 2
    assert said in done.err
