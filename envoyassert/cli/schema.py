"""`envoyassert schema`: the JSON Schema of scenario files."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of scenario files.

    Editors complete and check scenarios by it.

    Example: envoyassert schema > scenario.schema.json
    """
    from envoyassert.scenario.schema import schema_text

    click.echo(schema_text().rstrip("\n"))
