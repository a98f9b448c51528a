"""The model's predictions against real Envoys: `make predict`, `make predict CONFIGS=folder`.

    python -m tests.predict [FOLDER] [--envoy VERSION]... [--count N] [--seed S] [--keep DIR]

Configs are made at random, the same for the same seed, or they are the files of a folder. Of each
Envoy it is printed how many are as predicted, how many facts were compared, and the share of facts
that the model declines. Ends with 1 if anything differs that is not in the list of known
differences, or if the model declines 5 % of the facts or more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from envoyassert.cli.draft import drafted
from envoyassert.draft.scenario_text import draft_text
from envoyassert.errors import EnvoyAssertError, LaunchError, MachineError, ScenarioError
from envoyassert.explore.case import Case
from envoyassert.explore.configs import cases
from envoyassert.explore.difference import known_differences
from envoyassert.explore.search import Counts, Search
from envoyassert.explore.text import difference_lines, summary_lines
from envoyassert.explore.trial import Outcome, Tried, try_case, try_text
from envoyassert.interrupts import interrupt_on_signals
from envoyassert.launch.sweep import sweep
from envoyassert.predict.prediction import Prediction
from envoyassert.probe import Probe
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import items_of, proto_field
from envoyassert.scenario.load import read_text
from envoyassert.scenario.plan import DEFAULT_VERSION, RequirementUnmetError
from tests.corpus.trial import kind_of

#: Of all facts, the model declines less than this.
MOST_DECLINED = 0.05
_NO_END_S = float("inf")


def main() -> int:
    """Read the arguments, try everything on each Envoy, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.predict")
    parser.add_argument("folder", nargs="?", default="", help="instead of configs made at random")
    parser.add_argument("--envoy", action="append", metavar="VERSION", help="may be repeated")
    parser.add_argument("--count", type=int, default=500, help="configs made for each Envoy [500]")
    parser.add_argument("--seed", type=int, default=20, help="by which they are made [20]")
    options = parser.parse_args()
    if options.folder and not Path(options.folder).is_dir():
        parser.error(
            f"there is no folder {options.folder!r}; name one: make predict CONFIGS=FOLDER"
        )
    interrupt_on_signals()
    sweep()
    good = True
    with Probe.load() as probe:
        for version in options.envoy or [DEFAULT_VERSION]:
            begun = time.monotonic()
            if options.folder:
                counts = of_folder(Path(options.folder), version, probe)
            else:
                counts = of_made(version, options.count, options.seed, probe)
            took_s = time.monotonic() - begun
            for found in counts.found:
                print("\n".join(difference_lines(found)))
            print(f"Envoy {version}, {took_s:.0f} s")
            print("\n".join(summary_lines(counts)), flush=True)
            good &= is_good(counts)
    return 0 if good else 1


def is_good(counts: Counts) -> bool:
    """Return whether everything that ran is as predicted, or known; and enough was predicted."""
    ran = counts.outcomes[Outcome.AGREES] + counts.outcomes[Outcome.DIFFERS]
    whole = not counts.outcomes[Outcome.OPEN] and not counts.found
    return whole and ran > 0 and counts.declined_share < MOST_DECLINED


def of_made(version: str, count: int, seed: int, probe: Probe) -> Counts:
    """Try configs made at random.

    Args:
        version: of Envoy.
        count: how many.
        seed: by which they are made.
        probe: a loaded probe.
    """

    def attempt(case: Case) -> Tried:
        return try_case(case, version, probe)

    search = Search(attempt, known_differences(), version, _NO_END_S, shrink=False)
    while (left := count - search.counts.runs) > 0:
        search.round(cases(version), seed, left)
        seed += 1
    return search.counts


def of_folder(folder: Path, version: str, probe: Probe) -> Counts:
    """Try the bootstraps of a folder, at any depth.

    Args:
        folder: the folder.
        version: of Envoy.
        probe: a loaded probe.
    """
    search = Search(lambda case: Tried(Outcome.OPEN), known_differences(), version, _NO_END_S)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            data = parse_envoy_file(read_text(path), str(path)).data
        except ScenarioError:
            continue
        if kind_of(data) != "bootstrap":
            continue
        try:
            tried = try_file(path, version, probe)
        except (LaunchError, MachineError):
            raise
        except RequirementUnmetError as error:
            # The model says that this Envoy does not take it.
            tried = Tried(Outcome.REFUSED, said=str(error))
        except EnvoyAssertError as error:
            tried = Tried(Outcome.OPEN, said=f"{path.name}: {error}")
        if tried.outcome is not Outcome.AGREES:
            print(f"{path.relative_to(folder)}: {tried.outcome.value}: {tried.said}", flush=True)
        static = proto_field(data, "static_resources")
        listeners = tuple(items_of(proto_field(static, "listeners")))
        search.note(Case(2, listeners, data), tried)
    return search.counts


def try_file(path: Path, version: str, probe: Probe) -> Tried:
    """Predict what Envoy does with a file, run it, and compare the two.

    Args:
        path: a bootstrap.
        version: of Envoy.
        probe: a loaded probe.

    Raises:
        EnvoyAssertError: it cannot be drafted or run.
    """
    found, _ = drafted(path)
    text = draft_text(found, "explored", path.name, path.name)
    predicted = Prediction(found.concurrency, found.sets)
    return try_text(text, predicted, version, probe, path.parent)


if __name__ == "__main__":
    sys.exit(main())
