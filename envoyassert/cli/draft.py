"""`envoyassert draft`: a first scenario for a config, a running Envoy, or a trace."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from envoyassert.cli.dumps import MAX_DUMP_BYTES, config_or_envoys, problems_of
from envoyassert.cli.options import dump_options, stand_in_option
from envoyassert.cli.output import say
from envoyassert.cli.where import need_linux
from envoyassert.draft.beside import files_beside
from envoyassert.draft.expected import Draft, DraftError, EnvoyField
from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.from_dump import bootstrap_of_dump, chosen, served_by_dump
from envoyassert.draft.from_trace import draft_of_trace, unlike
from envoyassert.draft.scenario_text import block_lines, draft_text
from envoyassert.draft.stand_in import bootstrap_of_draft
from envoyassert.errors import Problem, ScenarioError
from envoyassert.live.selection import ProcessSelection
from envoyassert.output_file import write_lines
from envoyassert.predict.dumped import Dumped, joined_dumps
from envoyassert.scenario.listeners import proto_field
from envoyassert.scenario.load import parse_scenario, read_text
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.vocabulary import OWN_ARGUMENT_PATTERN
from envoyassert.shown import shown
from envoyassert.state import is_state
from envoyassert.trace import FORMAT, OLD_FORMAT, Trace
from envoyassert.trace_file import parse_trace, trace_lines


@click.command()
@click.argument("source", metavar="[CONFIG|TRACE|URL]", required=False)
@click.argument("arguments", metavar="[-- ENVOY_ARGUMENTS]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--output",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the scenario here, NAME.yaml or NAME.envoyassert.yaml; without it, print it.",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(0, 1024),
    help="Envoy's --concurrency [that of the Envoy at URL, else 2].",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With a trace: the config that was run.",
)
@click.option(
    "--pid",
    type=click.IntRange(1),
    metavar="N",
    help="The state of an Envoy that runs, as `inspect` sees it; needs root.",
)
@dump_options("With a bootstrap: a dump, whose listeners are served in its control plane's place.")
@stand_in_option
@click.option("--force", is_flag=True, help="With -o: replace files that are there.")
def draft(
    source: str | None,
    arguments: tuple[str, ...],
    output: Path | None,
    concurrency: int | None,
    config: Path | None,
    pid: int | None,
    dump: Path | None,
    pod: str,
    stand_in: bool,
    force: bool,
) -> None:
    """Write a first scenario: what Envoy does with its sockets.

    CONFIG is a bootstrap, or a dump of a running Envoy: its /config_dump, or what istioctl, egctl
    and others print of it, a list of listeners, an LDS file; YAML or JSON. TRACE is a recorded run,
    or a state of `inspect -o`. URL is the admin endpoint of an Envoy that runs:
    http://HOST:PORT/config_dump, or unix:PATH of its socket.
    The scenario passes as it is, and fails when reuse_port, the concurrency, an address, a socket
    option or the backlog changes.

    For a dump, and for a trace without --config, a stand-in is written next to the scenario (or
    into what is printed): a config with the same sockets, without clusters, filters and secrets.

    What a bootstrap asks servers for is answered with nothing, or by --with DUMP; a line says so.
    Files that lie beside it are found there. Sockets and logs are made in the run directory, and
    with --stand-in files that this machine lacks, and clusters that the config does not have; a
    line names each.

    ENVOY_ARGUMENTS are what production starts Envoy with; the scenario has them too.

    Needs neither root nor an Envoy.

    Example: envoyassert draft envoy.yaml -o envoy.envoyassert.yaml
    """
    path, text = _source(source, pid, pod)
    if source is None:
        pod = ""
    workers = _workers_of(source, concurrency)
    with problems_of(path):
        found, written = drafted(
            path,
            workers.number,
            dump,
            pod,
            with_config=config is not None,
            stand_in=stand_in,
            text=text,
        )
    found = _noted(found, workers.notes)
    found = dataclasses.replace(found, actions=(*workers.actions, *found.actions))
    found = _with_arguments(found, arguments)
    scenario = output or Path(f"{_name(path.name)}.envoyassert.yaml")
    name = checked_name(scenario)
    used = scenario.with_name(f"{name}.envoy.yaml") if written is not None else config or path
    if output is not None and os.path.lexists(output) and not stat.S_ISREG(output.lstat().st_mode):
        raise click.UsageError(f"{output} is no file; leave -o out to print the scenario")
    if output is not None and output.resolve() in {path.resolve(), used.resolve()}:
        raise click.UsageError(f"{output} is the file to draft from; name another by -o")
    for file in () if output is None or force else (output, used):
        if os.path.lexists(file) and (file == output or written is not None):
            raise click.UsageError(f"{file} is there already; --force replaces it")
    if written is None and not used.is_file():
        raise click.UsageError(f"{used} is no file that a scenario can name; copy it into one")
    named: str | dict[str, Any] = _from(scenario.parent, used)
    if output is None and written is not None:
        named = written  # nothing is written, so it is part of what is printed
    text = draft_text(found, name, named, path.name)
    # A stand-in, or a directory, that is not there yet.
    apart = (output is not None and written is not None) or not scenario.parent.is_dir()
    _check(text, scenario, path, None if apart else scenario.parent)
    for one in found.envoy:
        named = f": {_stood_in(one.value)}" if one.key == "stand_in" else ""
        say(f"envoy.{one.key}: {one.why}{named}", err=True)
    for note in found.actions:
        say(f"note: {note}", err=True)
    if output is None:
        say(*text.removesuffix("\n").split("\n"))
        return
    if written is not None:
        plain = json.loads(json.dumps(written))  # no part twice, so no YAML aliases
        head = f"# The sockets of {shown(path.name)}, and nothing else of it."
        write_lines([head, *block_lines(plain)], used)
        say(f"wrote {used}")
    write_lines(text.splitlines(), output)
    say(f"wrote {output}")


def _source(source: str | None, pid: int | None, pod: str) -> tuple[Path, str | None]:
    """Return the file to draft from, or what stands for its name with what it would hold.

    Without a file a pod is one that runs on this machine.

    Raises:
        click.UsageError: there is no such file, or not one source.
        EnvoyAssertError: the Envoy that runs cannot be asked.
    """
    if pid is not None and (source is not None or pod):
        raise click.UsageError("--pid says what to draft from; leave out the rest")
    if source is None and (pid is not None or pod):
        need_linux()
        from envoyassert.attach.session import chosen_running
        from envoyassert.witness.running import state_of

        if pid is None:
            (pid,) = chosen_running(ProcessSelection(pod=pod), everyone=False)
        return Path(f"process_{pid}"), "\n".join(trace_lines(state_of(pid)))
    if source is None:
        raise click.UsageError(
            "name a config, a dump, a trace, an admin endpoint, --pid N, or --pod NAMESPACE/POD"
        )
    if _is_live(source):
        from envoyassert.launch.live_dump import fetch_dump

        return Path(source), fetch_dump(source, MAX_DUMP_BYTES)
    checked = click.Path(exists=True, dir_okay=False, path_type=Path)
    return Path(str(checked.convert(source, None, None))), None


def _is_live(source: str) -> bool:
    return "://" in source or source.startswith("unix:")


def _stood_in(files: Mapping[str, Any]) -> str:
    """Return the names of a config's files, each with what is in its place: a file, or a kind."""
    places = (
        (name, kind["file"] if isinstance(kind, dict) else kind) for name, kind in files.items()
    )
    return ", ".join(f"{name} ({place})" for name, place in places)


