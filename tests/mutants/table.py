"""The table of mutants against the scenarios that kill them, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.mutants.mutant import Mutant
from tests.mutants.play import Played

_HEAD = """\
# Mutants

Real Envoys that were made to misbehave, one way each, and the shipped scenarios that notice: by a
FAIL of an expectation, not by a time-out, an error or an INCONCLUSIVE. A library that is loaded
into Envoy stands between it and the kernel (`tests/mutants`). Written by
`make mutants ARGS="--markdown docs/mutants.md"`; do not edit.

{summary}

| mutant | what it does | stands for | killed by |
|---|---|---|---|
"""
_HARMLESS = """
## Harmless variants

What sound Envoys may do differently. Every scenario must pass.

| variant | what is different | all pass |
|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """A mutant and its runs."""

    mutant: Mutant
    played: tuple[Played, ...]

    @property
    def fired(self) -> bool:
        """Whether each of its rules took effect in one of the runs."""
        return all(
            any(run.fired[rule : rule + 1] > (0,) for run in self.played)
            for rule in range(self.mutant.rule_count)
        )

    @property
    def killed(self) -> bool:
        """Whether an expectation of some scenario fails."""
        return any(run.killed for run in self.played)

    @property
    def left_open(self) -> bool:
        """Whether no run in which it took effect passes, or says what another reason has."""
        outcomes = {run.outcome for run in self.played if any(run.fired)}
        return "INCONCLUSIVE" in outcomes and outcomes <= {"INCONCLUSIVE", "FAIL"}

    @property
    def sound(self) -> bool:
        """Whether every run is what a sound Envoy gives."""
        return bool(self.played) and all(run.sound for run in self.played)

    @property
    def killers(self) -> dict[str, tuple[str, ...]]:
        """The expectations that failed, by scenario."""
        found: dict[str, dict[str, None]] = {}
        for run in self.played:
            if run.killed:
                found.setdefault(run.scenario, {}).update(dict.fromkeys(run.killers))
        return {scenario: tuple(killers) for scenario, killers in found.items()}

    @property
    def line(self) -> str:
        """One line about it: which scenarios fail, and the other results."""
        tally: dict[str, set[str]] = {}
        for run in self.played:
            known = run.killed or (run.sound and any(run.fired))
            outcome = "killed by" if run.killed else run.outcome if known else f"({run.outcome})"
            tally.setdefault(outcome, set()).add(run.scenario)
        killers = ", ".join(sorted(tally.pop("killed by", ()))) or "-"
        others = " ".join(f"{outcome} {len(runs)}" for outcome, runs in sorted(tally.items()))
        took_s = sum(run.took_s for run in self.played)
        return f"{self.mutant.name:26} {took_s:5.1f} s  {killers}; {others}"


def bad(mutants: Sequence[Row], harmless: Sequence[Row]) -> list[str]:
    """Return in words what must not be: mutants that live, variants that do not pass."""
    found = []
    for row in (*mutants, *harmless):
        if not row.fired:
            found += [f"NEVER HAPPENED {row.mutant.name}", *_runs(row)]
        for run in row.played:
            if row.mutant.rules and not run.sound and not run.tried:
                found.append(f"NOT SOUND WITHOUT IT {row.mutant.name} {_described(run)}")
    for row in mutants:
        if row.mutant.equivalent and not row.sound:
            found += [f"CALLED EQUIVALENT, AND IS NOT {row.mutant.name}", *_runs(row, sound=False)]
        elif row.mutant.left_open:
            if not row.left_open:
                found += [f"NOT LEFT OPEN {row.mutant.name}", *_runs(row)]
        elif not row.mutant.equivalent and not row.killed:
            found += [f"LIVES {row.mutant.name}", *_runs(row)]
    for row in harmless:
        if not row.sound:
            found += [f"HARMLESS, AND NOT PASSED {row.mutant.name}", *_runs(row, sound=False)]
    return found


def _runs(row: Row, *, sound: bool = True) -> Iterator[str]:
    for run in row.played:
        if sound or not run.sound:
            yield f"  {_described(run)}"


def _described(run: Played) -> str:
    return f"{run.outcome} {run.run} {list(run.fired)}: {'; '.join(run.killers) or run.reason}"


def summary(mutants: Sequence[Row], harmless: Sequence[Row]) -> str:
    """Return the figures in one line."""
    equivalent = sum(bool(row.mutant.equivalent) for row in mutants)
    left_open = sum(bool(row.mutant.left_open) for row in mutants)
    killed = sum(row.killed and not row.mutant.left_open for row in mutants)
    return (
        f"{len(mutants)} mutants: {killed} killed, {equivalent} equivalent, "
        f"{left_open} left open; {len(harmless)} harmless variants: "
        f"{sum(row.sound for row in harmless)} pass."
    )


def markdown(mutants: Sequence[Row], harmless: Sequence[Row]) -> str:
    """Return the table as a document."""
    lines = [_HEAD.format(summary=summary(mutants, harmless)).rstrip("\n")]
    for row in mutants:
        one = row.mutant
        lines.append(f"| {one.name} | {one.what} | {one.bug} | {_verdict(row)} |")
    lines.append(_HARMLESS.rstrip("\n"))
    for row in harmless:
        sound = "yes" if row.sound else "**no**"
        lines.append(f"| {row.mutant.name} | {row.mutant.what} | {sound} |")
    return "\n".join(lines) + "\n"


def _verdict(row: Row) -> str:
    if row.mutant.equivalent:
        return f"equivalent: {row.mutant.equivalent}"
    if row.mutant.left_open:
        return f"left open: {row.mutant.left_open}"
    return ", ".join(sorted(row.killers)) or "**lives**"
