"""A scenario file as data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from envoyassert.scenario.expectation import Expectation, Model

Scalar = str | int | float | bool


class Requires(Model):
    """What a run needs; a run that lacks it is skipped with the reason."""

    envoy: str | None = Field(
        None,
        pattern=r"^(>=|<=|==|<|>)[0-9]+\.[0-9]+(\.[0-9]+)?(, ?(>=|<=|==|<|>)[0-9]+\.[0-9]+(\.[0-9]+)?)*$",
        description="Envoy version, as in `>=1.20` or `>=1.20, <1.40`.",
    )
    kernel: str | None = Field(
        None, pattern=r"^>=[0-9]+\.[0-9]+$", description="Kernel release, as in `>=5.15`."
    )
    launcher: Literal["docker", "process"] | None = Field(
        None, description="Only this launcher can show the behaviour."
    )


class Envoy(Model):
    """Which Envoy, and how it is started."""

    version: str | None = Field(
        None, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", description="Upstream version, as in `1.40.0`."
    )
    image: str | None = Field(None, description="Docker image, by name and tag or by digest.")
    binary: str | None = Field(None, description="Path of an Envoy executable on this machine.")
    pull: Literal["never", "missing", "always"] = Field("missing", description="When to pull.")
    concurrency: int = Field(2, ge=0, strict=True, description="--concurrency; 0 means one worker.")
    config: str | dict[str, Any] = Field(
        description="Bootstrap: a file next to the scenario, or the bootstrap itself."
    )
    overlay: dict[str, Any] = Field(
        default_factory=dict,
        description="Merged into the config: mappings merge, other values replace, null removes; "
        "in place of a list, a mapping by index, by `name` of the element, or `*` for all.",
    )
    files: dict[str, str | dict[str, Any]] = Field(
        default_factory=dict,
        description="Files placed into ${rundir} before the start: text, or YAML data.",
    )
    args: tuple[str, ...] = Field((), description="Further command line arguments.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables.")
    deadline: float | str = Field("10s", description="How long it may take to become ready.")

    @model_validator(mode="after")
    def _one_source(self) -> Envoy:
        given = [name for name in ("version", "image", "binary") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        return self


class Scenario(Model):
    """One behaviour of Envoy: how to bring it about, and what must be seen."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Name in test ids; equals the file's stem."
    )
    description: str = Field("", description="What Envoy does and why it matters.")
    requires: Requires = Field(default_factory=lambda: Requires())
    marks: tuple[str, ...] = Field((), description="pytest marks.")
    timeout: float | str | None = Field(None, description="Deadline of the whole test (60s).")
    assume: tuple[Literal["complete", "calls_succeeded", "comm_is_role"], ...] = Field(
        (), description="What may be taken for granted about a trace that did not observe it."
    )
    matrix: dict[str, tuple[Scalar, ...] | dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="Cross product: a scalar of `envoy` (concurrency: [1, 2]), a path into the "
        "config (static_resources.listeners.0.enable_reuse_port: [true, false]), a field of every "
        "static listener (enable_reuse_port: [true, false]), or a name with overlays by value.",
    )
    envoy: Envoy
    expect: tuple[Expectation, ...] = Field(min_length=1)
