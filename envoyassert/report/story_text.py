"""The story of a run for people, at its end or as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoyassert.calls import CALLS
from envoyassert.calls.row import Phase
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket
from envoyassert.names import signal_text
from envoyassert.option_values import value_text
from envoyassert.report.call import Clock, fd_label, render_call, thread_label
from envoyassert.report.certificate import check_lines
from envoyassert.report.socket_table import SocketRow, netid, socket_table
from envoyassert.report.state import state_lines
from envoyassert.report.story_parts import accounts_lines, call_site_lines, step_lines
from envoyassert.report.table import WIDTH, columns, count, wrapped
from envoyassert.state import is_state
from envoyassert.trace import UNKNOWN_STATUS, Trace

_TITLES = {
    Phase.MADE: "Sockets made, options set, bound",
    Phase.LISTENING: "Copied and listening",
    Phase.SERVING: "Put into an epoll, to be served",
    Phase.CLOSING: "Closed",
}
#: Lines for sockets that are no listener's; the JSON form has all of them.
_MAX_OTHERS = 20
_TITLES_OF_SOCKETS = ("Netid", "State", "Backlog", "Local address", "Socket", "Listener")


def story_lines(story: dict[str, Any], width: int = WIDTH) -> list[str]:
    """Return the lines of a story of `envoyassert.report.story.story_of`.

    Args:
        story: the story.
        width: greatest length of a line in characters.
    """
    if is_state(story["unobserved"]):
        return state_lines(story, width)
    lines = _heading(story, width)
    lines += ["", "Process and threads", *_tasks(story, width)]
    lines += step_lines(story["steps"], width)
    for phase, title in _TITLES.items():
        steps = story["phases"][phase.value]
        if steps:
            lines += ["", title, *columns(_calls(steps), "  ", width)]
    lines += _sockets(story, width)
    if story["called_from"]:
        build_ids = dict.fromkeys(place["build_id"] for place in story["called_from"])
        lines += ["", *wrapped(f"Called from, in build id {', '.join(build_ids)}", width=width)]
        lines += call_site_lines(story["called_from"], width)
    lines += _others(story, width)
    lines += accounts_lines(story["accounts"], width)
    checks = [(check["name"], check["ok"], check["detail"]) for check in story["certificate"]]
    lines += ["", "Certificate", *check_lines(checks, width)]
    return lines


def _calls(steps: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each call of the steps, in the order of their times if there are any."""
    rows = [
        (ms, [at, step["thread"], f"#{step['socket']}", call])
        for step in steps
        for ms, at, call in zip(step["calls_at_ms"], step["calls_at"], step["calls"], strict=True)
    ]
    if all(ms is not None for ms, _ in rows):
        rows.sort(key=lambda row: row[0])
    return [row for _, row in rows]


def _heading(story: dict[str, Any], width: int) -> list[str]:
    envoy = story["envoy"]
    facts = [f"Envoy {envoy['version'] or '(unknown version)'}"]
    if envoy["build_id"]:
        facts.append(f"build id {envoy['build_id'][:12]}")
    if envoy["image_digest"]:
        facts.append(f"image {envoy['image_digest'][:19]}")
    facts.append(f"launcher {story['launcher']}" if story["launcher"] else envoy["source"])
    facts.append(
        f"concurrency {story['concurrency']}" if story["concurrency"] else "concurrency unknown"
    )
    if story["kernel"]:
        facts.append(f"kernel {story['kernel']}")
    lines = wrapped(", ".join(facts), hang="  ", width=width)
    if story["scenario"]:
        matrix = ", ".join(f"{key}={value}" for key, value in story["matrix"].items())
        said = f"scenario {story['scenario']}" + (f" ({matrix})" if matrix else "")
        lines += wrapped(said, hang="  ", width=width)
    if story["where"]:
        where = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in story["where"].items()
        )
        lines += wrapped(f"where: {where}", hang="  ", width=width)
    last = story["last_event_ms"]
    span = "" if last is None else f", the last one {last:.1f} ms after exec"
    said = f"{count(story['events'], 'event')}{span}; {_outcome(story['outcome'])}"
    lines += wrapped(said, hang="  ", width=width)
    parts = [f"{name.replace('_', ' ')} {took}" for name, took in story["start_up"].items()]
    lines += wrapped("start-up: " + ", ".join(parts), hang="  ", width=width)
    for one in story["stood_in"]:
        lines += wrapped(f"stood in: {one}", hang="  ", width=width)
    if story["unobserved"]:
        lines += wrapped("not observed: " + ", ".join(story["unobserved"]), hang="  ", width=width)
    return lines


