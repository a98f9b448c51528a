"""A run as Mermaid, which GitHub and GitLab render in a comment: the map, and the sequence.

What others wrote is text. Mermaid has entity codes for that, `#35;`, with the number that HTML has
for a character: it puts them into the finished drawing, where they are characters and nothing else.
Source: Mermaid's documentation ("Entity codes to escape characters"), and its grammars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envoyassert.judge.verdict import Status
from envoyassert.picture.map_parts import MapDescriptor, MapListener, MapSocket, Mark, SocketMap
from envoyassert.picture.map_words import (
    answer,
    descriptor_words,
    for_clients,
    listener_name,
    socket_title,
    state_words,
)
from envoyassert.picture.pair import PairPicture
from envoyassert.picture.run import RunPicture
from envoyassert.picture.sequence import CallSequence, Line, sequence
from envoyassert.report.table import count
from envoyassert.shown import shown

#: Mermaid draws no more edges than 500, and takes no more characters than 50,000.
_MOST_EDGES, _MOST_LENGTH = 400, 40_000
#: What of a text means nothing to Mermaid, to Markdown within it, or at either end of it.
_PLAIN = re.compile(r"(?<=[A-Za-z0-9])[_.:=/-](?=[A-Za-z0-9])|[A-Za-z0-9 ,()]")
#: What Mermaid looks for once entities are characters again, formulas and icons, is parted by a
#: space without width; `shown` leaves none in a text.
_LOOKED_FOR = re.compile(r"(?<=\$)(?=\$)|(?<=:)(?=fa-)")
_PARTED = "\u200b"
#: Longer texts are cut.
_MOST_CHARACTERS = 120
#: Without colours: those of light and dark themes differ.
_CLASSES = (
    "classDef copy stroke-dasharray:6 3",
    "classDef gone stroke-dasharray:2 4,opacity:0.6",
    "classDef alarm stroke-width:4px,stroke-dasharray:8 3",
    "classDef socket stroke-width:3px",
)


def quoted(text: str) -> str:
    """Return a text, on one line, that Mermaid shows as it is within quotes or behind a colon.

    Args:
        text: any text.
    """
    text = shown(text)
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[: _MOST_CHARACTERS - 1]}…"
    text = _LOOKED_FOR.sub(_PARTED, text)
    plain = {found.start() for found in _PLAIN.finditer(text)}
    return "".join(char if place in plain else f"#{ord(char)};" for place, char in enumerate(text))


def _label(*lines: str) -> str:
    return "<br/>".join(quoted(line) for line in lines if line)


def map_mermaid(
    picture: SocketMap, title: str = "", listeners: Sequence[MapListener] | None = None
) -> str:
    """Return a map as a flowchart: listeners with their sockets, descriptors, and threads.

    Args:
        picture: the map.
        title: what it is of.
        listeners: those that are drawn; None for all that clients reach.
    """
    drawn = for_clients(picture) if listeners is None else listeners
    return "\n".join([*_head(title), *_listeners(drawn, picture)])


def _head(title: str) -> list[str]:
    named = [f"  accTitle: {quoted(f'Sockets of {title}')}"] if title else []
    return ["flowchart LR", *named, *(f"  {line}" for line in _CLASSES)]


def _listeners(
    listeners: Sequence[MapListener], picture: SocketMap, before: str = "", share: int = 1
) -> Iterator[str]:
    """Yield the lines of listeners, as many as there is room for.

    Args:
        listeners: those that are drawn.
        picture: the map that they are of.
        before: what the ids of its nodes begin with.
        share: into how many such parts the room is divided.
    """
    length, edges, left = 0, 0, len(listeners)
    for listener in listeners:
        part = _Part(listener, picture, before)
        lines = [f"  {line}" for line in part.lines(_MOST_EDGES // share - edges)]
        length += sum(len(line) + 1 for line in lines)
        if length > _MOST_LENGTH // share:
            break
        yield from lines
        edges += part.edges
        left -= 1
    if left:
        yield f'  {before}more["{_label("and " + count(left, "more listener"))}"]'


def pair_mermaid(picture: PairPicture) -> str:
    """Return two maps as one flowchart: the listeners that differ, or all if none does.

    Args:
        picture: both runs.
    """
    pairs = picture.moved or picture.listeners
    lines = _head(f"{picture.names[0]}, and of {picture.names[1]}: {picture.result}")
    for before, when, name, drawn, listeners in (
        ("a_", "Before", picture.names[0], picture.maps[0], [pair.before for pair in pairs]),
        ("b_", "After", picture.names[1], picture.maps[1], [pair.after for pair in pairs]),
    ):
        lines.append(f'  subgraph {before}side["{_label(f"{when}: {name}")}"]')
        found = [one for one in listeners if one is not None]
        lines += _listeners(found, drawn, before, share=2)
        if not found:
            lines.append(f'  {before}nothing["{_label("no such listener")}"]')
        lines.append("  end")
    return "\n".join(lines)


def _thread(picture: SocketMap, name: str) -> str:
    thread = picture.threads[name]
    return _label(thread.label, thread.process)


def failed_mermaid(picture: SocketMap, title: str) -> str:
    """Return a map of the listeners about which not all findings hold, of all if there is none.

    Args:
        picture: the map, with a verdict.
        title: what it is of.
    """
    found = for_clients(picture)
    failed = [one for one in found if one.status not in (None, Status.PASS, Status.SKIPPED)]
    return map_mermaid(picture, title, failed or found)


class _Part:
    """The lines of one listener, with threads of its own; `edges` is how many it needs."""

    def __init__(self, listener: MapListener, picture: SocketMap, before: str = "") -> None:
        self._listener = listener
        self._picture = picture
        self._before = before
        self._id = before + listener.id
        self.edges = 0
        self._threads: set[str] = set()

    def lines(self, most_edges: int) -> Iterator[str]:
        """Yield the lines, of at most so many edges."""
        listener = self._listener
        answered = answer(listener, self._picture).split("; ")
        title = _label(listener_name(listener), listener.address, *answered)
        yield f'{self._id}{{{{"{title}"}}}}'
        left = len(listener.sockets)
        for socket in listener.sockets:
            if self.edges >= most_edges:
                break
            left -= 1
            yield f'{self._before}{socket.id}["{_socket(socket)}"]'
            yield f"class {self._before}{socket.id} {_class_of(socket)}"
            yield f"{self._id} --> {self._before}{socket.id}"
            self.edges += 1
            for one in _drawn(socket):
                yield from self._descriptor(socket, one)
                yield from self._waits(one)
        if not listener.sockets:
            words = "its bind failed" if listener.failed else "no kernel socket"
            yield f'{self._id}none["{_label(words)}"]'
            yield f"class {self._id}none alarm"
            yield f"{self._id} -.-> {self._id}none"
        if left:
            yield f'{self._id}more["{_label("and " + count(left, "more kernel socket"))}"]'
            yield f"{self._id} --> {self._id}more"

    def _descriptor(self, socket: MapSocket, one: MapDescriptor) -> Iterator[str]:
        name = self._before + _id(one.id)
        number = "descriptor" if one.fd is None else f"fd {one.fd}"
        yield f'{name}(["{_label(number, descriptor_words(one))}"])'
        if not one.open:
            yield f"class {name} gone"
        elif Mark.DUP in one.marks:
            yield f"class {name} copy"
        yield f"{self._before}{socket.id} --- {name}"
        self.edges += 1

    def _waits(self, one: MapDescriptor) -> Iterator[str]:
        for thread in one.threads:
            epolls = [e for e in one.epolls if thread in self._picture.epolls[e].threads]
            by = f'|"{_label(f"epfd {self._picture.epolls[epolls[0]].fd}")}"|' if epolls else ""
            name = f"{self._id}_{thread}"
            if name not in self._threads:
                self._threads.add(name)
                yield f'{name}["{_thread(self._picture, thread)}"]'
            yield f"{self._before}{_id(one.id)} -->{by} {name}"
            self.edges += 1


def _drawn(socket: MapSocket) -> list[MapDescriptor]:
    return [one for one in socket.descriptors if one.open] or list(socket.descriptors)


def _socket(socket: MapSocket) -> str:
    options = dict.fromkeys(
        one.name if one.value == "1" else f"{one.name}={one.value}" for one in socket.options
    )
    waits = f"{socket.queue} waiting to be accepted" if socket.queue else ""
    lost = "no thread waits for clients" if Mark.LOST in socket.marks else ""
    doubt = "not known for sure" if Mark.DOUBT in socket.marks else ""
    whose = f"of {socket.owner}" if socket.owner else ""
    state = state_words(socket)
    return _label(socket_title(socket), state, whose, ", ".join(options), waits, lost, doubt)


def _class_of(socket: MapSocket) -> str:
    if socket.state == "CLOSED":
        return "gone"
    return "alarm" if {Mark.LOST, Mark.FOREIGN} & socket.marks else "socket"


def _id(name: str) -> str:
    return name.replace(".", "_")


def sequence_mermaid(picture: RunPicture) -> str:
    """Return the calls on the sockets of listeners as a sequence diagram.

    Args:
        picture: the run.
    """
    return _sequence(sequence(picture))


def _sequence(found: CallSequence) -> str:
    lines = ["sequenceDiagram"]
    if found.title:
        lines.append(f"  accTitle: {quoted(f'Calls of {found.title}')}")
    lines += [f"  participant {one.id} as {_label(*one.lines)}" for one in found.lifelines]
    if not found.lifelines:
        lines.append(f"  participant nothing as {_label('no call on a socket for clients')}")
    ends = [found.lifelines[0].id, found.lifelines[-1].id] if found.lifelines else []
    over = ",".join(dict.fromkeys(ends))
    length = sum(map(len, lines))
    for number, line in enumerate(found.lines):
        text = f"  {_message(line, over)}"
        length += len(text) + 1
        if length > _MOST_LENGTH:
            left = len(found.lines) - number + found.left_out
            return "\n".join([*lines, _more(over, left)])
        lines.append(text)
    return "\n".join([*lines, _more(over, found.left_out)] if found.left_out else lines)


def _message(line: Line, over: str) -> str:
    if not line.source:
        return f"Note over {over}: {_label(line.words)}"
    arrow = "-x" if line.failed else "->>"
    return f"{line.source}{arrow}{line.target}: {_label(line.words, line.at)}"


def _more(over: str, number: int) -> str:
    return f"  Note over {over}: {_label('and ' + count(number, 'more call'))}"
