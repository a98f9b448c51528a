"""`envoyassert run`: run scenarios; thin over pytest."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli import exits
from envoyassert.cli.options import (
    check_strace,
    format_option,
    launchers_option,
    refuse_beside,
    tracer_options,
    untrusted_option,
)
from envoyassert.cli.output import say_usage
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.shard import shard_arguments, shard_options
from envoyassert.cli.where import need_linux
from envoyassert.outputs.output import Output
from envoyassert.outputs.registry import output_options

if TYPE_CHECKING:
    import pytest

    from envoyassert.outputs import events

# pytest would rewrite the asserts of a plugin's package, and warns that this command imported it.
_QUIET = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
# No conftest.py and no ini file of the directory, which pytest would execute or take plugins from,
# and no cache, which it would write there. What the user says behind these counts.
_UNTRUSTED = (
    *("--envoyassert-untrusted", "--noconftest", "-p", "no:cacheprovider"),
    *("-c", os.devnull, "--rootdir", os.curdir),
)


def _output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of outputs."""
    for option in output_options():
        if option.help_of_run:
            name = f"--{option.name.replace('_', '-')}"
            what = {"metavar": option.metavar} if option.metavar else {"is_flag": True}
            command = click.option(name, help=option.help_of_run, **what)(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("paths", nargs=-1, type=click.Path())
@launchers_option
@click.option(
    "--envoy",
    "envoys",
    multiple=True,
    metavar="VERSION|IMAGE|BINARY",
    help="Run on this Envoy instead of the scenarios' own; repeat it for several.",
)
@click.option(
    "--against",
    metavar="VERSION|IMAGE|BINARY",
    help="Run everything on this Envoy too, and show what differs.",
)
# `-o` is pytest's here, for values of its ini file.
@format_option("--output", meaning="With --against: json prints the comparison alone.")
@click.option(
    "--once",
    is_flag=True,
    help="Run each scenario with the middle value of each axis of its matrix alone.",
)
@click.option("--artifacts", metavar="DIR", help="Where traces of what did not pass are kept.")
@click.option("--require", metavar="bpf,docker,envoy", help="Fail where one of these is missing.")
@click.option("--pull", metavar="never|missing|always", help="When images are pulled.")
@click.option(
    "--keep", metavar="failed|all", help="Which traces are kept: of what did not pass, or all."
)
@click.option("--debug-dir", metavar="DIR", help="Where separate debug files are, for stacks.")
@click.option(
    "--rerun-inconclusive", metavar="0|1", help="Repeat a run that was INCONCLUSIVE, once."
)
@click.option(
    "--update", "updates", is_flag=True, help="Rewrite the numbers that failed in the scenarios."
)
@click.option("--yes", is_flag=True, help="With --update: write without a question.")
@shard_options
@tracer_options
@untrusted_option
@_output_options
def run(
    paths: tuple[str, ...],
    launchers: tuple[str, ...],
    envoys: tuple[str, ...],
    against: str | None,
    output: str,
    untrusted: bool,
    updates: bool,
    yes: bool,
    shard: str | None,
    durations_path: Path | None,
    **given: str | bool | None,
) -> int:
    """Run scenarios on a real Envoy and judge them.

    PATHS are scenario files or directories; further options are pytest's (-k, -n, -x, -v,
    --junitxml=FILE). Each run has a line when it is over, on a terminal also while it lasts; -v
    prints its story.

    Exit code: 0 pass, 1 fail, 4 invalid scenario, 5 nothing to run, 10 inconclusive, 77
    machine not supported. With --against those of diff(1): 0 the same, 1 something differs or the
    new Envoy fails, 2 trouble, or not known.

    Example: sudo envoyassert run scenarios/ --envoy 1.36.4 --envoy 1.40.0 -k reuse_port

    Example: sudo envoyassert run scenarios/ --against 1.36.4 --envoy 1.40.0
    """
    if output == "json" and against is None:
        raise click.UsageError(
            "--format json goes with --against; for the results of a run say --report DIR"
        )
    if against is not None:
        refuse_beside("--against", "baseline", "update_baseline", "shard")
    paths = (*shard_arguments(shard, durations_path), *paths)
    if updates:
        return _update(paths, launchers, envoys, given, yes=yes)
    need_linux()
    return run_scenarios(paths, launchers, envoys, given, against, output, untrusted=untrusted)


def _update(
    paths: tuple[str, ...],
    launchers: tuple[str, ...],
    envoys: tuple[str, ...],
    given: Mapping[str, str | bool | None],
    *,
    yes: bool,
) -> int:
    """Run scenarios, and rewrite the numbers of them that failed."""
    from envoyassert.cli.renumber import Renumbering, refuse_in_ci

    refuse_beside("--update", "against", "keep", "untrusted", "update_baseline")
    refuse_in_ci()
    need_linux()
    renumbering = Renumbering(yes=yes)
    named = {**given, "keep": "all"}
    code = run_scenarios(paths, launchers, envoys, named, more=[renumbering])
    if code in (exits.PASSED, exits.FAILED, exits.INCONCLUSIVE) and renumbering.offer():
        return exits.PASSED
    return code


def run_scenarios(
    paths: tuple[str, ...],
    launchers: tuple[str, ...],
    envoys: tuple[str, ...],
    given: Mapping[str, str | bool | None],
    against: str | None = None,
    output: str = "text",
    *,
    untrusted: bool = False,
    more: Sequence[Output] = (),
) -> int:
    """Run scenarios by pytest and return the exit code of the command.

    Args:
        paths: scenario files, directories, and options for pytest.
        launchers: values of `--launcher`.
        envoys: values of `--envoy`.
        given: values of the options that the pytest plugin has too, by name; True for a flag.
        against: value of `--against`.
        output: value of `--format`.
        untrusted: whether `--untrusted` was given.
        more: outputs beside those of every session.
    """
    import pytest

    from envoyassert.cli.session_plugins import Arguments, OwnNames

    flags = [name for name, value in given.items() if value is True]
    named_values = {
        name: value for name, value in given.items() if isinstance(value, str) and value
    }
    _check(launchers, envoys, named_values)
    check_strace(named_values.get("tracer"), named_values.get("witness"))
    options = [f"--envoyassert-launcher={launcher}" for launcher in launchers]
    if against is None:
        options += [f"--envoyassert-envoy={envoy}" for envoy in envoys]
    options += [
        f"--envoyassert-{name.replace('_', '-')}={value}" for name, value in named_values.items()
    ]
    options += [f"--envoyassert-{name.replace('_', '-')}" for name in flags]
    if untrusted:
        options += _UNTRUSTED
    arguments = [*_QUIET, *options, *paths]
    own = [name for option in click.get_current_context().command.params for name in option.opts]
    outcome = _Outcome()
    found = [Arguments(own), OwnNames(own), _Outputs(outcome, *more)]
    if against is not None:
        return _compare(against, envoys, arguments, found, outcome, output)
    from envoyassert.cli.session_plugins import IsolatedWorkers, OwnLines, Spared
    from envoyassert.pytest_plugin.dealing import Dealing

    plugins = [*found, Dealing(), IsolatedWorkers(), OwnLines(), Spared()]
    code = int(pytest.main([*_shown(paths), *arguments], plugins=plugins))
    return outcome.exit_code(code)


def _shown(options: Sequence[str]) -> list[str]:
    """Return the options for what is shown, by pytest's own for more or less of it."""
    if any(re.fullmatch("-v+|--verbose", option) for option in options):
        return ["--envoyassert-story"]
    if any(re.fullmatch("-q+|--quiet", option) for option in options):
        return []
    # The percentages of pytest's own lines would have no line to stand in.
    return ["-o", "console_output_style=classic"]


def _check(launchers: tuple[str, ...], envoys: tuple[str, ...], values: Mapping[str, str]) -> None:
    """Look at the values of the options before anything else, whatever there is to run.

    Raises:
        click.UsageError: a value is not known.
    """
    import pytest

    from envoyassert.pytest_plugin.options import ALLOWED, separated

    try:
        separated(launchers, "--launcher", ALLOWED["launcher"])
        for name, value in values.items():
            separated([value], f"--{name.replace('_', '-')}", ALLOWED.get(name))
    except pytest.UsageError as error:
        raise click.UsageError(str(error)) from error
    for envoy in separated(envoys, "--envoy"):
        envoy_of(envoy)


def _compare(
    against: str,
    envoys: tuple[str, ...],
    arguments: list[str],
    plugins: list[object],
    outcome: _Outcome,
    output: str,
) -> int:
    from envoyassert.cli.against import Against
    from envoyassert.cli.exits import TROUBLE

    try:
        return Against(against, envoys).run(arguments, plugins, outcome, output)
    except click.UsageError as error:
        say_usage(error)
        return TROUBLE


class _Outputs:
    """A pytest plugin that adds outputs to those of a session."""

    def __init__(self, *outputs: Output) -> None:
        self._outputs = outputs

    def pytest_configure(self, config: pytest.Config) -> None:
        """Add them."""
        from envoyassert.pytest_plugin.session import stream_of

        stream_of(config).outputs += self._outputs


class _Outcome(Output):
    """An output that separates the exit codes that pytest has one number for."""

    title = "the exit code"

    def __init__(self) -> None:
        self._invalid = False
        self._ended: events.SessionEnded | None = None

    def file_refused(self, event: events.FileRefused) -> None:
        """Take note of a file that is no valid scenario."""
        self._invalid = True

    def session_ended(self, event: events.SessionEnded) -> None:
        """Take note of how everything went."""
        self._ended = event

    def exit_code(self, code: int) -> int:
        """Return the exit code of the command.

        Args:
            code: pytest's.
        """
        if self._invalid:
            return exits.USAGE
        if code != exits.FAILED:
            return exits.FAILED if code > exits.NOTHING else code
        ended = self._ended
        if ended is None:
            return exits.FAILED
        if ended.scenario_errors:
            return exits.USAGE
        outcomes = {record.outcome for record in ended.records.values()}
        lacks = bool(ended.machine_errors or ended.nothing_ran)
        return exits.of_outcomes(outcomes, of_machine=lacks)
