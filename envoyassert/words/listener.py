"""`listener`: what one listener's sockets must have done, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, GetJsonSchemaHandler, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import Self

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import AboutListener
from envoyassert.scenario.grammar import Later
from envoyassert.scenario.selector import Selector
from envoyassert.words import of_listener
from envoyassert.words.remedy import Change, Place
from envoyassert.words.word import Example, ListenerWord, Vacuous, Word, Words

if TYPE_CHECKING:
    from envoyassert.graph.model import SocketGraph
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.selection import Selection
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding

_ORDER = (
    *("let", "bound", "bind_failed", "listened", "served_by", "listen_by", "via", "origin"),
    *("registered", "sockets", "descriptors", "listen_calls", "options", "only_options"),
    *("backlog", "socket_file", "reachable_by_address", "listed_without_socket", "connections"),
    "in_order",
)
#: What can be said of a listener, in the order in which it is listed and judged.
WORDS = Words(of_listener, ListenerWord, _ORDER)


class _SomeWord(AboutListener):
    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"required": [word]} for word in WORDS],
            dependentSchemas={
                name: {"properties": {"listener": word.fitting}}
                for name, word in WORDS.items()
                if word.fitting
            },
        )
    )

    @model_validator(mode="after")
    def _some_word(self) -> Self:
        if not self.model_fields_set & WORDS.keys():
            raise ValueError("nothing is expected of the listener; add bound, listened, options …")
        for name in self.words:
            misfit = WORDS[name].misfit
            if misfit is not None and (problem := misfit(self.listener)):
                raise ValueError(problem)
        return self

    @property
    def words(self) -> list[str]:
        """The words that are said."""
        return [name for name in WORDS if self.said(name) is not None]


class _Said(Later):
    """The type of a word, which is loaded with the first expectation that says it."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda: WORDS[name].field_form, ConfigDict(strict=True))
        self._name = name

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        whole = super().__get_pydantic_json_schema__(schema, handler)
        return {**whole, "description": WORDS[self._name].description}


class _Examples(Mapping[str, Example]):
    """Examples of all keys of the item; those of words are loaded with the words."""

    _own: Mapping[str, Example] = {
        "listener": Example(
            "listener: {port: 15006}", "shared", "nothing", inside="[{%, bound: {times: 1}}]"
        ),
        "take": Example(
            "listener: {name: ingress}, take: each_address",
            "two_addresses",
            "two_addresses_unlike",
            inside="[{%, sockets: 1}]",
        ),
    }

    def __getitem__(self, key: str) -> Example:
        return self._own[key] if key in self._own else WORDS[key].example

    def __iter__(self) -> Iterator[str]:
        return chain(self._own, WORDS)

    def __len__(self) -> int:
        return len(self._own) + len(WORDS)


if TYPE_CHECKING:

    class ListenerExpectation(AboutListener):
        """To the type checker, which does not know the words, any of them may be said."""

        def __init__(self, **said: Any) -> None: ...

        def __getattr__(self, word: str) -> Any: ...

else:
    ListenerExpectation = create_model(
        "ListenerExpectation",
        __base__=_SomeWord,
        __doc__="What one listener's sockets must have done.",
        __module__=__name__,
        **{name: (Annotated[Any, _Said(name)], None) for name in WORDS},
    )


def judge_listener(context: Context, index: int, expectation: AboutListener) -> Iterator[Finding]:
    """Judge one `listener` item, atom by atom."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.selection import select, select_each
    from envoyassert.judge.values import Topic

    selector = expectation.listener
    graph, listeners = context.graph, context.trace.header.listeners
    if expectation.take == "each_address":
        parts = select_each(selector, graph, listeners)
    else:
        parts = {"": select(selector, graph, listeners, total=expectation.take == "total")}
    for address, selection in parts.items():
        topic = Topic("listener", listener=selector, address=address)
        part = Subject(topic, ("expect", index), expectation.why or "")
        yield from _judge_part(context, part, selection, expectation)


def _judge_part(
    context: Context, subject: Subject, selection: Selection, expectation: AboutListener
) -> Iterator[Finding]:
    """Judge every atom on what was selected: one address, or all of them together."""
    from envoyassert.judge.target import Target

    if selection.problem:
        yield context.finding(
            subject.at("listener"),
            Status.INCONCLUSIVE,
            Fact("one_listener"),
            Fact("no_single_listener"),
            reason=selection.problem,
        )
        return
    selector = expectation.listener
    said = {name: v for name in WORDS if (v := expectation.said(name)) is not None}
    roles = [serves(value) for name, value in said.items() if (serves := WORDS[name].serves)]
    role = roles[0] if roles else ""
    failed = tuple(call for call in selection.failed if context.in_window(call.event))
    target = Target(
        context, subject, selection.sockets, failed, selector, selection.addresses, role
    )
    for word, value in said.items():
        for finding in WORDS[word].judge(target, word, value):
            yield _with_nearest(target, selector, word, finding)


def _with_nearest(target: Target, selector: Selector, word: str, finding: Finding) -> Finding:
    """Add to a finding about sockets that are not there what comes closest to them."""
    from envoyassert.errors import guarded
    from envoyassert.judge.context import EVIDENCE_LIMIT
    from envoyassert.judge.nearest import failed_binds, nearest_listener
    from envoyassert.judge.values import fault

    if finding.status is Status.PASS or word == "bind_failed":
        return finding
    if target.failed and (word == "bound" or not target.sockets):
        near = (failed_binds(target.failed),)
        evidence = finding.evidence or tuple(call.event for call in target.failed[:EVIDENCE_LIMIT])
        return replace(finding, near=near, evidence=evidence)
    if target.sockets or not target.context.trace.end.outcome.running:
        return finding  # an Envoy that ended had no time to bind anything else
    graph, listeners = target.context.graph, target.context.trace.header.listeners
    return guarded(
        lambda: replace(finding, near=(nearest_listener(selector, graph, listeners),)),
        lambda said: replace(finding, cause=fault(said)),
    )


def _vacuous(expectation: AboutListener) -> Vacuous:
    for name in WORDS:
        value = expectation.said(name)
        for place, reason in WORDS[name].vacuous(value) if value is not None else ():
            yield (name, *place), reason


def _the_closest(
    finding: Finding, data: Mapping[str, Any], graph: SocketGraph
) -> Iterator[tuple[Place, Any]]:
    """Yield the listener that comes closest, where there was none that an item is about."""
    from envoyassert.judge.near import NearListener

    selector = data["listener"]
    listening = {str(socket.address) for socket in graph.listening()}
    there = {
        one.field: one.seen
        for near in finding.near
        if isinstance(near, NearListener) and near.address in listening
        for one in near.differs
    }
    for key in ("port", "path", "abstract", "address", "netns", "protocol"):
        if key in selector and key in there:
            yield ("listener", key), there[key]


def _field(change: Change, _: int) -> str:
    return f"port_value: {change.before}" if change.path[-1] == "port" else ""


WORD = Word(
    name="listener",
    model=ListenerExpectation,
    judge=judge_listener,
    vacuous=_vacuous,
    inside="[{listener: {port: 15006}, %}]",
    examples=_Examples(),
    closest=_the_closest,
    config=_field,
)