def _outcome(outcome: dict[str, Any]) -> str:
    if outcome["exit_code"] == UNKNOWN_STATUS:
        return "Envoy ended, and how was not recorded"
    if outcome["exit_code"] is not None:
        return f"Envoy exited with status {outcome['exit_code']}"
    if outcome["signal"] is not None:
        return f"Envoy was killed by {signal_text(outcome['signal'])}"
    if outcome["live"]:
        after = outcome["live_after_s"]
        return "Envoy became LIVE" + ("" if after is None else f" after {after * 1000:.0f} ms")
    if outcome["live"] is None:
        return "whether Envoy became LIVE is not known"
    return "Envoy did not become LIVE before the deadline"


def _tasks(story: dict[str, Any], width: int) -> list[str]:
    rows = []
    for process in story["processes"]:
        command = " ".join([process["filename"], *process["argv"][1:]]).strip()
        ended = ""
        if process["exited_ms"] is not None:
            ended = f"; ended at {process['exited_ms']:+.3f}ms, status {process['status']}"
        several = len(story["processes"]) > 1
        name = "Envoy" if several and process["envoy"] else "process"
        inner = "" if process["inner_pid"] is None else f" (inside: {process['inner_pid']})"
        rows.append([f"{name} {process['pid']}{inner}", (command or "(no exec seen)") + ended])
    envoys = {process["pid"] for process in story["processes"] if process["envoy"]}
    roles: dict[str, list[str]] = {"workers": [], "others": []}
    for thread in story["threads"]:
        if thread["role"].startswith("worker_"):
            roles["workers"].append(f"{thread['role']} ({thread['tid']})")
        elif thread["role"] == "other":
            roles["others"].append(thread["name"] or str(thread["tid"]))
            if thread["pid"] not in envoys:
                roles["others"][-1] += f" (process {thread['pid']})"
    for role, names in roles.items():
        rows.append([f"{len(names)} {role}", ", ".join(names) or "-"])
    return columns(rows, "  ", width)


def _sockets(story: dict[str, Any], width: int) -> list[str]:
    """Return the sockets that clients reach, then Envoy's own, then those that are closed."""
    found = story["listening"]
    of_clients = [one for one in found if not one["hot_restart"] and one["state"] != "CLOSED"]
    lines = ["", "Listening sockets, and who serves them"]
    lines += socket_table(_TITLES_OF_SOCKETS, [_row(story, one) for one in of_clients], width)
    for failed in story["failed_binds"]:
        said = f"failed: {failed['thread']} {failed['call']} on socket #{failed['socket']}"
        lines += wrapped(said, "  ", "    ", width=width)
    own = [one for one in found if one["hot_restart"] and one["state"] != "CLOSED"]
    closed = [one for one in found if one["state"] == "CLOSED"]
    for title, others in (
        ("Envoy's own sockets, for hot restart", own),
        ("Sockets that are closed", closed),
    ):
        if others:
            lines += ["", title]
            lines += socket_table(_TITLES_OF_SOCKETS, [_row(story, one) for one in others], width)
    return lines


def _row(story: dict[str, Any], item: dict[str, Any]) -> SocketRow:
    backlog = "-" if not item["listened_by"] else item["backlog"]
    cells = (
        netid(item["protocol"], item["type"]),
        item["state"],
        "?" if backlog is None else str(backlog),
        item["address"],
        f"#{item['socket']}",
        _listener(story, item),
    )
    holders, *facts = _facts(story, item)
    return SocketRow(cells, holders, tuple(facts))


def _listener(story: dict[str, Any], item: dict[str, Any]) -> str:
    """Return the name of its listener, or whose it is instead."""
    if item["listener"] is not None:
        return str(item["listener"])
    if item["hot_restart"]:
        return "(hot restart)"
    return "(none of the config)" if story["launcher"] else "-"


