"""A draft of a bootstrap config: what the model predicts of its start, to be run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envoyassert.draft.expected import Draft, EnvoyField, addresses_of, namespace_fields
from envoyassert.predict.prediction import LISTENERS, PROCESS, Prediction
from envoyassert.predict.start import predict_start
from envoyassert.scenario.absent import looked_up, source_names
from envoyassert.scenario.listeners import items_of, proto_field, static_listeners
from envoyassert.scenario.own_namespaces import own_names, with_own_namespaces


def draft_of_config(
    config: Any,
    concurrency: int | None = None,
    served: Sequence[Any] | None = None,
    discovered: Sequence[Any] | None = None,
) -> Draft:
    """Return what Envoy does with the sockets of a bootstrap config.

    Args:
        config: the bootstrap as data.
        concurrency: Envoy's --concurrency; None for 2, or for 1 where Envoy takes no more.
        served: listeners that are served instead of its own control plane; None for none.
        discovered: listeners of the file that it names for LDS; None if that is not known.

    Raises:
        PredictError: the config is none.
    """
    given = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    names = own_names([*given, *(served or ())])
    asked = source_names(config)
    if discovered is None and (served is not None or "lds_config" in asked):
        discovered = ()  # what is served is known, and nothing else is answered
    found = predict_start(
        with_own_namespaces(config, names),
        concurrency=concurrency,
        served=with_own_namespaces([*(served or ())], names),
        discovered=discovered,
    )
    return Draft(
        found.concurrency,
        found.sets,
        closed=found.closed and not found.refused,
        starts=not found.refused,
        admin=found.admin,
        requires=found.requires,
        notes=tuple(_notes(config, found)),
        silences=tuple(_silences(found)),
        envoy=(
            *_control_plane(asked, served),
            *namespace_fields(found.sets, names),
            *addresses_of(found.sets),
        ),
    )


def _notes(config: dict[str, object], found: Prediction) -> Iterator[str]:
    """Yield what the config has, and the draft has not."""
    static = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    ignored = len(static) - len(static_listeners(config))
    if ignored:
        have, them = ("has", "it") if ignored == 1 else ("have", "them")
        yield f"{ignored} of the listeners {have} the name of one before: Envoy ignores {them}"
    for one in found.unknown:
        if one.fact == LISTENERS and not one.listener:
            yield f"{one.why}: draft from a trace to have them"
        elif one.fact == LISTENERS and one.listener not in found.split:
            yield f"nothing is expected of {one.listener}: {one.why}"
        elif one.fact == PROCESS:
            yield f"drafted as if Envoy took {one.listener}: {one.why}"
    for name, words in found.left_out.items():
        yield f"Envoy refuses {name}, and goes on without: {words}"
    if found.refused:
        yield f"Envoy refuses this config: {found.refused}"
    hosts = looked_up(config)
    if hosts:
        yield f"names that no cluster finds in the run's own network: {', '.join(hosts)}"


def _silences(found: Prediction) -> Iterator[str]:
    """Yield of which sockets no expectation says anything."""
    if found.silent:
        says_so = ": no_others says so" if found.closed else ""
        yield f"{len(found.silent)} of the listeners must have no socket{says_so}"
    if found.split:
        yield (
            f"Envoy puts one socket of {', '.join(found.split)} into the network namespace, and no "
            "expectation is about the others"
        )


def _control_plane(asked: Sequence[str], served: Sequence[object] | None) -> Iterator[EnvoyField]:
    """Yield what takes the place of the servers that a config asks."""
    if served is not None:
        why = "what the dump has, instead of the config's own lds_config; filters echo"
        yield EnvoyField("xds", {"via": "file", "listeners": list(served)}, why)
        asked = [name for name in asked if name != "lds_config"]
    if asked:
        why = f"no server: {', '.join(asked)} answered with nothing"
        more = " (--with DUMP serves a dump's listeners)" if "lds_config" in asked else ""
        yield EnvoyField("control_plane", "empty", why + more)
