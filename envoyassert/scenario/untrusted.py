"""What an untrusted scenario may not ask for: whatever is not known to be harmless.

A scenario decides what runs as root: which executable, with which arguments, on which config. Here
each run of a scenario is looked at before anything is started. What a config may say is in
`harmless`; here is all else, and the place of each refusal in the scenario's own files.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from envoyassert.errors import Problem, ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.file_names import leads_out
from envoyassert.scenario.harmless import (
    BOOTSTRAP,
    CONFIG_SUFFIXES,
    RESPONSE,
    RUNDIR,
    Inspection,
    Refusal,
    is_inside,
    own_name,
)
from envoyassert.scenario.listeners import items_of, proto_field, with_lists
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.own_namespaces import MADE
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.selector import OWN, Selector
from envoyassert.scenario.source import Document, parse_yaml
from envoyassert.scenario.source import Path as Place
from envoyassert.scenario.xds import CLUSTER, LISTENER_URL, XdsError, without_control_plane
from envoyassert.steps.base import Step

_WITHOUT = "leave it out, or run what you trust without --untrusted"
#: Arguments of Envoy that neither name a file nor load anything: with a value, and without.
_ARGUMENTS = frozenset(
    {
        *("--base-id", "--component-log-level", "--disable-extensions", "--drain-strategy"),
        *("--drain-time-s", "--file-flush-interval-msec", "--file-flush-min-size-kb", "-l"),
        *("--local-address-ip-version", "--log-format", "--log-level", "--parent-shutdown-time-s"),
        *("--restart-epoch", "--service-cluster", "--service-node", "--service-zone"),
        "--stats-tag",
    }
)
_FLAGS = frozenset(
    {
        *("--allow-unknown-fields", "--allow-unknown-static-fields", "--cpuset-threads"),
        *("--disable-hot-restart", "--enable-fine-grain-logging", "--enable-mutex-tracing"),
        *(
            "--ignore-unknown-dynamic-fields",
            "--log-format-escaped",
            "--log-stacktrace-single-entry",
        ),
        *("--reject-unknown-dynamic-fields", "--skip-deprecated-logs"),
        *("--skip-hot-restart-on-no-parent", "--skip-hot-restart-parent-stats"),
        "--use-dynamic-base-id",
    }
)
#: Beginnings of variables that no library reads which Envoy has loaded: what Istio gives a proxy.
_VARIABLES = ("INSTANCE_", "ISTIO_META_", "POD_", "PROXY_")


def refused(plans: Sequence[RunPlan], *, own_envoy: bool) -> list[Problem]:
    """Return what of the runs of a scenario is refused as it is untrusted, each once.

    Args:
        plans: the runs.
        own_envoy: whether the scenario says which Envoy is run, and not who runs it.
    """
    found: dict[Problem, None] = {}
    for plan in plans:
        found |= dict.fromkeys(_Run(plan).problems(own_envoy=own_envoy))
    return list(found)


class _Run:
    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self._loaded = plan.loaded
        own = [*plan.addresses, *(one for given in plan.netns.values() for one in given)]
        hosts = {host for address in own if (host := address.partition("%")[0])}
        self._inspection = Inspection(hosts)

    def problems(self, *, own_envoy: bool) -> Iterator[Problem]:
        if own_envoy:
            yield from self._executed()
        envoy = self._loaded.scenario.envoy
        yield from self._arguments(("envoy", "args"), envoy.args)
        for name in envoy.env:
            if not name.startswith(_VARIABLES):
                yield self._at(("envoy", "env", name), f"sets the variable `{name}`", _WITHOUT)
        yield from self._configs()
        yield from self._files()
        for index, step in enumerate(self._plan.steps):
            yield from self._step(step, ("steps", index))

    def _at(self, path: Place, what: str, remedy: str) -> Problem:
        message = f"the scenario is untrusted, and {what}"
        return self._loaded.document.problem(path, message, remedy)

    def _executed(self) -> Iterator[Problem]:
        """Yield which executables, images and agents the scenario chose."""
        plan, matrix = self._plan, self._loaded.scenario.matrix
        for key, what in (("binary", "an executable"), ("image", "an image")):
            if getattr(plan, key):
                path: Place = ("envoy", key)
                if key in plan.matrix:
                    path = ("matrix", key, list(matrix[key]).index(plan.matrix[key]))
                yield self._at(path, f"names {what}", "say which Envoy by `version`, or by --envoy")
        if plan.agent:
            remedy = "leave it out, or say which Envoy by --envoy: it is started without an agent"
            yield self._at(("envoy", "agent"), "names a program that starts Envoy", remedy)

    def _arguments(self, path: Place, args: Sequence[str]) -> Iterator[Problem]:
        is_value = False
        for index, argument in enumerate(args):
            name, _, given = argument.partition("=")
            if is_value and not argument.startswith("-"):
                is_value = False
            elif name in _ARGUMENTS:
                is_value = not given
            elif argument in _FLAGS:
                is_value = False
            else:
                is_value = False
                what = f"gives Envoy the argument `{argument}`"
                yield self._at((*path, index), what, _WITHOUT)

    def _configs(self) -> Iterator[Problem]:
        """Yield what is refused of the config, of further Envoys' and of what is served."""
        plan = self._plan
        configs = [plan.config]
        for step in plan.steps:
            # An overlay that does not fit is a problem of that step, before Envoy is started.
            with contextlib.suppress(OverlayError):
                configs += (config for config, _ in step.configs(plan.config, {}) if config)
        for config in configs:
            own = config
            if plan.xds is not None:
                # What is no config of a run's server is refused as it stands.
                with contextlib.suppress(XdsError):
                    own = without_control_plane(config)
            yield from self._refused(self._inspection.refusals(own, BOOTSTRAP))
            static = proto_field(with_lists(own), "static_resources")
            for cluster in items_of(proto_field(static, "clusters")):
                if proto_field(cluster, "name") == CLUSTER:
                    yield self._found(CLUSTER, "name", f"takes the name `{CLUSTER}`", _WITHOUT)
        if plan.xds is not None:
            now = list(plan.xds.listeners)
            yield from self._served(now)
            yield from self._refused(self._inspection.extension(list(plan.xds.resources), ()))
            for step in plan.steps:
                if step.updates_listeners:
                    try:
                        now = [*step.served(now)]
                    except OverlayError:
                        return  # a problem of that step, which `served` reports
                    yield from self._served(now)

    def _served(self, listeners: list[Any]) -> Iterator[Problem]:
        yield from self._refused(self._inspection.extension(listeners, (), LISTENER_URL))

    def _files(self) -> Iterator[Problem]:
        """Yield what is refused of files, and of those that Envoy reads as config."""
        yield from self._stand_ins()
        done: set[str] = set()
        while todo := [name for name in self._inspection.sources if name not in done]:
            for name in todo:
                done.add(name)
                yield from self._source(name)
        for path, text in (*self._inspection.read.values(), *self._inspection.sources.values()):
            # Of what lies elsewhere nothing was put into the run directory.
            if not text.startswith(("/", RUNDIR)) and self._leads_out(text):
                what = f"`{text}` leads out of its folder"
                yield self._found(text, path[-1], what, "keep the file beside the scenario")

    def _stand_ins(self) -> Iterator[Problem]:
        for name, kind in self._loaded.scenario.envoy.stand_in.items():
            file = getattr(kind, "file", "")
            if file and self._leads_out(file):
                place = ("envoy", "stand_in", name, "file")
                what = f"`{file}` leads out of its folder"
                yield self._at(place, what, "keep the file beside the scenario")

    def _leads_out(self, name: str) -> bool:
        """Whether a name leads out of the scenario's folder, if it is looked for there at all."""
        directory = self._loaded.directory
        return directory is not None and leads_out(directory / name, self._loaded.path.parent)

    def _source(self, name: str) -> Iterator[Problem]:
        """Yield what is refused of a file that Envoy reads as answers of a control plane."""
        path, text = self._inspection.sources[name]
        contents = [self._plan.files[name]] if name in self._plan.files else []
        replaced = [file for step in self._plan.steps for file in step.files().items()]
        contents += [content for path, content in replaced if own_name(path) == name]
        if not contents and is_inside(text):
            remedy = "`envoy.files` has what is read, or lay it beside the config"
            yield self._found(text, path[-1], f"`{text}` is not known", remedy)
        for content in contents:
            if not name.endswith(CONFIG_SUFFIXES) or not isinstance(content, (str, dict)):
                what = f"`{text}` is neither YAML nor JSON"
                yield self._found(text, path[-1], what, "rename it, and write it so")
                continue
            data = content
            try:
                if isinstance(content, str):
                    # What two readers could read in two ways is refused: Envoy has its own.
                    parse_yaml(content, name)
                    data = parse_envoy_file(content, name).data
            except ScenarioError as error:
                what = f"`{text}` cannot be read: {error.problems[0].message}"
                yield self._found(text, path[-1], what, "write plain YAML or JSON, each key once")
                continue
            yield from self._refused(self._inspection.refusals(data, RESPONSE), name)

    def _step(self, step: Step, path: Place) -> Iterator[Problem]:
        for where, selector in step.selectors():
            yield from self._client(selector, (*path, *where))
        yield from self._arguments((*path, step.kind, "args"), step.arguments())
        for where, what, remedy in step.refusals():
            yield self._at((*path, *where), what, remedy or _WITHOUT)

    def _client(self, selector: Selector, path: Place) -> Iterator[Problem]:
        """Yield where a client would go that has no business there."""
        socket, netns = selector.path, selector.netns
        if socket is not None and not is_inside(socket):
            what = f"connects to `{socket}`"
            yield self._at((*path, "path"), what, "name a socket of the run: `${rundir}/…`")
        if netns not in (None, OWN) and not (netns.startswith(MADE) and is_inside(netns)):
            remedy = "`envoy.netns` makes one: `${rundir}/netns/NAME`"
            yield self._at((*path, "netns"), f"enters `{netns}`", remedy)

    def _refused(self, refusals: Iterator[Refusal], file: str = "") -> Iterator[Problem]:
        for one in refusals:
            yield self._found(one.value, one.path[-1], one.message, one.remedy, one.path, file)

    def _found(
        self,
        value: Any,
        key: str | int,
        what: str,
        remedy: str,
        path: Place = (),
        file: str = "",
    ) -> Problem:
        """Return a problem at the place where a value comes from.

        A run's config is made of several parts, and of files: the value is looked for by its key.
        """
        message = f"the scenario is untrusted, and {what}"
        for document, begin in self._documents(file):
            place = (*begin, *path)
            if path and _value_at(document.data, place) == value:
                return document.problem(place, message, remedy)
        for document, _ in self._documents(file):
            found = next(_places(document.data, key, value), None)
            if found is not None:
                return document.problem(found, message, remedy)
        return self._loaded.document.problem(("envoy", "config"), message, remedy)

    def _documents(self, file: str) -> Iterator[tuple[Document, Place]]:
        """Yield the texts that a run's config is from, with where in each it begins."""
        loaded = self._loaded
        content = self._plan.files.get(file)
        if file in loaded.scenario.envoy.files:
            yield loaded.document, ("envoy", "files", file)
        elif isinstance(content, str) and loaded.directory is not None:
            yield parse_envoy_file(content, str(loaded.directory / file)), ()
        if loaded.config_document is not None:
            yield loaded.config_document, ()
        yield loaded.document, ("envoy", "config")
        yield loaded.document, ("envoy", "xds", "listeners")


def _value_at(data: Any, path: Place) -> Any:
    """Return what is at a path; something that nothing equals if there is nothing."""
    try:
        return functools.reduce(operator.getitem, path, data)
    except (KeyError, IndexError, TypeError):
        return object()


def _places(data: Any, key: str | int, value: Any) -> Iterator[Place]:
    """Yield where a value is under a key; after that, if it is text, where it is at all."""
    anywhere: list[Place] = []
    todo: deque[tuple[Any, Place]] = deque([(data, ())])
    while todo:
        now, here = todo.popleft()
        pairs = now.items() if isinstance(now, dict) else enumerate(now)
        for part, member in pairs:
            if member == value and type(member) is type(value):
                if part == key:
                    yield (*here, part)
                elif isinstance(value, str):
                    anywhere.append((*here, part))
            if isinstance(member, (dict, list)):
                todo.append((member, (*here, part)))
    yield from anywhere
