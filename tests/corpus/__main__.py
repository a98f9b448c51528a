"""Draft and run the configs of other projects: `make corpus CONFIGS=folder`.

    python -m tests.corpus FOLDER [--envoy VERSION] [--jobs N] [--timeout S] [--json FILE]
        [--markdown FILE] [--keep DIR]

FOLDER has a folder per project, with its configs at any depth: bootstraps, sets of listeners,
dumps. Each is drafted, run as drafted, and compared with itself as `envoyassert plan` does. Counted
are: passed, failed, inconclusive, refused by Envoy (`--mode validate` of the file
itself), or not a config. The numbers by project come last. Ends with 1 if a config failed or was
inconclusive, or if `plan` has something to report between one and itself.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
from pathlib import Path

from envoyassert.launch.sweep import sweep
from envoyassert.scenario.plan import DEFAULT_VERSION
from tests.corpus.pool import try_all
from tests.corpus.table import document, summary, table_lines, tried
from tests.corpus.trial import Outcome, Result
from tests.corpus.worker import work


def configs_of(folder: Path) -> list[tuple[str, str]]:
    """Return project and path below it of every file of a corpus, in order."""
    return [
        (project.name, str(file.relative_to(project)))
        for project in sorted(folder.iterdir())
        if project.is_dir()
        for file in sorted(project.rglob("*"))
        if file.is_file()
    ]


def folder_of(argument: str) -> Path:
    """Return the folder that an argument names.

    Raises:
        argparse.ArgumentTypeError: it names none.
    """
    if not argument or not Path(argument).is_dir():
        raise argparse.ArgumentTypeError(
            f"there is no folder {argument!r}; name one: make corpus CONFIGS=FOLDER"
        )
    return Path(argument)


def page(results: list[Result], envoy: str) -> str:
    """Return the page of a corpus, in Markdown.

    Args:
        results: what came of each file.
        envoy: version of Envoy.
    """
    head = f"""\
# Drafts of public configs

Configs of other projects, drafted by `envoyassert draft` and run as drafted on Envoy {envoy}. The
configs are no part of this repository. Written by `make corpus CONFIGS=FOLDER
ARGS="--markdown docs/corpus.md"`; do not edit.

{summary(results)}

*Refused by Envoy*: `envoy --mode validate` does not take the file itself (of a set of listeners:
their addresses), or Envoy gives it up when it starts. *With --stand-in*: of those that passed, the
ones that name files which are not there. *Plan: the same*: `envoyassert plan` has nothing to report
between the config and itself.

"""
    return head + "".join(f"{line}\n" for line in table_lines(results))


def main() -> int:
    """Read the arguments, try everything, and write what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus")
    parser.add_argument("folder", type=folder_of, help="a folder per project, configs below it")
    parser.add_argument("--envoy", default=DEFAULT_VERSION, help="version of Envoy")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one config")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep drafts and traces there")
    options = parser.parse_args()
    sweep()
    configs = configs_of(options.folder)
    if not configs:
        parser.error(f"no file in a folder of {options.folder}: it has a folder per project")
    job = functools.partial(work, folder=options.folder, envoy=options.envoy, keep=options.keep)
    begun = time.monotonic()
    results: list[Result] = []
    for result in try_all(configs, options.jobs, options.timeout, job):
        results.append(result)
        if result.outcome is not Outcome.PASSED or result.difference:
            place = f"{len(results)}/{len(configs)} {result.project}/{result.file}"
            print(
                f"{place}: {result.outcome.value}: {result.reason or result.difference}", flush=True
            )
    took_s = time.monotonic() - begun
    if options.json:
        text = json.dumps(document(results, options.envoy), indent=1, ensure_ascii=False)
        options.json.write_text(f"{text}\n", "utf-8")
    if options.markdown:
        options.markdown.write_text(page(results, options.envoy), "utf-8")
    print(f"{len(results)} files in {took_s:.0f} s on {options.jobs} processes")
    print(summary(results))
    good = all(one.outcome is Outcome.PASSED and one.same for one in tried(results))
    return 0 if results and good else 1


if __name__ == "__main__":
    sys.exit(main())
