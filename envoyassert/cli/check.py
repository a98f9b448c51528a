"""`envoyassert check`: is a scenario valid, and does Envoy accept its config?"""

from __future__ import annotations

import click

from envoyassert.cli import exits
from envoyassert.cli.files import scenario_files
from envoyassert.cli.here import need_linux
from envoyassert.cli.options import refuse_beside, untrusted_option
from envoyassert.cli.output import say
from envoyassert.cli.plans import envoy_of
from envoyassert.errors import ScenarioError
from envoyassert.report.places import place_finder
from envoyassert.scenario.config_files import missing_beside
from envoyassert.scenario.listeners import lds_as_cds
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan, as_text
from envoyassert.scenario.scope import of_no_listener, over_the_run
from envoyassert.words.registry import vacuous


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--validate", is_flag=True, help="Ask Envoy itself about each config (--mode validate)."
)
@click.option("--envoy", metavar="VERSION|IMAGE|BINARY", help="With --validate: ask this Envoy.")
@click.option(
    "--attached", is_flag=True, help="They are for `attach`, and need no section `envoy`."
)
@untrusted_option
def check(
    paths: tuple[str, ...], validate: bool, envoy: str | None, attached: bool, untrusted: bool
) -> int:
    """Check scenario files without a run.

    Every problem has line and column; with --validate, Envoy is asked about each config. An
    expectation that no trace could fail is a warning, and so is a call that is forbidden at an
    address of no listener. A note says what is judged over the whole run by default. With
    --untrusted, what `run --untrusted` refuses is a problem.

    PATHS are files or directories. Exit code: 0 all valid, 4 something is not.

    Example: envoyassert check scenarios/ --validate
    """
    if envoy and not validate:
        raise click.UsageError("--envoy goes with --validate: without it no Envoy is asked")
    if attached:
        refuse_beside("--attached", "validate", "untrusted")
    files = scenario_files(paths)
    if not files:
        say("no scenario files found", err=True)
        return exits.NOTHING
    # What a scenario itself says of its Envoy does not count beside --envoy.
    envoys = [envoy_of(envoy)] if envoy and untrusted else []
    bad = 0
    for file in files:
        try:
            section: dict[str, object] | None = {"config": {}} if attached else None
            loaded = load_scenario(file, untrusted=untrusted, envoy=section)
            plans = expand(loaded, envoys=envoys)
        except ScenarioError as error:
            say(*str(error).split("\n"))
            bad += 1
            continue
        place = place_finder(loaded)
        for path, reason in vacuous(loaded.scenario.expect):
            say(f"{place(path)}: warning: no trace could fail this: {reason}")
        for path, reason in of_no_listener(plans) if loaded.own_envoy else ():
            say(f"{place(path)}: warning: {reason}")
        for warning in _not_beside(plans):
            say(*warning.split("\n"))
        for path, reason in over_the_run(loaded.scenario):
            say(f"{place(path)}: note: {reason}")
        refusals = _refusals(plans, envoy) if validate else []
        for refusal in refusals:
            say(*refusal.split("\n"))
        bad += bool(refusals)
    good = len(files) - bad
    say(f"{good} of {len(files)} scenario files are valid", err=True)
    return exits.USAGE if bad else exits.PASSED


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
