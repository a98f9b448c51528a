"""A scenario file as data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Tag, model_validator
from pydantic.json_schema import WithJsonSchema

from envoyassert.ranges import MOST_EXPECTATIONS, MOST_FILES, MOST_STEPS, MOST_WORKERS
from envoyassert.scenario.absent import KINDS, Kind
from envoyassert.scenario.conditional import Scalar
from envoyassert.scenario.from_file import SCHEMA_OF_DATA
from envoyassert.scenario.grammar import (
    Argument,
    Duration,
    FileName,
    Many,
    Mark,
    Model,
    choice,
    kind,
    one_of,
)
from envoyassert.scenario.vocabulary import (
    ADDRESS_PATTERN,
    KERNEL_PATTERN,
    NAME_PATTERN,
    VARIABLE_PATTERN,
    VERSION_PATTERN,
    VERSIONS_PATTERN,
)
from envoyassert.scenario.xds import Xds
from envoyassert.steps.registry import AnyStep
from envoyassert.words.registry import Expectation

TextOrMapping = Annotated[
    Annotated[str, Field(min_length=1), Tag("|text")] | Annotated[dict[str, Any], Tag("|mapping")],
    choice(kind, "text or a mapping"),
]
"""A file's text or name, or data."""

FileContent = Annotated[
    Annotated[str, Field(min_length=1), Tag("|text")]
    | Annotated[dict[str, Any], WithJsonSchema(SCHEMA_OF_DATA), Tag("|mapping")],
    choice(kind, "text or a mapping"),
]
"""What is in a file: text, data, or what a file beside the scenario has."""

Axis = Annotated[
    Annotated[Many[Scalar], Field(min_length=1), Tag("|list")]
    | Annotated[dict[str, dict[str, Any]], Field(min_length=1), Tag("|mapping")],
    choice(kind, "a list of values, or a mapping of values to overlays"),
]
"""The values of one axis of the matrix."""


class OwnNetns(Model):
    """A network namespace that is made for a run."""

    name: str = Field(
        pattern=NAME_PATTERN, description="Its name: the file `${rundir}/netns/NAME`."
    )
    file: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="The `network_namespace_filepath` of the config whose place it takes.",
    )
    addresses: Many[Annotated[str, Field(pattern=ADDRESS_PATTERN)]] = Field(
        (), description="Addresses that it is given, as in `envoy.addresses`."
    )


Netns = Annotated[
    Annotated[str, Field(pattern=NAME_PATTERN), Tag("|text")]
    | Annotated[OwnNetns, Tag("|OwnNetns")],
    choice(
        lambda data: "|OwnNetns" if isinstance(data, dict) else kind(data),
        "a name, or {name: NAME, file: FILE, addresses: [ADDRESS]}",
    ),
]
"""A network namespace by its name, or what there is to say of it."""


class OtherFile(Model):
    """A file that takes the place of another."""

    file: str = Field(min_length=1, description="Which file, relative to the config's place.")


StandIn = Annotated[
    Annotated[Kind, Tag("|text")] | Annotated[OtherFile, Tag("|OtherFile")],
    choice(one_of(KINDS, OtherFile=("file",)), f"one of {', '.join(KINDS)}, or {{file: PATH}}"),
]
"""What takes the place of a file or directory that a config names."""


class Requires(Model):
    """What a run needs; a run that lacks it is skipped with the reason."""

    envoy: str | None = Field(
        None,
        pattern=VERSIONS_PATTERN,
        description="Envoy version, as in `>=1.20` or `>=1.20, <1.40`.",
    )
    kernel: str | None = Field(
        None, pattern=KERNEL_PATTERN, description="Kernel release, as in `>=5.15`."
    )
    launcher: Literal["docker", "process"] | None = Field(
        None, description="Only this launcher can show the behaviour."
    )


