"""What a control plane makes of one run: its bootstrap, its files, the listeners to come."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from envoyassert.naming import ListenerRecord
from envoyassert.scenario.absent import (
    NO_RESOURCES,
    NOTHING,
    source_names,
    with_empty_clusters,
    with_node,
    without_servers,
)
from envoyassert.scenario.complaint import Complaint, complaints_of
from envoyassert.scenario.config_files import STAND_IN, with_own_files
from envoyassert.scenario.file_names import collisions, is_own
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovers_listeners,
)
from envoyassert.scenario.model import Envoy, Scenario
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.own_namespaces import with_own_namespaces
from envoyassert.scenario.xds import (
    DIRECTORY,
    FILE,
    Xds,
    XdsError,
    discovery_response,
    with_control_plane,
    without_lds,
)


class Served(NamedTuple):
    """One run with its control plane, if it has one.

    Args:
        xds: the control plane, None if there is none.
        config: the bootstrap that asks it.
        files: the run's files, the first listeners among them.
        later: the listeners of all updates.
        faults: what does not fit.
        stood_in: what takes the place of something that the config has or asks for, a line each.
    """

    xds: Xds | None
    config: dict[str, Any]
    files: dict[str, Any]
    later: tuple[ListenerRecord, ...]
    faults: tuple[Complaint, ...]
    stood_in: tuple[str, ...] = ()


def served(
    scenario: Scenario,
    config: dict[str, Any],
    directory: pathlib.Path | None = None,
    folder: pathlib.Path | None = None,
) -> Served:
    """Return what a scenario's control plane makes of one run.

    Args:
        scenario: the scenario.
        config: bootstrap after all overlays; under `xds` it has what is served.
        directory: where relative files of the config lie; None if no file is to be looked for.
        folder: as `with_own_files` takes it.
    """
    own = scenario.envoy
    instead = {one.file: one.name for one in own.namespaces if one.file is not None}
    config = with_own_namespaces(config, instead)
    placed = with_own_files(config, own.files, stand_ins(own, directory), directory, folder)
    config = bootstrap = placed.config
    if own.empty_clusters:
        config = bootstrap = with_empty_clusters(config, own.empty_clusters)
    files = {**placed.files, **own.files}
    stood_in = [f"{file}: a network namespace that is made for the run" for file in instead]
    stood_in += placed.stood_in
    if own.empty_clusters:
        stood_in.append(f"clusters without members: {', '.join(own.empty_clusters)}")
    unread = [*_collisions(own, placed.files)]
    unread += [Complaint(("envoy", "config"), fault) for fault in placed.faults]
    if own.addresses:
        stood_in.append(f"{', '.join(own.addresses)}: given to the run's own network")
    if own.xds is not None:
        bootstrap = {key: value for key, value in config.items() if key != "xds"}
        if discovers_listeners(bootstrap):
            stood_in.append("lds_config: answered by envoy.xds, instead of the config's own")
            bootstrap = without_lds(bootstrap)
    if own.control_plane == "empty":
        asked = ", ".join(source_names(bootstrap))
        if asked:
            stood_in.append(f"{asked}: answered with nothing, instead of a server")
        named = with_node(bootstrap, "envoyassert")
        if named is not bootstrap:
            stood_in.append("node: an id and a cluster that the config lacks")
        bootstrap = without_servers(named, f"${{rundir}}/{NOTHING}")
        files[NOTHING] = NO_RESOURCES
    run = Served(None, bootstrap, files, (), tuple(unread), tuple(stood_in))
    if own.xds is None:
        later, later_faults = _updates(scenario, None)
        return run._replace(later=later, faults=(*unread, *later_faults))
    return _served_by_xds(run, scenario, config["xds"])


def _served_by_xds(run: Served, scenario: Scenario, data: object) -> Served:
    """Return a run with the control plane of `envoy.xds`.

    Args:
        run: the run without it.
        scenario: the scenario.
        data: what is served, after all overlays.
    """
    try:
        xds = Xds.model_validate(data)
    except ValidationError as error:
        faults = [
            Complaint(("matrix",), f"xds: {fault.message}", fault.remedy)
            for fault in complaints_of(error)
        ]
        return run._replace(faults=tuple(faults), stood_in=())
    later, later_faults = _updates(scenario, xds)
    run.files[FILE] = discovery_response(xds.listeners)
    run = run._replace(xds=xds, later=later)
    try:
        if FILE in scenario.envoy.files:
            raise XdsError(f"`{FILE}` is the control plane's own file", "rename yours")
        updates = any(step.updates_listeners for step in scenario.steps)
        if xds.via == "file" and updates and admin_address(run.config) is None:
            raise XdsError(
                "with `via: file` only the admin endpoint shows what Envoy says of an update",
                "add `admin: …` to the config",
            )
        asking = with_control_plane(run.config, xds)
        return run._replace(config=asking, faults=(*run.faults, *later_faults))
    except XdsError as error:
        fault = Complaint(("envoy", "xds"), error.message, error.remedy)
        return run._replace(faults=(fault, *later_faults), stood_in=())


def _collisions(own: Envoy, placed: Mapping[str, object]) -> Iterator[Complaint]:
    """Yield the files whose names are the run's own, or those of another file.

    Args:
        own: what the scenario says.
        placed: files that the config names, by name; None for a directory.
    """
    taken = {STAND_IN} if own.stand_in else set()
    taken |= {DIRECTORY} if own.xds is not None else set()
    taken |= {NOTHING} if own.control_plane == "empty" else set()
    for name, why in collisions(own.files, taken):
        yield Complaint(("envoy", "files", name), why, "take another name")
    for name, content in placed.items():
        if content is not None and is_own(name):
            why = f"its file {name} has a name that is the run's own"
            yield Complaint(("envoy", "config"), why, "rename the file, and what names it")


def stand_ins(envoy: Envoy, directory: pathlib.Path | None) -> dict[str, str | pathlib.Path]:
    """Return what takes the place of files: kinds, and files by their place.

    Args:
        envoy: the scenario's.
        directory: as `served` takes it.
    """
    found: dict[str, str | pathlib.Path] = {}
    for name, kind in envoy.stand_in.items():
        if isinstance(kind, str):
            found[name] = kind
        elif directory is not None:
            found[name] = directory / kind.file
    return found


def _updates(
    scenario: Scenario, xds: Xds | None
) -> tuple[tuple[ListenerRecord, ...], tuple[Complaint, ...]]:
    """Return the listeners of all updates, and what does not fit the ones before."""
    now = list(xds.listeners) if xds is not None else []
    records: list[ListenerRecord] = []
    faults: list[Complaint] = []
    for index, step in enumerate(scenario.steps):
        if not step.updates_listeners:
            continue
        place = ("steps", index, step.kind)
        if xds is None:
            remedy = "write the listeners in envoy.xds"
            return (), (Complaint(place, "there is no control plane to give them", remedy),)
        faults += [
            Complaint((*place, *path), message, remedy)
            for path, message, remedy in step.misfits(xds)
        ]
        try:
            now = [*step.served(now)]
        except OverlayError as error:
            faults.append(Complaint((*place, *error.path), error.message, error.remedy))
            break
        records += configured_listeners({}, {FILE: discovery_response(now)})
    return tuple(records), tuple(faults)
