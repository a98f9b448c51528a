"""Envoy's config as text protobuf, which Envoy reads from a file that ends in `.pb_text`.

What a field is (a number that stands by itself, a duration, a map) is known to the schema alone, so
protobuf and the packages of Envoy's API read it. They parse, and reach nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re

from envoyassert.errors import Problem, ScenarioError

SUFFIX = ".pb_text"
#: The package of a message in an Any: `[type.googleapis.com/<package>.<Message>]`.
_PACKAGE = re.compile(r"type\.googleapis\.com/((?:envoy|udpa|xds)(?:\.[a-z][a-z0-9_]*)+)\.[A-Z]")


def data_of_text_proto(text: str, path: str) -> dict[str, object]:
    """Return a bootstrap, or discovery responses, as the JSON form of protobuf has them.

    Args:
        text: the text.
        path: the file as the user named it.

    Raises:
        ScenarioError: it is neither, or the packages are not installed.
    """
    try:
        from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
        from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
        from google.protobuf import json_format, text_format
    except ImportError as error:
        message = "reading text protobuf takes the packages of Envoy's API"
        remedy = 'pip install "envoyassert[xds]", or write YAML or JSON'
        raise ScenarioError([Problem(path, 0, 0, message, remedy)]) from error
    for package in sorted(set(_PACKAGE.findall(text))):
        _import_messages(package)
    faults = []
    for kind in (Bootstrap, DiscoveryResponse):
        try:
            found = text_format.Parse(text, kind())
        except text_format.ParseError as error:
            faults.append(error)
            continue
        return json_format.MessageToDict(found, preserving_proto_field_name=True)
    # Which of the two it was meant to be shows in how far each reading came.
    fault = max(faults, key=lambda error: (error.GetLine() or 0, error.GetColumn() or 0))
    said = str(fault).partition(" : ")[2] or str(fault)
    place = (fault.GetLine() or 1, fault.GetColumn() or 1)
    raise ScenarioError([Problem(path, *place, f"not text protobuf of Envoy: {said}")])


def _import_messages(package: str) -> None:
    """Make the messages of a package known to protobuf; one that does not exist is not."""
    try:
        found = importlib.import_module(package)
    except ImportError:
        return
    for module in pkgutil.iter_modules(found.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
