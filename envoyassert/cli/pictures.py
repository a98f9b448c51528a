"""The formats in which a run is drawn, and where a picture goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from envoyassert.picture.pair import PairPicture
    from envoyassert.picture.plan import PlanPicture
    from envoyassert.picture.run import RunPicture


def _page(picture: RunPicture) -> str:
    from envoyassert.picture.html.page import run_page

    return run_page(picture)


def _map_svg(picture: RunPicture) -> str:
    from envoyassert.picture.svg import map_svg

    return map_svg(picture.map, title=picture.title)


def _sequence_svg(picture: RunPicture) -> str:
    from envoyassert.picture.svg import sequence_svg

    return sequence_svg(picture)


def _map_mermaid(picture: RunPicture) -> str:
    from envoyassert.picture.mermaid import map_mermaid

    return map_mermaid(picture.map, picture.title)


def _sequence_mermaid(picture: RunPicture) -> str:
    from envoyassert.picture.mermaid import sequence_mermaid

    return sequence_mermaid(picture)


def _markdown(picture: RunPicture) -> str:
    from envoyassert.picture.markdown import run_markdown

    return run_markdown(picture)


def _perfetto(picture: RunPicture) -> str:
    from envoyassert.picture.perfetto import perfetto_json

    return perfetto_json(picture)


def _pair_page(picture: PairPicture) -> str:
    from envoyassert.picture.html.page import pair_page

    return pair_page(picture)


def _pair_markdown(picture: PairPicture) -> str:
    from envoyassert.picture.markdown import pair_markdown

    return pair_markdown(picture)


def _pair_svg(picture: PairPicture) -> str:
    from envoyassert.picture.svg import pair_svg

    return pair_svg(picture)


def _pair_mermaid(picture: PairPicture) -> str:
    from envoyassert.picture.mermaid import pair_mermaid

    return pair_mermaid(picture)


def _plan_page(picture: PlanPicture) -> str:
    from envoyassert.picture.html.page import plan_page

    return plan_page(picture)


#: How one run is drawn, by the name of the format.
RUN_FORMATS: dict[str, Callable[[RunPicture], str]] = {
    "html": _page,
    "svg": _map_svg,
    "mermaid": _map_mermaid,
    "markdown": _markdown,
    "perfetto": _perfetto,
}
#: How two runs are drawn side by side.
PAIR_FORMATS: dict[str, Callable[[PairPicture], str]] = {
    "html": _pair_page,
    "svg": _pair_svg,
    "mermaid": _pair_mermaid,
    "markdown": _pair_markdown,
}
#: How a change is drawn before it is made.
PLAN_FORMATS: dict[str, Callable[[PlanPicture], str]] = {"html": _plan_page}
#: Which picture it is, of formats that hold one alone: the map, which is that of `RUN_FORMATS`, or
#: the sequence.
_SEQUENCES: dict[str, Callable[[RunPicture], str]] = {
    "svg": _sequence_svg,
    "mermaid": _sequence_mermaid,
}

F = TypeVar("F", bound=Callable[..., Any])


def picture_option(command: F) -> F:
    """Add `--picture`; the command's function has the argument `part`."""
    return click.option(
        "--picture",
        "part",
        type=click.Choice(("map", "sequence")),
        help="With --format svg or mermaid: the sockets (default), or the calls in order.",
    )(command)


def drawing(output: str, part: str | None) -> Callable[[RunPicture], str]:
    """Return how a run is drawn.

    Args:
        output: the format, one of `RUN_FORMATS`.
        part: which picture, None for the one that the format has.

    Raises:
        click.UsageError: the format is no single picture.
    """
    refuse_part(output, part)
    return _SEQUENCES[output] if part == "sequence" else RUN_FORMATS[output]


def refuse_part(output: str, part: str | None) -> None:
    """Refuse `--picture` for a format that is no single picture.

    Raises:
        click.UsageError: it was given.
    """
    if part is not None and output not in _SEQUENCES:
        raise click.UsageError("--picture goes with --format svg or --format mermaid")


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
