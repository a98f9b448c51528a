"""`envoyassert clean`: remove what killed sessions left behind."""

from __future__ import annotations

import click

from envoyassert.cli.output import say
from envoyassert.cli.where import need_linux
from envoyassert.report.table import count


@click.command()
def clean() -> None:
    """Remove what killed sessions left behind.

    That is: directories, processes and containers.

    Sessions that are alive are left alone. Every run does this by itself when it begins.

    Example: sudo envoyassert clean
    """
    need_linux()
    from envoyassert.launch.sweep import sweep

    removed = sweep()
    for name in removed:
        say(name)
    say(f"{count(len(removed), 'leftover')} removed", err=True)
