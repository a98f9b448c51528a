"""What is known of one word of the expectation language, and how all of them are found.

The module of a word is loaded with each scenario, and judges in few sessions. So its functions
import what judges and nothing else needs: graphs, contexts, counts.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypeVar

from pydantic import Field

from envoyassert.fact import Fact
from envoyassert.frozen import frozen
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.quantity import Count
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.timing import DescriptorTally, Tally
from envoyassert.words.remedy import Advice, Config, Place, Tries

if TYPE_CHECKING:
    from envoyassert.graph.model import SocketGraph
    from envoyassert.judge.context import Context
    from envoyassert.judge.target import Target
    from envoyassert.trace import Trace

#: In an example's surroundings: where the example stands.
PLACE = "%"


@frozen
class Example:
    """An example of a key, which the reference shows and the tests judge.

    Args:
        members: members of the mapping that the key stands in, in YAML's flow form.
        holds: the name of a trace of the tests on which it holds.
        fails: the name of one on which it does not.
        inside: the expectations that it stands in, at `PLACE`; "" for those of its model.
        during: whether the tests limit it to a phase by `during`, too.
    """

    members: str
    holds: str
    fails: str
    inside: str = ""
    during: bool = False


@frozen
class Part:
    """A model of the language, as the reference shows it.

    Args:
        model: the model.
        heading: what it is called there.
        inside: expectations in which an example of a key stands, at `PLACE`.
        examples: an example of each of its keys.
    """

    model: type[Model]
    heading: str
    inside: str
    examples: Mapping[str, Example]


class Fault(NamedTuple):
    """What is wrong with a word where it stands: at a place below its item, and what to do."""

    place: tuple[str, ...]
    message: str
    remedy: str


class Derived(NamedTuple):
    """An expectation that another one stands for.

    Args:
        name: what it is about, as the config calls it: a listener, or several; "" for none.
        item: the expectation.
        asked: whether it is judged; one that is not says which sockets the config names.
    """

    name: str
    item: Conditional
    asked: bool = True


Vacuous = Iterator[tuple[tuple[str, ...], str]]
"""Places below a value at which nothing could fail, and why."""
Closest = Callable[[Finding, Mapping[str, Any], "SocketGraph"], Iterator[tuple[Place, Any]]]
"""Yields places of an item, and values there by which it is about what came closest."""


OfState = Callable[[tuple[Any, ...], Any], tuple[Status, ...]]
"""Returns which answers a state can give, by the place below the word, and the word's value."""


def no_answer(_: tuple[object, ...], __: object) -> tuple[Status, ...]:
    """A state gives none: what counts is what was called."""
    return ()


def every_answer(_: tuple[object, ...], __: object) -> tuple[Status, ...]:
    """A state gives each: what counts is what is there."""
    return Status.PASS, Status.FAIL


def tally_of_state(place: tuple[object, ...], value: Count | Tally) -> tuple[Status, ...]:
    """Return which answers a state gives: those about what is there, and not about each socket.

    One that was closed has no descriptor left, so each of them had better be known.
    """
    if place[:1] == ("ever",):
        return ()
    if isinstance(value, Tally):
        if value.live_at != "end":
            return ()
        if isinstance(value, DescriptorTally) and value.each == "socket":
            return (Status.FAIL,)
    return Status.PASS, Status.FAIL


def _none(_: Any) -> Iterator[Any]:
    return iter(())


def _no_field(_: object, __: int) -> str:
    return ""


def _general(_: Finding) -> str | None:
    return None


def _no_place(_: Finding, __: object, ___: SocketGraph) -> Iterator[tuple[Place, object]]:
    return iter(())


def itself(_: object, __: object) -> Sequence[Derived]:
    """Nothing: an item stands for itself alone."""
    return ()


def _nothing(_: Context, __: Sequence[Conditional]) -> Iterator[Finding]:
    return iter(())


