"""The page of a run, and of two runs side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup, escape

from envoyassert.durations import duration_in_words
from envoyassert.judge.verdict import Status
from envoyassert.picture.connections import Client
from envoyassert.picture.connections_svg import HELD_STYLE, held_svg
from envoyassert.picture.html.data import data_element, page_data
from envoyassert.picture.map_parts import HOT_RESTART, MapListener, Mark, SocketMap
from envoyassert.picture.map_svg import MAP_STYLE, listener_svg
from envoyassert.picture.map_words import (
    MARK_WORDS,
    WAY_NAMES,
    answer,
    listener_name,
    listener_sentence,
    socket_lines,
)
from envoyassert.picture.moves_svg import MOVES_STYLE, moves_legend, moves_svg
from envoyassert.picture.pair import PairPicture
from envoyassert.picture.plan import PlannedListener, PlanPicture
from envoyassert.picture.run import PictureFinding, RunPicture
from envoyassert.picture.timeline import Band
from envoyassert.report.table import count
from envoyassert.review.answer import ONLY_A_RUN
from envoyassert.review.named import named_summary, title_words
from envoyassert.shown import shown
from envoyassert.static_page import content_policy, templates_of

#: More listeners than this are drawn only where something is particular about them.
_DRAWN = 40
_STATUS_WORDS = {
    None: "not judged",
    Status.PASS: "passed",
    Status.FAIL: "failed",
    Status.INCONCLUSIVE: "inconclusive",
    Status.KNOWN_DEFECT: "known defect",
    Status.SKIPPED: "skipped",
}
#: Where the page of a run has the way to an index; nothing is there as long as there is none.
_UP = Markup('<p id="up" hidden></p>')
_LINK = Markup('<p id="up"><a href="{}">← {}</a></p>')
_PLACE = re.compile('<p id="up"[^>]*>.*?</p>')
_NOTES = (Mark.INHERITED, Mark.SHARED)
_WARNINGS = (Mark.FOREIGN, Mark.LOST, Mark.FAILED, Mark.DOUBT)


@cache
def _templates() -> Environment:
    made = templates_of("envoyassert.picture.html")
    made.globals.update(
        answer=answer,
        sentence=listener_sentence,
        recorded=_recorded,
        listener_name=listener_name,
        listener_svg=listener_svg,
        socket_lines=socket_lines,
        status_words=_STATUS_WORDS,
        way_names=WAY_NAMES,
        warnings=_warnings,
        notes=_notes,
        cards=_cards,
        held_svg=held_svg,
        Status=Status,
    )
    made.filters.update(
        capitalize_first=_capitalized, grouped_clients=_grouped, took=_took, coded=_coded
    )
    return made


def run_page(picture: RunPicture) -> str:
    """Return the page of one run.

    Args:
        picture: all of the run that is drawn.
    """
    failed = [one for one in picture.findings if one.status is not Status.PASS]
    script = _script()
    return _page(
        "run",
        picture.title or "A run of Envoy",
        script,
        script=Markup(script),  # noqa: S704 - our own file
        run=picture,
        up=_UP,
        failed=failed,
        failed_title=_failed_title(failed),
        same=_same_reason(failed),
        pictured=_pictured(failed),
        advice=_advice(failed),
        data=data_element(page_data(picture)),
    )


def page_with_index(page: str, address: str) -> str:
    """Return the page of a run with a link to an index of runs; another page as it is.

    Args:
        page: its text.
        address: of the index, as seen from the page.
    """
    return _PLACE.sub(lambda _: str(_LINK.format(address, "All runs")), page, 1)


def pair_page(picture: PairPicture) -> str:
    """Return the page of two runs side by side.

    Args:
        picture: both runs.
    """
    return _page("pair", f"{picture.names[0]} → {picture.names[1]}", pair=picture)


def plan_page(picture: PlanPicture) -> str:
    """Return the page of a change before it is made.

    Args:
        picture: what is predicted of it, and what was recorded.
    """
    return _page(
        "plan",
        f"{picture.names[0]} → {picture.names[1]}",
        plan=picture,
        only_a_run=ONLY_A_RUN,
        moves=moves_svg,
        legend=_moves_legend,
        title_words=title_words,
        named_summary=named_summary,
        most=_DRAWN,
    )


def _page(kind: str, title: str, code: str = "", **parts: object) -> str:
    """Return a page.

    Args:
        kind: which: the name of its template.
        title: its title.
        code: the script that it may run; "" for none.
        **parts: what else its template shows.
    """
    template = _templates().get_template(f"{kind}.html.jinja")
    return template.render(title=title, style=_style(), policy=content_policy(code), **parts)


def _moves_legend(listeners: Sequence[PlannedListener]) -> str:
    return moves_legend(move for one in listeners for move in one.moves)


def _pictured(failed: Sequence[PictureFinding]) -> set[str]:
    """Return the findings that have a picture: the first about each expected and actual state."""
    seen: set[object] = set()
    found = set()
    for one in failed:
        if one.listener is None:
            continue
        key = (one.listener.id, one.expected and one.expected.listeners)
        if key not in seen:
            seen.add(key)
            found.add(one.id)
    return found


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _coded(text: str) -> Markup:
    """Return a text in which what stands in back quotes is code, and everything is text."""
    parts = shown(text).split("`")
    if len(parts) % 2 == 0:  # one that ends nothing
        return escape(shown(text))
    form = Markup("<code>{}</code>")
    return Markup("").join(form.format(p) if n % 2 else p for n, p in enumerate(parts))


def _grouped(clients: Sequence[Client]) -> list[tuple[tuple[str, str, str], int]]:
    """Return how many clients had one result, for each step, address and result."""
    return list(Counter((one.phase, one.address, one.fate) for one in clients).items())


def _took(band: Band) -> str:
    return duration_in_words(band.end_ns - band.begin_ns) if band.begin_ns else ""


def _recorded(run: RunPicture) -> tuple[str, str]:
    """Return whether a recording is complete, and which checks say so."""
    missing = [f"{one.name}: {one.detail}" for one in run.certificate if one.ok is False]
    if not run.whole:
        return "The recording is NOT complete", "; ".join(missing)
    held = sum(one.ok is True for one in run.certificate)
    if not held:
        return "Whether the recording is complete is not known", "no check applies to this trace"
    silent = ", ".join(one.name for one in run.certificate if one.ok is None)
    holds = f"{count(held, 'check')} {'holds' if held == 1 else 'hold'}"
    return "The recording is complete", holds + (f"; not applicable: {silent}" if silent else "")


def _failed_title(failed: Sequence[PictureFinding]) -> str:
    open_alone = all(one.status in (Status.INCONCLUSIVE, Status.SKIPPED) for one in failed)
    return "What could not be judged" if open_alone else "What did not hold"


def _same_reason(failed: Sequence[PictureFinding]) -> dict[str, list[PictureFinding]]:
    """Return the findings that are shown in full, each with those that have its reason or cause."""
    first: dict[object, str] = {}
    found: dict[str, list[PictureFinding]] = {}
    for one in failed:
        listener = one.listener.id if one.listener is not None else ""
        known = one.cause or one.hint
        cause = one.words.reason or (known and (listener, known))
        if cause and cause in first:
            found[first[cause]].append(one)
            continue
        found[one.id] = []
        if cause:
            first[cause] = one.id
    return found


def _advice(failed: Sequence[PictureFinding]) -> dict[str, list[tuple[str, str]]]:
    """Return what is said besides of each finding, each text once: many have one cause."""
    said: set[str] = set()
    found: dict[str, list[tuple[str, str]]] = {}
    for one in failed:
        config = one.remedy_config and f"in Envoy's config, set {one.remedy_config}"
        # What is said of a cause is the same as the field of the config, without its listener.
        todo = config if one.cause and config else one.hint
        meant = "" if one.cause or one.words.hint in one.hint else one.words.hint
        texts = [
            ("Cause", one.cause),
            ("What to do", todo),
            ("What it means", meant),
            ("Closest", one.words.closest),
            ("Known as", one.words.known_defect),
            ("Or", "" if config == todo else config),
            ("Or, in the scenario" if todo or config else "In the scenario", one.remedy),
            ("Why it is expected", one.why),
        ]
        found[one.id] = [(label, text) for label, text in texts if text and text not in said]
        said.update(text for _, text in texts)
    return found


def _warnings(listener: MapListener) -> list[str]:
    marks = set(listener.marks)
    marks |= {Mark.LOST for socket in listener.serving if Mark.LOST in socket.marks}
    return [MARK_WORDS[mark] for mark in _WARNINGS if mark in marks]


def _notes(listener: MapListener) -> list[str]:
    return [MARK_WORDS[mark] for mark in _NOTES if mark in listener.marks]


def _cards(picture: SocketMap) -> dict[str, list[MapListener]]:
    """Return the listeners that are drawn, those that stand in a list, and Envoy's own."""
    own = [one for one in picture.listeners if one.kind == HOT_RESTART]
    rest = [one for one in picture.listeners if one.kind != HOT_RESTART]
    # The admin endpoint is never what is looked for.
    rest.sort(key=lambda one: one.kind == "admin")
    wanted = sorted(rest, key=lambda one: not (_warnings(one) or one.status is Status.FAIL))
    drawn = {one.id for one in wanted[:_DRAWN]}
    return {
        "drawn": [one for one in rest if one.id in drawn],
        "listed": [one for one in rest if one.id not in drawn],
        "own": own,
    }


@cache
def _style() -> Markup:
    sheet = files("envoyassert.picture.html").joinpath("page.css").read_text("utf-8")
    return Markup(sheet + MAP_STYLE + HELD_STYLE + MOVES_STYLE)  # noqa: S704 - our own files


@cache
def _script() -> str:
    return files("envoyassert.picture.html").joinpath("page.js").read_text("utf-8")
