"""The state of an Envoy that ran already, as data and for people: the story without its history.

The data has the form of a story (`report.story`). What needs the start is None there, and the lists
of what happened are empty: the calls of the trace were made up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from envoyassert.accounts import Witness
from envoyassert.calls.row import Phase
from envoyassert.graph.model import KernelSocket
from envoyassert.option_values import value_text
from envoyassert.report.certificate import check_lines
from envoyassert.report.socket_table import SocketRow, netid, socket_table
from envoyassert.report.table import WIDTH, columns, count, wrapped
from envoyassert.state import Watched, why_unsettled

#: Of a story: what a state does not show of a run, of a listening socket, and of its descriptors.
UNKNOWN = ("start_up", "events", "last_event_ms", "accepted", "probes", "other_sockets")
UNKNOWN_OF_SOCKETS = (
    *("socket", "requested", "origin", "passed", "backlog", "bound_by", "listened_by"),
    "connections",
)
UNKNOWN_OF_DESCRIPTORS = ("origin", "copy_of", "used_by")
_WORDS = (
    "not known from a state: who called socket(), bind() and listen(), how often and in which "
    "order; which descriptor is a copy of which; when an option was set, and whether one was set "
    "to what a new socket has; what was closed before; who accepted"
)
_TITLES = ("Netid", "State", "Waiting", "Local address", "Listener")


def without_history(
    story: dict[str, Any], witness: Witness, sockets: list[KernelSocket]
) -> dict[str, Any]:
    """Return a story without what was made up, and with what the kernel shows besides.

    Args:
        story: of the made-up calls.
        witness: the state.
        sockets: the listening sockets, in the order of the story's.
    """
    inodes = {(entry.pid, entry.fd): entry for entry in witness.sockets}
    epolls = {(t.pid, t.tid): t.epfd for t in witness.threads}
    listening = []
    for item, socket in zip(story["listening"], sockets, strict=True):
        entry = next(inodes[d.pid, d.fd] for d in socket.descriptors if (d.pid, d.fd) in inodes)
        network = () if witness.network is None else witness.network.sockets
        shown = next((one for one in network if one.inode == entry.inode), None)
        kind, read = entry.kind, entry.options or {}
        unlike = () if kind is None else kind.unlike_new
        options = [(*key.partition("/")[::2], read.get(key)) for key in unlike]
        listening.append(
            {
                **item,
                **dict.fromkeys(UNKNOWN_OF_SOCKETS),
                "inode": entry.inode,
                "waiting": None if shown is None else shown.queue,
                "effective_backlog": None if shown is None else shown.backlog,
                "options": [
                    {"level": level, "name": name, "value": value, "phase": None}
                    for level, name, value in options
                ],
                "descriptors": [
                    {
                        **descriptor,
                        **dict.fromkeys(UNKNOWN_OF_DESCRIPTORS),
                        "epolls": sorted({r.epoll.fd for r in held.registrations if r.is_live}),
                    }
                    for descriptor, held in zip(
                        item["descriptors"], socket.descriptors, strict=True
                    )
                ],
                "held_by_others": [
                    {"pid": one.pid, "name": one.name}
                    for one in witness.holders
                    if one.inode == entry.inode
                ],
            }
        )
    return {
        **story,
        **dict.fromkeys(UNKNOWN),
        "phases": {phase.value: [] for phase in Phase},
        "threads": [
            {**thread, "created_ms": None, "epoll": epolls.get((thread["pid"], thread["tid"]))}
            for thread in story["threads"]
        ],
        "listening": listening,
        "unsettled": why_unsettled(witness),
    }


def with_watch(story: dict[str, Any], watched: Watched) -> dict[str, Any]:
    """Return the story of a state with who accepted while it was watched.

    Args:
        story: of `without_history`.
        watched: what was seen of the process.
    """
    roles = {thread["tid"]: thread["role"] for thread in story["threads"]}
    names = {thread["tid"]: thread["name"] for thread in story["threads"]}
    listening = []
    for item in story["listening"]:
        own = {(one["pid"], one["fd"]) for one in item["descriptors"] if one["open"]}
        mine = [call for call in watched.calls if (call.pid, call.args["fd"]) in own]
        accepted: Counter[str] = Counter()
        for call in mine:
            if call.ok:
                role = roles.get(call.tid, "other")
                accepted[names.get(call.tid, str(call.tid)) if role == "other" else role] += 1
        failed = Counter(call.errno for call in mine if call.errno)
        listening.append({**item, "accepted": dict(accepted), "accept_errors": dict(failed)})
    watch = {"seconds": watched.seconds, "lost": watched.lost, "ended": watched.ended}
    return {**story, "listening": listening, "watched": watch}


def state_lines(story: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return the lines of a state for people.

    Args:
        story: of `without_history`.
        width: greatest length of a line in characters.
    """
    envoy = story["envoy"]
    facts = [f"Envoy {envoy['version'] or '(unknown version)'}"]
    facts += [f"build id {envoy['build_id'][:12]}"] if envoy["build_id"] else []
    facts.append(envoy["source"])
    concurrency = story["concurrency"]
    facts.append(f"concurrency {concurrency}" if concurrency else "concurrency unknown")
    facts += [f"kernel {story['kernel']}"] if story["kernel"] else []
    lines = wrapped(", ".join(facts), hang="  ", width=width)
    lines += wrapped(f"the state of an Envoy that runs; {_WORDS}", hang="  ", width=width)
    if story["where"]:
        where = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in story["where"].items()
        )
        lines += wrapped(f"where: {where}", hang="  ", width=width)
    if story["unsettled"]:
        lines += wrapped(
            f"who serves what is not known: {story['unsettled']}", hang="  ", width=width
        )
    watched = story.get("watched")
    if watched is not None:
        said = f"watched for {watched['seconds']:g} s"
        said += ", until it ended" if watched["ended"] else ""
        if watched["lost"]:
            said += f"; {watched['lost']} records were lost, so more may have been accepted"
        lines += wrapped(said, hang="  ", width=width)
    lines += ["", "Process and threads", *_tasks(story, width)]
    lines += ["", "Listening sockets, and who serves them", *_listening(story, width)]
    lines += _accounts(story, width)
    checks = [
        (check["name"], check["ok"], check["detail"])
        for check in story["certificate"]
        if check["ok"] is not None
    ]
    return [*lines, "", "Certificate", *check_lines(checks, width)]


