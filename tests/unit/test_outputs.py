"""The stream of session events, and outputs that are at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import pytest

from envoyassert.errors import MachineError
from envoyassert.outputs import events
from envoyassert.outputs.events import (
    Event,
    EvidenceKept,
    Run,
    RunBegan,
    RunEnded,
    RunJudged,
    RunPlanned,
    SessionEnded,
)
from envoyassert.outputs.junit_properties import JUnitProperties
from envoyassert.outputs.output import Output, OutputRefusedError, Settings
from envoyassert.outputs.registry import OUTPUTS, output_options
from envoyassert.outputs.stream import Stream
from envoyassert.pytest_plugin.session import LACKS, MACHINE_ERROR
from envoyassert.pytest_plugin.source import PREFIX
from envoyassert.report.parts import AskedPart, EnvoyPart, Location, ScenarioPart


@dataclass
class Lines:
    """A console that remembers."""

    lines: list[str] = field(default_factory=list)
    is_shown: bool = True

    def section(self, title: str) -> None:
        self.lines.append(title)

    def line(self, *parts: str | tuple[str, str], always: bool = False) -> None:
        del always
        self.lines.append("".join(part if isinstance(part, str) else part[0] for part in parts))

    def command(self, line: str) -> None:
        self.lines.append(line)


class Broken(Output):
    """An output whose every method raises."""

    title = "the broken one"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run_began(self, event: RunBegan) -> None:
        raise self.error

    def run_ended(self, event: RunEnded) -> None:
        raise self.error

    def session_ended(self, event: SessionEnded) -> None:
        raise self.error

    def properties(self, event: Any) -> dict[str, str]:
        raise self.error


class Essential(Broken):
    """One without which a session is not green."""

    is_essential = True


class Taker(Output):
    """An output that keeps what it gets."""

    title = "the taker"

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def run_began(self, event: RunBegan) -> None:
        self.taken.append(event)

    def run_ended(self, event: RunEnded) -> None:
        self.taken.append(event)

    def properties(self, event: Any) -> dict[str, str]:
        return {"a": "b"}


BEGAN = RunBegan("x.yaml::x", "x")
PLANNED = RunPlanned(
    Run(
        "x.yaml::x",
        "x",
        ScenarioPart(
            name="x",
            description="",
            location=Location(file="x.yaml", line=1, column=1),
            matrix={},
        ),
        AskedPart(envoy="1.40.0", launcher="auto", concurrency=2),
    )
)
ENDED = RunEnded("x.yaml::x", "x", "PASS", 1.0, 2.0)


def test_every_event_has_a_method_of_an_output() -> None:
    kinds = [kind for one in get_args(Event) for kind in (get_args(one) or (one,))]
    found = {kind.handler for kind in kinds if hasattr(kind, "handler")}
    declared = {kind.handler for kind in vars(events).values() if hasattr(kind, "handler")}
    assert found == declared
    assert all(hasattr(Output, handler) for handler in found)


def test_page_of_results_has_every_property_of_a_test() -> None:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    table = text.partition("| property | what it is |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    envoy = EnvoyPart(
        version="1.40.0",
        build_id="9e",
        source="image x/y:z",
        image_digest="sha256:1",
        launcher="docker",
        concurrency=2,
    )
    judged = RunJudged(
        PLANNED.run,
        "INCONCLUSIVE",
        "INCONCLUSIVE",
        "",
        envoy,
        "6.1",
        "whole",
        True,
        stood_in=("a",),
    )
    kept = EvidenceKept(PLANNED.run, "trace.ndjson", "envoy.log")
    stream = Stream([JUnitProperties()], Lines())
    found = {
        name: text
        for event in (PLANNED, judged, kept, judged)
        for name, text in stream.properties(event).items()
    }
    assert all(found.values())
    written = {*(PREFIX + name for name in found), LACKS, MACHINE_ERROR}
    assert sorted(documented) == sorted(written)


def test_fault_of_an_output_is_printed_once_and_costs_no_other() -> None:
    console, taker = Lines(), Taker()
    stream = Stream([Broken(KeyError("no")), taker], console)
    for _ in range(3):
        stream.emit(BEGAN)
    assert taker.taken == [BEGAN] * 3
    (line,) = console.lines
    assert line.startswith("warning: the broken one: not computed: KeyError: 'no' at test_outputs")
    assert stream.properties(PLANNED) == {"a": "b"}
    assert not stream.lacks_output


def test_full_disk_of_an_essential_output_is_an_error_of_the_session() -> None:
    console, taker = Lines(), Taker()
    stream = Stream([Essential(MachineError("out cannot be written", "free some")), taker], console)
    stream.emit(SessionEnded({}, complete=True))
    assert stream.lacks_output
    assert console.lines == ["ERROR: out cannot be written", "  remedy: free some"]


def test_others_get_the_event_as_the_fault_of_an_essential_output_changed_it() -> None:
    taker = Taker()
    stream = Stream([taker, Essential(MachineError("full", ""))], Lines())
    stream.emit(ENDED, lambda event, title, _: replace(event, word=f"ERROR {title}"))
    assert [event.word for event in taker.taken] == ["ERROR the broken one"]


def test_output_that_is_refused_ends_the_session() -> None:
    stream = Stream([Broken(OutputRefusedError("no such place"))], Lines())
    with pytest.raises(OutputRefusedError):
        stream.emit(BEGAN)


def test_what_ends_a_session_goes_through_an_output() -> None:
    class Interrupted(Taker):
        def run_began(self, event: RunBegan) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stream([Interrupted()], Lines()).emit(BEGAN)


def test_options_of_outputs_have_names_of_their_own_and_say_what_they_do() -> None:
    names = [option.name for option in output_options()]
    assert len(names) == len(set(names))
    for option in output_options():
        assert option.help.endswith(".")
        assert option.flag.startswith("--envoyassert-")


@pytest.mark.parametrize("kind", OUTPUTS, ids=lambda kind: kind.__name__)
def test_making_an_output_writes_nothing(kind: type[Output], tmp_path: Path) -> None:
    options = {option.name: str(tmp_path / option.name) for option in kind.options}
    console = Lines()
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "s.md")}
    assert kind.of(Settings(options, environ, console, is_command=True)) is not None
    assert (list(tmp_path.iterdir()), console.lines) == ([], [])
