"""Options that say which processes of a machine are meant: one way to spell and explain them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from envoyassert.live.selection import ENVOY

F = TypeVar("F", bound=Callable[..., Any])

#: The parameters of a command that has them, beside `exe`.
SELECTORS = ("env", "uid", "container", "pod", "pod_uid", "cgroup")


def _variables(
    context: click.Context, option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    for one in value:
        if not one.partition("=")[0] or "=" not in one:
            raise click.BadParameter(f"`{one}` is not KEY=VALUE", context, option)
    return value


def _pod(context: click.Context, option: click.Parameter, value: str) -> str:
    namespace, slash, name = value.partition("/")
    if value and not (namespace and slash and name and "/" not in name):
        message = f"`{value}` is not NAMESPACE/NAME, as in default/front"
        raise click.BadParameter(message, context, option)
    return value


def _path(context: click.Context, option: click.Parameter, value: str) -> str:
    if value and not value.startswith("/"):
        raise click.BadParameter(f"`{value}` does not begin with /", context, option)
    return value


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--exe",
        default=ENVOY,
        show_default=True,
        metavar="PATH|BASENAME",
        help="The executable: a path as it is executed, or the last part of it.",
    ),
    click.option(
        "--container", default="", metavar="ID|NAME", help="In this container: 12 digits or a name."
    ),
    click.option(
        "--pod",
        default="",
        metavar="NAMESPACE/NAME",
        callback=_pod,
        help="In this pod of Kubernetes.",
    ),
    click.option("--pod-uid", default="", metavar="UID", help="In the pod with this uid."),
    click.option(
        "--cgroup", default="", metavar="PATH", callback=_path, help="In this cgroup, or below it."
    ),
    click.option(
        "--env",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_variables,
        help="With this in its environment; repeat it for several.",
    ),
    click.option(
        "--uid",
        # The last number of 32 bits is no user (setreuid(2)).
        type=click.IntRange(0, 2**32 - 2),
        metavar="UID",
        help="Started as this user.",
    ),
)


def selector_options(command: F) -> F:
    """Add `--exe` and its like; the command's function has the arguments of a `Selection`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
