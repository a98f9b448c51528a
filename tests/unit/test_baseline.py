"""Baselines as data: what is stored of a run, how it reads as YAML, and what differs from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.baseline.answer import RunKey, Story, Value
from envoyassert.baseline.stored import (
    Stored,
    held_against,
    parse_stored,
    place_of,
    run_name,
    stored_lines,
)
from envoyassert.baseline.story import (
    condensed,
    differences,
    expanded,
    story_of,
    with_alternatives,
)
from envoyassert.errors import ScenarioError
from envoyassert.graph.fold import fold
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace

PLACE = "0.0.0.0:15006"
TRACES = Path(__file__).parents[1] / "traces"
KEY = RunKey("udp[concurrency=2]", "1.40.0")


def story(trace: Trace):
    return story_of(trace, fold(trace))


def shared(**how) -> Trace:
    builder = TraceBuilder(2, **how)
    builder.shared_listener(PLACE)
    return builder.build()


def reuse_port() -> Trace:
    builder = TraceBuilder(2)
    builder.reuse_port_listener(PLACE)
    return builder.build()


def updated(backlog: int = -1) -> Trace:
    """A run whose second phase adds a listener."""
    builder = TraceBuilder(2)
    builder.shared_listener(PLACE)
    builder.end_phase("startup", "startup")
    builder.shared_listener("0.0.0.0:80", backlog)
    builder.end_phase("update")
    return builder.build()


def words(before: Trace, after: Trace) -> list[str]:
    return [one.words for one in differences(story(before), story(after))]


def test_a_story_has_nothing_that_differs_when_the_run_is_repeated() -> None:
    assert words(shared(), shared(pid=5000)) == []
    text = "\n".join(stored_lines(Stored("a.yaml", {KEY: story(shared())})))
    for volatile in ("fd", "inode", "ms", "worker_0", "/run"):
        assert volatile not in text, volatile


def test_a_difference_names_listener_baseline_and_run() -> None:
    found = words(shared(), reuse_port())
    assert f"{PLACE} sockets: expected 1, seen 2" in found
    assert f"{PLACE} shape: expected dup, seen reuse_port" in found
    assert f"{PLACE} option SO_REUSEPORT: expected none, seen 1 before bind" in found
    # What follows from others is not said again.
    assert not any(" order: " in one for one in found)


def test_a_listener_of_one_run_alone_is_one_difference() -> None:
    builder = TraceBuilder(2)
    builder.shared_listener(PLACE)
    builder.shared_listener("0.0.0.0:80")
    both = builder.build()
    assert words(shared(), both) == ["0.0.0.0:80 listener: expected none, seen sockets 1"]
    assert words(both, shared()) == ["0.0.0.0:80 listener: expected sockets 1, seen none"]


def test_a_difference_shows_at_the_first_phase_that_has_it() -> None:
    assert words(updated(), updated(backlog=7)) == [
        "0.0.0.0:80, at the end of update, backlog: expected -1, seen 7"
    ]


def test_other_phases_are_a_difference() -> None:
    assert words(shared(), updated())[0] == (
        "the run phases: expected startup, seen startup, update"
    )


def single() -> Trace:
    """A listener of one worker, and the admin endpoint of main."""
    builder = TraceBuilder(1)
    builder.shared_listener(PLACE)
    return builder.build()


def old_text(trace: Trace) -> str:
    """The file of a run's baseline as it was before there was `single`."""
    lines = stored_lines(Stored("a.yaml", {KEY: story(trace)}))
    return "\n".join(lines).replace("shape: single", "shape: dup") + "\n"


SIDECAR = read_trace(TRACES / "istio_sidecar-1.40.0.ndjson")


def test_one_thread_on_one_socket_is_single_and_workers_on_copies_are_dup() -> None:
    assert story(single())["startup"][PLACE]["shape"] == "single"
    assert story(shared())["startup"][PLACE]["shape"] == "dup"
    found = story(SIDECAR)["startup"].values()
    shapes = {(facts["served by"], facts["shape"]) for facts in found if "shape" in facts}
    assert shapes == {("main", "single"), ("2 workers", "reuse_port")}


@pytest.mark.parametrize("trace", [single(), shared(), updated(), SIDECAR])
def test_baseline_from_before_there_was_single_is_met(trace: Trace) -> None:
    stored = parse_stored(old_text(trace), "a.baseline.yaml")
    assert stored == Stored("a.yaml", {KEY: story(trace)})
    assert held_against(stored, "a.baseline.yaml", KEY, story(trace)).word == "same"


def test_alternatives_from_before_there_was_single_are_met() -> None:
    text = old_text(single()).replace("served by: 1 worker", "served by: [1 worker, 2 workers]")
    stored = parse_stored(text, "a.baseline.yaml")
    assert stored.stories[KEY]["startup"][PLACE]["shape"] == ("single", "dup")
    assert not differences(stored.stories[KEY], story(single()))
    text = old_text(single()).replace("shape: dup", "shape: [dup, reuse_port]")
    stored = parse_stored(text, "a.baseline.yaml")
    assert stored.stories[KEY]["startup"][PLACE]["shape"] == ("single", "reuse_port")


