"""What is known of one word alone stands with the word: its advice, values to try, its field."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from envoyassert.judge import counterfactual
from envoyassert.report import advice, changes
from envoyassert.words.listener import WORDS as OF_LISTENER
from envoyassert.words.registry import WORDS, word_named

#: A run's Envoy is a topic too, which no word owns; each expectation has a place, `expect`.
TOPICS = {"process"}


@pytest.mark.parametrize("module", [advice, changes, counterfactual])
def test_code_for_all_words_names_none(module: ModuleType):
    tree = ast.parse(inspect.getsource(module))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert texts & (WORDS.keys() | OF_LISTENER.keys()) <= TOPICS


@pytest.mark.parametrize("name", [*WORDS, *OF_LISTENER])
def test_word_is_found_by_its_name(name: str):
    word = word_named(name)
    assert word is not None
    assert word.name == name


def test_what_is_no_word_is_not_found():
    assert word_named("before") is None
