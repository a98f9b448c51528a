"""The reference is current, and what it shows is valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from envoyassert.scenario import model
from envoyassert.scenario.complaint import models_by_name
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.reference import (
    EXAMPLES,
    HEADINGS,
    MARKER,
    reference_text,
    with_reference,
)
from envoyassert.scenario.schema import scenario_schema
from envoyassert.scenario.source import parse_yaml
from envoyassert.steps.registry import KINDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "scenarios.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
REFERENCE = reference_text()
SCENARIOS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

#: Members that a model needs besides the one that an example shows.
NEEDED: dict[str, dict[str, Any]] = {
    "Scenario": {"name": "x", "envoy": {"config": {}}, "expect": [{"no_others": True}]},
    "Envoy": {"config": {}},
    "ListenerExpectation": {"listener": {"name": "in"}, "bound": {"times": 1}},
    "ProcessExpectation": {"process": {"live": True}},
    "CallsExpectation": {"calls": {"call": "bind"}},
    "NeverExpectation": {"never": {"call": "bind"}},
    "InOrderExpectation": {"in_order": [{"call": "bind"}, {"call": "listen"}]},
    "InvariantsExpectation": {"invariants": "all"},
    "NoOthersExpectation": {"no_others": True},
    "MomentExpectation": {"moment": "live", "after": "start"},
    "BetweenExpectation": {"between": ["start", "live"], "lasts": {"at_most": 1}},
    "AlwaysExpectation": {"always": {"listener": {"port": 1}, "served": True}},
    "StartupExpectation": {"startup": {"first_listen": {"at_most": 1}}},
    "MatchesConfigExpectation": {"matches_config": True},
    "KnownDefect": {"versions": "<1.40", "owner": "x", "upstream": "unreported"},
    "StateMoment": {"listener": {"port": 1}, "becomes": "served"},
    "State": {"listener": {"port": 1}},
    "UpdateExpectation": {"update": {"result": "ack"}},
    "Update": {"result": "ack"},
    "Occupy": {"port": 1},
    "Redirect": {"address": "10.96.0.1", "port": 443, "to": 15001},
    "ReplaceFile": {"path": "${rundir}/x", "content": ""},
    "Fault": {"call": "bind"},
    "AttemptsExpectation": {"attempts": "made"},
    "Spread": {},
    "Stat": {"name": "x", "equals": 1},
    # The example of a kind's own key is a whole step.
    **{
        kind.__name__: parse_yaml(f"{{{kind.examples[name]}}}", "example").data
        for name, kind in KINDS.items()
    },
}


def test_reference_is_current() -> None:
    assert with_reference(TEXT) == TEXT, (
        "run: python -m envoyassert.scenario.reference docs/scenarios.md"
    )


def test_document_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="no marker"):
        with_reference("# Scenarios\n")


def test_reference_covers_every_model_and_key() -> None:
    schema = scenario_schema()
    models = {**schema["$defs"], "Scenario": schema}
    keys = {name: set(m["properties"]) for name, m in models.items() if "properties" in m}
    assert keys.keys() == HEADINGS.keys()
    assert {name: set(examples) for name, examples in EXAMPLES.items()} == keys


def test_links_of_the_reference_lead_to_its_headings() -> None:
    headings = re.findall(r"^### (.*)$", REFERENCE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    links = set(re.findall(r"\]\(#([^)]*)\)", REFERENCE))
    assert links
    assert links <= anchors


@pytest.mark.parametrize("document", ["scenarios.md", "regressions.md"])
def test_scenarios_that_are_linked_exist(document: str) -> None:
    text = (DOCUMENT.parent / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((\.\./scenarios/[^)]*)\)", text)
    assert links
    assert [link for link in links if not (DOCUMENT.parent / link).exists()] == []


@pytest.mark.parametrize(
    "name, key", [(name, key) for name, examples in EXAMPLES.items() for key in examples]
)
def test_example_is_valid_and_shows_its_key(name: str, key: str) -> None:
    members = parse_yaml(f"{{{EXAMPLES[name][key]}}}", "example").data
    assert key in members
    assert EXAMPLES[name][key] in REFERENCE
    models_by_name()[name].model_validate({**NEEDED.get(name, {}), **members})


@pytest.mark.parametrize("text", SCENARIOS, ids=lambda text: re.findall(r"name: (\w+)", text)[0])
def test_scenario_in_the_text_is_valid(text: str) -> None:
    name = parse_yaml(text, "example").data["name"]
    assert expand(parse_scenario(text, Path(f"{name}.yaml")))


def test_every_yaml_block_is_tested() -> None:
    before, _, generated = TEXT.partition(MARKER)
    assert before.count("```yaml") == len(SCENARIOS) >= 5
    assert "```" not in generated
    assert model.Scenario.__name__ in HEADINGS