class _Workers(NamedTuple):
    """How many workers are asked for, None for what the draft takes; notes and actions of it."""

    number: int | None
    notes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


def _workers_of(source: str | None, concurrency: int | None) -> _Workers:
    """Return the concurrency of a draft: what is asked for, else that of an Envoy that runs."""
    if concurrency is not None or source is None or not _is_live(source):
        return _Workers(concurrency)
    from envoyassert.launch.live_dump import fetch_concurrency

    found, why = fetch_concurrency(source)
    if found is not None:
        return _Workers(found, (f"the Envoy that runs has concurrency {found}, by /server_info",))
    note = f"the concurrency of this Envoy is not known ({why}): --concurrency says it"
    return _Workers(None, (note,), (note,))


def _check(text: str, scenario: Path, source: Path, directory: Path | None) -> None:
    """Make sure that a drafted scenario is valid: that it is not is said here, not by its run.

    Args:
        text: the scenario.
        scenario: its file.
        source: the file that it was drafted from.
        directory: where the config lies; None if it is not to be read.

    Raises:
        ScenarioError: it is not, for what it is drafted from has what no scenario can say.
    """
    try:
        loaded = parse_scenario(text, scenario, directory=directory)
        if directory is not None:
            expand(loaded)
    except ScenarioError as error:
        said = error.problems[0].message
        message = f"what would be drafted from this is no valid scenario: {said}"
        raise ScenarioError([Problem(str(source), 1, 1, message)]) from error


