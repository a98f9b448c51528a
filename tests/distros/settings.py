"""How this machine reaches packages, put so that a root tree does as well.

Pure: what pip, apt and the environment say goes in, what the tree is given comes out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

#: Variables that a root tree gets as they are.
_HANDED_ON = re.compile(
    r"CI|NO_COLOR|FORCE_COLOR|TERM|ENVOY_VERSIONS|ENVOYASSERT_REQUIRE"
    r"|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(https?|no)_proxy|(HTTPS?|NO)_PROXY"
)
#: What says how apt reaches an archive. A program that finds a proxy is not in the tree.
_APT = re.compile(
    r"Acquire::(https?|Check-Date|Check-Valid-Until|ForceIPv[46])\b(?!.*Auto-?Detect)"
)


def pip_environment(listed: str) -> dict[str, str]:
    """Return pip's settings as variables.

    Args:
        listed: what `pip config list` prints: `global.find-links='/wheels'`, and such. It has the
            variables of the environment as well.
    """
    found = {}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        name = key.rpartition(".")[2]
        if equals and name:
            found[f"PIP_{name.upper().replace('-', '_')}"] = " ".join(
                str(ast.literal_eval(value)).split()
            )
    return found


def apt_lines(dumped: str) -> list[str]:
    """Return the settings of apt that say how it reaches an archive.

    Args:
        dumped: what `apt-config dump` prints.
    """
    lines = (line.strip() for line in dumped.splitlines())
    return [line for line in lines if _APT.match(line) and not line.endswith('"";')]


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this environment that a root tree gets."""
    return {name: value for name, value in environment.items() if _HANDED_ON.fullmatch(name)}


def paths_in(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield every absolute path that the values of variables name: certificates, wheels, indexes.

    Of an index (`file:///mirror/simple`) it is the folder above, which has the packages as well.
    """
    for value in environment.values():
        for word in value.split():
            path = word.removeprefix("file://").rstrip("/").removesuffix("/simple")
            if path.startswith("/"):
                yield path
