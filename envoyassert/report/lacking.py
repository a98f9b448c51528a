"""What an Envoy that ended lacked in its run, by its own words, and what gives it that.

Source: what Envoy 1.36.4 and 1.40.0 print.
"""

from __future__ import annotations

import os
import re

from envoyassert.scenario.absent import OPTION

_PATH = r"'?(?P<path>[^\s']+?)'?"
_ABSENT = "No such file or directory"
#: A file that Envoy reads, or a directory that it watches.
_READ = re.compile(
    rf"Invalid path: {_PATH}$|file {_PATH.replace('path', 'file')} does not exist"
    r"|incomplete (?:private key|certificate) from path: (?P<pair>\S+)"
    r"|existing path in the system: '(?P<source>[^']+)' does not exist"
    rf"|filesystem watch for file (?P<watch>[^\s:]+): {_ABSENT}"
)
#: What an ordinary user may not get at.
_REFUSED = re.compile(
    r"(?:cannot bind|unable to open file|unable to read file:?|filesystem watch for file) "
    rf"{_PATH}(?:: Permission denied|$)"
)
#: A socket or a log that it makes.
_MADE = re.compile(rf"(?:cannot bind|unable to open file) {_PATH}: {_ABSENT}")
_NODE = "node 'id' and 'cluster' are required"


def lacking(said: str) -> str:
    """Return what to do about something that Envoy found missing, "" if it says no such thing.

    Args:
        said: why it ended, in its own words.
    """
    refused = _REFUSED.search(said)
    if refused and not refused["path"].rpartition(":")[2].isdecimal():
        return (
            f"Envoy is an ordinary user, who may not get at {refused['path']}: have it in the run "
            "directory (`envoy.files`, `envoy.stand_in`), or have Envoy be root: the step "
            "`limit: {uid: 0}` with `before: startup`"
        )
    made = _MADE.search(said)
    if made:
        place = os.path.dirname(made["path"].rstrip("/")) or "."  # noqa: PTH120 - as Envoy has it
        return (
            f"{place} is not in the run: `envoy.stand_in: {{{place}: directory}}` has Envoy make "
            "its sockets and logs in the run directory, as `envoyassert draft` writes it"
        )
    read = _READ.search(said)
    if read:
        path = next(found for found in read.groups() if found)
        return (
            f"{path} is not in the run, or not for every user to read: `envoyassert draft CONFIG "
            f"{OPTION}` puts something in its place, by `envoy.stand_in`; a relative name is "
            "looked for where the config lies"
        )
    if _NODE in said:
        return (
            "give the config's `node` an id and a cluster, or `envoy.args: [--service-node, ID, "
            "--service-cluster, CLUSTER]`, as `envoyassert draft` writes them"
        )
    return ""
