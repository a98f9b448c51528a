"""`matches_config`: the start is as the model predicts it from the config."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from envoyassert.addresses import Address
from envoyassert.fact import Fact, Quote
from envoyassert.judge.verdict import Status
from envoyassert.naming import STARTUP
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Many, Yes
from envoyassert.words.remedy import Failed, Place
from envoyassert.words.word import Derived, Example, Fault, Word

if TYPE_CHECKING:
    from envoyassert.graph.model import SocketGraph
    from envoyassert.judge.context import Context
    from envoyassert.judge.verdict import Finding
    from envoyassert.predict.prediction import Prediction
    from envoyassert.trace import Trace

#: What is predicted of a listener or of all, by the word that judges it.
ASPECTS = {
    "bound": "bound",
    "listened": "listened",
    "served_by": "listened",
    "listen_calls": "listen_calls",
    "registered": "registered",
    "descriptors": "descriptors",
    "backlog": "backlog",
    "only_options": "options",
    "options": "options",
    "socket_file": "socket_file",
    "calls": "port",
    "no_others": "no_others",
    "process": "process",
}
_SELECTING = ("listener", "take")
_EXCEPT = "except"

_Excepted = Annotated[str, Field(min_length=1)]

if TYPE_CHECKING:

    class MatchesConfigExpectation(Conditional):
        """To the type checker, which knows no field that is a word of Python."""

        matches_config: bool

else:
    MatchesConfigExpectation = create_model(
        "MatchesConfigExpectation",
        __base__=Conditional,
        __doc__="""Sockets and process are, when Envoy has started, as its config, its version and
        its number of workers say.

        What the model does not know is not asked; the verdict counts it.
        """,
        __module__=__name__,
        matches_config=(Yes, Field(description="All that follows from the config.")),
        **{
            _EXCEPT: (
                Many[_Excepted],
                Field(
                    (),
                    description="But for these: listeners by name, aspects of all of them ("
                    + ", ".join(f"`{one}`" for one in dict.fromkeys(ASPECTS.values()))
                    + "), or aspects of one listener: `ingress.backlog`.",
                ),
            )
        },
    )


@dataclass(frozen=True)
class _Asked:
    """What an item comes to for one trace.

    Args:
        derived: the expectations that it stands for.
        asked: how many facts these are about.
        of_sockets: how many of those are about sockets; of a start that is refused, all.
        excepted: how many more are excepted.
        unknown: what the model does not predict.
        refusals: what Envoy may say where it does not take the config; () if it does.
        problem: why nothing can be asked, or None.
    """

    derived: tuple[Derived, ...] = ()
    asked: int = 0
    of_sockets: int = 0
    excepted: int = 0
    unknown: tuple[str, ...] = ()
    problem: Fact | None = None
    refusals: tuple[str, ...] = ()


def _asked(item: Conditional, trace: Trace) -> _Asked:
    from envoyassert.predict.deciding import prediction_of
    from envoyassert.predict.prediction import KNOWN, PredictError
    from envoyassert.versions import satisfies

    header = trace.header
    # An item is asked of the whole trace and of its start-up alone; both must have one answer.
    start = trace.phases[0] if trace.phases else None
    absent = _absent(trace, start.end_ns if start else None)
    if absent:
        return _Asked(problem=Fact("not_predicted", said=f"this machine has no {absent}"))
    if header.config is None:
        return _Asked(problem=Fact("config_not_in_trace"))
    if not header.concurrency:
        return _Asked(problem=Fact("workers_unknown"))
    version = header.envoy.version
    if not version or not satisfies(version, KNOWN):
        # One that is not known may be any, and what holds of no version must not PASS.
        which = Quote(version or "an unknown version")
        return _Asked(problem=Fact("version_not_modelled", version=which, known=KNOWN))
    try:
        found = prediction_of(header.config, concurrency=header.concurrency, version=version)
    except PredictError as error:
        return _Asked(problem=Fact("not_predicted", said=Quote(error.message)))
    excepted = getattr(item, _EXCEPT)
    at_start = start.listeners if start and start.listeners is not None else header.listeners
    listed = (one.name for one in at_start)
    known = dict.fromkeys([*listed, *(one.name for one in found.sets), *found.silent])
    strange = [name for name in excepted if not _is_known(name, known)]
    if strange:
        return _Asked(problem=Fact("nothing_excepted", names=tuple(strange), known=tuple(known)))
    return _apart(found, item, excepted, known)


def _absent(trace: Trace, until_ns: int | None) -> str:
    """Return an address that a start was to bind and that the machine does not have, else "".

    Args:
        trace: the trace.
        until_ns: the end of the start, in ns of the trace's clock; None if all of it is the start.
            What a later step binds says nothing of the start.
    """
    refused = (
        event.args.get("address")
        for event in trace.events
        if event.call == "bind"
        and event.ret == -errno.EADDRNOTAVAIL
        and (until_ns is None or event.ts_ns <= until_ns)
    )
    return next((one.host for one in refused if isinstance(one, Address)), "")


def _is_known(name: str, listeners: Mapping[str, object]) -> bool:
    listener, _, aspect = name.rpartition(".")
    aspects = ASPECTS.values()
    return name in listeners or name in aspects or (listener in listeners and aspect in aspects)


def _apart(
    found: Prediction, item: Conditional, excepted: Sequence[str], known: Mapping[str, object]
) -> _Asked:
    """Return what is asked of a prediction, without what is excepted."""
    from envoyassert.words.registry import WORDS

    carried = item.model_dump(include={"when", "why", "envoy"}, exclude_unset=True)
    derived: list[Derived] = []
    asked = of_sockets = left_out = 0
    for listeners, said in _said(found):
        kept = {
            key: value
            for key, value in said.items()
            if key in _SELECTING or not _is_excepted(listeners, ASPECTS[key], excepted, known)
        }
        left_out += len(said) - len(kept)
        about = [key for key in kept if key not in _SELECTING]
        asked += len(about)
        of_sockets += len(about) if found.refused else sum(key != "process" for key in about)
        if not about and "listener" not in kept:
            continue
        # One of which nothing is asked still says which sockets the config names.
        whole = kept if about else {**kept, "sockets": {"at_least": 0}}
        name = next(key for key in whole if key in WORDS)
        model = WORDS[name].model
        if name == "no_others":
            whole["at_end_of"] = STARTUP  # what steps do later is no matter of the start
        made = model.model_validate({**whole, **carried})
        derived.append(Derived(", ".join(listeners), made, asked=bool(about)))
    unknown = tuple(f"{one.listener} {one.fact}: {one.why}".strip() for one in found.unknown)
    return _Asked(tuple(derived), asked, of_sockets, left_out, unknown, refusals=found.refusals)


def _said(found: Prediction) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the items of a prediction, with the names of the listeners that each is about."""
    from envoyassert.predict.expectations import expected_of
    from envoyassert.predict.prediction import PROCESS

    if any(one.fact == PROCESS for one in found.unknown):
        return
    if found.refused:
        yield (), {"process": {"exits": "nonzero"}}
        return
    for one in expected_of(found.sets):
        yield one.listeners, one.item
    if found.closed:
        yield (), {"no_others": True}
    yield (), {"process": {"live" if found.admin else "stays_up": True}}


