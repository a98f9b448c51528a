"""Whether each scenario means the same whenever it is run: `make determinism RUNS=30`.

    python -m tests.soak.determinism [--runs N] [--envoy VERSION] [SCENARIO...]

Every run is folded into its story without what is volatile. Facts that vary are printed with how
often it was what. Ends with 1 if a fact varies that is not listed in MAY_VARY, if an expectation
was answered differently, or if a run was anything but good.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from envoyassert.scenario.plan import DEFAULT_VERSION
from envoyassert.trace_file import read_trace
from tests.soak.meaning import Facts, answers_of, facts_of, varying
from tests.soak.rounds import SCENARIOS, play

#: Aspects that differ from run to run in a sound Envoy, and why.
MAY_VARY: dict[str, str] = {}


def main() -> int:
    """Read the arguments, run, and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.determinism")
    parser.add_argument(
        "scenarios", nargs="*", type=Path, help="files; all shipped ones by default"
    )
    parser.add_argument("--runs", type=int, default=30, help="how often each is run")
    parser.add_argument("--envoy", default=DEFAULT_VERSION, help="version, image or binary")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.scenarios] or SCENARIOS
    stories: dict[str, list[Facts]] = {}
    answers: dict[str, list[Facts]] = {}
    bad: Counter[str] = Counter()
    for number in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="envoyassert-determinism-") as directory:
            report = Path(directory)
            for result in play(
                report, options.envoy, "--keep", "all", "-n", "auto", scenarios=paths
            ):
                name = result.document.run
                if not result.is_good:
                    bad[f"{name}: {result.document.outcome}: {result.document.reason}"] += 1
                if result.trace is not None:
                    stories.setdefault(name, []).append(facts_of(read_trace(result.trace)))
                answers.setdefault(name, []).append(answers_of(result.document))
        print(f"round {number + 1} of {options.runs}", file=sys.stderr, flush=True)
    return print_stories(stories, answers, bad)


def print_stories(
    stories: dict[str, list[Facts]], answers: dict[str, list[Facts]], bad: Counter[str]
) -> int:
    """Print what varies, and return 1 if something does that must not.

    Args:
        stories: the facts of each run of a scenario, by the name of the run.
        answers: the answers of its expectations, likewise.
        bad: runs that were not good, with how often.
    """
    wrong = 0
    same = 0
    for name, runs in stories.items():
        found = list(varying(runs))
        same += not found
        for (subject, aspect), seen in found:
            reason = MAY_VARY.get(aspect, "")
            wrong += not reason
            values = "; ".join(f"{value} ({times} x)" for value, times in seen.most_common())
            print(f"{name}: {subject}: {aspect}: {values}{f' - {reason}' if reason else ''}")
    for name, runs in answers.items():
        for (subject, path), seen in varying(runs):
            wrong += 1
            values = "; ".join(f"{value} ({times} x)" for value, times in seen.most_common())
            print(f"{name}: EXPECTATION {subject} {path}: {values}")
    for text, times in bad.items():
        print(f"NOT GOOD {text} ({times} x)")
    runs_each = max(map(len, stories.values()), default=0)
    print(f"{same} of {len(stories)} runs have the same story {runs_each} times over")
    return 1 if wrong or bad or not stories else 0


if __name__ == "__main__":
    sys.exit(main())