def _tasks(story: dict[str, Any], width: int) -> list[str]:
    rows = []
    for process in story["processes"]:
        inner = process["inner_pid"]
        inside = f" ({inner} inside)" if inner and inner != process["pid"] else ""
        command = " ".join([process["filename"], *process["argv"][1:]]).strip()
        rows.append([f"process {process['pid']}{inside}", command])
    parts: dict[str, list[str]] = {"main": [], "workers": [], "others": []}
    for thread in story["threads"]:
        epoll = "" if thread["epoll"] is None else f" epoll {thread['epoll']}"
        if thread["role"] == "other":
            parts["others"].append(f"{thread['name'] or thread['tid']}{epoll}")
        else:
            part = "main" if thread["role"] == "main" else "workers"
            parts[part].append(f"{thread['role']} ({thread['tid']}){epoll or ' busy'}")
    for part, names in parts.items():
        rows.append([part if part == "main" else f"{len(names)} {part}", ", ".join(names) or "-"])
    return columns(rows, "  ", width)


def _listening(story: dict[str, Any], width: int) -> list[str]:
    found = story["listening"]
    rows = [_row(story, item) for item in found if not item["hot_restart"]]
    lines = socket_table(_TITLES, rows, width)
    own = [_row(story, item) for item in found if item["hot_restart"]]
    if own:
        lines += ["", "Envoy's own sockets, for hot restart", *socket_table(_TITLES, own, width)]
    return lines


def _row(story: dict[str, Any], item: dict[str, Any]) -> SocketRow:
    backlog = item["effective_backlog"]
    waiting = "-" if item["state"] != "LISTEN" else "?"
    if backlog is not None:
        waiting = f"{item['waiting']} of {backlog}"
    listener = item["listener"] or ("(hot restart)" if item["hot_restart"] else "-")
    kind = netid(item["protocol"], item["type"])
    holders, *facts = _facts(story, item)
    return SocketRow(
        (kind, item["state"], waiting, item["address"], listener), holders, tuple(facts)
    )


def _facts(story: dict[str, Any], item: dict[str, Any]) -> list[str]:
    descriptors = []
    for descriptor in item["descriptors"]:
        if not descriptor["open"]:
            continue
        text = f"fd {descriptor['fd']} {'+'.join(descriptor['waited_on_by']) or 'no one'}"
        if descriptor["epolls"]:
            text += f" (epoll {', '.join(map(str, descriptor['epolls']))})"
        if len(story["processes"]) > 1:
            text += f" of process {descriptor['pid']}"
        descriptors.append(text)
    facts = [", ".join(descriptors) or "no descriptor"]
    facts += [f"{one['name']}={value_text(one['value'])}" for one in item["options"]]
    if "accepted" in item and item["state"] == "LISTEN":
        by = ", ".join(f"{number} by {who}" for who, number in item["accepted"].items())
        facts.append(f"accepted {by or 'none'}")
        # EAGAIN: the listener was woken, and there was nothing more to take.
        errors = {name: n for name, n in item["accept_errors"].items() if name != "EAGAIN"}
        facts += [f"accept failed: {number} {name}" for name, number in errors.items()]
    facts += [f"also held by {one['name']} ({one['pid']})" for one in item["held_by_others"]]
    return facts


def _accounts(story: dict[str, Any], width: int) -> list[str]:
    lines = []
    for account in story["accounts"]:
        listed = [
            f"{listener['name']} at {', '.join(listener['addresses']) or 'no address'}"
            for listener in account["listeners"]
        ]
        others = sum(not socket["own"] for socket in account["network"])
        said = [text for text in (account["error"], account["envoy_error"]) if text]
        lines += (
            wrapped(f"Envoy's own listeners: {'; '.join(listed)}", "  ", "    ", width=width)
            if listed
            else []
        )
        if others:
            lines.append(f"  {count(others, 'socket')} of other processes in Envoy's network")
        for text in said:
            lines += wrapped(f"not known: {text}", "  ", "    ", width=width)
    return ["", *lines] if lines else []