def _from(directory: Path, file: Path) -> str:
    """Return how a file is named from a directory, either of which may be reached by a link."""
    return os.path.relpath(file.parent.resolve() / file.name, directory.resolve())


def _name(file: str) -> str:
    """Return the name of the scenario that a file is called after."""
    name = re.sub(r"\W+", "_", file.partition(".")[0].lower()).strip("_")
    return name if name[:1].isalpha() else f"envoy_{name}".rstrip("_")


def checked_name(scenario: Path, option: str = "-o") -> str:
    """Return the name of the scenario that is written to a file.

    Raises:
        click.UsageError: the file is not called like any scenario.
    """
    name = _name(scenario.name)
    if scenario.name.removesuffix(scenario.suffix).removesuffix(".envoyassert") != name:
        raise click.UsageError(f"a scenario's file is called like it: say {option} {name}.yaml")
    return name


def drafted(
    path: Path,
    concurrency: int | None = None,
    served: Path | None = None,
    pod: str = "",
    *,
    with_config: bool = False,
    stand_in: bool = False,
    text: str | None = None,
) -> tuple[Draft, dict[str, Any] | None]:
    """Return the draft of a file, and the stand-in for the config if there must be one.

    Args:
        path: a bootstrap, a dump or a trace.
        concurrency: Envoy's --concurrency; None for what the draft takes by itself.
        served: a dump whose listeners are served; None for none.
        pod: of a dump of several Envoys, which; "" for the only one.
        with_config: whether the config of a trace is at hand.
        stand_in: whether files that this machine lacks are stood in for.
        text: what is drafted, where the path is only its name.

    Raises:
        DraftError: nothing can be drafted from it.
        ScenarioError: a file is not valid.
        click.UsageError: these do not go together.
    """
    if text is None:
        text = read_text(path, MAX_DUMP_BYTES)
    if is_trace(text):
        if served is not None or pod:
            raise click.UsageError(f"--{'pod' if pod else 'with'} does not go with a trace")
        trace = parse_trace(text.splitlines(), str(path))
        if is_state(trace.header.unobserved):
            return _of_state(path, trace, concurrency, with_config=with_config, stand_in=stand_in)
        return _of_trace(trace, concurrency, with_config)
    if with_config:
        raise click.UsageError("--config goes with a trace")
    config, envoys = config_or_envoys(text, str(path))
    of = functools.partial(_of_config, path.parent, concurrency, stand_in=stand_in)
    if served is None:
        if not envoys:
            if pod:
                raise click.UsageError("--pod goes with a dump")
            return of(config), None
        return _of_dump(chosen(envoys, pod), of)
    theirs = _served(served, pod)
    if envoys:
        one = chosen(envoys, pod if len(envoys) > 1 else "")
        if one.whole or one.served:
            raise click.UsageError("--with goes with a bootstrap")
        return _of_dump(joined_dumps(one, theirs), of)
    with problems_of(served):
        listeners, notes = served_by_dump(theirs, config)
    return _noted(of(config, listeners), notes), None


