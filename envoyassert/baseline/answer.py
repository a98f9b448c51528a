"""What came of holding a run against its baseline, for reports and for the verdict's text.

Every session imports this for its events, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from envoyassert.report.table import count, wrapped

#: Differences that a text shows; the diff of an update has them all.
_MOST = 20
_REMEDY = (
    "if this is what Envoy should do now, run it again with --update-baseline (pytest: "
    "--envoyassert-update-baseline), and review what that changes"
)
_MAKE = (
    "make one: run it with --update-baseline (pytest: --envoyassert-update-baseline), and review "
    "the file"
)

#: A fact as text. Whoever reviews a baseline may write several: each of them will do.
Value = str | tuple[str, ...]
#: Facts by aspect, by subject, by phase.
Story = Mapping[str, Mapping[str, Mapping[str, Value]]]
AnswerWord = Literal["same", "different", "missing", "unknown", "taken"]


@dataclass(frozen=True)
class RunKey:
    """Which run on which Envoy a baseline is of.

    Args:
        run: the scenario's name with the matrix values: `udp[concurrency=2]`.
        envoy: the version, or how an Envoy without one was named.
    """

    run: str
    envoy: str

    def __str__(self) -> str:
        return f"{self.run} on {self.envoy}"


@dataclass(frozen=True)
class StoryDifference:
    """One fact that differs.

    Args:
        phase: at the end of which phase it shows first; "" for the first phase.
        subject: what it is about: `0.0.0.0:80 (ingress)`, `the run`.
        aspect: what of it; `listener` for one that only one of the two has.
        before: what the baseline has.
        after: what was seen.
    """

    phase: str
    subject: str
    aspect: str
    before: str
    after: str

    @property
    def words(self) -> str:
        """`0.0.0.0:80 (ingress) bind: expected 1 by main, seen 2 by main`."""
        at = f", at the end of {self.phase}," if self.phase else ""
        return f"{self.subject}{at} {self.aspect}: expected {self.before}, seen {self.after}"


@dataclass(frozen=True)
class BaselineAnswer:
    """What came of it.

    Args:
        word: `same`, `different`, `missing`, `unknown` (the run proves neither), or `taken` (an
            update takes its story).
        file: the file of baselines.
        reason: why it is not `same`, in one line; "" if it is, or is taken.
        found: what differs.
        key: which of the file's.
        story: what is stored of the run by an update.
    """

    word: AnswerWord
    file: str
    reason: str = ""
    found: tuple[StoryDifference, ...] = ()
    key: RunKey | None = None
    story: Story | None = None

    @property
    def failed(self) -> bool:
        """Whether it is a failure, whatever the verdict says."""
        return self.word in ("different", "missing")

    def lines(self) -> list[str]:
        """Return the text of what is wrong, the reason first; [] if nothing is."""
        if not self.reason:
            return []
        lines = wrapped(self.reason, hang="  ")
        if len(self.found) > 1:
            lines += [f"  {line}" for line in difference_lines(self.found)]
        where = f"{self.file} ({self.key})" if self.key else self.file
        lines.append(f"  baseline: {where}")
        if self.failed:
            remedy = _REMEDY if self.word == "different" else _MAKE
            lines += wrapped(f"  remedy: {remedy}", hang="    ")
        return lines


def difference_lines(found: Iterable[StoryDifference], most: int = _MOST) -> list[str]:
    """Return a line for each difference, and how many more there are."""
    words = [one.words for one in found]
    more = [f"and {count(len(words) - most, 'more difference')}"] if len(words) > most else []
    return words[:most] + more


def unknown(file: str, why: str) -> BaselineAnswer:
    """Return the answer for a run of which it is not known what it did.

    Args:
        file: the file of baselines.
        why: what is missing, in one line.
    """
    return BaselineAnswer("unknown", file, f"the baseline says nothing: {why}")
