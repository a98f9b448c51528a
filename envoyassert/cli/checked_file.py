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
from envoyassert.scenario.config_files import missing_beside, stands_alone
from envoyassert.scenario.listeners import lds_as_cds
from envoyassert.scenario.load import LoadedScenario, load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan, as_text
from envoyassert.scenario.scope import of_no_listener, over_the_run
from envoyassert.words.registry import vacuous


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
    place = place_finder(loaded)
    for path, reason in vacuous(loaded.scenario.expect):
        yield f"{place(path)}: warning: no trace could fail this: {reason}"
    for path, reason in of_no_listener(plans) if loaded.own_envoy else ():
        yield f"{place(path)}: warning: {reason}"
    yield from _not_beside(plans)
    for path, reason in over_the_run(loaded.scenario):
        yield f"{place(path)}: note: {reason}"


def _not_beside(plans: list[RunPlan]) -> list[str]:
    """Return a warning for each relative file that is not where the config lies."""
    found: dict[str, None] = {}
    for plan in plans:
        loaded = plan.loaded
        document = loaded.config_document or loaded.document
        above = () if loaded.config_document else ("envoy", "config")
        for one in missing_beside(plan.config, plan.files):
            problem = document.problem((*above, *one.path), "")
            place = f"{problem.path}:{problem.line}:{problem.column}"
            found[
                f"{place}: warning: {one.text} is not in {loaded.directory}: Envoy does not find it"
                " (envoy.stand_in puts something in its place)"
            ] = None
    return list(found)


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
