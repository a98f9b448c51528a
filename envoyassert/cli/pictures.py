"""The formats in which a run is drawn, and where a picture goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from envoyassert.picture.pair import PairPicture
    from envoyassert.picture.run import RunPicture


def _page(picture: RunPicture) -> str:
    from envoyassert.picture.html.page import run_page

    return run_page(picture)


def _pair_page(picture: PairPicture) -> str:
    from envoyassert.picture.html.page import pair_page

    return pair_page(picture)


#: How one run is drawn, by the name of the format.
RUN_FORMATS: dict[str, Callable[[RunPicture], str]] = {"html": _page}
#: How two runs are drawn side by side.
PAIR_FORMATS: dict[str, Callable[[PairPicture], str]] = {"html": _pair_page}


def deliver(text: str, target: str | None) -> None:
    """Print a text of which every part is shown as text already, or write it to a file.

    Args:
        text: without a line feed at its end.
        target: the file; None for the standard output.

    Raises:
        MachineError: the file cannot be written.
    """
    if target is None:
        click.echo(text)
    else:
        from envoyassert.output_file import write_lines

        write_lines(text.split("\n"), target)