@frozen
class Word:
    """One word that an item of `expect` may be about.

    Args:
        name: the word.
        model: the item, a field of which is the word.
        judge: judges an item, given its context and its place in the scenario.
        examples: examples of the item's own keys.
        inside: the expectations that these stand in, at `PLACE`.
        parts: models of which its value is made, and that no other word has.
        about: what it is about: something that is done or holds in time, so that `during` may say
            when; a state; the start; or what the driver of a step saw.
        sockets: which sockets it is about: those that it selects, every one, or none.
        closes_world: whether it is judged last, given what all others name.
        faults: finds what is wrong with an item as it stands in the file, beside its form.
        vacuous: finds what of an item no trace could fail.
        forbids: the calls that an item says are never made, None if there are none.
        stands_for: the expectations that an item stands for, beside itself, given the trace.
        unsaid: judges what is wrong with a step though no expectation names it, given all of them.
        advice: what to do where it failed.
        tries: values that a remedy tries, by the key: the word itself, or one below it.
        closest: how an item changes to be about what came closest.
        config: the field of Envoy's config that does what a changed value asks for, or "".
        of_state: which of its answers the state of an Envoy gives whose start was not seen.
    """

    name: str
    model: type[Conditional]
    judge: Callable[[Context, int, Any], Iterator[Finding]]
    examples: Mapping[str, Example]
    inside: str = f"[{{{PLACE}}}]"
    parts: Sequence[Part] = ()
    about: Literal["time", "state", "start", "step"] = "time"
    sockets: Literal["selected", "every", "none"] = "selected"
    closes_world: bool = False
    faults: Callable[[Mapping[str, Any]], Iterator[Fault]] = _none
    vacuous: Callable[[Any], Vacuous] = _none
    forbids: Callable[[Any], CallPattern | None] | None = None
    stands_for: Callable[[Any, Trace], Sequence[Derived]] = itself
    unsaid: Callable[[Context, Sequence[Conditional]], Iterator[Finding]] = _nothing
    advice: Advice = _general
    tries: Mapping[str, Tries] = field(default_factory=dict)
    closest: Closest = _no_place
    config: Config = _no_field
    of_state: OfState = no_answer

    @property
    def item(self) -> Part:
        """The item as a part of the language."""
        return Part(self.model, f"Expectation `{self.name}`", self.inside, self.examples)


@frozen
class ListenerWord:
    """One word of a `listener` expectation.

    Args:
        name: the word.
        form: the type of its value.
        also_called: what someone may write instead of it, for a suggestion.
        description: what it says, as the reference shows it.
        judge: judges the value on a listener; is given the word as well.
        example: its example.
        parts: models of which its value is made, and that no other word has.
        limits: what else holds for the value, as `pydantic.Field` takes it.
        done: whether it is about what is done, so that `during` may say when; else about a state.
        serves: the role that serves the listener by its value, if it says that.
        misfit: why it says nothing of a listener that is selected in this way, or "".
        fitting: the JSON Schema of selectors that it says something of.
        vacuous: finds what of its value no trace could fail.
        texts: the texts of facts that it alone has, by their codes; see `texts.facts`.
        advice: what to do where it failed.
        tries: values that a remedy tries, by the key: the word itself, or one below it.
        config: the field of Envoy's config that does what a changed value asks for, or "".
        of_state: which of its answers the state of an Envoy gives whose start was not seen.
    """

    name: str
    form: Any
    description: str
    judge: Callable[[Target, str, Any], Iterator[Finding]]
    example: Example
    also_called: Sequence[str] = ()
    parts: Sequence[Part] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False
    serves: Callable[[Any], str] | None = None
    misfit: Callable[[Selector], str] | None = None
    fitting: Mapping[str, object] = field(default_factory=dict)
    vacuous: Callable[[Any], Vacuous] = _none
    texts: Mapping[str, str | Callable[[Fact], str]] = field(default_factory=dict)
    advice: Advice = _general
    tries: Mapping[str, Tries] = field(default_factory=dict)
    config: Config = _no_field
    of_state: OfState = no_answer

    @property
    def field_form(self) -> Any:
        """The type of the word as a field of the expectation: it may be left out."""
        return Optional[Annotated[self.form, Field(**self.limits)]]  # noqa: UP045 - a value


W = TypeVar("W", Word, ListenerWord)


class Words(Mapping[str, W]):
    """The words of a package by their names, each loaded when it is asked for.

    A word is a module of its name, and is its `WORD`.

    Args:
        package: the package.
        kind: what each word is.
        order: names of words that come first, in this order; the others follow by name.
        others: modules of the package that are no words.
    """

    def __init__(
        self,
        package: ModuleType,
        kind: type[W],
        order: Sequence[str],
        others: Collection[str] = (),
    ) -> None:
        modules = pkgutil.iter_modules(package.__path__)
        names: set[str] = {one.name for one in modules if not one.ispkg}.difference(others)
        self._package: str = package.__name__
        self._kind: type[W] = kind
        self._words: dict[str, W | None] = dict.fromkeys(
            [*(name for name in order if name in names), *sorted(names - {*order})]
        )

    def __getitem__(self, name: str) -> W:
        word = self._words[name]
        if word is None:
            word = importlib.import_module(f"{self._package}.{name}").WORD
            assert isinstance(word, self._kind)
            assert word.name == name
            self._words[name] = word
        return word

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, name: object) -> bool:
        return name in self._words
