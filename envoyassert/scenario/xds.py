"""Listeners that a control plane gives to Envoy, as a scenario has them: once, as plain data.

What Envoy needs to ask for them (`dynamic_resources`, a node, a cluster) is put into its bootstrap.
The listeners themselves travel as a file of the run: a discovery response, which is what Envoy
reads with `via: file`, and what the gRPC server serves otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.json_schema import WithJsonSchema

from envoyassert.scenario.from_file import or_from_file
from envoyassert.scenario.grammar import Many, Model
from envoyassert.scenario.listeners import items_of, proto_field, proto_name
from envoyassert.scenario.vocabulary import word_fault

#: Ways by which a control plane gives listeners to Envoy: a file that is renamed into place, the
#: aggregated discovery service in its state-of-the-world variant, and in its incremental one.
Via = Literal["file", "ads", "delta_ads"]

LISTENER_URL = "type.googleapis.com/envoy.config.listener.v3.Listener"
#: The file in the run directory that holds the listeners, and the directory with the server's
#: socket, which a container has mounted.
FILE = "listeners.yaml"
DIRECTORY = "xds"
SOCKET = "ads.sock"
#: The cluster, and the node, by which Envoy reaches the server.
CLUSTER = "envoyassert_xds"

Data = Mapping[str, Any]


class XdsError(ValueError):
    """A config that a control plane's needs cannot be put into.

    Args:
        message: what is wrong.
        remedy: what to write instead.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def _check_names(listeners: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    names = [listener["name"] for listener in listeners]
    for name in names:
        if names.count(name) > 1:
            raise word_fault(f"two listeners are named `{name}`", "a name stands for one listener")
    return listeners


def _check_name(listener: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(listener.get("name"), str) or not listener["name"]:
        raise word_fault("a listener without a name, by which updates name it", "add `name: …`")
    return listener


def _check_type(resource: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(resource.get("@type"), str):
        raise word_fault("a resource without a type", 'add `"@type": type.googleapis.com/…`')
    return resource


def _with_text(key: str, least: int) -> WithJsonSchema:
    text = {"type": "string", "minLength": least}
    return WithJsonSchema({"type": "object", "properties": {key: text}, "required": [key]})


ServedListener = Annotated[dict[str, Any], AfterValidator(_check_name), _with_text("name", 1)]
"""A listener as Envoy reads it, with a name; `@type` may be left out."""

ServedListeners = Annotated[Many[ServedListener], AfterValidator(_check_names)]
"""Listeners with names of their own."""

ServedResource = Annotated[dict[str, Any], AfterValidator(_check_type), _with_text("@type", 0)]
"""Any other resource, with its type."""


class Xds(Model):
    """A control plane: listeners come from it, and steps can change them."""

    via: Via = Field(
        "ads",
        description="`file`: a file that is renamed into place; `ads`: a gRPC server, state of the "
        "world; `delta_ads`: the same, incremental.",
    )
    listeners: ServedListeners = Field(
        (),
        description="What it serves when Envoy starts: listeners as Envoy reads them, or "
        "`{from: PATH}`: those of a file of LDS beside the scenario.",
        json_schema_extra=or_from_file,
    )
    resources: Many[ServedResource] = Field(
        (),
        description="What else it serves, by gRPC alone: routes, endpoints, secrets, clusters, "
        "each with its `@type`; or `{from: PATH}`.",
        json_schema_extra=or_from_file,
    )
    withheld: Many[str] = Field(
        (), description="Names of those resources that it holds back until a step releases them."
    )


def with_control_plane(config: Data, xds: Xds) -> dict[str, Any]:
    """Return a bootstrap with all that Envoy needs to be given its listeners.

    Its own `ads_config` stays, by gRPC with another server; so does its node.

    Args:
        config: the bootstrap, which asks no server for listeners.
        xds: the control plane.

    Raises:
        XdsError: the bootstrap and the control plane do not fit.
    """
    dynamic, static = (_mapping(config, key) for key in ("dynamic_resources", "static_resources"))
    own_ads = proto_field(dynamic, "ads_config") or {}
    if xds.via == "file" and (xds.resources or xds.withheld):
        raise XdsError("`via: file` serves listeners alone", "write `via: ads`")
    names = {resource_name(resource) for resource in xds.resources}
    for name in xds.withheld:
        if name not in names:
            raise XdsError(f"there is no resource `{name}` to withhold", "add it to `resources`")
    result = _without(config, "dynamic_resources")
    result.setdefault("node", {"id": "envoyassert", "cluster": "envoyassert"})
    if xds.via == "file":
        source: dict[str, Any] = {"path_config_source": {"path": f"${{rundir}}/{FILE}"}}
        result["dynamic_resources"] = {**dynamic, "lds_config": _v3(source)}
        return result
    kinds = {str(resource.get("@type", "")).rpartition(".")[2] for resource in xds.resources}
    clusters = {"cds_config": _v3({"ads": {}})} if "Cluster" in kinds else {}
    result["dynamic_resources"] = {
        **_without(dynamic, "ads_config"),
        **clusters,
        "lds_config": _v3({"ads": {}}),
        "ads_config": {
            **_without(own_ads, "api_type", "transport_api_version", "grpc_services"),
            "api_type": "GRPC" if xds.via == "ads" else "DELTA_GRPC",
            "transport_api_version": "V3",
            "grpc_services": _services(),
        },
    }
    result = _without(result, "static_resources")
    result["static_resources"] = {
        **static,
        "clusters": [*items_of(static.get("clusters")), _cluster()],
    }
    return result


def without_control_plane(config: Data) -> dict[str, Any]:
    """Return a bootstrap without how the run's server is reached, as `with_control_plane` says it.

    Args:
        config: a bootstrap; what differs from that by a word stays in it.
    """
    dynamic, static = (_mapping(config, key) for key in ("dynamic_resources", "static_resources"))
    ads = proto_field(dynamic, "ads_config")
    if not isinstance(ads, dict) or ads.get("grpc_services") != _services():
        return dict(config)
    own = {key: value for key, value in ads.items() if key != "grpc_services"}
    clusters = [one for one in items_of(static.get("clusters")) if one != _cluster()]
    return {
        **config,
        "dynamic_resources": {**_without(dynamic, "ads_config"), "ads_config": own},
        "static_resources": {**static, "clusters": clusters},
    }


def _services() -> list[dict[str, Any]]:
    return [{"envoy_grpc": {"cluster_name": CLUSTER}}]


def without_lds(config: Data) -> dict[str, Any]:
    """Return a bootstrap that asks no server for listeners."""
    dynamic = _without(_mapping(config, "dynamic_resources"), "lds_config", "lds_resources_locator")
    return {**_without(config, "dynamic_resources"), "dynamic_resources": dynamic}


def _mapping(config: Data, key: str) -> dict[str, Any]:
    value = proto_field(config, key) or {}
    if not isinstance(value, dict):
        raise XdsError(f"the config's `{key}` is not a mapping", "write `key: value` pairs in it")
    return value


def _without(config: Data, *fields: str) -> dict[str, Any]:
    """Return a message without some fields, whichever way they are spelled."""
    return {key: value for key, value in config.items() if proto_name(key) not in fields}


def _v3(source: dict[str, Any]) -> dict[str, Any]:
    return {"resource_api_version": "V3", **source}


def _cluster() -> dict[str, Any]:
    address = {"pipe": {"path": f"${{rundir}}/{DIRECTORY}/{SOCKET}"}}
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def discovery_response(listeners: Sequence[Data], version: int = 1) -> dict[str, Any]:
    """Return listeners as the content of a file that gives them to Envoy.

    Args:
        listeners: as Envoy reads them; `@type` may be left out.
        version: of the whole.
    """
    typed = [{"@type": LISTENER_URL, **listener} for listener in listeners]
    return {"version_info": str(version), "resources": typed}


def resource_name(resource: Data) -> str:
    """Return the name by which Envoy asks for a resource; endpoints have that of their cluster."""
    return str(proto_field(resource, "cluster_name") or resource.get("name") or "")