def _of_dump(dump: Dumped, of: Callable[[Any], Draft]) -> tuple[Draft, dict[str, Any]]:
    bootstrap, notes = bootstrap_of_dump(dump)
    return _noted(of(bootstrap), notes), bootstrap


def _noted(drafted: Draft, notes: Sequence[str]) -> Draft:
    return dataclasses.replace(drafted, notes=(*notes, *drafted.notes))


def _served(path: Path, pod: str) -> Dumped:
    """Return what a dump has that is served instead of a control plane."""
    _, envoys = config_or_envoys(read_text(path, MAX_DUMP_BYTES), str(path))
    with problems_of(path):
        if not envoys:
            raise DraftError("this is no dump", "ask Envoy: curl 127.0.0.1:PORT/config_dump")
        return chosen(envoys, pod)


def _of_config(
    directory: Path,
    concurrency: int | None,
    config: Any,
    served: list[dict[str, Any]] | None = None,
    *,
    stand_in: bool,
) -> Draft:
    """Return the draft of a config that lies in a directory, and of listeners that are served."""
    whole = {**config, "xds": served} if served else config
    beside = files_beside(whole, directory, stand_in=stand_in)
    own = proto_field(beside.config, "xds") if served else None
    alone = {key: value for key, value in beside.config.items() if key != "xds" or not served}
    drafted = draft_of_config(alone, concurrency, own, beside.listeners)
    as_written = {"via": "file", "listeners": served}  # a run gives its files their names
    fields = (
        dataclasses.replace(one, value=as_written) if one.key == "xds" else one
        for one in drafted.envoy
    )
    actions = () if stand_in else beside.notes  # there is the option to stand in for them
    drafted = dataclasses.replace(drafted, envoy=(*beside.fields, *fields), actions=actions)
    return _noted(drafted, beside.notes)


def _with_arguments(found: Draft, arguments: tuple[str, ...]) -> Draft:
    """Return a draft whose Envoy is given further arguments."""
    for argument in arguments:
        if re.match(OWN_ARGUMENT_PATTERN, argument):
            raise click.UsageError(f"{argument}: the draft says this itself, see its --help")
    if arguments and not arguments[0].startswith("-"):
        raise click.UsageError(f"{arguments[0]} is one too many: Envoy's own arguments follow `--`")
    if not arguments:
        return found
    given = {argument.partition("=")[0] for argument in arguments}
    own: list[str] = next((one.value for one in found.envoy if one.key == "args"), [])
    pairs = [own[at : at + 2] for at in range(0, len(own), 2)]
    more = [word for pair in pairs if pair[0] not in given for word in pair]
    said = EnvoyField("args", [*arguments, *more], "as production starts it")
    others = (one for one in found.envoy if one.key != "args")
    return dataclasses.replace(found, envoy=(said, *others))


def is_trace(text: str) -> bool:
    """Return whether a file's text is a trace."""
    return any(f'"format": "{known}"' in text[:200] for known in (FORMAT, OLD_FORMAT))


def _of_state(
    path: Path, trace: Trace, concurrency: int | None, *, with_config: bool, stand_in: bool
) -> tuple[Draft, dict[str, Any]]:
    """Return what Envoy does at a start that leads to a state, as far as that is known."""
    if with_config:
        raise click.UsageError("--config means nothing beside a state: draft the config itself")
    seen = draft_of_trace(trace)
    bootstrap, notes = bootstrap_of_draft(seen)
    asked = concurrency if concurrency is not None else seen.concurrency
    found = _of_config(path.parent, asked, bootstrap, stand_in=stand_in)
    notes.append("what was seen is a state: what the start does is what Envoy does to get there")
    return _noted(found, [*notes, *unlike(seen, found)]), bootstrap


def _of_trace(
    trace: Trace, concurrency: int | None, with_config: bool
) -> tuple[Draft, dict[str, Any] | None]:
    if concurrency is not None:
        raise click.UsageError("a trace says itself which concurrency it was")
    drafted = draft_of_trace(trace)
    if with_config:
        return drafted, None
    bootstrap, notes = bootstrap_of_draft(drafted)
    return _noted(drafted, notes), bootstrap