@pytest.mark.parametrize(
    "trace", [shared(), reuse_port(), updated()], ids=["shared", "reuse_port", "updated"]
)
def test_a_story_is_read_back_as_it_was_written(trace: Trace) -> None:
    stored = Stored("scenarios/udp.yaml", {KEY: story(trace)})
    lines = stored_lines(stored)
    again = parse_stored("\n".join(lines) + "\n", "udp.baseline.yaml")
    assert again == stored
    assert stored_lines(again) == lines


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.ndjson")), ids=lambda path: path.stem)
def test_a_recorded_story_is_read_back_as_it_was_written(path: Path) -> None:
    stored = Stored("a.yaml", {KEY: story(read_trace(path))})
    assert parse_stored("\n".join(stored_lines(stored)), "a") == stored


@pytest.mark.parametrize("text", ["y", "on", "null", "~", "017", "0o17", "1e5", "-1", "a: b"])
def test_any_text_is_read_back_as_itself(text: str) -> None:
    story = {"startup": {"the run": {"listener": text, text: "1"}}}
    stored = Stored("a.yaml", {KEY: story})
    assert parse_stored("\n".join(stored_lines(stored)), "a") == stored


def test_a_reviewer_may_allow_several_values_of_a_fact() -> None:
    allowed: dict[str, Value] = {"outcome": ("live", "none"), "workers": "2"}
    before: Story = {"startup": {"the run": allowed}}
    stored = Stored("a.yaml", {KEY: before})
    assert parse_stored("\n".join(stored_lines(stored)), "a") == stored
    for facts in ({"outcome": "live", "workers": "2"}, {"workers": "2"}):
        after: Story = {"startup": {"the run": facts}}
        assert differences(before, after) == ()
        # An update keeps what is allowed.
        assert with_alternatives(before, after) == before
    other: Story = {"startup": {"the run": {"outcome": "exited with 1", "workers": "2"}}}
    assert [one.words for one in differences(before, other)] == [
        "the run outcome: expected live or none, seen exited with 1"
    ]
    assert with_alternatives(before, other) == other


def test_a_phase_has_what_changed_in_it_alone() -> None:
    whole = story(updated())
    brief = condensed(whole)
    assert [*brief["update"]] == ["0.0.0.0:80"]
    assert expanded(brief) == whole


def test_what_is_gone_in_a_phase_is_gone_when_it_is_read_back() -> None:
    whole = {"startup": {"a": {"x": "1", "y": "2"}}, "end": {"a": {"x": "1"}}}
    assert condensed(whole)["end"] == {"a": {"y": "none"}}
    assert expanded(condensed(whole)) == whole


def test_runs_and_envoys_are_in_the_order_of_their_numbers() -> None:
    keys = [RunKey(f"a[concurrency={n}]", v) for n in (10, 2) for v in ("1.40.0", "1.9.0")]
    stored = Stored("a.yaml", {key: {"startup": {}} for key in keys})
    lines = [line.strip(" :") for line in stored_lines(stored)]
    assert [line for line in lines if line.startswith(("a[", "1."))] == [
        *("a[concurrency=2]", "1.9.0", "1.40.0"),
        *("a[concurrency=10]", "1.9.0", "1.40.0"),
    ]


def test_a_run_without_a_baseline_says_which_envoys_have_one() -> None:
    stored = Stored("a.yaml", {KEY: story(shared())})
    answer = held_against(stored, "a", RunKey(KEY.run, "1.41.0"), story(shared()))
    assert answer.word == "missing"
    assert answer.reason == (
        "there is no baseline of udp[concurrency=2] on 1.41.0; there is one on 1.40.0"
    )
    assert any("--update-baseline" in line for line in answer.lines())


def test_a_run_like_its_baseline_says_nothing() -> None:
    answer = held_against(Stored("a.yaml", {KEY: story(shared())}), "a", KEY, story(shared()))
    assert (answer.word, answer.lines(), answer.failed) == ("same", [], False)


def test_name_of_a_run_has_short_axes_where_these_differ() -> None:
    assert run_name("udp", {}) == "udp"
    assert run_name("udp", {"concurrency": "2", "a.b.c": "true"}) == "udp[concurrency=2,c=true]"
    assert run_name("udp", {"a.c": "1", "b.c": "2"}) == "udp[a.c=1,b.c=2]"


def test_the_place_of_a_file_does_not_depend_on_where_a_session_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenarios").mkdir()
    found = set()
    for start, scenario, directory in (
        (tmp_path, "scenarios/udp.yaml", "baselines"),
        (tmp_path / "scenarios", "udp.yaml", "../baselines"),
    ):
        monkeypatch.chdir(start)
        name, path = place_of(scenario, Path(directory))
        found.add((name, path.resolve()))
    assert found == {
        ("scenarios/udp.yaml", tmp_path / "baselines" / "scenarios" / "udp.baseline.yaml")
    }


def test_a_scenario_elsewhere_has_its_file_below_the_directory_too(tmp_path: Path) -> None:
    name, path = place_of(str(tmp_path / "a.yaml"), tmp_path / "x" / "baselines")
    assert (name, path) == ("../a.yaml", tmp_path / "x" / "baselines" / "a.baseline.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("format: envoyassert-baseline/2\nscenario: a\nruns: {}\n", "b.yaml:1:9"),
        ("format: envoyassert-baseline/1\nscenario: a\nruns: [1]\n", "b.yaml:3:7"),
        ("<<<<<<< ours\nformat: x\n", "b.yaml:2:7"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_stored(text, "b.yaml")
    assert str(raised.value).startswith(f"{place}: error: ")