class Envoy(Model):
    """Which Envoy, and how it is started."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {"not": {"required": [one, other]}}
                for one, other in (("version", "image"), ("version", "binary"), ("image", "binary"))
            ]
        }
    )

    version: str | None = Field(
        None, pattern=VERSION_PATTERN, description="Upstream version, as in `1.40.0`."
    )
    image: str | None = Field(None, description="Docker image, by name and tag or by digest.")
    binary: str | None = Field(None, description="Path of an Envoy executable on this machine.")
    pull: Literal["never", "missing", "always"] = Field("missing", description="When to pull.")
    concurrency: int = Field(
        2, ge=0, le=MOST_WORKERS, description="--concurrency; 0 means one worker."
    )
    config: TextOrMapping = Field(
        description="Bootstrap: a file next to the scenario, or the bootstrap itself."
    )
    overlay: dict[str, Any] = Field(
        default_factory=dict,
        description="Merged into the config: mappings merge, other values replace, null removes; "
        "in place of a list, a mapping by index, by `name` of the element, or `*` for all.",
    )
    files: dict[FileName, FileContent] = Field(
        default_factory=dict,
        max_length=MOST_FILES,
        description="Files placed into ${rundir} before the start: text, YAML data, or "
        "`{from: PATH}`: the text of a file beside the scenario.",
    )
    stand_in: dict[Annotated[str, Field(min_length=1)], StandIn] = Field(
        default_factory=dict,
        description="What takes the place of files and directories that the config names, "
        "by their names there: `{file: PATH}`, or the least that Envoy takes as one of these: "
        "`certificate` (`trusted_ca` too), `private_key`, `crl`, `ticket_key`, `wasm`, `users` of "
        "basic_auth, `nothing` (an answer of a control plane), `empty`, `text` or `number`. A "
        "`directory` is one of the run directory, `${rundir}/run_foo` for `/var/run/foo`: "
        "Envoy makes its sockets and logs there and not in the machine's own.",
    )
    xds: Xds | None = Field(
        None, description="A control plane that gives Envoy listeners and can change them."
    )
    control_plane: Literal["empty"] | None = Field(
        None,
        description="`empty`: the servers that the config asks for configuration are not there. "
        "Each of its config sources is answered with nothing, by a file, so Envoy starts with what "
        "it has. A node without id or cluster gets one.",
    )
    empty_clusters: Many[Annotated[str, Field(min_length=1)]] = Field(
        (),
        max_length=MOST_FILES,
        description="Clusters that listeners and routes refer to and the config does not have, "
        "since a control plane gives them: each is made, without members.",
    )
    args: Many[Argument] = Field((), description="Further command line arguments.")
    agent: Annotated[Many[str], Field(min_length=1)] | None = Field(
        None,
        description="A program and its arguments that starts Envoy, as Istio's pilot-agent does. "
        "Envoy's command line follows them, without --concurrency: the agent adds it. Its "
        "environment is `env`. An Envoy that is named by `--envoy` is started without it. Needs "
        "`requires: {launcher: process}`.",
    )
    netns: Many[Netns] = Field(
        (),
        description="Network namespaces to make before the start, with loopback alone or with "
        "addresses: each is a file `${rundir}/netns/NAME` for `network_namespace_filepath`, or "
        "takes the place of a file that the config has. Needs `requires: {launcher: process}`.",
    )
    addresses: Many[Annotated[str, Field(pattern=ADDRESS_PATTERN)]] = Field(
        (),
        description="Addresses of elsewhere that the run's own network is given, so that Envoy "
        "binds what production binds: `10.1.2.3`, `2001:db8::1`, `10.1.2.3%eth0` on a device that "
        "is made, `%eth0` for a device alone. Needs `requires: {launcher: process}`.",
    )
    env: dict[Annotated[str, Field(pattern=VARIABLE_PATTERN)], str] = Field(
        default_factory=dict, description="Environment variables."
    )
    deadline: Duration | None = Field(
        None,
        description="How long it may take to become ready (10s, and as long as the config itself "
        "makes Envoy wait for the first answers of servers).",
    )

    @property
    def namespaces(self) -> tuple[OwnNetns, ...]:
        """The network namespaces to make, all in the long form."""
        return tuple(OwnNetns(name=one) if isinstance(one, str) else one for one in self.netns)

    @model_validator(mode="after")
    def _one_source(self) -> Envoy:
        given = [name for name in ("version", "image", "binary") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        return self


class Scenario(Model):
    """One behaviour of Envoy: how to bring it about, and what must be seen."""

    name: str = Field(pattern=NAME_PATTERN, description="Name in test ids; equals the file's stem.")
    description: str = Field("", description="What Envoy does and why it matters.")
    requires: Requires = Field(
        default_factory=lambda: Requires(),
        description="What a run needs; a run that lacks it is skipped with the reason.",
    )
    marks: Many[Mark] = Field((), description="pytest marks, without arguments.")
    timeout: Duration | None = Field(None, description="Deadline of the whole test (60s).")
    assume: Many[Literal["complete", "calls_succeeded", "comm_is_role"]] = Field(
        (), description="What may be taken for granted about a trace that did not observe it."
    )
    matrix: dict[str, Axis] = Field(
        default_factory=dict,
        description="Cross product: a scalar of `envoy` (concurrency: [1, 2]), a path into the "
        "config (static_resources.listeners.0.enable_reuse_port: [true, false]), a field of every "
        "static listener (enable_reuse_port: [true, false]), or a name with overlays by value.",
    )
    envoy: Envoy = Field(description="Which Envoy, and how it is started.")
    steps: Many[AnyStep] = Field(
        (),
        max_length=MOST_STEPS,
        description="What is done once Envoy is ready, one after the other; each is a phase.",
    )
    expect: Many[Expectation] = Field(
        min_length=1, max_length=MOST_EXPECTATIONS, description="What must be seen."
    )
