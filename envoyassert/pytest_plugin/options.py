"""The plugin's options: from the command line, else the environment, else the ini file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from envoyassert.outputs.registry import output_options
from envoyassert.starter import TRACES

#: The known values of options that have a list of them.
ALLOWED = {
    "launcher": ("auto", "docker", "process"),
    # A browser is for what draws pages, this project's own tests above all.
    "require": ("bpf", "docker", "envoy", "browser"),
    "pull": ("never", "missing", "always"),
    "keep": ("failed", "all"),
    "rerun_inconclusive": ("0", "1"),
    "tracer": ("ebpf", "strace"),
    "witness": ("strace",),
}
#: The words of an environment variable for yes and no.
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
DEFAULT_ARTIFACTS = TRACES
FILE_SUFFIXES = (".envoyassert.yaml", ".envoyassert.yml")
YAML_SUFFIXES = (".yaml", ".yml")


#: The options of runs, by their names behind `--envoyassert-`, as pytest takes them.
_OF_RUNS: Mapping[str, Mapping[str, str]] = {
    "launcher": {
        "action": "append",
        "metavar": "auto|docker|process",
        "help": "Start Envoy this way (default: auto). Repeat it to run every scenario both ways.",
    },
    "envoy": {
        "action": "append",
        "metavar": "VERSION|IMAGE|BINARY",
        "help": "Run every scenario on this Envoy instead of its own. Repeat it for several "
        "Envoys.",
    },
    "require": {
        "metavar": "bpf,docker,envoy",
        "help": "Fail where one of these is missing instead of skipping.",
    },
    "artifacts": {
        "metavar": "DIR",
        "help": "Where traces and logs of what did not pass are kept "
        f"(default: {DEFAULT_ARTIFACTS}).",
    },
    "pull": {
        "metavar": "never|missing|always",
        "help": "When images are pulled (default: what the scenario says, else missing).",
    },
    "keep": {
        "metavar": "failed|all",
        "help": "Which traces and logs are kept: of what did not pass (default), or of all runs.",
    },
    "rerun-inconclusive": {
        "metavar": "0|1",
        "help": "Repeat a run that was INCONCLUSIVE so many times (default: 0); the second verdict "
        "counts, and both are reported.",
    },
    "debug-dir": {
        "action": "append",
        "metavar": "DIR",
        "help": "Look for separate debug files there too (by build id), for the names of functions "
        "in stacks. Repeat it for several.",
    },
    "tracer": {
        "metavar": "ebpf|strace",
        "help": "What records runs: eBPF probes (default; root and bcc), or strace, which needs "
        "neither, slows Envoy down and says what it does not see.",
    },
    "witness": {
        "metavar": "strace",
        "help": "Let strace record every run beside the probes, and hold the two against each "
        "other.",
    },
    "once": {
        "action": "store_true",
        "help": "Run each scenario once on each Envoy and launcher: of each axis of its matrix, "
        "the value in the middle.",
    },
    "untrusted": {
        "action": "store_true",
        "help": "Refuse, before anything is run, what of a scenario file is not known to be "
        "harmless: executables, images, agents, files and links outside, networks beyond the "
        "loopback.",
    },
}


def add_options(parser: pytest.Parser) -> None:
    """Register options and ini values; each option has an ini value, which is its default."""
    group = parser.getgroup("envoyassert", "real Envoys, traced and judged")
    for name, attributes in _OF_RUNS.items():
        ini, default = f"envoyassert_{name.replace('-', '_')}", f"Default of --envoyassert-{name}."
        # Where `dest` is given, pytest does not compare it with that of every other option.
        group.addoption(f"--envoyassert-{name}", dest=ini, **attributes)
        action = attributes.get("action")
        if action == "append":
            parser.addini(ini, default, type="args", default=[])
        elif action == "store_true":
            parser.addini(ini, default, type="bool", default=False)
        else:
            parser.addini(ini, default, default="")
    for option in output_options():
        default = f"Default of {option.flag}."
        ini = f"envoyassert_{option.name}"
        if option.metavar:
            group.addoption(option.flag, dest=ini, metavar=option.metavar, help=option.help)
            parser.addini(ini, default, default="")
        else:
            group.addoption(option.flag, dest=ini, action="store_true", help=option.help)
            parser.addini(ini, default, type="bool", default=False)
    parser.addini(
        "envoyassert_files",
        "Globs of scenario files, relative to the root directory, beside *.envoyassert.yaml.",
        type="args",
        default=[],
    )


class Options(NamedTuple):
    """What the user asked for.

    Args:
        launchers: one or more of the known ones.
        launchers_given: whether the user named them.
        envoys: values of --envoyassert-envoy; empty for each scenario's own.
        require: capabilities that must not be missing.
        artifacts: directory for traces and logs.
        pull: one of the known values, or "" for what the scenario says.
        globs: further scenario files.
        keep: `failed` or `all`.
        reruns: how many times a run that was INCONCLUSIVE is repeated.
        debug_dirs: further directories with separate debug files.
        tracer: `ebpf` or `strace`.
        witness: `strace` for a second record of each run, or "".
        once: whether each axis of a matrix has but the value in its middle.
        untrusted: whether scenario files are untrusted.
    """

    launchers: tuple[str, ...]
    launchers_given: bool
    envoys: tuple[str, ...]
    require: frozenset[str]
    artifacts: str
    pull: str
    globs: tuple[str, ...]
    keep: str
    reruns: int
    debug_dirs: tuple[Path, ...]
    tracer: str
    witness: str
    once: bool
    untrusted: bool


def read_options(config: pytest.Config) -> Options:
    """Return the options of this session.

    Raises:
        pytest.UsageError: a value is not known; the message names where it came from.
    """
    launchers = _values(config, "launcher")
    pulls = _values(config, "pull")
    keeps = _values(config, "keep")
    reruns = _values(config, "rerun_inconclusive")
    tracer = next(iter(_values(config, "tracer")), "ebpf")
    witness = next(iter(_values(config, "witness")), "")
    if witness == tracer:
        raise pytest.UsageError(
            f"{tracer} records the run already: a second witness must be another"
        )
    envoys = _values(config, "envoy")
    if envoys:
        _check_envoys(envoys)
    return Options(
        launchers=launchers or ("auto",),
        launchers_given=bool(launchers),
        envoys=envoys,
        require=frozenset(_values(config, "require")),
        artifacts=_artifacts(config),
        pull=pulls[0] if pulls else "",
        globs=tuple(config.getini("envoyassert_files")),
        keep=keeps[0] if keeps else "failed",
        reruns=int(reruns[0]) if reruns else 0,
        debug_dirs=_debug_dirs(config),
        tracer=tracer,
        witness=witness,
        once=_is_set(config, "once"),
        untrusted=_is_set(config, "untrusted"),
    )


def output_values(config: pytest.Config) -> dict[str, str]:
    """Return the values of the options of outputs that were given, by name; `1` for a flag.

    Raises:
        pytest.UsageError: an environment variable of a flag is neither yes nor no.
    """
    values = {
        option.name: _directory(config, option.name)
        if option.metavar
        else "1" * _is_set(config, option.name)
        for option in output_options()
    }
    return {name: value for name, value in values.items() if value}


def _is_set(config: pytest.Config, name: str) -> bool:
    """Whether any of the three sources of a flag says so: none of them takes it back."""
    variable = f"ENVOYASSERT_{name.upper()}"
    word = os.environ.get(variable, "").lower()
    if word not in (*_YES, *_NO):
        raise pytest.UsageError(
            f"environment variable {variable}: `{word}` is neither "
            f"{', '.join(_YES)} nor {', '.join(filter(None, _NO))}"
        )
    option = f"--envoyassert-{name.replace('_', '-')}"
    given = config.getoption(option), config.getini(f"envoyassert_{name}")
    return any(given) or word in _YES


def _artifacts(config: pytest.Config) -> str:
    directory = _directory(config, "artifacts")
    if directory and Path(directory).exists() and not Path(directory).is_dir():
        raise pytest.UsageError(f"--envoyassert-artifacts: {directory} is no directory")
    return directory or DEFAULT_ARTIFACTS


def _debug_dirs(config: pytest.Config) -> tuple[Path, ...]:
    directories = tuple(Path(name) for name in _values(config, "debug_dir"))
    for directory in directories:
        if not directory.is_dir():
            raise pytest.UsageError(f"--envoyassert-debug-dir: {directory} is no directory")
    return directories


def _check_envoys(envoys: tuple[str, ...]) -> None:
    from envoyassert.errors import EnvoyUnavailableError
    from envoyassert.launch.envoy_source import parse_envoy_argument

    try:
        for text in envoys:
            parse_envoy_argument(text)
    except EnvoyUnavailableError as error:
        raise pytest.UsageError(f"--envoyassert-envoy: {error}") from error


def _values(config: pytest.Config, name: str) -> tuple[str, ...]:
    """Return the values of one option from the first source that has any."""
    for source, texts in _given(config, name):
        values = separated(texts, source, ALLOWED.get(name))
        if values:
            return values
    return ()


def _directory(config: pytest.Config, name: str) -> str:
    """Return the directory that one option names, or "" if no source names one."""
    return next((text for _, texts in _given(config, name) for text in texts if text), "")


def _given(config: pytest.Config, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each source of an option in words, and what it says, the strongest source first."""
    option = f"--envoyassert-{name.replace('_', '-')}"
    variable = f"ENVOYASSERT_{name.upper()}"
    for source, given in (
        (option, config.getoption(option)),
        (f"environment variable {variable}", os.environ.get(variable)),
        (f"ini option envoyassert_{name}", config.getini(f"envoyassert_{name}")),
    ):
        yield source, [given] if isinstance(given, str) else list(given or ())


def separated(
    texts: Iterable[str], source: str, allowed: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return the values in texts that may hold several with commas between, each value once.

    Args:
        texts: what was given.
        source: where, for the message.
        allowed: the known values; None if there is no such list.

    Raises:
        pytest.UsageError: a value is not known.
    """
    parts = (part.strip() for text in texts for part in text.split(","))
    values = tuple(dict.fromkeys(part for part in parts if part))
    for value in values:
        if allowed is not None and value not in allowed:
            raise pytest.UsageError(f"{source}: `{value}` is not one of {', '.join(allowed)}")
    return values
