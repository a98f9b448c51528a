"""`frozen` makes what `dataclass(frozen=True)` makes: each rule is asked of both."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter

from envoyassert.cli import _NoPlugins
from envoyassert.frozen import frozen


def shapes(made: Callable[[type], Any]) -> dict[str, Any]:
    """Return classes of every shape that the project has, made by a decorator."""

    @made
    class Empty:
        """No fields."""

    @made
    class One:
        """One field."""

        a: int

    @made
    class Several:
        """Defaults, of each kind."""

        kind: ClassVar[str] = "several"
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list)
        d: int = field(default=4, kw_only=True)

        @cached_property
        def double(self) -> int:
            """Kept in the instance."""
            return self.a * 2

    @made
    class Derived(Several):
        """Fields of its own behind those of another."""

        e: int = 5

    @made
    class Checked:
        """Looks at its fields when it is made."""

        a: int

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError("below zero")

    @made
    class Own:
        """Methods of its own stay."""

        a: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "own"

    return {one.__name__: one for one in (Empty, One, Several, Derived, Checked, Own)}


OURS, THEIRS = shapes(frozen), shapes(dataclass(frozen=True))


def outcome(ask: Callable[[dict[str, Any]], Any], made: dict[str, Any]) -> Any:
    try:
        return ask(made)
    except Exception as error:  # noqa: BLE001 - which one, and its text, is the outcome
        return type(error), str(error).replace("shapes.<locals>.", "")


ASKED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "shown": lambda m: repr([m["Empty"](), m["One"](1), m["Several"](1, c=[2]), m["Own"](1)]),
    "equal": lambda m: (m["One"](1) == m["One"](1), m["Several"](1) == m["Several"](1, "x")),
    "equal, without fields": lambda m: m["Empty"]() == m["Empty"](),
    "equal to one that derives from it": lambda m: m["Several"](1) == m["Derived"](1),
    "equal to another thing": lambda m: m["One"](1) == 1,
    "equal by its own": lambda m: m["Own"](1) == m["Own"](2),
    "as a key": lambda m: len({m["One"](1), m["One"](1), m["One"](2), m["Empty"](), m["Own"](3)}),
    "not as a key": lambda m: hash(m["Several"](1)),
    "defaults": lambda m: dataclasses.astuple(m["Derived"](1)),
    "a list of its own": lambda m: m["Several"](1).c is m["Several"](1).c,
    "by position": lambda m: dataclasses.astuple(m["Derived"](1, "2", [3], 6, d=7)),
    "too many": lambda m: m["One"](1, 2),
    "too few": lambda m: m["Several"](),
    "unknown": lambda m: m["One"](b=2),
    "keyword by position": lambda m: m["Several"](1, "2", [3], 4),
    "set": lambda m: setattr(m["One"](1), "a", 2),
    "set what is no field": lambda m: setattr(m["Empty"](), "a", 2),
    "removed": lambda m: delattr(m["One"](1), "a"),
    "refused as it is made": lambda m: m["Checked"](-1),
    "replaced": lambda m: repr(dataclasses.replace(m["Several"](1), b="x", d=2)),
    "as a dictionary": lambda m: dataclasses.asdict(m["Derived"](1)),
    "fields": lambda m: [(f.name, f.type, f.kw_only) for f in dataclasses.fields(m["Derived"])],
    "matched": lambda m: (m["Derived"].__match_args__, m["Empty"].__match_args__),
    "cached": lambda m: m["Several"](4).double,
    "copied": lambda m: repr(copy.deepcopy(m["Several"](1, c=[2]))),
    "signature": lambda m: [*inspect.signature(m["Derived"]).parameters],
    "validated": lambda m: repr(TypeAdapter(m["Several"]).validate_python({"a": 1, "d": 9})),
    "dumped": lambda m: TypeAdapter(m["Several"]).dump_python(m["Several"](1)),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_it_is_as_the_standard_library_makes_it(ask):
    assert outcome(ask, OURS) == outcome(ask, THEIRS)


def test_default_before_a_field_without_one_is_refused():
    with pytest.raises(TypeError, match="default argument"):

        @frozen
        class Wrong:
            a: int = 1
            b: int  # type: ignore[misc]


@pytest.mark.parametrize(
    "left_out",
    [
        field(default=1, init=False),
        field(default=1, repr=False),
        field(default=1, compare=False),
        field(default=1, hash=False),
    ],
    ids=["init", "repr", "compare", "hash"],
)
def test_field_that_is_left_out_of_something_is_refused(left_out):
    """It was taken for one that is not."""
    with pytest.raises(TypeError, match=r"Wrong\.b: `frozen` leaves no field out"):

        @frozen
        class Wrong:
            a: int
            b: int = left_out


def test_argument_that_is_no_field_is_refused():
    """`__init__` did not know it."""
    with pytest.raises(TypeError, match=r"Wrong\.b: `frozen` leaves no field out"):

        @frozen
        class Wrong:
            a: ClassVar[int] = 1
            b: dataclasses.InitVar[int] = 2


def test_program_reads_no_plugins_for_pydantic(tmp_path):
    (tmp_path / "one.yaml").write_text("name: one\nenvoy: {config: {}}\nexpect: []\n")
    code = (
        "import atexit, os, sys\n"
        "sys.argv = ['envoyassert', 'check', 'one.yaml']\n"
        "atexit.register(lambda: print('pydantic' in sys.modules, "
        "'importlib.metadata' in sys.modules))\n"
        "from envoyassert.cli import program\n"
        "program()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.stdout.decode().splitlines()[-1] == "True False"


def test_models_of_others_have_the_plugins_of_pydantic(tmp_path):
    """Those of a user's conftest.py had none under `envoyassert run`."""
    package = tmp_path / "noted-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: noted\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[pydantic]\nnoted = noted:plugin\n")
    (tmp_path / "noted.py").write_text(
        "class Plugin:\n"
        "    def new_schema_validator(self, schema, model, path, *more):\n"
        "        print('noted', path.module)\n"
        "        return None, None, None\n"
        "plugin = Plugin()\n"
    )
    tests = tmp_path / "tests"
    tests.mkdir()
    text = "from pydantic import BaseModel\nclass One(BaseModel):\n    a: int\n"
    (tests / "conftest.py").write_text(text)
    (tests / "one.yaml").write_text("name: one\nenvoy: {config: {}}\nexpect: []\n")
    words = [sys.executable, "-m", "envoyassert", "run", "--collect-only", "-s", "."]
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=tests, env=path, capture_output=True, text=True)
    noted = [line for line in done.stdout.splitlines() if line.startswith("noted")]
    assert noted == ["noted conftest"], done


def test_other_names_are_those_of_the_real_module(monkeypatch):
    real = importlib.import_module(_NoPlugins.NAME)
    instead = _NoPlugins(_NoPlugins.NAME)
    monkeypatch.setitem(sys.modules, _NoPlugins.NAME, instead)
    assert not hasattr(instead, "__path__")
    assert instead.PYDANTIC_ENTRY_POINT_GROUP == real.PYDANTIC_ENTRY_POINT_GROUP
