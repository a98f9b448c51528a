from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from setup.lint_prose import (
    LONGEST_SENTENCE,
    STYLE,
    avoided_words,
    house_words,
    long_sentences,
)

CHECKOUT = Path(__file__).parents[2]
TABLE = """
| Write | Not |
| --- | --- |
| people | folk, not anyone |
| result | what came of |

| Another | Table |
| --- | --- |
| of other | words |
"""
WORDS = house_words(TABLE)


def _problems(text: str) -> list[str]:
    return [str(problem) for problem in avoided_words(Path("x.py"), text, WORDS)]


def test_table_of_the_page_is_read_and_ends_where_it_ends() -> None:
    assert WORDS == {"folk": "people", "not anyone": "people", "what came of": "result"}


def test_page_without_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table"):
        house_words("| Good | Bad |\n")


@pytest.mark.parametrize(
    "text",
    [
        *("Folk knows.", "`folk`", "(folk)", "folk = 1", "a folk's b"),
        *("is_folk", "_folk", "FOLK_OF = 1", "self._folk", "for_folk_only()"),
    ],
)
def test_word_is_found_in_any_case_and_beside_any_sign(text: str) -> None:
    assert _problems(text) == ['x.py:1: "folk": write "people"']


@pytest.mark.parametrize("text", ["folks", "is_folks", "file.folk()", "folk-song", "not_any"])
def test_other_word_or_a_method_of_others_is_not_the_word(text: str) -> None:
    assert _problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "so what came of it",
        "so what\ncame of it",
        "# so what came\n    # of it",
        " * so what came\n * of it",
        '"so what came "\n    f"of it"',
        "// so what came\n// of it",
        "so_what_came_of = it",
    ],
)
def test_phrase_is_found_across_breaks_of_lines_comments_and_literals(text: str) -> None:
    assert _problems(text) == ['x.py:1: "what came of": write "result"']


def test_line_of_a_word_is_its_own() -> None:
    assert _problems("a\nb\nfolk\nnot anyone") == [
        'x.py:3: "folk": write "people"',
        'x.py:4: "not anyone": write "people"',
    ]


def _long(markdown: str) -> list[str]:
    return [str(problem) for problem in long_sentences(Path("x.md"), markdown)]


def _sentence(words: int, end: str = ".") -> str:
    return " ".join(["Word"] * words) + end


def test_sentence_of_one_word_too_many_is_found_at_its_line() -> None:
    assert _long(f"{_sentence(LONGEST_SENTENCE)}\n\n{_sentence(3)}\n{_sentence(26)}\n") == [
        "x.md:4: 26 words in a sentence, at most 25: Word Word Word Word Word Word …"
    ]


@pytest.mark.parametrize("end", [".", "!", "?", ":", '."', ".)"])
def test_sentence_ends_at_its_sign(end: str) -> None:
    assert _long(f"{_sentence(20, end)} {_sentence(20)}") == []


@pytest.mark.parametrize("sign", [",", ";", " –"])
def test_sentence_goes_on_after_a_sign_within_it(sign: str) -> None:
    assert len(_long(f"{_sentence(20, sign)} {_sentence(20)}")) == 1


def test_code_counts_as_one_word_and_a_block_of_code_is_no_sentence() -> None:
    code = " ".join(["word"] * 30)
    assert _long(f"Run `{code}` now.\n\n```text\n{code}\n```\n") == []


def test_items_and_cells_are_sentences_of_their_own() -> None:
    words = " ".join(["Word"] * 20)
    assert _long(f"- {words}\n- {words}\n\n| a | b |\n|---|---|\n| {words} | {words} |\n") == []
    assert len(_long(f"| a |\n|---|\n| {words} {words} |\n")) == 1


def test_command_fails_at_a_word_of_the_page_and_at_a_long_sentence(tmp_path: Path) -> None:
    def lint() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CHECKOUT / "setup/lint_prose.py")]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    page = tmp_path / STYLE
    page.parent.mkdir()
    page.write_text((CHECKOUT / STYLE).read_text())
    (tmp_path / "good.py").write_text("# What is right.\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert lint().returncode == 0

    avoided = next(iter(house_words(page.read_text())))
    names = ("bad.py", "envoyassert/judge/bad.py", "tests/bpf/programs/bad.cc", "tests/unit/bad.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"// What is {avoided}.\n")
    (tmp_path / "bad.md").write_text(_sentence(26) + "\n")
    (tmp_path / "untracked.py").write_text(f"# What is {avoided}.\n")
    subprocess.run(["git", "add", "bad.md", *names], cwd=tmp_path, check=True)
    failed = lint()
    assert failed.returncode == 1
    found = [line.split(" ")[0] for line in failed.stderr.splitlines()]
    assert found == [f"{name}:1:" for name in ("bad.md", *names)]
