"""`envoyassert clean`: remove what killed sessions left behind."""

from __future__ import annotations

import click


@click.command()
def clean() -> None:
    """Remove what killed sessions left behind.

    That is: directories, processes and containers.

    Sessions that are alive are left alone. Every run does this by itself when it begins.
    """
    from envoyassert.launch.sweep import sweep

    removed = sweep()
    for name in removed:
        click.echo(name)
    click.echo(f"{len(removed)} leftovers removed", err=True)
