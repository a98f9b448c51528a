"""The step that limits what Envoy may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import Many
from envoyassert.scenario.vocabulary import CAPABILITY_PATTERN
from envoyassert.steps.base import Objection, Part
from envoyassert.steps.load import StepUnderLoad

_KEYS = (
    *("nofile", "spare_files", "uid", "capabilities", "ip_unprivileged_port_start"),
    *("no_new_privs", "seccomp"),
)
#: What a process that runs cannot be given from outside, and what cannot be counted before.
_FIRST_ONLY = ("uid", "capabilities", "ip_unprivileged_port_start", "no_new_privs", "seccomp")
_RUNNING_ONLY = ("spare_files",)
#: Capabilities that reach no further than the network namespace of the run.
_HARMLESS = frozenset({"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"})


def _without(keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a mapping that has none of the keys."""
    return {"not": {"anyOf": [{"required": [key]} for key in keys]}}


class Limit(Part):
    """What Envoy may do from now on."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [key]} for key in _KEYS],
            "not": {"required": ["nofile", "spare_files"]},
        }
    )

    heading: ClassVar[str] = "`limit`"
    examples: ClassVar[Mapping[str, str]] = {
        "nofile": "nofile: 64",
        "spare_files": "spare_files: 2",
        "uid": "uid: 1337",
        "capabilities": "uid: 1337, capabilities: [CAP_NET_BIND_SERVICE]",
        "ip_unprivileged_port_start": "uid: 1337, ip_unprivileged_port_start: 80",
        "no_new_privs": "no_new_privs: false",
        "seccomp": "seccomp: none",
    }

    nofile: int | None = Field(
        None, ge=3, le=1_048_576, description="RLIMIT_NOFILE: its descriptors are below it."
    )
    spare_files: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="RLIMIT_NOFILE such that so many more descriptors can be opened than are open.",
    )
    uid: int | None = Field(
        None,
        ge=0,
        le=4_294_967_294,
        description="User, and group, that it runs as; by default an ordinary one, 61000.",
    )
    capabilities: Many[Annotated[str, Field(pattern=CAPABILITY_PATTERN)]] | None = Field(
        None,
        description="All capabilities that it has, as capabilities(7) names them; [] for none. "
        "Without it `uid: 0` has all of the launcher's, any other `uid` none, and the default user "
        "those that the listeners need.",
    )
    ip_unprivileged_port_start: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="The sysctl net.ipv4.ip_unprivileged_port_start of its network namespace: the "
        "first port that needs no CAP_NET_BIND_SERVICE. 1024 wherever `uid` or `capabilities` is "
        "given, else what the launcher's is: containers have 0.",
    )

    no_new_privs: bool | None = Field(
        None,
        description="Whether what it executes gives it no further privileges, as files with "
        "capabilities would; true by default.",
    )
    seccomp: Literal["default", "none"] | None = Field(
        None,
        description="Which system calls are refused: those that Docker refuses by default, or "
        "none; io_uring and new namespaces need `none`.",
    )

    @model_validator(mode="after")
    def _something(self) -> Limit:
        if not self.model_fields_set:
            raise ValueError(f"give one of {', '.join(_KEYS)}")
        if self.nofile is not None and self.spare_files is not None:
            raise ValueError("give either nofile or spare_files")
        return self


class LimitStep(StepUnderLoad):
    """Limit what Envoy may do: its descriptors at any time, all else only before it is started."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["before"]},
            "then": {
                "not": {"required": ["load"]},
                "properties": {"limit": _without(_RUNNING_ONLY)},
            },
            "else": {"properties": {"limit": _without(_FIRST_ONLY)}},
        }
    )

    kind: ClassVar[str] = "limit"
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "limit": "limit: {nofile: 64}",
        "before": "limit: {uid: 1337}, before: startup",
    }

    limit: Limit = Field(description="Which limits.")
    before: Literal["startup"] | None = Field(
        None,
        description="`startup`: before Envoy is started, and every Envoy that is started later; "
        "then no phase of its own. Such steps come first.",
    )

    @model_validator(mode="after")
    def _when(self) -> LimitStep:
        given = self.limit.model_fields_set
        wrong = [key for key in (_RUNNING_ONLY if self.before else _FIRST_ONLY) if key in given]
        if wrong and self.before:
            raise ValueError(f"{wrong[0]} is counted on a running Envoy; leave out `before`")
        if wrong:
            raise ValueError(f"{wrong[0]} is set before Envoy starts; add `before: startup`")
        if self.before and self.load is not None:
            raise ValueError("before Envoy starts there is no Envoy to answer; leave out load")
        return self

    def limits(self) -> Mapping[str, Any]:
        """Return the limits that are set before Envoy starts."""
        if not self.is_before_startup:
            return {}
        wanted = self.limit
        given = {
            "nofile": wanted.nofile,
            "uid": wanted.uid,
            "capabilities": wanted.capabilities,
            "port_start": wanted.ip_unprivileged_port_start,
            "no_new_privs": wanted.no_new_privs,
            "seccomp": None if wanted.seccomp is None else wanted.seccomp == "default",
        }
        return {name: value for name, value in given.items() if value is not None}

    def refusals(self) -> Iterator[Objection]:
        """Yield what gives Envoy more than a scenario may that is not trusted."""
        wanted = self.limit
        if wanted.uid == 0:
            yield Objection(("limit", "uid"), "asks for root", "name another user")
        if wanted.no_new_privs is False:
            yield Objection(("limit", "no_new_privs"), "asks for privileges of files")
        if wanted.seccomp == "none":
            yield Objection(("limit", "seccomp"), "asks for all system calls")
        for index, name in enumerate(wanted.capabilities or ()):
            if name not in _HARMLESS:
                yield Objection(("limit", "capabilities", index), f"asks for `{name}`")