def _is_excepted(
    listeners: Sequence[str], aspect: str, excepted: Sequence[str], known: Mapping[str, object]
) -> bool:
    wholes = {name for name in excepted if name in known}
    return bool(
        wholes & set(listeners)
        or (aspect in excepted and aspect not in known)
        or any(f"{name}.{aspect}" in excepted for name in listeners)
    )


def stands_for(item: Conditional, trace: Trace) -> Sequence[Derived]:
    """Return the expectations that an item stands for."""
    return _asked(item, trace).derived


def judge_matches_config(
    context: Context, index: int, expectation: Conditional
) -> Iterator[Finding]:
    """Judge whether anything is asked; what is asked is judged by itself."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    found = _asked(expectation, context.trace)
    # That Envoy runs says nothing of the sockets that its config is about.
    problem = found.problem or (None if found.of_sockets else Fact("nothing_asked"))
    yield context.finding(
        Subject(Topic("config"), ("expect", index, WORD.name), expectation.why or ""),
        Status.INCONCLUSIVE if problem else Status.PASS,
        Fact("follows_from_config"),
        Fact(
            "facts_asked",
            asked=found.asked,
            excepted=found.excepted,
            unknown=tuple(map(Quote, found.unknown)),
        ),
        reason=problem,
        from_launcher=problem is None,
    )
    if found.refusals and "process" not in getattr(expectation, _EXCEPT):
        yield _said_why(context, index, expectation, found.refusals)


def _said_why(
    context: Context, index: int, expectation: Conditional, refusals: Sequence[str]
) -> Finding:
    """Judge whether an Envoy that does not take its config says what it has to."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    log = context.trace.end.outcome.log_tail
    said = any(words in line for words in refusals for line in log)
    last = next((line for line in reversed(log) if "critical" in line), "")
    path = ("expect", index, WORD.name, "process", "says")
    return context.finding(
        Subject(Topic("process"), path, expectation.why or ""),
        Status.PASS if said else Status.FAIL if log else Status.INCONCLUSIVE,
        Fact("envoy_says", words=Quote(refusals[0])),
        Fact("envoy_says", words=Quote(refusals[0] if said else last)),
        from_launcher=bool(log),
    )


def _faults(item: Mapping[str, object]) -> Iterator[Fault]:
    for word in ("during", "at_end_of"):
        if item.get(word) not in (None, STARTUP):
            yield Fault((word,), "`matches_config` is about start-up", f"leave out `{word}`")


def _exceptions(
    finding: Finding, data: Mapping[str, Any], _: SocketGraph
) -> Iterator[tuple[Place, Any]]:
    """Yield the exception that a finding asks for."""
    place = finding.path[3:]
    word = next((part for part in place[:2] if part in ASPECTS), None)
    if word is not None:
        aspect = ASPECTS[str(word)]
        alone = place[0] == word or "," in str(place[0])
        name = aspect if alone else f"{place[0]}.{aspect}"
        yield (_EXCEPT,), [*data.get(_EXCEPT, ()), name]


def _advice(finding: Finding) -> str | None:
    """Return what the word that failed says, for it stands below this one."""
    from envoyassert.words.registry import word_named

    words = (word_named(part) for part in finding.path[3:5])
    word = next((one for one in words if one is not None), None)
    return None if word is None else word.advice(finding)


def _tries(_: Failed) -> Iterator[Any]:
    return iter(())


WORD = Word(
    name="matches_config",
    model=MatchesConfigExpectation,
    judge=judge_matches_config,
    stands_for=stands_for,
    about="start",
    sockets="none",
    faults=_faults,
    examples={
        "matches_config": Example("matches_config: true", "as_configured", "unlike_config"),
        _EXCEPT: Example(
            "matches_config: true, except: [ingress.backlog]",
            "another_backlog",
            "unlike_config",
        ),
    },
    advice=_advice,
    tries={"matches_config": _tries},
    closest=_exceptions,
    of_state=lambda _, __: (Status.PASS,),
)