def _facts(story: dict[str, Any], item: dict[str, Any]) -> list[str]:
    """Return what is shown of one listening socket, the descriptors first."""
    epoll_seen = "epoll" not in story["unobserved"]
    descriptors = []
    closed = 0
    for descriptor in item["descriptors"]:
        if not descriptor["open"] and item["state"] != "CLOSED":
            closed += 1
            continue
        text = f"fd {descriptor['fd']}"
        if descriptor["copy_of"] is not None:
            text += f" ({descriptor['origin']} of {descriptor['copy_of']})"
        users = descriptor["waited_on_by"] if epoll_seen else descriptor["used_by"]
        text += " " + ("+".join(users) if users else "no one")
        descriptors.append(text)
    facts = [", ".join(descriptors) or "no descriptor"]
    if closed:
        facts.append(f"{closed} closed")
    facts += [f"passed {passed}" for passed in item["passed"]]
    facts.append(f"bound by {_names(item['bound_by'])}")
    if item["listened_by"]:
        facts.append(f"listen() by {_names(item['listened_by'])}")
    facts += [_option(option) for option in item["options"]]
    if item["connections"]:
        facts.append(count(item["connections"], "connection"))
    return facts


def _names(names: list[str]) -> str:
    return ", ".join(names) or "no one"


def _option(option: dict[str, Any]) -> str:
    return f"{option['name']}={value_text(option['value'])} {option['phase'].replace('_', ' ')}"


def _others(story: dict[str, Any], width: int) -> list[str]:
    lines = []
    others = story["other_sockets"]
    if others:
        lines += ["", "Other sockets"]
        rows = [
            [
                f"#{item['socket']}",
                f"{item['protocol']} {item['type']}".strip(),
                _names(item["threads"]),
                ", ".join(item["calls"][:6]) + (", …" if len(item["calls"]) > 6 else ""),
            ]
            for item in others[:_MAX_OTHERS]
        ]
        lines += columns(rows, "  ", width)
        if len(others) > _MAX_OTHERS:
            lines.append(f"  and {len(others) - _MAX_OTHERS} more (--format json lists all)")
    asides = []
    if story["probes"]:
        asides.append(f"{count(story['probes'], 'capability probe')} set aside")
    if story["accepted"]:
        by = ", ".join(f"{number} by {who}" for who, number in story["accepted"].items())
        total = sum(story["accepted"].values())
        asides.append(f"{count(total, 'connection')} accepted ({by})")
    if story["tripwires"]:
        asides.append("calls that the probes cannot follow: " + ", ".join(story["tripwires"]))
    for aside in asides:
        lines += wrapped(aside, "  ", "    ", width=width)
    return lines


#: What is shown beside the calls on sockets: programs that begin, and how they end.
_OF_PROCESSES = ("exec", "exit", "signal")
#: Widths of the time, the thread, the descriptor and the socket.
_WIDTHS = (13, 12, 4, 5)

HEADING = "".join(
    f"{title:<{width}}"
    for title, width in zip(("time", "thread", "fd", "sock"), _WIDTHS, strict=True)
)


class AsItHappens:
    """Makes lines of what is new in a growing trace."""

    def __init__(self) -> None:
        self._shown = 0

    def lines(self, trace: Trace) -> list[str]:
        """Return a line for each event that is worth one and has not been shown.

        Args:
            trace: the trace as it is now, with all that it had before.
        """
        graph = fold(trace)
        clock = Clock(trace)
        sockets = {
            id(call.event): socket
            for socket in graph.sockets
            if not socket.is_probe and socket.origin != "accept"
            for call in socket.calls
        }
        new = trace.events[self._shown :]
        self._shown = len(trace.events)
        return [
            _line(
                clock.text(event.ts_ns),
                thread_label(graph, event.tid),
                fd_label(event),
                sockets.get(id(event)),
                event,
            )
            for event in _worth_showing(new, sockets)
        ]


def _worth_showing(events: list[Event], sockets: dict[int, KernelSocket]) -> Iterator[Event]:
    for event in events:
        shown = event.call == "setsockopt" or CALLS[event.call].phase is not None
        if (id(event) in sockets and shown) or (
            event.call in _OF_PROCESSES and (event.call != "exit" or event.args["last"])
        ):
            yield event


def _line(
    time: str, thread: str, descriptor: str, socket: KernelSocket | None, event: Event
) -> str:
    number = "-" if socket is None else f"#{socket.number}"
    cells = (time, thread, descriptor, number)
    head = "".join(f"{cell:<{width - 1}} " for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{head}{render_call(event)}"
