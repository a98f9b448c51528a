"""What `check` does with one scenario file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from envoyassert.cli.output import say
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.where import need_linux
from envoyassert.errors import ScenarioError
from envoyassert.report.places import place_finder
from envoyassert.scenario.config_files import stands_alone
from envoyassert.scenario.doubtful import doubts_of
from envoyassert.scenario.listeners import lds_as_cds
from envoyassert.scenario.load import LoadedScenario, load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan, as_text
from envoyassert.scenario.scope import over_the_run


class Checked(NamedTuple):
    """What was found of a file.

    Args:
        valid: whether it is valid.
        text: its text, where nothing was printed and nothing but the text decides about that; else
            None.
    """

    valid: bool
    text: str | None


def check_file(
    file: Path, *, validate: bool, envoy: str | None, attached: bool, untrusted: bool
) -> Checked:
    """Check a scenario file and print what there is to say of it.

    Args:
        file: the file.
        validate: whether Envoy is asked about its configs.
        envoy: the argument of `--envoy`, None if it was not given.
        attached: whether it needs no section `envoy`.
        untrusted: whether what `run --untrusted` refuses is a problem.
    """
    # What a scenario itself says of its Envoy does not count beside --envoy.
    envoys = [envoy_of(envoy)] if envoy and untrusted else []
    try:
        section: dict[str, object] | None = {"config": {}} if attached else None
        loaded = load_scenario(file, untrusted=untrusted, envoy=section)
        plans = expand(loaded, envoys=envoys)
    except ScenarioError as error:
        say(*str(error).split("\n"))
        return Checked(False, None)
    silent = True
    for line in _remarks(loaded, plans):
        silent = False
        say(*line.split("\n"))
    refusals = _refusals(plans, envoy) if validate else []
    for refusal in refusals:
        say(*refusal.split("\n"))
    alone = silent and stands_alone(loaded.document.data)
    return Checked(not refusals, loaded.text if alone else None)


def _remarks(loaded: LoadedScenario, plans: list[RunPlan]) -> Iterator[str]:
    """Yield the warnings and notes of a scenario that is valid."""
    yield from (one.as_line("warning") for one in doubts_of(loaded, plans))
    place = place_finder(loaded)
    for path, reason in over_the_run(loaded.scenario):
        yield f"{place(path)}: note: {reason}"


def _refusals(plans: list[RunPlan], envoy: str | None) -> list[str]:
    """Return what Envoy says against the configs of a scenario's runs, each text once.

    A scenario that expects Envoy to exit is about a config that is refused: it is not asked.
    """
    need_linux()
    from envoyassert.launch.choose import source_of, validate_config
    from envoyassert.report.refusal import refusal

    found: dict[str, None] = {}
    for plan in plans:
        if any(
            item.process.exits is not None
            for _, item in plan.expectations
            if hasattr(item, "process")
        ):
            continue
        source = envoy_of(envoy) if envoy else source_of(plan)
        # Only the placeholder of the directory is left to whoever knows the directory.
        placed = plan.in_rundir("${rundir}")
        lds = lds_as_cds(placed.config)
        for asked in (placed.config_text(), *([as_text(lds)] if lds else [])):
            outcome = validate_config(source, asked, placed.own_files(), args=placed.args)
            if outcome.exit_code != 0:
                found[str(refusal(outcome, placed))] = None
                break
    return list(found)
