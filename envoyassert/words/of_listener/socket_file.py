"""Judge what happened to the file of a Unix socket, by the calls that Envoy made on its path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import MODE_PATTERN
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import Call
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding

_FACTS = ("unlinked_before_bind", "mode", "exists_after_exit")


class SocketFile(Model):
    """The file of a Unix socket, as far as Envoy's own calls show."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _FACTS]}
    )

    unlinked_before_bind: bool | None = Field(
        None, description="Whatever was at the path was removed first; nothing there is as good."
    )
    mode: Annotated[str, Field(pattern=MODE_PATTERN)] | None = Field(
        None,
        description="Mode that chmod gave it after bind, in octal digits and quoted; `umask` if "
        "there is no chmod.",
    )
    exists_after_exit: bool | None = Field(
        None, description="No process of the run removed, renamed or replaced it up to its exit."
    )

    @model_validator(mode="after")
    def _some_fact(self) -> SocketFile:
        if not self.model_fields_set:
            raise ValueError(f"give {', '.join(_FACTS[:-1])} or {_FACTS[-1]}")
        return self


#: Ways to say which listener is meant that mean none with a path.
_PATHLESS = ("port", "abstract")
_REMOVES = ("unlink", "unlinkat")
#: The mode of a file to which no chmod gave another.
UMASK = "umask"
_CHANGES_MODE = ("chmod", "fchmodat")


def judge_socket_file(target: Target, word: str, value: SocketFile) -> Iterator[Finding]:
    """Judge the file of a Unix socket, as its path was bound."""
    binds = [call for call in target.calls("binds") if _path(call) is not None]
    for name, judge in _JUDGES.items():
        wanted = getattr(value, name)
        if wanted is None:
            continue
        if binds:
            yield judge(target, (word, name), wanted, binds)
        else:
            asked, seen = Fact("socket_file", part=name, wanted=wanted), Fact("no_path_bound")
            yield _finding(target, (word, name), Status.FAIL, asked, seen, [])


def _path(call: Call) -> str | None:
    path = call.event.args["address"].path
    return None if path is None else str(path)


def _on_path(target: Target, bind: Call, calls: tuple[str, ...]) -> list[Event]:
    """Return the calls on the path of a bind, in order of time."""
    return [
        event
        for event in target.context.graph.file_calls
        if event.call in calls and event.args["path"] == _path(bind)
    ]


def _unlinked(target: Target, place: tuple[str, str], wanted: bool, binds: list[Call]) -> Finding:
    without = []
    removals: list[Event] = []
    since_ns = 0
    for bind in binds:
        before = [
            event
            for event in _on_path(target, bind, _REMOVES)
            if since_ns < event.ts_ns <= bind.event.ts_ns
            and (event.ok or event.errno == "ENOENT")
            and event.pid == bind.event.pid
        ]
        removals += before[-1:]
        if not before:
            without.append(bind.event)
        since_ns = bind.event.ts_ns
    right = not without if wanted else not removals
    shown = without if wanted and without else removals
    return _finding(
        target,
        place,
        Status.PASS if right else Status.FAIL,
        Fact("removed_before_bind", wanted=wanted),
        Fact("bound_without_removal") if without else Fact("removed_then_bound"),
        [*shown, *(bind.event for bind in binds)],
        sure=not wanted,  # a removal that was seen took place, whatever was lost
    )


def _mode(target: Target, place: tuple[str, str], wanted: str, binds: list[Call]) -> Finding:
    bind = binds[-1]
    changes = [
        event
        for event in _on_path(target, bind, _CHANGES_MODE)
        if event.ok and event.ts_ns >= bind.event.ts_ns
    ]
    seen = Fact("mode", mode=changes[-1].args["mode"]) if changes else Fact("umask_decided")
    if wanted == UMASK:
        right, expected = not changes, Fact("no_chmod")
    else:
        right = bool(changes) and changes[-1].args["mode"] == int(wanted, 8)
        expected = Fact("mode", mode=int(wanted, 8))
    return _finding(
        target,
        place,
        Status.PASS if right else Status.FAIL,
        expected,
        seen,
        changes or [bind.event],
        sure=wanted == UMASK,
    )


def _exists(target: Target, place: tuple[str, str], wanted: bool, binds: list[Call]) -> Finding:
    from envoyassert.graph.socket_files import REPLACED, place_of

    context = target.context
    descriptor = binds[-1].descriptor
    assert descriptor is not None
    socket = descriptor.socket
    stays = socket.file == place_of(str(_path(binds[-1])))
    change = "" if stays else socket.file_change
    exited = all(process.exited_ns is not None for process in context.graph.processes.values())
    # Where another file took its place, it neither exists nor is there nothing.
    right = stays is wanted and change != REPLACED
    status = Status.PASS if right else Status.FAIL
    reason = None if exited or change else Fact("not_exited")
    doubt = socket.file_doubt
    if doubt is not None and stays:
        reason = Fact("maybe_this_file", call=doubt.call)
    return _finding(
        target,
        place,
        Status.INCONCLUSIVE if reason else status,
        Fact("file_after_exit", exists=wanted),
        Fact("file_changed", change=change) if change else Fact("not_removed"),
        [event for event in (socket.file_event, doubt) if event is not None]
        or [bind.event for bind in binds],
        reason=reason,
    )


def _finding(
    target: Target,
    place: tuple[str, str],
    status: Status,
    expected: Fact,
    seen: Fact,
    evidence: list[Event],
    *,
    sure: bool = False,
    reason: Reason | None = None,
) -> Finding:
    """Make a finding; after a loss only what was seen to go wrong is known."""
    context = target.context
    unread = any(
        event.args.get(name, "") is None
        for event in context.graph.file_calls
        for name in ("path", "to")
    )
    doubt = context.doubt or (Fact("path_unread") if unread else None)
    if doubt and not (sure and status is Status.FAIL):
        status = Status.INCONCLUSIVE
    return context.finding(
        target.subject.at(*place),
        status,
        expected,
        seen,
        reason=doubt or reason,
        evidence=evidence,
    )


_JUDGES: dict[str, Callable[[Target, tuple[str, str], Any, list[Call]], Finding]] = {
    "unlinked_before_bind": _unlinked,
    "mode": _mode,
    "exists_after_exit": _exists,
}


def _misfit(selector: Selector) -> str:
    if all(getattr(selector, way) is None for way in _PATHLESS):
        return ""
    return "socket_file is about a listener with a path, not a port or a name"


WORD = ListenerWord(
    name="socket_file",
    form=SocketFile,
    description="The file of a Unix socket; the selector gives its path or its name.",
    judge=judge_socket_file,
    misfit=_misfit,
    fitting={"not": {"anyOf": [{"required": [way]} for way in _PATHLESS]}},
    example=Example(
        'socket_file: {unlinked_before_bind: true, mode: "0660"}',
        "unix",
        "unix_kept",
        inside='[{listener: {path: "${rundir}/ingress.sock"}, %}]',
    ),
    parts=(
        Part(
            SocketFile,
            "`socket_file`",
            '[{listener: {path: "${rundir}/ingress.sock"}, socket_file: {%}}]',
            {
                "unlinked_before_bind": Example("unlinked_before_bind: true", "unix", "unix_kept"),
                "mode": Example('mode: "0660"', "unix", "unix_kept"),
                "exists_after_exit": Example("exists_after_exit: true", "unix", "unix_removed"),
            },
        ),
    ),
)
