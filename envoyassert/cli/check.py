"""`envoyassert check`: is a scenario valid, and does Envoy accept its config?"""

from __future__ import annotations

import click

from envoyassert.cli import exits
from envoyassert.cli.known_valid import KnownValid
from envoyassert.cli.options import refuse_beside, untrusted_option
from envoyassert.cli.output import say
from envoyassert.cli.where import scenario_files


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
    expectation that no trace could fail is a warning, and so is one about an address of no
    listener. A note says what is judged over the whole run by default. With
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
    known = None if validate or attached or untrusted else KnownValid()
    bad = 0
    for file in files:
        if known is not None and known.holds(file):
            continue
        # Imported when a file is to be read: that takes most of the time that one file takes.
        from envoyassert.cli.checked_file import check_file

        checked = check_file(
            file, validate=validate, envoy=envoy, attached=attached, untrusted=untrusted
        )
        bad += not checked.valid
        if known is not None and checked.text is not None:
            known.add(file, checked.text)
    if known is not None:
        known.keep()
    good = len(files) - bad
    say(f"{good} of {len(files)} scenario files are valid", err=True)
    return exits.USAGE if bad else exits.PASSED
