"""`envoyassert schema`: the JSON Schema of scenario files, or of the results."""

from __future__ import annotations

import click


@click.command()
@click.option("--results", is_flag=True, help="The schema of what is written for machines.")
def schema(results: bool) -> None:
    """Print the JSON Schema of scenario files, or of results.

    Editors complete and check scenarios by the first; programs read `run --report` and
    `replay --format json` by the second.

    Example: envoyassert schema > scenario.schema.json
    """
    if results:
        from envoyassert.report.results import schema_text
    else:
        from envoyassert.scenario.schema import schema_text

    click.echo(schema_text().rstrip("\n"))
