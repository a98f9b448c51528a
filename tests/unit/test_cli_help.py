"""Help and completion of every command; the examples in help and documents are tried."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from envoyassert.cli import app, command_line
from tests.unit.cli_words import run_cli

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"[\w./@=-]+(\.(yaml|ndjson|txt|json)|/)")
DOCUMENTS = [ROOT / "README.md", ROOT / "contrib/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def command_of(name):
    command = app.get_command(click.Context(app), name)
    assert command is not None
    return command


def examples_of(name):
    return re.findall(r"^\s*Example: (.*)$", command_of(name).help or "", re.MULTILINE)


def words_of(line):
    """The words of the one command in a shell line that is ours: up to `>`, `|` or `)`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = list(lexer)
    after = words[words.index("envoyassert") + 1 :]
    ends = (number for number, word in enumerate(after) if set(word) <= set("|&;<>()"))
    return after[: next(ends, len(after))]


def parsed(line, directory):
    """Parse a line as the command line would, the files that it names being there."""
    name, *arguments = words_of(line)
    for word in filter(FILE.fullmatch, arguments):
        path = directory / word
        (path if word.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not word.endswith("/"):
            path.touch()
    return command_of(name).make_context(name, list(arguments))


@pytest.fixture
def _in_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", command_line.COMMANDS)
@pytest.mark.usefixtures("_in_directory")
def test_help_of_a_command_says_what_it_does_with_an_example_that_parses(name, tmp_path, capsys):
    done = run_cli(capsys, name, "--help")
    assert done.code == 0
    _, _, first, *_ = done.out.splitlines()
    assert re.fullmatch(r"  [A-Z].+\.", first), first
    examples = examples_of(name)
    assert examples
    for example in examples:
        assert f"  Example: {example}\n" in done.out, "an example is not wrapped"
        assert words_of(example)[0] == name
        parsed(example, tmp_path)


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_option_is_spelled_in_the_same_way_by_every_command(name):
    options = [one for one in command_of(name).params if isinstance(one, click.Option)]
    shown = [one for one in options if not one.hidden]
    for one in shown:
        short = [word for word in one.opts if not word.startswith("--")]
        assert (short, one.opts[-1]) in (([], one.opts[-1]), (["-o"], "--output")), one.opts
    # What a value is, and not which type it is read as: `N` and `RUN`.
    context = click.Context(command_of(name))
    said = {word for one in shown for word in (one.get_help_record(context) or ("",))[0].split()}
    assert not said & {"TEXT", "INTEGER", "FLOAT", "RANGE"}


def test_table_of_the_readme_has_every_command():
    text = (ROOT / "README.md").read_text().partition("\n## The command\n")[2].partition("\n## ")[0]
    _, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    found = {row.split("`")[1].split(" ")[0] for row in rows}
    assert sorted(found) == sorted(command_line.COMMANDS)


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_shell_shows_of_a_command_what_its_help_begins_with(name):
    _, _, shown = command_line.COMMANDS[name]
    assert shown == command_of(name).get_short_help_str()


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_help_explains_every_option(name):
    options = [option for option in command_of(name).params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.hidden and not option.help] == []


LINES = [
    (f"{path.relative_to(ROOT)}: {line}", line)
    for path in DOCUMENTS
    for block in re.findall(r"^```console\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^\$ ((?:sudo )?envoyassert .*)$", block, re.MULTILINE)
]


def test_documents_have_lines_to_try():
    assert {label.partition(":")[0] for label, _ in LINES} >= {"README.md", "docs/comparing.md"}


@pytest.mark.parametrize("line", [pytest.param(line, id=label) for label, line in LINES])
@pytest.mark.usefixtures("_in_directory")
def test_line_of_a_document_parses(line, tmp_path):
    parsed(line, tmp_path)


@pytest.mark.usefixtures("_in_directory")
def test_example_that_is_wrong_is_noticed(tmp_path):
    with pytest.raises(click.NoSuchOption):
        parsed("sudo envoyassert show x.ndjson --colour > y", tmp_path)


# Completion

COMPLETED = [
    ("re", {"record", "replay", "report"}),
    ("show --for", {"--format"}),
    ("show --format m", {"mermaid", "markdown"}),
    ("run --launcher d", {"docker"}),
    ("completion ", {"bash", "zsh", "fish"}),
]


FILES = ["show tr", "run sc", "check sc", "replay t --scenario s"]
LINES_TO_COMPLETE = [line for line, _ in COMPLETED]


@pytest.fixture(scope="module")
def run_shell(tmp_path_factory):
    """A function that runs a script in a shell which has the command, as an installation has it."""
    program = tmp_path_factory.mktemp("home") / "bin" / "envoyassert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envoyassert "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"

    def run(*words):
        done = subprocess.run(
            words,
            env={"PATH": path, "PYTHONPATH": str(ROOT), "HOME": program.parent, "TERM": "dumb"},
            cwd=program.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


def in_parts(script, lines, out):
    """What was printed for each line by a script that prints `---` behind each."""
    parts = out.split("---\n")
    assert (len(parts), parts[-1]) == (len(lines) + 1, ""), script
    return dict(zip(lines, parts, strict=False))


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


# `compopt` works only while a line is being typed; what it is asked for shows anyway.
BASH = """\
source <(envoyassert completion bash)
compopt() {{ printf "asked for %s %s\\n" "$@"; }}
for words in {lines}; do
    COMPREPLY=()
    COMP_WORDS=(envoyassert $words)
    [[ $words == *' ' || -z $words ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    registered=$(complete -p envoyassert)
    [[ $registered =~ '-F '([_a-z]+) ]] && ${{BASH_REMATCH[1]}} envoyassert
    printf '%s\\n' "${{COMPREPLY[@]}}" ---
done
"""


@pytest.fixture(scope="module")
def bash(run_shell):
    """What bash prints for each line, by the script of the command."""
    lines = [*LINES_TO_COMPLETE, *FILES]
    script = BASH.format(lines=shlex.join(lines))
    return in_parts(script, lines, run_shell("bash", "--norc", "-c", script))


@needs("bash")
@pytest.mark.parametrize("line, wanted", COMPLETED)
def test_bash_completes(bash, line, wanted):
    assert set(bash[line].split()) == wanted


@needs("bash")
@pytest.mark.parametrize("line", FILES)
def test_bash_is_asked_to_complete_files(bash, line):
    assert "asked for -o default" in bash[line]


@pytest.fixture(scope="module")
def fish(run_shell):
    """What fish prints for each line, by the script of the command."""
    typed = [shlex.quote(f"envoyassert {line}") for line in LINES_TO_COMPLETE]
    script = "envoyassert completion fish | source\n"
    script += "".join(f"complete -C {words}\necho ---\n" for words in typed)
    return in_parts(script, LINES_TO_COMPLETE, run_shell("fish", "--no-config", "-c", script))


@needs("fish")
@pytest.mark.parametrize("line, wanted", COMPLETED)
def test_fish_completes(fish, line, wanted):
    assert {one.split("\t")[0] for one in fish[line].splitlines()} == wanted


# Outside a line that is being typed zsh has no completion; what the widget adds is taken down.
ZSH = """\
autoload -U compinit && compinit -D
source <(envoyassert completion zsh)
compadd() { print -l -- "${(P)@[-1]}"; }
_describe() { print -l -- "${(@)${(P)3}%%:*}"; }
"""
ZSH_LINE = "words=(envoyassert {line})\nCURRENT=$#words\n$_comps[envoyassert]\necho ---\n"


@pytest.fixture(scope="module")
def zsh(run_shell):
    """What zsh prints for each line, by the script of the command."""
    typed = [line + "''" * line.endswith(" ") for line in LINES_TO_COMPLETE]
    script = ZSH + "".join(ZSH_LINE.format(line=words) for words in typed)
    return in_parts(script, LINES_TO_COMPLETE, run_shell("zsh", "-f", "-c", script))


@needs("zsh")
@pytest.mark.parametrize("line, wanted", COMPLETED)
def test_zsh_completes(zsh, line, wanted):
    assert set(zsh[line].split()) == wanted


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_script_of_a_shell_that_is_not_here_asks_the_program(shell, capsys, monkeypatch):
    done = run_cli(capsys, "completion", shell)
    assert f"_ENVOYASSERT_COMPLETE={shell}_complete" in done.out
    monkeypatch.setenv("_ENVOYASSERT_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "envoyassert rep")
    monkeypatch.setenv("COMP_CWORD", "1" if shell == "zsh" else "rep")
    assert "replay" in run_cli(capsys).out


def test_completion_for_an_unknown_shell_names_those_there_are(capsys):
    done = run_cli(capsys, "completion", "tcsh")
    assert done.code == 4
    assert "'bash', 'zsh', 'fish'" in done.err
